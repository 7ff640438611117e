"""The order in which STORE reads results, and where their bytes fall in bus beats."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.control.isa import OutputMode
from hw.delay import without_reset
from hw.design import Design
from hw.interfaces import store_command
from hw.output.pack import place_layout
from hw.timing import STORE_FIFO, STORE_START


def parameter_groups(design: Design) -> int:
    """Words of the parameter scratchpad: ``output_lanes`` entries each."""
    return design.parameter_entries // design.output_lanes


def _times(value: ValueLike, size: int) -> Value:
    """``value`` times a power of two."""
    return value if size == 1 else value << exact_log2(size)


def row_bytes_of(design: Design, command: data.View) -> Value:
    """Bytes of a row that a ``store_command`` writes."""
    narrow = design.geometry.result_bytes(OutputMode.REQUANTISED)
    return Mux(command.variant == OutputMode.RAW, command.columns << 2, _times(command.columns, narrow))


def step_layout(design: Design) -> data.StructLayout:
    """A step: a group of ``output_lanes`` adjacent results, the ``slot``-th of its row of accumulators."""
    return data.StructLayout(
        {
            "slot": ceil_log2(design.geometry.banks // design.output_lanes),
            "place": place_layout(design),
        }
    )


class RowPlaces(wiring.Component):
    """Looks ahead where each row begins and ends within bus beats, so that rows follow one another without a pause.

    Parameters
    ----------
    design : Design

    Members
    -------
    start : take a new command
    command : ``store_command``, constant from ``start`` on
    next : the row at the outputs has been taken: go on to the next one
    first : byte of the beat at which the row begins
    first_end : end of the row's first group, as in ``place_layout``
    end : end of the row's last group
    tail : the last group lies across two beats: the second one needs a step of its own
    single, pair : a row has one group, two groups
    behind : groups in a row - 4
    step_bytes : bytes of a whole group

    Timing
    ------
    Row 0 is at the outputs 3 cycles after ``start``, every other row 2 cycles after ``next``, which may be high in every
    other cycle.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        bits = exact_log2(design.data_bytes)
        super().__init__(
            {
                "start": In(1),
                "command": In(store_command(design)),
                "next": In(1),
                "first": Out(bits),
                "first_end": Out(bits + 1),
                "end": Out(bits + 1),
                "tail": Out(1),
                "single": Out(1),
                "pair": Out(1),
                "behind": Out(signed(17)),
                "step_bytes": Out(bits + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        command, lanes = self.command, self._design.output_lanes
        bits = len(self.first)
        raw = command.variant == OutputMode.RAW
        narrow = self._design.geometry.result_bytes(OutputMode.REQUANTISED)
        final = Mux(
            raw, (command.columns - 1) % lanes * 4 + 4, _times((command.columns - 1) % lanes, narrow) + narrow
        )

        row_bytes, last_bytes = Signal(bits, reset_less=True), Signal(bits + 1, reset_less=True)
        far, middle, middle_end = (Signal(bits, reset_less=True) for _ in range(3))
        behind, step_bytes = without_reset(m, self.behind), without_reset(m, self.step_bytes)
        advance = Signal(2)
        m.d.sync += advance.eq(Mux(self.start, 0b11, advance >> 1 | self.next))
        with m.If(self.start):
            m.d.sync += [
                row_bytes.eq(row_bytes_of(self._design, command)),
                last_bytes.eq(final),
                self.single.eq(command.columns <= lanes),
                self.pair.eq((command.columns > lanes) & (command.columns <= 2 * lanes)),
                behind.eq((command.columns - (3 * lanes + 1)) >> exact_log2(lanes)),
                step_bytes.eq(Mux(raw, 4 * lanes, narrow * lanes)),
                far.eq(command.memory_address),
            ]
        with m.Elif(advance[0]):
            m.d.sync += [
                far.eq(far + command.memory_stride[:bits]),
                middle.eq(far),
                middle_end.eq(far + row_bytes),
            ]
            # A group that ends in byte e > 0 of the second beat began in the first if it has more than e bytes.
            tail = (middle_end != 0) & (middle_end < last_bytes)
            end = Cat(middle_end, tail | (middle_end == 0))
            m.d.sync += [
                self.first.eq(middle),
                self.first_end.eq(Mux(self.single, end, middle + self.step_bytes)),
                self.end.eq(end),
                self.tail.eq(tail),
            ]
        return m


class GroupWalker(wiring.Component):
    """Steps through the results of a command: for each row all groups, one per cycle.

    A step that completes a bus beat waits while ``STORE_FIFO`` beats are inside the beat FIFO or on their way to it; so what
    follows never has to be stalled. A row whose last group lies across two beats has one more step, without results. So has a
    row of a single group: every row has two steps at least, and what a row begins with is worked out while the one before runs.

    Parameters
    ----------
    design : Design

    Members
    -------
    start : take a new command
    command : ``store_command``, constant from ``start`` on
    run : steps may be taken
    popped : a beat has left the FIFO in the cycle before
    step : ``step_layout``; ``step.place.valid`` and ``.emit`` are low in a cycle in which no step is taken
    active : the command's results are being read
    accumulators_address : row of the accumulators
    parameters_address : group of parameter entries
    fault : an address was past the end

    Timing
    ------
    The first step is taken ``STORE_START - 1`` cycles after ``start``. ``fault`` comes 2 cycles after the step.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        super().__init__(
            {
                "start": In(1),
                "command": In(store_command(design)),
                "run": In(1),
                "popped": In(1),
                "step": Out(step_layout(design)),
                "active": Out(1),
                "accumulators_address": Out(ceil_log2(design.accumulator_rows)),
                "parameters_address": Out(max(1, ceil_log2(parameter_groups(design)))),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rows = rows = RowPlaces(design=self._design)
        bits = len(rows.first)

        valid, emit, results = Signal(), Signal(), Signal()
        first, end = Signal(bits, reset_less=True), Signal(bits + 1, reset_less=True)
        last, penultimate, row_end = Signal(), Signal(), Signal(bits + 1, reset_less=True)
        # The step ends its row; the row has a step behind its last group, with which a beat is complete.
        ends, more, more_emit = Signal(), Signal(), Signal()
        behind, rows_behind = Signal(signed(17), reset_less=True), Signal(signed(17), reset_less=True)

        # The command begins with the end of a row that does not exist, so that also its first row follows another one.
        setup = Signal(STORE_START - 3)
        go, new_row, new_row_before = Signal(), Signal(), Signal()
        m.d.comb += [
            go.eq(valid & ~(emit & self._full(m, go & emit))),
            new_row.eq(go & ends),
            rows.start.eq(self.start),
            rows.command.eq(self.command),
            rows.next.eq(new_row),
        ]
        m.d.sync += [setup.eq(Cat(self.start, setup)), new_row_before.eq(new_row)]

        following = Cat(end[:-1], 0)
        stop = Signal(bits + 1)
        m.d.comb += stop.eq(following + rows.step_bytes)
        with m.If(go):
            m.d.sync += [
                last.eq(Mux(ends, rows.single, penultimate)),
                penultimate.eq(Mux(ends, rows.pair, behind[-1] & ~penultimate & ~last)),
                behind.eq(Mux(ends, rows.behind, behind - 1)),
                first.eq(Mux(ends, rows.first, following)),
                end.eq(Mux(ends, rows.first_end, Mux(penultimate, row_end, stop))),
            ]
            with m.If(ends):
                m.d.sync += [
                    valid.eq(~rows_behind[-1]),
                    self.active.eq(~rows_behind[-1]),
                    row_end.eq(rows.end),
                    more.eq(rows.tail | rows.single),
                    more_emit.eq(rows.tail),
                    emit.eq(rows.first_end[-1] | rows.single),
                    results.eq(1),
                    ends.eq(0),
                ]
            with m.Elif(last):
                m.d.sync += [results.eq(0), emit.eq(more_emit), ends.eq(1)]
            with m.Else():
                m.d.sync += [emit.eq(penultimate | stop[-1]), ends.eq(penultimate & ~more)]
        with m.If(self.start):
            m.d.sync += rows_behind.eq(self.command.rows - 1)
        with m.Elif(new_row_before):
            m.d.sync += rows_behind.eq(rows_behind - 1)
        with m.If(setup[-1]):
            m.d.sync += [valid.eq(1), emit.eq(0), results.eq(0), ends.eq(1)]
        with m.If(~self.run):
            m.d.sync += [valid.eq(0), self.active.eq(0)]  # a command that was given up reads nothing any more

        m.d.comb += [
            self.step.place.valid.eq(go & results),
            self.step.place.emit.eq(go & emit),
            self.step.place.first.eq(first),
            self.step.place.end.eq(end),
        ]
        self._addresses(m, go, new_row_before, ends=ends, following_last=Mux(ends, rows.single, penultimate))
        return m

    def _full(self, m, issued):
        """Beats in the FIFO and on their way to it have reached its size."""
        used = Signal(range(STORE_FIFO + 1))
        with m.If(self.start):
            m.d.sync += used.eq(0)
        with m.Else():
            # ``issued`` comes late: it goes into the adder as a carry.
            less = self.popped.replicate(len(used))
            m.d.sync += used.eq((Cat(1, used) + Cat(issued, less)) >> 1)
        return used[-1]

    def _addresses(self, m, go, new_row_before, *, ends, following_last):
        """Accumulator row, parameter group and slot of the step; a check of the first two behind them."""
        design, command = self._design, self.command
        slots = design.geometry.banks // design.output_lanes
        lane_bits = exact_log2(design.output_lanes)

        # One more bit than an address or a stride has: the first address past the end is always seen as such.
        address = Signal(max(len(self.accumulators_address), 16) + 1, reset_less=True)
        next_row = Signal.like(address)
        parameter = Signal(len(self.parameters_address) + 1, reset_less=True)
        slot = Signal(range(slots))
        with m.If(self.start):
            m.d.sync += next_row.eq(command.accumulators_address)
        with m.Elif(new_row_before):
            m.d.sync += next_row.eq(next_row + 1)
        # ``wraps``: the step is the last one of its row of accumulators, but not of its row. Behind a row's last group, where
        # nothing is read, only the address of the accumulators has to stay as it is.
        wraps = Signal()
        following_slot = Mux(ends | wraps, 0, slot + 1)[: len(slot)]
        with m.If(go):
            m.d.sync += [
                slot.eq(following_slot),
                wraps.eq((following_slot == slots - 1) & ~following_last),
                parameter.eq(Mux(ends, command.parameters_address >> lane_bits, parameter + 1)),
            ]
        with m.If(go & (ends | wraps)):
            m.d.sync += address.eq(Mux(ends, next_row, address + command.accumulators_stride))

        read, row_past, entry_past = Signal(), Signal(), Signal()
        misplaced = command.parameters_address[:lane_bits].any()
        m.d.sync += [
            read.eq(self.step.place.valid),
            row_past.eq(address >= design.accumulator_rows),
            entry_past.eq(misplaced | (parameter >= parameter_groups(design))),
            self.fault.eq(read & (row_past | (command.variant == OutputMode.REQUANTISED) & entry_past)),
        ]
        m.d.comb += [
            self.step.slot.eq(slot),
            self.accumulators_address.eq(address),
            self.parameters_address.eq(parameter),
        ]
