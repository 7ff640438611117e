"""The order in which STORE reads results, and where their bytes fall in bus beats."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.control.isa import OutputMode
from hw.design import Design
from hw.interfaces import store_command
from hw.output.pack import place_layout
from hw.timing import STORE_FIFO, STORE_START


def parameter_groups(design: Design) -> int:
    """Words of the parameter scratchpad: ``output_lanes`` entries each."""
    return design.parameter_entries // design.output_lanes


def step_layout(design: Design) -> data.StructLayout:
    """A step: a group of ``output_lanes`` adjacent results, the ``slot``-th of its column tile."""
    return data.StructLayout(
        {
            "slot": ceil_log2(design.geometry.columns // design.output_lanes),
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
    next : go on to the next row
    first : byte of the beat at which the row begins
    first_end : end of the row's first group, as in ``place_layout``
    end : end of the row's last group
    tail : the last group lies across two beats: the second one needs a step of its own
    groups : groups in a row, its last one included
    step_bytes : bytes of a whole group

    Timing
    ------
    Row 0 is at the outputs 3 cycles after ``start`` when ``next`` is high in the two cycles in between; after that
    every row is there the cycle after ``next``.
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
                "groups": Out(17),
                "step_bytes": Out(bits + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        command, lanes = self.command, self._design.output_lanes
        bits = len(self.first)
        raw = command.variant == OutputMode.RAW
        final = Mux(raw, (command.columns - 1) % lanes * 4 + 4, (command.columns - 1) % lanes + 1)

        row_bytes, last_bytes, single = Signal(bits), Signal(bits + 1), Signal()
        far, middle, middle_end = Signal(bits), Signal(bits), Signal(bits)
        with m.If(self.start):
            m.d.sync += [
                row_bytes.eq(Mux(raw, command.columns << 2, command.columns)),
                last_bytes.eq(final),
                self.groups.eq((command.columns + (lanes - 1)) >> exact_log2(lanes)),
                single.eq(command.columns <= lanes),
                self.step_bytes.eq(Mux(raw, 4 * lanes, lanes)),
                far.eq(command.memory_address),
            ]
        with m.Elif(self.next):
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
                self.first_end.eq(Mux(single, end, middle + self.step_bytes)),
                self.end.eq(end),
                self.tail.eq(tail),
            ]
        return m


class GroupWalker(wiring.Component):
    """Steps through the results of a command: for each row the groups of all column tiles, one per cycle.

    A step that completes a bus beat waits while ``STORE_FIFO`` beats are inside the beat FIFO or on their way to it; so what
    follows never has to be stalled. A row whose last group lies across two beats has one more step, without results.

    Parameters
    ----------
    design : Design

    Members
    -------
    start : take a new command
    command : ``store_command``, constant from ``start`` on
    run : steps may be taken
    popped : a beat has left the FIFO
    step : ``step_layout``; ``step.place.valid`` and ``.emit`` are low in a cycle in which no step is taken
    going : a step is taken
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
                "going": Out(1),
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
        first, end = Signal(bits), Signal(bits + 1)
        last, penultimate, tail = Signal(), Signal(), Signal()
        row_tail, row_end = Signal(), Signal(bits + 1)
        groups, rows_left, last_row = Signal(17), Signal(16), Signal()

        go, new_row, new_group = Signal(), Signal(), Signal()
        setup = Signal(STORE_START - 2)
        load = setup[-1]
        m.d.sync += setup.eq(Cat(self.start, setup))
        m.d.comb += [
            go.eq(valid & self.run & ~(emit & self._full(m, go & emit))),
            new_row.eq(load | go & (last & ~row_tail | tail)),
            new_group.eq(go & ~last & ~tail),
            rows.start.eq(self.start),
            rows.command.eq(self.command),
            rows.next.eq(setup.any() | new_row),
        ]

        following = Cat(end[:-1], 0)
        with m.If(self.start):
            m.d.sync += [valid.eq(0), rows_left.eq(self.command.rows)]
        with m.Elif(new_row):
            m.d.sync += [
                valid.eq(load | ~last_row),
                rows_left.eq(rows_left - 1),
                last_row.eq(rows_left == 1),
                first.eq(rows.first),
                end.eq(rows.first_end),
                row_end.eq(rows.end),
                row_tail.eq(rows.tail),
                groups.eq(rows.groups),
                last.eq(rows.groups == 1),
                penultimate.eq(rows.groups == 2),
                emit.eq(rows.first_end[-1] | (rows.groups == 1)),
                results.eq(1),
                tail.eq(0),
            ]
        with m.Elif(new_group):
            stop = Signal(bits + 1)
            m.d.comb += stop.eq(following + rows.step_bytes)
            m.d.sync += [
                groups.eq(groups - 1),
                last.eq(penultimate),
                penultimate.eq(groups == 3),
                first.eq(following),
                end.eq(Mux(penultimate, row_end, stop)),
                emit.eq(penultimate | stop[-1]),
            ]
        with m.Elif(go):
            m.d.sync += [last.eq(0), tail.eq(1), results.eq(0), emit.eq(1)]

        with m.If(~self.run):
            m.d.sync += valid.eq(0)  # a command that was given up reads nothing any more

        m.d.comb += [
            self.step.place.valid.eq(go & results),
            self.step.place.emit.eq(go & emit),
            self.step.place.first.eq(first),
            self.step.place.end.eq(end),
            self.going.eq(go),
            self.active.eq(valid),
        ]
        self._addresses(m, new_row, new_group, go)
        return m

    def _full(self, m, issued):
        """Beats in the FIFO and on their way to it have reached its size."""
        used = Signal(range(STORE_FIFO + 1))
        with m.If(self.start):
            m.d.sync += used.eq(0)
        with m.Else():
            m.d.sync += used.eq(used + issued - self.popped)
        return used[-1]

    def _addresses(self, m, new_row, new_group, go):
        """Accumulator row, parameter group and column of the step; a check of the first two behind them."""
        design, command = self._design, self.command
        slots = design.geometry.columns // design.output_lanes
        lane_bits = exact_log2(design.output_lanes)

        # One more bit than an address or a stride has: the first address past the end is always seen as such.
        address = Signal(max(len(self.accumulators_address), 16) + 1)
        next_row = Signal.like(address)
        parameter = Signal(len(self.parameters_address) + 1)
        slot = Signal(range(slots))
        with m.If(self.start):
            m.d.sync += next_row.eq(command.accumulators_address)
        with m.Elif(new_row):
            m.d.sync += [
                next_row.eq(next_row + 1),
                address.eq(next_row),
                parameter.eq(command.parameters_address >> lane_bits),
                slot.eq(0),
            ]
        with m.Elif(new_group):
            m.d.sync += [parameter.eq(parameter + 1), slot.eq(slot + 1)]
            with m.If(slot == slots - 1):
                m.d.sync += [address.eq(address + command.accumulators_stride), slot.eq(0)]

        read, read_address, read_parameter = Signal(), Signal.like(address), Signal.like(parameter)
        requantised = command.variant == OutputMode.REQUANTISED
        misplaced = command.parameters_address[:lane_bits].any()
        m.d.sync += [
            read.eq(go),
            read_address.eq(address),
            read_parameter.eq(parameter),
            self.fault.eq(
                read
                & (
                    (read_address >= design.accumulator_rows)
                    | requantised & (misplaced | (read_parameter >= parameter_groups(design)))
                )
            ),
        ]
        m.d.comb += [
            self.step.slot.eq(slot),
            self.accumulators_address.eq(address),
            self.parameters_address.eq(parameter),
        ]
