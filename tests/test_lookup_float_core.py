# amaranth: UnusedElaboratable=no
"""The table-lookup core around an array of float32 results: when those come, and where they go.

The array is a stub that only counts its results: what is tested is the way in and the way out, that is words of minimums, pauses,
rows of accumulators.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from core_bench import check_core
from hypothesis import given, settings
from lookup_core_bench import ASYM3, BIPOLAR2, W1, W4, array_for, command, core_of, design_for
from systolic_bench import run
from test_lookup_core import clear, programs, work_of
from test_systolic_model import contents

from hw.array.lookup.array import LookupMatrix
from hw.array.lookup.geometry import LookupFormat, Offset
from hw.delay import delayed
from hw.timing import FLOAT_ACCUMULATE
from sim.families.lookup import LookupModel

pytestmark = pytest.mark.long

Q4_1 = LookupFormat(bits=4, offset=Offset.PLAIN, minimum=True)
FLOATS = {"scales": "fp16", "groups_per_lane": 4}
ONE = 0x3F800000
"""Pattern of the float32 1; those after it are each by 2**-23 greater."""

SHAPES = [
    FLOATS | {"variants": (W4, Q4_1)},
    FLOATS | {"rows": 1, "columns": 16, "outputs": 16, "variants": (Q4_1, W1)},
    FLOATS | {"rows": 8, "columns": 4, "outputs": 4, "variants": (Q4_1, ASYM3)},
    FLOATS | {"k": 2, "groups_per_lane": 8, "columns": 4, "outputs": 2, "group": 64, "variants": (BIPOLAR2, Q4_1)},
    FLOATS | {"groups_per_lane": 8, "data_bytes": 16, "columns": 8, "rows": 3, "variants": (Q4_1,)},
    FLOATS | {"columns": 13, "outputs": 13, "rows": 1, "data_bytes": 8, "variants": (W4, ASYM3)},
    FLOATS | {"columns": 8, "variants": (BIPOLAR2, W1)},
]  # fmt: skip


class Counting(LookupMatrix):
    """The nth result is that of ``numbered``, in every column."""

    def elaborate(self, platform):
        m = Module()
        array, s = self._array, self.steering
        spacing = array.spacing(array.variants[0])
        begin, twice = delayed(
            m, Cat(s.code & s.last & (s.place == 0), s.offset == Offset.PLAIN), array.result_delay - 1
        )
        left, cycle, number = Signal(range(2 * array.outputs + 1)), Signal(range(spacing)), Signal(23)
        valid = (left != 0) & (cycle < array.rows)
        m.d.sync += [cycle.eq(cycle + 1), number.eq(number + valid)]
        with m.If(cycle == spacing - 1):
            m.d.sync += [cycle.eq(0), left.eq(left - (left != 0))]
        with m.If(begin):
            m.d.sync += [cycle.eq(0), left.eq(array.outputs << twice)]
        m.d.comb += self.valid.eq(valid)
        m.d.comb += [data.eq(delayed(m, number + ONE, bank)) for bank, data in enumerate(self.results)]
        return m


class Numbered(LookupModel):
    """Its results, in the order in which they come."""

    number = 0

    def execute(self, fields, activations, weights, settings=()):
        array, g = self._array, self._array.geometry
        format = array.variants[fields["variant"]]
        results = (array.groups(fields["depth_tiles"])[0] + 1) * format.passes
        shape = (fields["column_tiles"], fields["row_tiles"], results, array.outputs, g.tile_rows)
        count = int(np.prod(shape))
        patterns = np.arange(ONE + self.number, ONE + self.number + count, dtype=np.uint32).reshape(shape)
        self.number += count
        # [result, row, feature]: a place is as many features as there are banks.
        ordered = patterns.transpose(2, 1, 4, 0, 3).reshape(results, fields["row_tiles"] * g.tile_rows, -1)
        return ordered.repeat(g.banks, axis=-1).view(np.float32)


@pytest.fixture(autouse=True)
def _counting(monkeypatch):
    monkeypatch.setattr("hw.array.lookup.core.LookupMatrix", Counting)


def check(array, design, commands, visible):
    return check_core(design, core_of(array), Numbered(array), commands, visible)


@pytest.mark.parametrize("shape", SHAPES)
def test_results_go_where_they_belong(shape):
    array = array_for(**shape)
    commands = work_of(array)
    check(array, design_for(array, accumulator_rows=1024), commands, [0] * len(commands))


@settings(max_examples=6)
@given(programs(SHAPES))
def test_any_sequence(program):
    array, design, commands, visible, _ = program
    first = clear(design)
    check(array, design, [*first, *commands], [*[0] * len(first), *visible])


def arrivals(array, variant, end):
    """Cycles in which results of row 0 and the last row come, of a group whose last word is in the cycle ``end``."""
    format = array.variants[variant]
    first = end + array.first_result(format)
    starts = range(first, first + array.scale_cycles(format), array.spacing(format))
    return [[start, start + array.rows - 1] for start in starts]


@pytest.mark.parametrize("scales", ["int8", "fp16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_results_are_far_enough_apart(shape, scales):
    """Of a command and the next, any row of accumulators may be the same; of two groups of a tile, places are."""
    known = [one for one in shape["variants"] if scales == "fp16" or one is not Q4_1] or [W4]
    array = array_for(**shape | {"scales": scales, "variants": known})
    apart = array.geometry.accumulate
    for (before, _), (after, format) in product(enumerate(array.variants), repeat=2):
        for words in (1, array.group_words):
            pause = array.pause(format, words, fresh=True)
            first = arrivals(array, before, 0)
            second = arrivals(array, after, pause + array.group_cycles(format, words))
            assert second[0][0] - first[-1][1] > apart
            if before == after:
                second = arrivals(
                    array, after, array.pause(format, words) + array.group_cycles(format, words)
                )
                each = array.outputs
                assert second[0][0] > first[-1][1]
                assert all(b[0] - a[0] > apart for a, b in zip(first[-each:], second[:each], strict=True))
    if scales == "fp16":
        assert array.outputs * array.spacing(array.variants[0]) > FLOAT_ACCUMULATE


def test_addresses_are_there_before_results():
    """Where the words of scales and minimums take longer than the results."""
    array = array_for(**SHAPES[1])
    assert array.result_delay >= array.float_result_delay
    assert array.first_result(Q4_1) >= 4


def test_second_results_are_the_last():
    array = array_for(**SHAPES[0])
    one = command(depth_tiles=1, variant=1)
    seen, times = check(array, design_for(array), [one, one], [0, 0])
    assert len(seen.results) == 2 * 2 * array.outputs * array.rows
    assert [last for *_, last in seen.results].count(1) == 2
    assert times[0].steps == array.lookups(Q4_1) * array.slices


def test_the_last_minimums_may_be_past_the_end():
    """A fault of their command, and of no other."""
    array = array_for(**SHAPES[1])
    design = design_for(array)
    words = LookupModel(array).weight_words(0, 2)
    good = command(depth_tiles=2, activations_stride=2, weights_address=design.weight_words - words)
    wrong = command(**vars(good) | {"weights_address": good.weights_address + 1})
    seen = run(design, core_of(array), *contents(design, 1), [good, wrong, good], [0] * 3)
    assert seen.faults == [seen.finished[1] - 1]
