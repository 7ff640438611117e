"""The bit-serial core: EXECUTE commands in, skewed results out."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring

from hw.array.bit_serial.array import BitSerialArray
from hw.array.bit_serial.geometry import LOWER_WORD, MASK_WORD, BitSerial
from hw.array.bit_serial.plan import Planner, tile_stride
from hw.array.bit_serial.results import ResultPlaces
from hw.array.bit_serial.sequencer import Sequencer
from hw.array.bit_serial.skipping import SkippingSequencer, SkippingWordTimes
from hw.array.bit_serial.walks import SkippingWeightWalk
from hw.array.bit_serial.words import WordTimes
from hw.array.rows import LATE, Rows
from hw.array.walks import ActivationWalk, WeightWalk
from hw.delay import delayed
from hw.design import Design
from hw.interfaces import core_members
from hw.pe.weight_format import NIBBLE
from hw.timing import SCRATCHPAD

TO_ARRAY = LOWER_WORD + SCRATCHPAD + 1
"""A step to its place in the columns' ``steering``."""


class BitSerialCore(wiring.Component):
    """Reads each operand at the cycle that puts it where it is needed: nothing waits, so nothing is buffered.

    Parameters
    ----------
    design : Design
    array : BitSerial
        Its geometry is the design's.

    Members
    -------
    See ``hw.interfaces.core_members``.

    Timing
    ------
    The first group of a command begins, or pauses, ``BIT_SERIAL_SETUP`` cycles after the handshake, or as soon as the command
    before is through; see ``Sequencer``. Row 0's result of a group is at ``results`` ``array.result_latency`` cycles after its
    last step, row r's ``r + r // DRAIN_ROWS`` later. ``fault`` comes in the cycle before the accumulators' ``finished`` of its
    command. Words of weights are read as ``WordTimes`` says, or ``SkippingWordTimes``.
    """

    def __init__(self, *, design: Design, array: BitSerial) -> None:
        if design.geometry != array.geometry:
            raise ValueError(f"geometry must be {array.geometry}, not {design.geometry}")
        self._design, self._array = design, array
        super().__init__(core_members(design))

    def elaborate(self, platform):
        m = Module()
        design, array = self._design, self._array
        m.submodules.planner = planner = Planner(design=design, array=array)
        kind = SkippingSequencer if array.skip_zero_terms else Sequencer
        m.submodules.sequencer = sequencer = kind(design=design, array=array)
        m.submodules.rows = rows = Rows(
            rows=array.rows, slices=array.slices, lanes=array.lanes, width=8 * array.activation_bytes,
            skew=array.times.skew, late=array.single, again=array.again,
        )  # fmt: skip
        m.submodules.array = elements = BitSerialArray(array=array)
        wiring.connect(m, wiring.flipped(self.command), planner.command)
        wiring.connect(m, planner.plan, sequencer.plan)
        m.d.comb += [
            planner.halt.eq(self.halt),
            sequencer.halt.eq(self.halt),
            self.step.eq(sequencer.step),
            self.busy.eq(planner.busy | sequencer.running),
            rows.word.eq(self.activations.data),
            elements.activations.eq(rows.activations),
            elements.words.eq(self.weights.data[: NIBBLE * array.lanes * array.columns]),
            self.results.data.eq(elements.results),
            self.results.valid.eq(elements.valid),
        ]
        starts, turn = Signal(), Signal()
        if array.skip_zero_terms:
            m.d.comb += starts.eq(sequencer.lead)
        else:
            m.d.comb += starts.eq(sequencer.group & sequencer.first_group & sequencer.fresh)
        m.d.sync += turn.eq(turn ^ starts)
        past = [
            self._activations(m, sequencer, rows),
            self._weights(m, sequencer, elements.steering),
        ]
        if array.single:
            self._single(m, planner, sequencer, starts, [found for found, _ in past])
        else:
            past.append(self._addresses(m, sequencer, starts))
            self._end(m, sequencer, starts, turn ^ starts, past)
        return m

    def _activations(self, m: Module, sequencer: Sequencer, rows: Rows):
        """Reads activations, as much later as the weights' way to the elements is longer.

        Returned: past the end; a command's first.
        """
        words, current = self._design.activation_words, sequencer.current
        late = self._array.activation_delay
        m.submodules.activation_walk = walk = ActivationWalk(
            words=words,
            tile_stride_bits=len(current.tile_stride),
            stride_bits=len(current.command.activations_stride),
            single=self._array.single,
            again=self._array.again,
        )
        word, slice_, tile = (
            delayed(m, signal, late)
            for signal in (sequencer.word, sequencer.slice, sequencer.group & sequencer.first_group)
        )
        m.d.comb += [
            walk.word.eq(word),
            walk.tile.eq(tile),
            walk.fresh.eq(sequencer.fresh),
            walk.again.eq(sequencer.again),
            walk.base.eq(current.command.activations_address),
            walk.stride.eq(current.command.activations_stride),
            walk.tile_stride.eq(
                tile_stride(current.command.activations_stride, self._array.rows)
                if self._array.single
                else current.tile_stride
            ),
            self.activations.address.eq(delayed(m, walk.address, LATE * self._array.single)),
            rows.load.eq(delayed(m, word, 1 + SCRATCHPAD)),
            rows.slice.eq(delayed(m, slice_ & ~word, 1 + SCRATCHPAD)),
        ]
        if self._array.again:
            m.d.comb += walk.slice.eq(slice_)
        left, past = Signal(range(self._array.rows + 1)), Signal()
        m.d.sync += [left.eq(Mux(word, self._array.rows, left - (left != 0)))]
        m.d.sync += past.eq((left != 0) & (walk.address >= words))
        return past, tile & sequencer.fresh

    def _weights(self, m: Module, sequencer: Sequencer, steering):
        """Reads weights, and tells the columns what each word is and when a slice begins. Returned: as of ``_activations``."""
        words, current = self._design.weight_words, sequencer.current
        if self._array.skip_zero_terms:
            walk, masks, first = self._masks(m, sequencer)
            m.submodules.word_times = times = SkippingWordTimes(formats=self._array.formats)
            tile = times.tile & sequencer.first_group
            read = times.scale | times.high | times.low | masks
            own = [
                Cat(steering.step, steering.index).eq(
                    delayed(m, Cat(sequencer.step, sequencer.index), TO_ARRAY)
                )
            ]
        else:
            m.submodules.weight_walk = walk = WeightWalk(words=words)
            m.submodules.word_times = times = WordTimes(formats=self._array.formats)
            tile = sequencer.group & sequencer.first_group
            read = times.scale | times.high | times.low
            own = [walk.fresh.eq(sequencer.fresh), walk.again.eq(sequencer.again)]
            first = walk.tile & walk.fresh
        m.d.comb += [
            times.slice.eq(sequencer.slice),
            times.group.eq(sequencer.group),
            times.part.eq(sequencer.part),
            times.format.eq(current.format),
            walk.tile.eq(tile),
            *own,
            walk.read.eq(read),
            walk.base.eq(current.command.weights_address),
            self.weights.address.eq(walk.address),
            Cat(steering.scale, steering.high, steering.low).eq(
                delayed(m, Cat(times.scale, times.high, times.low), SCRATCHPAD)
            ),
            Cat(steering.start, steering.group, steering.last).eq(
                delayed(m, Cat(sequencer.slice, sequencer.group, sequencer.group_last), TO_ARRAY)
            ),
            # A single command has nothing of another's before it.
            steering.format.eq(delayed(m, current.format, 0 if self._array.single else TO_ARRAY)),
        ]
        if self._design.geometry.settings:
            setting = Cat(
                sequencer.configure,
                current.command.setting,
                current.command.value[: len(Value.cast(steering.value))],
            )
            m.d.comb += Cat(steering.configure, steering.setting, steering.value).eq(
                delayed(m, setting, 0 if self._array.single else TO_ARRAY)
            )
        past = Signal()
        m.d.sync += past.eq(walk.read & (walk.address >= words))
        return past, first

    def _masks(self, m: Module, sequencer: SkippingSequencer):
        """Reads masks. Returned: the weights' walk; a word of masks is read; the next one is a command's first."""
        m.submodules.weight_walk = walk = SkippingWeightWalk(
            words=self._design.weight_words, left=len(sequencer.current.ahead)
        )
        block = delayed(m, sequencer.block, MASK_WORD - 1)
        follows = block & ~(sequencer.block_last & sequencer.tile_last)
        read = delayed(m, follows | sequencer.lead, 1)
        m.d.comb += [
            walk.lead.eq(sequencer.lead),
            walk.ahead.eq(follows & sequencer.block_last),
            walk.again.eq(sequencer.again_next),
            walk.left.eq(sequencer.current.ahead),
            sequencer.masks.eq(self.weights.data[: len(sequencer.masks)]),
            sequencer.masks_come.eq(delayed(m, read, SCRATCHPAD)),
        ]
        return walk, read, sequencer.lead

    def _single(
        self, m: Module, planner: Planner, sequencer: Sequencer, starts: Value, past: list[Value]
    ) -> None:
        """Where results go, ``last`` and ``fault``, of one command at a time."""
        geometry, command = self._design.geometry, sequencer.current.command
        m.submodules.places = places = ResultPlaces(design=self._design, array=self._array)
        wrong, last = Signal(), Signal()
        m.d.sync += wrong.eq((wrong & ~starts) | places.past | past[0] | past[1])
        m.d.comb += [
            places.clear.eq(starts),
            places.base.eq(command.accumulators_address[:-1]),
            places.accumulate.eq(command.accumulate),
            places.ended.eq(sequencer.group_last),
            places.first.eq(sequencer.first_group),
            places.ends.eq(sequencer.ends),
            places.valid.eq(self.results.valid),
            self.results.address.eq(Cat(places.address, command.accumulators_address[-1])),
            self.results.accumulate.eq(places.add),
            self.results.last.eq((places.last & self.results.valid) | sequencer.configure),
            last.eq(delayed(m, self.results.last, geometry.banks - 1 + geometry.accumulate)),
            sequencer.stop.eq(wrong),
            planner.ended.eq(last),
            self.fault.eq(last & wrong),
        ]

    def _addresses(self, m: Module, sequencer: Sequencer, starts):
        """Accumulator rows of a tile follow each other, once for every group; so do tiles. Returned: as of ``_activations``."""
        rows, half_rows = self._array.rows, self._design.accumulator_rows // 2
        command = sequencer.current.command
        half, accumulate, first = Signal(), Signal(), Signal(range(2 * half_rows))
        begins, past = sequencer.group & sequencer.first_group, Signal()
        with m.If(begins):
            m.d.sync += first.eq(first + rows)
            with m.If(sequencer.fresh):
                m.d.sync += [
                    first.eq(command.accumulators_address[:-1]),
                    half.eq(command.accumulators_address[-1]),
                    accumulate.eq(command.accumulate),
                ]
        place = Cat(sequencer.group_last, first[:-1], half, accumulate | ~sequencer.first_group)
        due = delayed(m, place, TO_ARRAY + self._array.result_delay - 1)
        with m.If(due[0]):
            m.d.sync += Cat(self.results.address, self.results.accumulate).eq(due[1:])
        with m.Elif(self.results.valid):
            m.d.sync += self.results.address[:-1].eq(self.results.address[:-1] + 1)
        m.d.sync += past.eq(delayed(m, begins, 1) & (first > half_rows - rows))
        return past, starts

    def _end(self, m: Module, sequencer: Sequencer, starts, turn, past) -> None:
        """``last``, and ``fault``: what went past the end is known ``judged`` cycles after a command's last step.

        The next command may have begun by then: commands are told apart by ``turn``. Two later, as long as all groups are
        ``array.least`` cycles apart, it is settled.
        """
        array = self._array
        judged = array.activation_delay + 3
        wrong = Signal(2)
        for found, begins in past:
            # A command's first address comes some cycles after its first step, and after the last of the one before it.
            whose = Signal(name="whose")
            with m.If(begins):
                m.d.sync += whose.eq(~whose)
            finder = delayed(m, whose, 1)
            with m.If(found):
                m.d.sync += wrong.bit_select(finder, 1).eq(1)
        with m.If(starts):
            m.d.sync += wrong.bit_select(turn, 1).eq(0)
        executed = sequencer.ends & ~sequencer.configure
        ended = delayed(m, Cat(executed, turn), judged)
        last, geometry = array.result_latency, self._design.geometry
        fault = ended[0] & wrong.bit_select(ended[1], 1)
        m.d.comb += [
            sequencer.stop.eq(wrong.bit_select(turn, 1)),
            self.results.last.eq(delayed(m, sequencer.ends, last)),
            self.fault.eq(delayed(m, fault, last - judged + geometry.banks - 1 + geometry.accumulate)),
        ]
