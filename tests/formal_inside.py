"""What proofs share: a small design, and the signals inside a component for its invariants."""

from __future__ import annotations

import inspect
import sys
from types import SimpleNamespace

from amaranth.hdl import Signal

from hw.design import Design, Geometry

SMALL = Design(
    geometry=Geometry(
        tile_rows=2, columns=2, tile_depth=1, activation_bytes=4, weight_bytes=2, weight_words=1, variants=2
    ),
    data_bytes=4,
    address_width=32,
    burst_beats=4,
    outstanding=2,
    activation_words=16,
    weight_words=16,
    accumulator_rows=8,
    parameter_entries=8,
    output_lanes=1,
    queue_depth=2,
)


def implies(condition, then):
    """``then`` wherever ``condition``."""
    return ~condition | then


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
