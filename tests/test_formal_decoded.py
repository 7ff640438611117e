"""Cores of decoded operands, all but their arithmetic: results find their rows, faults their commands, a halt leaves nothing."""

from __future__ import annotations

import inspect

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Assume, Const, Cover, Elaboratable, Module, Mux, Signal, Value

from hw.array.decoded.core import decoded_core
from hw.array.decoded.geometry import DecodedArray, slot_bits
from hw.array.decoded.output_core import DecodedOutputCore
from hw.array.decoded.setup import DecodedSetup
from hw.array.decoded.weight_core import DecodedWeightCore
from hw.control.run import SETTLING
from hw.design import Design
from hw.timing import DECODED_SETUP, DECODED_TURN, SCRATCHPAD
from tests.decoded_bench import WEIGHT, array_for, design_for
from tests.formal import check, free, later, mutant, previous, prove, refute
from tests.formal_inside import implies
from tests.test_formal_core import SetupRules


def small(*formats, **changes) -> DecodedArray:
    """Two slot widths and two formats on each side."""
    formats = formats or ("int8", "int4")
    return array_for(formats, formats, **({"rows": 2, "columns": 1} | changes))


ROW, OUTPUT, STAYS = small(rows=1), small(), small(dataflow=WEIGHT)
BLOCKS = small("mxint8", "nvfp4", block=16)


def design_of(array: DecodedArray) -> Design:
    """Scratchpads that small commands may pass the end of."""
    words = 32 if array.block else 8
    return design_for(array, activation_words=words, weight_words=2 * words, accumulator_rows=16)


def of_variant(array: DecodedArray, variant: Value, values):
    """The one of ``values`` for the pair of formats."""
    return Array(values)[variant[: max(1, (len(array.pairs) - 1).bit_length())]]


