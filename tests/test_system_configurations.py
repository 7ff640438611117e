"""Accelerators nobody chose: configurations, shapes, memories and addresses drawn at random from a seed."""

import numpy as np
import pytest
from systems import check

from gen import config
from gen.cases import Case, memory, prepare
from gen.compiler import DoesNotFit
from gen.errors import RequestError
from hw.control.isa import OutputMode

CASES = 8


def drawn(seed: int) -> list[str]:
    """Overrides that make a configuration of any kind, from the smallest that can be; not all fit together."""
    random = np.random.default_rng(seed)

    def one(*values):
        return values[random.integers(len(values))]

    stationary = one(False, True)
    rows = one(1, 2, 4, 8, 16) if stationary else int(random.integers(1, 13))
    width = one(32, 64, 128, 256, 512)
    return [
        f"array.dataflow={'weight' if stationary else 'output'}-stationary",
        f"array.rows={rows}",
        f"array.columns={random.integers(1, 14)}",
        f"bus.data_width={width}",
        f"bus.address_width={one(32, 40, 64)}",
        f"bus.burst_beats={one(1, 2, 7, 16, 256)}",
        f"bus.outstanding={one(1, 2, 4, 16)}",
        f"memory.activations_kib={one(1, 2, 16)}",
        f"memory.weights_kib={one(1, 2, 16)}",
        f"memory.accumulators={one(32, 64, 256)}",
        f"memory.parameters={one(16, 32, 64)}",
        f"output.lanes={one(1, 1, 2, 4)}",
    ]


def possible(seed: int) -> list[str]:
    """The first configuration from ``seed`` on that can exist."""
    while True:
        overrides = drawn(seed)
        try:
            config.load("systolic-4x4", overrides)
        except RequestError:
            seed += 1_000_000
        else:
            return overrides


def cases(seed: int) -> list[Case]:
    random = np.random.default_rng(seed)
    result = []
    for number in range(CASES):
        shape = tuple(int(random.integers(1, most)) for most in (20, 200, 40))
        timing = memory(*(int(random.integers(1, most)) for most in (60, 4, 9)))
        shifts = tuple((name, int(random.integers(128))) for name in ("activations", "parameters", "output"))
        result.append(
            Case(shape, OutputMode(number % 2), timing, seed=seed, alignment=shifts, base=128 * seed)
        )
    return result


def run(seed: int) -> None:
    print(f"seed {seed}")
    overrides = possible(seed)
    loaded, fitting = config.load("systolic-4x4", overrides), []
    for case in cases(seed):
        try:
            prepare(loaded, case)
        except DoesNotFit as refusal:
            print(refusal)
        else:
            fitting.append(case)
    assert fitting
    assert len(check("systolic-4x4", overrides, fitting)) == len(fitting)


@pytest.mark.parametrize("seed", range(3))
def test_a_configuration(seed):
    run(seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3, 43))
def test_more_configurations(seed):
    run(seed)
