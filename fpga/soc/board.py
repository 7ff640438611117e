"""The board's own registers, from the table in ``fpga.soc.registers``."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from fpga.soc import registers
from fpga.soc.bus import word_bus
from fpga.soc.registers import BY_NAME, DIGEST_WORDS, LINK_ERRORS, REGISTERS
from hw.control.registers import Access

RESET_CYCLES = 16
"""Cycles that a reset lasts."""


class BoardRegisters(wiring.Component):
    """Says what the board is, keeps what went wrong, commands the reset.

    Parameters
    ----------
    digest : str
        Of the configuration: 64 hexadecimal digits.
    clock_hz, memory_bytes, baud : int
        What the registers of these names show.
    memory_timing : int
        The same; see ``fpga.soc.registers.timing_word``.

    Members
    -------
    bus : In(``word_bus``), addresses of words
    errors : In, a bit for each of ``LINK_ERRORS``; one cycle each time
    reset : Out(1)
        High for ``RESET_CYCLES`` cycles; the write that asked for it is answered behind them.

    Timing
    ------
    An access is answered in the next cycle.

    Raises
    ------
    TypeError, ValueError
        ``digest`` is none, or a number does not fit into 32 bits.
    """

    def __init__(
        self, *, digest: str, clock_hz: int, memory_bytes: int, baud: int, memory_timing: int
    ) -> None:
        numbers = {"clock_hz": clock_hz, "memory_bytes": memory_bytes, "baud": baud}
        for name, value in numbers.items():
            if not 1 <= operator.index(value) < 1 << 32:
                raise ValueError(f"{name} must be 1 to 2**32 - 1, not {value!r}")
        if not 0 <= operator.index(memory_timing) < 1 << 32:
            raise ValueError(f"memory_timing must be 0 to 2**32 - 1, not {memory_timing!r}")
        words = registers.digest_words(digest)
        self._fixed = {
            "magic": registers.MAGIC,
            "version": registers.VERSION,
            **{f"digest{i}": words[i] for i in range(DIGEST_WORDS)},
            **numbers,
            "memory_timing": memory_timing,
        }
        super().__init__(
            {
                "bus": In(word_bus()),
                "errors": In(len(LINK_ERRORS)),
                "reset": Out(1),
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        request, response = self.bus.request, self.bus.response
        asked, taken = request.payload, Signal()
        noted, left = Signal(len(LINK_ERRORS)), Signal(range(RESET_CYCLES + 1))
        m.d.comb += [
            request.ready.eq(~self.reset),
            taken.eq(request.valid & request.ready),
            self.reset.eq(left != 0),
        ]
        self._read(m, noted)

        def hit(name: str):
            return taken & asked.write & (asked.address == BY_NAME[name].offset // 4)

        m.d.sync += noted.eq(Mux(hit("link_errors"), 0, noted) | self.errors)
        resets = hit("reset") & asked.data[registers.RESET_START]
        with m.If(resets):
            m.d.sync += left.eq(RESET_CYCLES)
        with m.Elif(self.reset):
            m.d.sync += left.eq(left - 1)
        m.d.sync += response.valid.eq((taken & ~resets) | (left == 1))
        return m

    def _read(self, m: Module, noted: Signal) -> None:
        """What an address shows."""
        asked, shown = self.bus.request.payload, self.bus.response.payload
        readable = [register for register in REGISTERS if register.access is not Access.WO]
        low, number = ceil_log2(len(readable)), asked.address[: registers.ADDRESS_WIDTH - 2]
        # Constants are a table of what the lowest bits of the address alone say.
        fixed = Signal(32)
        with m.Switch(asked.address[:low]):
            for register in readable:
                with m.Case(register.offset // 4):
                    m.d.comb += fixed.eq(self._fixed.get(register.name, 0))
        m.d.comb += shown.data.eq(fixed | Mux(number == BY_NAME["link_errors"].offset // 4, noted, 0))
        with m.Switch(number):
            for register in REGISTERS:
                with m.Case(register.offset // 4):
                    allowed = (
                        ~asked.write
                        if register.access is Access.RO
                        else asked.write | (register.access is Access.RW)
                    )
                    m.d.comb += shown.unmapped.eq(~allowed)
            with m.Default():
                m.d.comb += shown.unmapped.eq(1)
        with m.If(asked.address[len(number) :].any()):
            m.d.comb += shown.unmapped.eq(1)
