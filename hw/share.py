"""Elements that appear many times, elaborated once.

``share(Element, width=8)`` stands where ``Element(width=8)`` would. In Amaranth's simulator it *is* that component, an
ordinary submodule. While Verilog is generated it is an instance of a module that is elaborated when its class and
arguments are met for the first time: Amaranth's time then grows with the number of different elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Value
from amaranth.lib import wiring


@dataclass
class Shared:
    """Modules met so far, in the order of their first use."""

    prefix: str
    sources: bool = False
    texts: list[str] = field(default_factory=list)
    _modules: dict[tuple, tuple[wiring.Signature, str, frozenset[str]]] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)

    def module(self, kind: type[wiring.Component], arguments: dict[str, Any]):
        """Signature, module name and clock ports of ``kind(**arguments)``."""
        key = (kind, tuple(sorted(arguments.items())))
        if key not in self._modules:
            component = kind(**arguments)
            name = self._name(kind)
            text = rtlil.convert(component, name=name, emit_src=self.sources)
            header = text[text.index(f"module \\{name}\n") :]
            header = header[: header.index("\nend\n")]
            clocks = frozenset(re.findall(r"^  wire width 1 input \d+\s+\\(clk|rst)$", header, re.MULTILINE))
            self.texts.append(text)
            self._modules[key] = (component.signature, name, clocks)
        return self._modules[key]

    def _name(self, kind: type) -> str:
        plain = self.prefix + re.sub(r"(?<=[a-z0-9])(?=[A-Z])|^", "_", kind.__name__).lower()
        self._names[plain] = self._names.get(plain, 0) + 1
        return plain if self._names[plain] == 1 else f"{plain}_{self._names[plain]}"


_active: ContextVar[Shared | None] = ContextVar("shared", default=None)


@contextmanager
def sharing(*, prefix: str, sources: bool = False) -> Iterator[Shared]:
    """Within this context :func:`share` gives instances; ``prefix`` begins the names of their modules.

    With ``sources`` their texts name the lines that describe them.
    """
    shared = Shared(prefix, sources)
    token = _active.set(shared)
    try:
        yield shared
    finally:
        _active.reset(token)


class _Instance(wiring.PureInterface, Elaboratable):
    """Members of a shared module, and the cell that drives them."""

    def __init__(self, signature: wiring.Signature, module: str, clocks: frozenset[str]):
        super().__init__(signature, path=())
        self._module, self._clocks = module, clocks

    def elaborate(self, platform):
        del platform
        connections: dict[str, Any] = {}
        for path, member, value in self.signature.flatten(self):
            direction = "i" if member.flow == wiring.In else "o"
            connections[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(value)
        for port, signal in (("clk", ClockSignal()), ("rst", ResetSignal())):
            if port in self._clocks:
                connections[f"i_{port}"] = signal
        return Instance(self._module, **connections)


def share(kind: type[wiring.Component], **arguments: Any):
    """``kind(**arguments)``, elaborated once per set of arguments while Verilog is generated.

    The result has the members of the component and is to be added as a submodule. It knows the clock domain ``sync``
    (a ``DomainRenamer`` around it works, a ``ResetInserter`` or ``EnableInserter`` does not reach into it).

    Parameters
    ----------
    kind
        Class of the component; constructor arguments by keyword, all hashable.
    """
    shared = _active.get()
    if shared is None:
        return kind(**arguments)
    return _Instance(*shared.module(kind, arguments))
