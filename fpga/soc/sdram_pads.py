"""An SDRAM's pads: registers in all of them, and the inverted clock."""

from __future__ import annotations

import operator
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In

from fpga.soc.sdram_part import SdramPart
from fpga.soc.sdram_pins import pins_signature

STAGES = 3
"""Cycles through the pads of an ECP5: two to the part, one back."""


def capture_of(part: SdramPart, *, clock_hz: int) -> tuple[int, bool]:
    """``capture`` of ``Sdram`` and ``falling`` of ``SdramPads`` for ``clock_hz``, from the times of the part and its pads."""
    whole, falling = divmod(part.capture(clock_hz=clock_hz), 2)
    return STAGES + whole, bool(falling)


class SdramPads(wiring.Component):
    """Between a controller and the pads.

    Every pad has the same kind of register, so that all outputs come at the same time; the part's clock rises in the
    middle of a cycle.

    Parameters
    ----------
    part : SdramPart
    ports : object
        Ports of Amaranth's ``SDRAMResource``, requested with ``dir="-"``: ``clk``, ``clk_en``, ``cs``, ``ras``, ``cas``,
        ``we``, ``ba``, ``a``, ``dqm``, ``dq``.
    falling : bool
        Words that are read are sampled in the middle of a cycle, not at its beginning.

    Members
    -------
    pins : In(``pins_signature``)

    Raises
    ------
    ValueError
        The ports have not the part's widths.
    """

    def __init__(self, *, part: SdramPart, ports: Any, falling: bool) -> None:
        self._ports, self._falling = ports, int(operator.index(falling))
        super().__init__({"pins": In(pins_signature(part))})
        for name, pin in (("ba", self.pins.ba), ("a", self.pins.a), ("dq", self.pins.dq_o)):
            if len(getattr(ports, name)) != len(pin):
                raise ValueError(
                    f"{name} of ports must be {len(pin)} pins wide, not {len(getattr(ports, name))}"
                )

    def elaborate(self, platform):
        del platform
        m = Module()
        pins, ports = self.pins, self._ports
        m.submodules.clk = clk = io.DDRBuffer("o", ports.clk)
        m.d.comb += [clk.o[0].eq(0), clk.o[1].eq(1)]
        # The platform's ports of these four are inverted where the part's are.
        outputs = {
            "clk_en": pins.cke,
            "cs": ~pins.cs_n,
            "ras": ~pins.ras_n,
            "cas": ~pins.cas_n,
            "we": ~pins.we_n,
            "ba": pins.ba,
            "a": pins.a,
            "dqm": pins.dqm,
        }
        for name, value in outputs.items():
            m.submodules[name] = buffer = io.DDRBuffer("o", getattr(ports, name))
            m.d.comb += [half.eq(value) for half in buffer.o]
        m.submodules.dq = dq = io.DDRBuffer("io", ports.dq)
        m.d.comb += [half.eq(pins.dq_o) for half in dq.o]
        m.d.comb += [dq.oe.eq(pins.dq_oe), pins.dq_i.eq(dq.i[self._falling])]
        return m
