# amaranth: UnusedElaboratable=no
"""The bit-serial core in simulation against its golden execute and its cycle law: equal, bit for bit and cycle for cycle."""

from __future__ import annotations

import numpy as np
import pytest
from bit_serial_bench import ALL, array_for, command, configure, core_of, design_for
from hypothesis import given, settings
from hypothesis import strategies as st
from systolic_bench import run
from test_systolic_model import contents

from hw.design import ceil_div
from hw.pe.weight_format import WeightFormat
from sim.families.bit_serial import BitSerialModel

SPECIALS = [10, 10 | 32, 16, 16 | 32]


def check(array, design, commands, visible, seed=1):
    """Run, and compare everything with the model."""
    print(f"seed {seed}")
    g = design.geometry
    activations, weights = contents(design, seed)
    seen = run(design, core_of(array), activations, weights, commands, visible)
    model = BitSerialModel(array)
    law = model.law()
    expected = np.zeros((design.accumulator_rows, g.columns), np.int32)
    written = np.zeros(design.accumulator_rows, bool)
    times, busy, values = [], set(), [0] * g.settings
    for one, since in zip(commands, visible, strict=True):
        fields = vars(one)
        visible_at = max(since, times[-1].taken + 1 if times else 0)
        if "configure" in fields:
            times.append(law.configure(visible_at, fields))
            values[one.setting] = one.value
            busy |= set(range(times[-1].begin, times[-1].end))
            continue
        times.append(law.execute(visible_at, fields))
        busy |= set(range(times[-1].begin, times[-1].end))
        result = model.execute(fields, activations, weights, values)
        rows = result.shape[0]
        for n in range(one.column_tiles):
            place = slice(one.accumulators_address + n * rows, one.accumulators_address + (n + 1) * rows)
            old = expected[place] if one.accumulate else 0
            total = old + result[:, n * g.columns : (n + 1) * g.columns].astype(np.int64)
            expected[place] = total.astype(np.int32)
            written[place] = True
    assert seen.taken == [t.taken for t in times]
    assert seen.finished == [t.finished for t in times]
    assert seen.busy == sorted(busy)
    assert len(seen.steps) == sum(t.steps for t in times)
    assert seen.faults == []
    np.testing.assert_array_equal(seen.accumulators[written], expected[written])
    return seen, times


def special_values(values=SPECIALS):
    return [configure(index, value) for index, value in enumerate(values)]


@pytest.mark.parametrize("format", ALL)
def test_each_format(format):
    array = array_for(rows=2, columns=2)
    design = design_for(array)
    commands = [*special_values(), command(depth_tiles=4, row_tiles=2, column_tiles=2, activations_stride=4, variant=format)]
    check(array, design, commands, [0] * len(commands))
