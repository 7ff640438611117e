"""The memory behind an accelerator's AXI4 port in an SDR SDRAM, which the host reaches as well."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from fpga.soc.memory import OUTSTANDING
from fpga.soc.sdram_control import SdramControl
from fpga.soc.sdram_front import SdramFront, memory_ports
from fpga.soc.sdram_part import SdramPart
from fpga.soc.sdram_pins import pins_signature


class Sdram(wiring.Component):
    """An AXI4 slave and a target of the word bus on one SDRAM.

    Parameters
    ----------
    part : SdramPart
    clock_hz : int
        The part's clock is the system's.
    data_bytes : int
        Bytes of a beat: 4, 8, 16, 32 or 64.
    address_width : int
        Bits of an AXI address, 32 to 64.
    cas : int
        CAS latency.
    capture : int
        Cycles that commands and data take to the part and back, besides.
    outstanding : int
        Reads, and as many writes, that are taken before they are answered; 1 or more.

    Members
    -------
    bus : In(``word_bus``), for the host; addresses of words
    s_axi_* : the pins of ``axi_pins``. Bursts are INCR, as wide as the bus; RREADY and BREADY may fall
    restart : In(1)
        Forget what was asked. The contents stay, though what is being written may be lost.
    sdram : Out(``pins_signature``)

    Timing
    ------
    No fixed latency: 2 bytes a cycle, but for refreshes, new rows and changes from one burst to another. A read is begun for
    a beat that has a place in the buffer, a write for one that has come whole, so no master can keep the part from
    being refreshed. The host goes first, at the end of a beat; reads and writes take turns by bursts.
    Addresses beyond the memory answer SLVERR: such a beat writes nothing, and is read as anything.

    Raises
    ------
    TypeError, ValueError
        A parameter is not as above, or the part cannot have that clock.
    """

    def __init__(
        self,
        *,
        part: SdramPart,
        clock_hz: int,
        data_bytes: int,
        address_width: int,
        cas: int = 3,
        capture: int = 0,
        outstanding: int = OUTSTANDING,
    ) -> None:
        self._part, self._cycles = part, part.cycles(clock_hz=clock_hz, cas=cas)
        self._data_bytes, self._address_width = operator.index(data_bytes), operator.index(address_width)
        self._capture, self._outstanding = operator.index(capture), operator.index(outstanding)
        if self._data_bytes not in (4, 8, 16, 32, 64):
            raise ValueError(f"data_bytes must be one of 4, 8, 16, 32, 64, not {data_bytes!r}")
        if not 32 <= self._address_width <= 64:
            raise ValueError(f"address_width must be 32 to 64, not {address_width!r}")
        if self._capture < 0:
            raise ValueError(f"capture must be 0 or more, not {capture!r}")
        if self._outstanding < 1:
            raise ValueError(f"outstanding must be 1 or more, not {outstanding!r}")
        super().__init__(
            {
                **memory_ports(data_bytes=self._data_bytes, address_width=self._address_width),
                "restart": In(1),
                "sdram": Out(pins_signature(part)),
            }
        )

    @property
    def size(self) -> int:
        """Bytes."""
        return self._part.size

    @property
    def part(self) -> SdramPart:
        """As given."""
        return self._part

    @property
    def cycles(self) -> dict[str, int]:
        """The part's times in cycles, by name."""
        return self._cycles.as_dict()

    def elaborate(self, platform):
        del platform
        m = Module()
        m.submodules.control = control = SdramControl(part=self._part, cycles=self._cycles)
        wiring.connect(m, wiring.flipped(self.sdram), control.pins)
        front = SdramFront(
            part=self._part,
            data_bytes=self._data_bytes,
            address_width=self._address_width,
            outstanding=self._outstanding,
            latency=self._cycles.cas + 1 + self._capture,
        )
        m.submodules.front = ResetInserter(self.restart)(front)
        wiring.connect(m, front.beats, control.beats)
        m.d.comb += [control.restart.eq(self.restart), front.words.eq(self.sdram.dq_i)]
        for name, member in front.signature.members.items():
            if name == "bus":
                wiring.connect(m, wiring.flipped(self.bus), front.bus)
            elif name.startswith("s_axi_"):
                mine, inner = getattr(self, name), getattr(front, name)
                m.d.comb += inner.eq(mine) if member.flow is In else mine.eq(inner)
        return m
