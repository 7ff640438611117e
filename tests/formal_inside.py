"""The signals inside a component, for the invariants of a proof."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace

from amaranth.hdl import Signal


def inside(dut, platform) -> SimpleNamespace:
    """Elaborate ``dut``; what its methods call by name meanwhile. A signal is also found by its own name."""
    own = {f.__code__ for f in vars(type(dut)).values() if inspect.isfunction(f)}
    names: dict[str, object] = {}

    def look(frame, event, argument):
        del event, argument
        for seen in (frame, frame.f_back):
            if seen is not None and seen.f_code in own:
                there = dict(seen.f_locals)
                names.update({value.name: value for value in there.values() if isinstance(value, Signal)})
                names.update(there)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        module = dut.elaborate(platform)
    finally:
        sys.setprofile(before)
    dut.elaborate = lambda platform: module  # these signals, and no others, are then in the submodule
    return SimpleNamespace(**{name: value for name, value in names.items() if name != "self"})
