"""STORE's results, one at a time: read, requantised, byte by byte."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.control.isa import OutputMode
from hw.design import Design
from hw.in_order.parameters import ENTRY_WORDS
from hw.in_order.places import past
from hw.in_order.requantise import BIAS_STEP, FIRST_STEP, LAST_STEP, SHIFT_STEP, STEPS, LimbRequantise
from hw.interfaces import store_command

RAW_STEPS = range(FIRST_STEP, FIRST_STEP + 4)
"""Steps that take the bytes of a result that is written as it is."""


class ResultReader(wiring.Component):
    """The results of a row, as bytes.

    Parameters
    ----------
    design : Design

    Members
    -------
    begin : a row begins in two cycles, or later
    run : results may be read; when it falls, all is forgotten
    command : ``store_command``, constant while ``run``
    past : the accumulators' row is past the end
    next_tile : go to the next row of accumulators
    accumulators : the row, ``hw.timing.LEAN_ACCUMULATOR_READ`` cycles after its address
    parameter, word : address of a parameter word, and what stood there a cycle later
    valid, byte, end, ready : a byte, the last one of its row; taken when ``ready``
    over : all results of the row have been taken
    fault : there is a result with an accumulator or parameters past the end

    Timing
    ------
    The first step is made in the first cycle of ``run``. A result's steps are one a cycle. Requantised, ``FIRST_STEP`` is
    repeated until the result before is taken; the byte is there ``hw.timing.MOVER_REQUANTISE`` cycles after the last of them. As
    they are, each of ``RAW_STEPS`` gives a byte and is repeated until it is taken; then comes the next result.
    """

    def __init__(self, *, design: Design) -> None:
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        super().__init__(
            {
                "begin": In(1),
                "run": In(1),
                "command": In(store_command(design)),
                "past": In(1),
                "next_tile": Out(1),
                "accumulators": In(data.ArrayLayout(32, design.geometry.banks)),
                "parameter": Out(ceil_log2(ENTRY_WORDS * design.parameter_entries)),
                "word": In(32),
                "valid": Out(1),
                "byte": Out(8),
                "end": Out(1),
                "ready": In(1),
                "over": Out(1),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        command, banks, entries = self.command, self._design.geometry.banks, self._design.parameter_entries
        m.submodules.requantise = requantise = LimbRequantise()
        step = Signal(STEPS, init=1)
        column, bank = Signal(len(command.columns)), Signal(range(banks))
        raw, none_left, outside = Signal(), Signal(), Signal()
        taken, waits, ends, moves = Signal(), Signal(), Signal(), Signal()
        entry = Signal(max(len(command.parameters_address), len(column)) + 1)
        chosen = self.accumulators[bank] if banks > 1 else self.accumulators[0]
        m.d.comb += [
            raw.eq(command.variant == OutputMode.RAW),
            requantise.accumulator.eq(chosen),
            requantise.step.eq(step),
            requantise.word.eq(self.word),
            entry.eq(command.parameters_address + column),
            # The word of the step that follows: shift, bias, and from then on the multiplier.
            self.parameter[2:].eq(entry),
            self.parameter[:2].eq(Cat(~step[SHIFT_STEP - 1] & ~step[BIAS_STEP - 1], step[SHIFT_STEP - 1])),
            self.fault.eq(step[1] & outside),
            self.next_tile.eq(ends & (bank == banks - 1)),
            taken.eq(self.valid & self.ready),
            ends.eq(step[-1] | raw & step[RAW_STEPS.stop - 1] & taken),
            moves.eq(~waits & ~(step[0] & none_left)),
        ]
        # Each decision about the next result is a register: the last step makes room for that.
        m.d.sync += [
            none_left.eq(column == command.columns),
            outside.eq(self.past | ~raw & past(entry, entries)),
        ]
        # Behind the steps of a result that is written as it is comes the first one again.
        further = Cat(step[: RAW_STEPS.stop - 1], step[RAW_STEPS.stop - 1] & ~raw, step[RAW_STEPS.stop : -1])
        with m.If(~self.run):
            m.d.sync += step.eq(1)
        with m.Elif(moves):
            m.d.sync += step.eq(Cat(ends, further))
        with m.If(self.begin):
            m.d.sync += [column.eq(0), bank.eq(0)]
        with m.Else():
            m.d.sync += column.eq(column + Mux(raw, step[RAW_STEPS.start - 1], step[LAST_STEP]))
            with m.If(ends):
                m.d.sync += bank.eq(Mux(bank == banks - 1, 0, bank + 1))
        self._bytes(m, step, chosen, requantise, raw=raw, none_left=none_left, taken=taken, waits=waits)
        return m

    def _bytes(self, m, step, chosen, requantise, *, raw, none_left, taken, waits):
        """What is put out, and what waits until it is taken."""
        # ``held``: there is a result on its way from its first limb on, until it is taken.
        held, there, bytes_of_raw = Signal(), Signal(), Signal()
        steps = [step[i] for i in RAW_STEPS]
        m.d.comb += [
            bytes_of_raw.eq(raw & Cat(steps).any()),
            self.valid.eq(bytes_of_raw | there | requantise.ready),
            self.end.eq(none_left & (~raw | steps[-1])),
            self.over.eq(step[0] & none_left & ~held & self.ready),
            self.byte.eq(
                Mux(
                    raw,
                    chosen.word_select(Cat(steps[1] | steps[3], steps[2] | steps[3]), 8),
                    requantise.result,
                )
            ),
            waits.eq(Mux(raw, bytes_of_raw, step[FIRST_STEP] & held) & ~taken),
        ]
        with m.If(self.begin):
            m.d.sync += [held.eq(0), there.eq(0)]
        with m.Else():
            m.d.sync += [
                held.eq((held & ~taken) | ~raw & step[FIRST_STEP]),
                there.eq((there | requantise.ready) & ~taken),
            ]
