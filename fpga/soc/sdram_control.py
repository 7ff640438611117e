"""The controller of an SDRAM: initialisation, refresh, rows, a column in every cycle."""

from __future__ import annotations

import enum

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from fpga.soc.sdram_part import BANK_BITS, WORD_BYTES, SdramCycles, SdramPart
from fpga.soc.sdram_pins import pins_signature

START_REFRESHES = 8
"""Refreshes before the mode register is set."""


class Command(enum.IntEnum):
    """RAS, CAS and WE, from the lowest bit on; registers that nothing has reset yet give none."""

    NONE = 0b000
    ACTIVATE = 0b001
    READ = 0b010
    REFRESH = 0b011
    PRECHARGE = 0b101
    WRITE = 0b110
    MODE = 0b111


def beats_signature(part: SdramPart) -> wiring.Signature:
    """What the controller is asked for, seen from who asks.

    Members
    -------
    valid : Out(1), write : Out(1), address : Out
        A beat can be read or written, from that word on; a beat is some words that lie in one row.
    take : In(1)
        This cycle the three are looked at; they are valid.
    step : In(1)
        This cycle a word is done; of those that are written, ``data`` and ``mask`` (Out; 1: byte stays as it is) are taken.
    boundary, more : Out(1)
        That word is the last of a beat; another beat follows it and can be done as well.
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "write": Out(1),
            "address": Out(part.column_bits + BANK_BITS + part.row_bits),
            "take": In(1),
            "step": In(1),
            "boundary": Out(1),
            "more": Out(1),
            "data": Out(8 * WORD_BYTES),
            "mask": Out(WORD_BYTES),
        }
    )


def _time(most: int) -> Signal:
    """A time of up to ``most`` cycles, as ones that are shifted out: its lowest bit says that it lasts."""
    return Signal(max(1, most - 1))


def _cycles(number: int) -> int:
    """What to put there for so many cycles, this one included."""
    return (1 << number - 1) - 1


class SdramControl(wiring.Component):
    """Reads and writes words of 16 bits, one after the other in a row.

    Parameters
    ----------
    part : SdramPart
    cycles : SdramCycles
        Of that.

    Members
    -------
    pins : Out(``pins_signature``)
        All outputs are registers. ``dq_i`` is not looked at here.
    restart : In(1)
        Nothing is valid, and what was taken is not done; refreshes go on.
    beats : In(``beats_signature``)

    Timing
    ------
    A word a cycle within a row. Its command is on the pins in the cycle after ``step``. Between a beat without ``more`` and the
    next lie 2 cycles where its row is open, and ``rp`` and ``rcd`` more where another one is; ``cas`` + 2 from a read to a
    write. Refreshes go before all else, at the end of a beat. A reset begins with a wait of ``power_up`` cycles.
    """

    def __init__(self, *, part: SdramPart, cycles: SdramCycles) -> None:
        self._part, self._cycles = part, cycles
        self._command = Signal(Command)
        self._pause = _time(max(cycles.as_dict()[name] for name in ("rcd", "rrd", "rp", "rfc", "mrd")))
        # A bank opened again after the shortest time must not come too soon after its last row either.
        self._row_cycles = max(cycles.ras, cycles.rc - cycles.rp)
        self._row_time, self._write_time = _time(self._row_cycles), _time(cycles.wr)
        self._read_time = _time(cycles.cas + 2)
        self._open, self._due, self._dropped = Signal(1 << BANK_BITS), Signal(), Signal()
        self._column, self._bank = Signal(part.column_bits), Signal(BANK_BITS)
        self._writing = Signal()
        super().__init__(
            {"pins": Out(pins_signature(part)), "restart": In(1), "beats": In(beats_signature(part))}
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        pins = self.pins
        m.d.comb += [
            pins.cke.eq(1),
            pins.cs_n.eq(0),
            Cat(pins.ras_n, pins.cas_n, pins.we_n).eq(~self._command),
        ]
        for time in (self._pause, self._row_time, self._write_time, self._read_time):
            m.d.sync += time.eq(time >> 1)
        m.d.sync += [self._command.eq(Command.NONE), pins.dq_oe.eq(0), pins.dqm.eq(0)]
        left = Signal(range(self._cycles.interval), init=self._cycles.interval - 1)
        m.d.sync += left.eq(Mux(left.any(), left - 1, self._cycles.interval - 1))
        with m.If(~left.any()):
            m.d.sync += self._due.eq(1)
        with m.If(self.restart):
            m.d.sync += self._dropped.eq(1)
        with m.Elif(self.beats.take):
            m.d.sync += self._dropped.eq(0)
        with m.FSM():
            self._start(m)
            self._refresh(m)
            self._rows(m)
            self._columns(m)
        return m

    def _give(self, m: Module, command: Command, pause: int) -> None:
        """A command, and the cycles until the next one that waits for ``_pause``."""
        m.d.sync += [self._command.eq(command), self._pause.eq(_cycles(pause))]

    def _start(self, m: Module) -> None:
        passed = Signal(range(self._cycles.power_up + 1))
        with m.State("START"):
            m.d.sync += [self.pins.dqm.eq(0b11), passed.eq(passed + 1)]
            with m.If(passed == self._cycles.power_up):
                m.next = "CLOSE"

    def _refresh(self, m: Module) -> None:
        """Close all rows, refresh; after a reset more than once, and set the mode register: single words, the CAS latency."""
        cycles, pins = self._cycles, self.pins
        times, ready = Signal(range(START_REFRESHES), init=START_REFRESHES - 1), Signal()
        with m.State("CLOSE"):
            with m.If(~(self._pause[0] | self._row_time[0] | self._write_time[0])):
                self._give(m, Command.PRECHARGE, cycles.rp)
                m.d.sync += [pins.a.eq(1 << 10), self._open.eq(0)]
                m.next = "REFRESH"
        with m.State("REFRESH"):
            with m.If(~self._pause[0]):
                self._give(m, Command.REFRESH, cycles.rfc)
                m.d.sync += times.eq(times - times.any())
                with m.If(~times.any()):
                    m.d.sync += [self._due.eq(0), ready.eq(1)]
                    m.next = "MODE"
                    with m.If(ready):
                        m.next = "SELECT"
        with m.State("MODE"):
            with m.If(~self._pause[0]):
                self._give(m, Command.MODE, cycles.mrd)
                m.d.sync += [pins.a.eq(cycles.cas << 4), pins.ba.eq(0)]
                m.next = "SELECT"

    def _rows(self, m: Module) -> None:
        cycles, pins = self._cycles, self.pins
        rows = Array(Signal(self._part.row_bits, name=f"row{i}") for i in range(1 << BANK_BITS))
        row = Signal(self._part.row_bits)
        with m.State("SELECT"):
            m.d.sync += [
                Cat(self._column, self._bank, row).eq(self.beats.address),
                self._writing.eq(self.beats.write),
            ]
            with m.If(self._due):
                m.next = "CLOSE"
            with m.Elif(self.beats.valid & ~self.restart):
                m.d.comb += self.beats.take.eq(1)
                m.next = "ROW"
        with m.State("ROW"):
            m.next = "ACTIVATE"
            with m.If(self._open.bit_select(self._bank, 1)):
                m.next = "PRECHARGE"
                with m.If(rows[self._bank] == row):
                    m.next = "COLUMN"
        with m.State("PRECHARGE"):
            with m.If(~(self._pause[0] | self._row_time[0] | self._write_time[0])):
                self._give(m, Command.PRECHARGE, cycles.rp)
                m.d.sync += [pins.a.eq(0), pins.ba.eq(self._bank)]
                m.next = "ACTIVATE"
        with m.State("ACTIVATE"):
            with m.If(~self._pause[0]):
                self._give(m, Command.ACTIVATE, max(cycles.rcd, cycles.rrd))
                m.d.sync += [
                    pins.a.eq(row),
                    pins.ba.eq(self._bank),
                    rows[self._bank].eq(row),
                    self._open.bit_select(self._bank, 1).eq(1),
                    self._row_time.eq(_cycles(self._row_cycles)),
                ]
                m.next = "COLUMN"

    def _columns(self, m: Module) -> None:
        cycles, pins = self._cycles, self.pins
        with m.State("COLUMN"):
            stop = self._dropped | self.restart
            m.d.comb += self.beats.step.eq(~self._pause[0] & ~(self._writing & self._read_time[0]) & ~stop)
            with m.If(stop):
                m.next = "SELECT"
            with m.If(self.beats.step):
                m.d.sync += [
                    pins.a.eq(Cat(self._column, Const(0, 11 - self._part.column_bits))),
                    pins.ba.eq(self._bank),
                    self._column.eq(self._column + 1),
                ]
                with m.If(self._writing):
                    m.d.sync += [
                        self._command.eq(Command.WRITE),
                        pins.dq_o.eq(self.beats.data),
                        pins.dq_oe.eq(1),
                        pins.dqm.eq(self.beats.mask),
                        self._write_time.eq(_cycles(cycles.wr)),
                    ]
                with m.Else():
                    m.d.sync += [self._command.eq(Command.READ), self._read_time.eq(_cycles(cycles.cas + 2))]
                with m.If(self.beats.boundary & (~self.beats.more | self._due | self._column.all())):
                    m.next = "SELECT"