class DecodedSetupRules(SetupRules):
    """As its base, in ``DECODED_SETUP`` and without blocks: words of activations last as long as their slots say."""

    def __init__(self, array: DecodedArray, kind=DecodedSetup):
        self._array, self._rows = array, array.geometry.tile_rows
        self._dut = kind(design=design_of(array), array=array)

    @property
    def _least(self):
        return 1 if self._array.stationary_weights else self._array.least_interval

    def _allowed(self, command):
        return super()._allowed(command) & (command.variant < len(self._array.pairs))

    def _law(self, command):
        array, depth = self._array, command.depth_tiles
        words = [8 * array.geometry.activation_bytes // slot_bits(x) for x, _ in array.pairs]
        last = (depth - 1)[: len(depth)]
        reading = of_variant(array, command.variant, [last // one * one + self._rows for one in words])
        return depth, reading, depth < self._least


@pytest.mark.parametrize("array", later(OUTPUT, STAYS), ids=["output", "weight"])
def test_setup_keeps_the_rules(array):
    prove(DecodedSetupRules(array), depth=DECODED_SETUP, reach=14)


@pytest.mark.long
def test_setup_with_a_bug():
    bug = ("int(slot_bits(pair[side]) == 4)", "int(slot_bits(pair[side]) == 8)")
    refute(DecodedSetupRules(OUTPUT, mutant(DecodedSetup, bug)), depth=11)


class CoreRules(Elaboratable):
    """Any one command of any sequence without a halt: its results, its ``last``, and its fault.

    Commands are small: up to two tiles of rows and of columns, and ``depth_tiles`` of depth.
    """

    def __init__(self, array: DecodedArray, *, depth_tiles: int, core=decoded_core):
        self._array, self._depth_tiles, self._design = array, depth_tiles, design_of(array)
        self._dut = core(design=self._design, array=array)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut, but=("halt",))
        geometry, counts, results = self._design.geometry, dut.command.payload, dut.results
        taken = dut.command.valid & dut.command.ready
        m.d.comb += [Assume(counts.variant < len(self._array.pairs)), Assume(counts.activations_stride < 16)]
        for name, most in (("row_tiles", 2), ("column_tiles", 2), ("depth_tiles", self._depth_tiles)):
            m.d.comb += Assume((counts[name] != 0) & (counts[name] <= most))
        # The command that is watched, commands under way, and those of them that come before it.
        seen, ended, kept = Signal(), Signal(), Signal.like(counts)
        under_way, ahead = Signal(4), Signal(4)
        chosen = taken & AnySeq(1) & ~seen
        mine = seen & ~ended & (ahead == 0)
        # What comes behind a command that is past its end may be cut short: control ends the run.
        past, spoilt = Signal(), Signal()
        m.d.sync += [
            seen.eq(seen | chosen),
            under_way.eq(under_way + taken - results.last),
            spoilt.eq(spoilt | (taken & ~seen & ~chosen & self._past(counts))),
        ]
        with m.If(chosen):
            m.d.sync += [kept.eq(counts), ahead.eq(under_way - results.last)]
        with m.Elif(results.last):
            m.d.sync += [ahead.eq(ahead - (ahead != 0)), ended.eq(ended | mine)]
        known = results.last & mine & ~spoilt
        for age in range(geometry.banks - 1 + geometry.accumulate):
            known = previous(m, known, f"ended_{age}")
        m.d.comb += [
            past.eq(self._past(kept)),
            # No more ends than commands; nothing comes without one.
            Assert(implies(results.last | results.valid, under_way != 0)),
            Assert(implies(known, dut.fault == past)),
            Cover(known & past & (under_way != 0)),
            Cover(known & ~past & (under_way != 0)),
        ]
        self._results(m, kept, mine, past | spoilt)
        return m

    def _of_tile(self, command, count) -> Value:
        """What ``count`` says of a variant and a depth."""
        variants, depth = range(len(self._array.pairs)), command.depth_tiles[: self._depth_tiles.bit_length()]
        counts = [[count(one, tiles or 1) for tiles in range(1 << len(depth))] for one in variants]
        return of_variant(self._array, command.variant, [Array(each)[depth] for each in counts])

    def _past(self, command) -> Value:
        """Some operand of the command lies past its scratchpad, or some result past its half of the accumulators."""
        design, array = self._design, self._array
        row_words, column_words = (
            self._of_tile(command, one) for one in (array.activation_words, array.weight_words)
        )
        rows, column_tiles = command.row_tiles[:2] * design.geometry.tile_rows, command.column_tiles[:2]
        last_row = command.activations_address + (rows - 1)[:4] * command.activations_stride[:4]
        return (
            (last_row + row_words > design.activation_words)
            | (command.weights_address + column_tiles * column_words > design.weight_words)
            | (command.accumulators_address[:-1] + rows * column_tiles > design.accumulator_rows // 2)
        )

    def _results(self, m: Module, command, mine, moot) -> None:
        """Tile by tile; of blocks, and where weights stay, the rows of a tile come once for each step of depth."""
        array, results = self._array, self._dut.results
        stays = array.stationary_weights
        rows = command.row_tiles if stays else Const(self._design.geometry.tile_rows)
        tiles = command.column_tiles[:2] * (1 if stays else command.row_tiles[:2])
        depth: Value = command.depth_tiles if stays else Const(1)
        if array.block and not stays:
            depth = self._of_tile(command, lambda one, deep: array.steps(one, deep) // array.block_steps(one))
        row, step, tile, first = (Signal(5, name=name) for name in ("row", "step", "tile", "first"))
        with m.If(results.valid & mine):
            m.d.sync += row.eq(row + 1)
            with m.If(row == rows - 1):
                m.d.sync += [row.eq(0), step.eq(step + 1)]
                with m.If(step == depth - 1):
                    m.d.sync += [step.eq(0), tile.eq(tile + 1), first.eq(first + rows)]
        final = (row == rows - 1) & (step == depth - 1) & (tile == tiles - 1)
        start, half = command.accumulators_address[:-1], command.accumulators_address[-1]
        with m.If(mine & ~moot):
            m.d.comb += Assert(results.last == (results.valid & final))
            with m.If(results.valid):
                m.d.comb += [
                    Assert(results.address[:-1] == (start + first + row)[: len(start)]),
                    Assert(results.address[-1] == half),
                    Assert(results.accumulate == (command.accumulate | (step != 0))),
                ]


@pytest.mark.parametrize(
    ("array", "depth_tiles", "depth"),
    [
        (ROW, 8, 29),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in ((OUTPUT, 10, 40), (STAYS, 2, 36), (BLOCKS, 1, 64))
        ),
    ],
    ids=["row", "output", "weight", "blocks"],
)
def test_commands(array, depth_tiles, depth):
    check(CoreRules(array, depth_tiles=depth_tiles), depth=depth)


def with_a_bug(array: DecodedArray, *bug: tuple[str, str]):
    """The array's core with a bug: in its own source, or in what it takes from its base."""
    kind = DecodedWeightCore if array.stationary_weights else DecodedOutputCore
    if bug[0][0] in inspect.getsource(kind):
        return mutant(kind, *bug)
    wrong = mutant(kind.__mro__[1], *bug)
    taken = {
        name: value
        for name, value in vars(wrong).items()
        if inspect.isfunction(value) and name not in vars(kind)
    }
    return type("Mutant", (kind,), taken)


@pytest.mark.parametrize(
    ("array", "bug"),
    [
        pytest.param(*case, marks=pytest.mark.long)
        for case in (
            (ROW, ("walk.step & (walk.address >= words)", "walk.step & (walk.address > words)")),
            (ROW, ("first > half_rows - rows", "first > half_rows")),
            (ROW, ("rows.control_last, past_activations", "rows.control_last, past_weights")),
            (BLOCKS, ("steps.row.last, steps.further", "steps.row.last, None")),
            (STAYS, ("sequencer.step.activations >=", "sequencer.step.activations >")),
            (STAYS, ("weights & ~handed & ~self.halt", "0")),
        )
    ],
    ids=["weights", "rows", "activations", "blocks", "weight: activations", "weight: weights"],
)
def test_commands_with_a_bug(array, bug):
    depth_tiles = 8 if array is ROW else 2
    rules = CoreRules(array, depth_tiles=depth_tiles, core=with_a_bug(array, bug))
    refute(rules, depth=70 if array.block else 36)


class HaltRules(Elaboratable):
    """Whatever went on before, ``settled`` cycles into a halt nothing comes out any more; nothing is taken in it."""

    def __init__(self, array: DecodedArray, core=decoded_core):
        self._settled = settled(array)
        self._dut = core(design=design_of(array), array=array)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self._dut
        free(m, dut)
        results, cycles = dut.results, Signal(range(self._settled + 1))
        m.d.sync += cycles.eq(Mux(dut.halt, Mux(cycles == self._settled, cycles, cycles + 1), 0))
        m.d.comb += [
            Assert(implies(dut.halt, ~dut.command.ready)),
            Assert(implies(cycles != 0, ~(dut.step | dut.busy))),
            Assert(implies(cycles == self._settled, ~(results.valid | results.last | dut.fault))),
            Cover(previous(m, dut.halt & dut.step, "halted") & (cycles == 1)),
        ]
        return m


def settled(array: DecodedArray) -> int:
    """Cycles from the last step to the last that is left of it, the fault of its command."""
    g = array.geometry
    way = (
        (array.select_latency + array.rows - 1)
        if array.stationary_weights
        else SCRATCHPAD + DECODED_TURN + array.drain
    )
    return way + array.element_latency + g.banks - 1 + g.accumulate + 1


@pytest.mark.parametrize("array", later(OUTPUT, STAYS, BLOCKS), ids=["output", "weight", "blocks"])
def test_a_halt_leaves_nothing(array):
    prove(HaltRules(array), depth=settled(array) + 1, reach=20)


@pytest.mark.parametrize(
    "bug",
    later(
        ("setup.halt.eq(self.halt)", "setup.halt.eq(0)"),
        ("sequencer.halt.eq(self.halt)", "sequencer.halt.eq(0)"),
    ),
)
def test_a_halt_with_a_bug(bug):
    refute(HaltRules(OUTPUT, mutant(DecodedOutputCore, bug)), depth=20)


def test_control_waits_long_enough():
    """The largest arrays, whose results have the longest way."""
    blocks = array_for(("int8-s8",), ("int8-s8",), rows=48, columns=64, block=64, data_bytes=64)
    whole = [
        array_for(("int8",), ("int8",), rows=64, columns=64, data_bytes=64, dataflow=one)
        for one in ("output-stationary", WEIGHT)
    ]
    assert max(map(settled, (blocks, *whole))) < SETTLING
