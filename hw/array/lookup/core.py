"""The table-lookup core: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.utils import exact_log2

from hw.array.lookup.array import LookupMatrix
from hw.array.lookup.bursts import Bursts
from hw.array.lookup.formats import JUDGED
from hw.array.lookup.geometry import LookupArray, Offset
from hw.array.lookup.places import Places, group_layout
from hw.array.lookup.plan import LookupPlanner
from hw.array.lookup.quantised import TAG_BITS
from hw.array.lookup.sequencer import LookupSequencer
from hw.array.lookup.single import SinglePlaces
from hw.array.rows import LATE, Rows
from hw.array.walks import ActivationWalk, WeightWalk
from hw.delay import RingDelay, delayed
from hw.design import Design
from hw.interfaces import core_members
from hw.timing import CORNER_TURN, SCRATCHPAD

RING = 8
"""Bits from which on a delay takes a memory in an array for small parts."""
TO_ROWS = 1 + SCRATCHPAD
"""A lookup's cycle in the sequencer to its activations' word at the rows."""


class LookupCore(wiring.Component):
    """Reads activations first, and the words of weights as much later as it takes to build the tables for them.

    Parameters
    ----------
    design : Design
    array : LookupArray
        Its geometry is the design's.

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    The first group of a command begins, or pauses, ``LOOKUP_SETUP`` cycles after the handshake, or as soon as the command before
    is through; see ``LookupSequencer``. The last result of a command is at ``results`` ``array.result_latency(format)`` cycles
    after its last word's cycle. ``fault`` comes in the cycle before the accumulators' ``finished`` of its command.
    """

    def __init__(self, *, design: Design, array: LookupArray) -> None:
        if design.geometry != array.geometry:
            raise ValueError(f"geometry must be {array.geometry}, not {design.geometry}")
        self._design, self._array = design, array
        super().__init__(core_members(design))

    def elaborate(self, platform):
        m = Module()
        design, array = self._design, self._array
        m.submodules.planner = planner = LookupPlanner(design=design, array=array)
        m.submodules.sequencer = sequencer = LookupSequencer(design=design, array=array)
        rows = None
        if not array.stays:
            lanes = 1 if array.quantised else array.chunk
            m.submodules.rows = rows = Rows(
                rows=array.rows,
                slices=array.word_steps // lanes,
                lanes=lanes,
                width=array.activation_bits,
                skew=(0,) * lanes,
                late=array.single,
            )
        m.submodules.matrix = matrix = LookupMatrix(array=array)
        wiring.connect(m, wiring.flipped(self.command), planner.command)
        wiring.connect(m, planner.plan, sequencer.plan)
        m.d.comb += [
            planner.halt.eq(self.halt),
            sequencer.halt.eq(self.halt),
            self.step.eq(sequencer.step & ~sequencer.total),
            self.busy.eq(planner.busy | sequencer.running),
            matrix.activations.eq(self.activations.data if rows is None else rows.activations),
            matrix.words.eq(self.weights.data[: array.part_bits * array.banks]),
            self.results.data.eq(matrix.results),
            self.results.valid.eq(matrix.valid),
        ]
        if rows is not None:
            m.d.comb += rows.word.eq(self.activations.data)
        bursts = None
        if array.quantised:
            m.submodules.bursts = bursts = Bursts(array=array)
            m.d.comb += [
                bursts.group.eq(sequencer.group),
                bursts.tile.eq(sequencer.first_group),
                bursts.words.eq(sequencer.current.command.depth_tiles - 1),
                bursts.halt.eq(self.halt),
            ]
        past = [
            self._activations(m, sequencer, rows, matrix, bursts),
            self._weights(m, sequencer, matrix.steering, bursts),
        ]
        (self._single if array.small else self._groups)(m, sequencer, past)
        if array.single:
            late = array.banks - 1 + design.geometry.accumulate
            m.d.comb += planner.ended.eq(delayed(m, self.results.last, late))
        return m

    def _later(self, m: Module, name: str, value: Value, cycles: int) -> Value:
        """Some cycles later; where tables are quantised these are many, and a halt forgets what is on its way.

        In an array for small parts many bits take a block RAM, too.
        """
        if not self._array.quantised and (not self._array.small or len(value) < RING):
            return delayed(m, value, cycles)
        m.submodules[name] = ring = RingDelay(width=len(value), cycles=cycles)
        m.d.comb += [ring.i.eq(value), ring.clear.eq(self.halt)]
        return ring.o

    def _activations(
        self,
        m: Module,
        sequencer: LookupSequencer,
        rows: Rows | None,
        matrix: LookupMatrix,
        bursts: Bursts | None,
    ):
        """Reads activations. Returned: past the end."""
        words, current = self._design.activation_words, sequencer.current
        m.submodules.activation_walk = walk = ActivationWalk(
            words=words,
            tile_stride_bits=len(current.tile_stride),
            stride_bits=len(current.command.activations_stride),
            single=self._array.single,
            stays=self._array.stays,
        )
        due, tile = sequencer.word, sequencer.first_chunk & sequencer.first_group
        if bursts is None:
            total = sequencer.total if self._array.halves else current.offset != Offset.NONE
            told = Cat(sequencer.chunk, sequencer.word, sequencer.bank, total, sequencer.first_chunk)
            later = delayed(m, told, TO_ROWS)
            chunk, word = later[0], later[1]
            build = matrix.build
            if rows is None:
                due, tile = delayed(m, due, CORNER_TURN), delayed(m, tile, CORNER_TURN)
            else:
                m.d.comb += [rows.load.eq(word), rows.slice.eq(chunk & ~word)]
            m.d.comb += [
                Cat(build.start, build.bank, build.total, build.first).eq(
                    delayed(m, Cat(chunk, later[2:]), CORNER_TURN)
                ),
            ]
        elif rows is not None:
            due, tile = bursts.word, sequencer.group & sequencer.first_group
            self._bursts(m, sequencer, rows, matrix, bursts)
        m.d.comb += [
            walk.word.eq(due),
            walk.tile.eq(tile),
            walk.fresh.eq(sequencer.fresh),
            walk.again.eq(sequencer.again),
            walk.base.eq(current.command.activations_address),
            walk.stride.eq(current.command.activations_stride),
            walk.tile_stride.eq(current.tile_stride),
            self.activations.address.eq(
                delayed(m, walk.address, LATE * (self._array.single and rows is not None))
            ),
        ]
        left, past = Signal(range(self._array.rows + 1)), Signal()
        m.d.sync += left.eq(Mux(due, self._array.rows, left - (left != 0)))
        m.d.comb += past.eq((left != 0) & (walk.address >= words))
        return past

    def _bursts(
        self, m: Module, sequencer: LookupSequencer, rows: Rows, matrix: LookupMatrix, bursts: Bursts
    ) -> None:
        """Activations of a group at once, and when its tables are read."""
        taken = delayed(m, Cat(bursts.word, bursts.take), TO_ROWS)
        m.d.comb += [
            rows.load.eq(taken[0]),
            rows.slice.eq(taken[1] & ~taken[0]),
            matrix.take.as_value().eq(delayed(m, taken[1:], CORNER_TURN)),
        ]
        read = Cat(
            sequencer.chunk, sequencer.bank, sequencer.current.offset != Offset.NONE, sequencer.first_chunk, bursts.tag
        )  # fmt: skip
        build = matrix.build
        m.d.comb += Cat(build.start, build.bank, build.total, build.first, build.tag).eq(
            self._later(m, "reads", read, TO_ROWS + CORNER_TURN + self._array.wait)
        )

    def _weights(self, m: Module, sequencer: LookupSequencer, steering, bursts: Bursts | None):
        """Reads weights, and tells the array what each word is. Returned: past the end."""
        words, current, array = self._design.weight_words, sequencer.current, self._array
        m.submodules.weight_walk = walk = WeightWalk(words=words)
        late = CORNER_TURN + array.wait + array.build
        tile = Cat(sequencer.group & sequencer.first_group, sequencer.fresh, sequencer.again)
        read, address = delayed(m, sequencer.zero | sequencer.step | sequencer.scale, 1), walk.address
        if array.small:
            tile, read = self._later(m, "tiles", tile, late), self._later(m, "words", read, late)
        else:
            address = self._later(m, "addresses", address, late)
        m.d.comb += [
            Cat(walk.tile, walk.fresh, walk.again).eq(tile),
            walk.read.eq(read),
            walk.base.eq(current.command.weights_address),
            self.weights.address.eq(address),
        ]
        first = sequencer.step & sequencer.first_chunk & (sequencer.plane == 0)
        index, minimum = sequencer.index, Signal()
        if array.minimums:
            index = Signal.like(steering.index)
            m.d.comb += [
                minimum.eq(sequencer.scale & (sequencer.index >= array.scale_words)),
                index.eq(sequencer.index - Mux(minimum, array.scale_words, 0)),
            ]
        now = Cat(
            sequencer.zero, sequencer.step, sequencer.scale & ~minimum, index, sequencer.bank, sequencer.plane, sequencer.place,
            first, current.offset, minimum, *([bursts.tag] if bursts else []),
        )  # fmt: skip
        places = (
            steering.zero, steering.code, steering.scale, steering.index, steering.bank, steering.plane, steering.place,
            steering.first, steering.offset, steering.minimum, *([steering.tag] if bursts else []),
        )  # fmt: skip
        to_array, at = self._later(m, "steering", now, 1 + late + SCRATCHPAD), 0
        widths = (1, 1, 1, len(index), 1, len(sequencer.plane), len(sequencer.place), 1, 2, 1)
        for signal, source in zip(places, (*widths, *([TAG_BITS] if bursts else [])), strict=True):
            m.d.comb += signal.eq(to_array[at : at + source])
            at += source
        m.d.comb += Cat(steering.top, steering.last).eq(
            self._later(m, "ends", Cat(sequencer.top, sequencer.last), late + SCRATCHPAD)
        )
        past = Signal()
        m.d.comb += past.eq(walk.read & (walk.address >= words))
        return past

    def _single(self, m: Module, sequencer: LookupSequencer, past: list[Value]) -> None:
        """The same of one command at a time."""
        array, half_rows = self._array, self._design.accumulator_rows // 2
        current, command = sequencer.current, sequencer.current.command
        m.submodules.places = places = SinglePlaces(array=array, row=exact_log2(half_rows))
        wrong, starts = Signal(), sequencer.group & sequencer.first_group & sequencer.fresh
        m.d.sync += wrong.eq((wrong & ~starts) | past[0] | past[1] | places.past)
        m.d.comb += [
            places.clear.eq(starts),
            places.stride.eq(current.stride),
            places.base.eq(command.accumulators_address[:-1]),
            places.accumulate.eq(command.accumulate),
            places.whole.eq(current.offset == Offset.NONE),
            places.put.eq(sequencer.group_last),
            places.first.eq(sequencer.first_group),
            places.again.eq(sequencer.again),
            places.ends.eq(sequencer.ends),
            places.due.eq(delayed(m, sequencer.scale & (sequencer.index == 0), array.scales_to_result - 1)),
            places.valid.eq(self.results.valid),
            self.results.address.eq(Cat(places.address, command.accumulators_address[-1])),
            self.results.accumulate.eq(places.add),
            self.results.last.eq(places.last),
            sequencer.stop.eq(wrong),
        ]
        late = array.banks - 1 + self._design.geometry.accumulate
        m.d.comb += self.fault.eq(delayed(m, places.last, late) & wrong)

    def _groups(self, m: Module, sequencer: LookupSequencer, past) -> None:
        """Where results go, when a command has ended, and whether any address of it was past the end.

        Results of a tile's places are ``stride`` rows apart; tiles follow each other.
        """
        array, half_rows = self._array, self._design.accumulator_rows // 2
        current = sequencer.current
        command = current.command
        first = Signal(len(current.stride) + 1)
        group = group_layout(row=len(command.accumulators_address) - 1)
        begins, begun, beyond = sequencer.group & sequencer.first_group, Signal(), Signal()
        with m.If(begins):
            m.d.sync += first.eq(
                Mux(
                    sequencer.fresh,
                    command.accumulators_address[:-1],
                    first + Mux(sequencer.again, array.rows, current.skip),
                )
            )
        m.d.sync += begun.eq(begins)
        m.d.comb += beyond.eq(begun & ((first + current.span > half_rows - array.rows) | current.too_many))
        wrong, seen, found = Signal(), Signal(), Signal()
        m.d.sync += seen.eq(past[0] | past[1] | beyond)
        ended, at_end = Signal(group), Signal(group)
        m.d.comb += [
            found.eq(wrong | seen),
            at_end.address.eq(first),
            at_end.half.eq(command.accumulators_address[-1]),
            at_end.stride.eq(current.stride),
            at_end.accumulate.eq(command.accumulate | ~sequencer.first_group),
            at_end.more.eq(current.minimum if array.floats else current.offset == Offset.NONE),
            at_end.ends.eq(sequencer.ends),
            sequencer.stop.eq(wrong),
        ]
        m.submodules.places = places = Places(array=array, row=len(at_end.address))
        put = delayed(m, sequencer.group_last, JUDGED)
        m.d.comb += [
            ended.eq(delayed(m, at_end, JUDGED)),
            places.put.eq(put),
            places.group.eq(ended),
            places.group.fault.eq(found & ended.ends),
            places.due.eq(
                self._later(m, "due", sequencer.scale & (sequencer.index == 0), array.scales_to_result - 1)
            ),
            places.valid.eq(self.results.valid),
            places.clear.eq(self.halt if array.quantised else 0),
            self.results.address.eq(places.address),
            self.results.accumulate.eq(places.accumulate),
            self.results.last.eq(places.last),
            self.fault.eq(delayed(m, places.fault, array.banks - 1 + self._design.geometry.accumulate)),
        ]
        # What is past the end has come by then, and nothing of the next command yet.
        m.d.sync += wrong.eq(found & ~(put & ended.ends) & ~self.halt)
