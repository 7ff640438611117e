"""The board's own registers, from the table in ``fpga.soc.registers``."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from fpga.soc import registers
from fpga.soc.bus import WORD_ADDRESS, word_bus
from fpga.soc.registers import BY_NAME, DIGEST_WORDS, LINK_ERRORS, REGISTERS
from hw.control.registers import Access

RESET_CYCLES = 16
"""Cycles that a reset lasts."""


class BoardRegisters(wiring.Component):
    """Says what the board is, keeps what went wrong, commands checksum and reset.

    Parameters
    ----------
    digest : str
        Of the configuration: 64 hexadecimal digits.
    clock_hz, memory_bytes, baud : int
        What the registers of these names show.

    Members
    -------
    bus : In(``word_bus``), addresses of words
    errors : In, a bit for each of ``LINK_ERRORS``; one cycle each time
    crc_start, crc_stop : Out(1), one cycle
    crc_address, crc_length : Out, in words
    crc_busy, crc_value : In
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

    def __init__(self, *, digest: str, clock_hz: int, memory_bytes: int, baud: int) -> None:
        numbers = {"clock_hz": clock_hz, "memory_bytes": memory_bytes, "baud": baud}
        for name, value in numbers.items():
            if not 1 <= operator.index(value) < 1 << 32:
                raise ValueError(f"{name} must be 1 to 2**32 - 1, not {value!r}")
        words = registers.digest_words(digest)
        self._fixed = {
            "magic": registers.MAGIC,
            "version": registers.VERSION,
            **{f"digest{i}": words[i] for i in range(DIGEST_WORDS)},
            **numbers,
        }
        super().__init__(
            {
                "bus": In(word_bus()),
                "errors": In(len(LINK_ERRORS)),
                "crc_start": Out(1),
                "crc_stop": Out(1),
                "crc_address": Out(WORD_ADDRESS),
                "crc_length": Out(WORD_ADDRESS),
                "crc_busy": In(1),
                "crc_value": In(32),
                "reset": Out(1),
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        request, response = self.bus.request, self.bus.response
        asked, taken, writes = request.payload, Signal(), Signal()
        noted, left = Signal(len(LINK_ERRORS)), Signal(range(RESET_CYCLES + 1))
        m.d.comb += [
            request.ready.eq(~response.valid & ~self.reset),
            taken.eq(request.valid & request.ready),
            writes.eq(taken & asked.write),
            self.reset.eq(left != 0),
        ]
        shown = self._fixed | {
            "link_errors": noted,
            "crc_address": self.crc_address << 2,
            "crc_length": self.crc_length << 2,
            "crc_status": self.crc_busy,
            "crc_value": self.crc_value,
        }
        with m.If(taken):
            m.d.sync += [response.payload.data.eq(0), response.payload.unmapped.eq(1)]
            with m.Switch(asked.address):
                for register in REGISTERS:
                    with m.Case(register.offset // 4):
                        m.d.sync += response.payload.unmapped.eq(asked.write & (register.access is Access.RO))
                        with m.If(~asked.write):
                            m.d.sync += response.payload.data.eq(shown.get(register.name, 0))

        def hit(name: str):
            return writes & (asked.address == BY_NAME[name].offset // 4)

        m.d.sync += [
            noted.eq(noted | self.errors),
            self.crc_start.eq(hit("crc_control") & asked.data[registers.CRC_START]),
            self.crc_stop.eq(hit("crc_control") & ~asked.data[registers.CRC_START]),
        ]
        with m.If(hit("link_errors")):
            m.d.sync += noted.eq(self.errors)
        for name in ("crc_address", "crc_length"):
            with m.If(hit(name)):
                m.d.sync += getattr(self, name).eq(asked.data[2:])
        resets = hit("reset") & asked.data[registers.RESET_START]
        with m.If(resets):
            m.d.sync += left.eq(RESET_CYCLES)
        with m.Elif(self.reset):
            m.d.sync += left.eq(left - 1)
        with m.If((taken & ~resets) | (left == 1)):
            m.d.sync += response.valid.eq(1)
        with m.Elif(response.ready):
            m.d.sync += response.valid.eq(0)
        return m
