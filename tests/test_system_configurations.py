"""Accelerators nobody chose: configurations, shapes, memories and addresses drawn at random from a seed."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from systems import check

from gen import config
from gen.cases import Case, memory, prepare
from gen.compiler import DoesNotFit
from gen.errors import RequestError
from gen.families.bit_serial import KINDS
from hw.control.isa import OutputMode
from hw.formats import Format

CASES = 8


def drawn(random: np.random.Generator, preset: str) -> list[str]:
    """Overrides of ``preset`` that make a configuration of any kind, from the smallest that can be; not all fit together."""

    def one(*values):
        return values[random.integers(len(values))]

    array = systolic(random, one) if preset == "systolic-4x4" else bit_serial(random, one, preset)
    return [
        *array,
        f"bus.data_width={one(32, 64, 128, 256, 512)}",
        f"bus.address_width={one(32, 40, 64)}",
        f"bus.burst_beats={one(1, 2, 7, 16, 256)}",
        f"bus.outstanding={one(1, 2, 4, 16)}",
        f"memory.activations_kib={one(1, 2, 16)}",
        f"memory.weights_kib={one(1, 2, 16)}",
        f"memory.accumulators={one(32, 64, 256)}",
        f"memory.parameters={one(16, 32, 64)}",
        f"output.lanes={one(1, 1, 2, 4)}",
        *([f"array.multiplier={one('native', 'dsp')}"] if preset == "systolic-4x4" else []),
    ]


def systolic(random: np.random.Generator, one) -> list[str]:
    """Keys of a systolic array."""
    stationary = one(False, True)
    rows = one(1, 2, 4, 8, 16) if stationary else int(random.integers(1, 13))
    return [
        f"array.dataflow={'weight' if stationary else 'output'}-stationary",
        f"array.rows={rows}",
        f"array.columns={random.integers(1, 14)}",
    ]


def bit_serial(random: np.random.Generator, one, preset: str) -> list[str]:
    """Keys of a bit-serial array; small, since its elements take long to compile."""
    weights = random.choice(list(KINDS), int(random.integers(1, 6)), replace=False)
    return [
        f"array.rows={random.integers(1, 4)}",
        f"array.columns={random.integers(1, 4)}",
        f"array.lanes={one(4, 8) if 'fp16' in preset else one(4, 8, 16)}",
        f"array.group={one(32, 64, 128, 256)}",
        f"array.rounding={one('nearest', 'truncate')}",
        f"array.weights={json.dumps(weights.tolist())}",
    ]


def possible(seed: int, preset: str) -> list[str]:
    """The first configuration from ``seed`` on that can exist."""
    while True:
        overrides = drawn(np.random.default_rng(seed), preset)
        try:
            config.load(preset, overrides)
        except RequestError:
            seed += 1_000_000
        else:
            return overrides


def cases(seed: int, pairs: Sequence[tuple[Format, Format]]) -> list[Case]:
    random = np.random.default_rng(seed)
    result = []
    for number in range(CASES):
        shape = tuple(int(random.integers(1, most)) for most in (20, 200, 40))
        timing = memory(*(int(random.integers(1, most)) for most in (60, 4, 9)))
        shifts = tuple((name, int(random.integers(128))) for name in ("activations", "parameters", "output"))
        weights = pairs[number % len(pairs)][1].name
        mode, base = OutputMode(number % 2), 128 * seed
        result.append(Case(shape, mode, timing, seed=seed, alignment=shifts, base=base, weights=weights))
    return result


def run(seed: int, preset: str) -> None:
    print(f"seed {seed}")
    overrides = possible(seed, preset)
    loaded, fitting = config.load(preset, overrides), []
    for case in cases(seed, loaded.instance.pairs):
        try:
            prepare(loaded, case)
        except DoesNotFit as refusal:
            print(refusal)
        else:
            fitting.append(case)
    assert fitting
    assert len(check(preset, overrides, fitting)) == len(fitting)


@pytest.mark.parametrize(
    ("preset", "seed"),
    [
        ("systolic-4x4", 0),
        *(
            pytest.param(*one, marks=pytest.mark.long)
            for one in (
                ("systolic-4x4", 1),
                ("systolic-4x4", 2),
                ("bitmod-int8-8x8", 0),
                ("bitmod-fp16-4x4", 0),
            )
        ),
    ],
)
def test_a_configuration(preset, seed):
    run(seed, preset)


@pytest.mark.long
@pytest.mark.parametrize(
    ("preset", "seed"),
    [
        *(("systolic-4x4", seed) for seed in range(3, 43)),
        *((preset, seed) for preset in ("bitmod-int8-8x8", "bitmod-fp16-4x4") for seed in range(1, 9)),
    ],
)
def test_more_configurations(preset, seed):
    run(seed, preset)
