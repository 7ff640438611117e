"""Whole accelerators whose features share banks of accumulators, and the rules that their configurations must obey."""

import numpy as np
import pytest
from systems import check, system

from gen import config
from gen.cases import RAW, REQUANTISED, Case, memory, prepare
from gen.compiler.check import problems
from gen.errors import RequestError
from gen.families import FAMILIES
from hw.control.isa import Error, Opcode, assemble
from sim import interpreter, simulate

SMALL = ("memory.activations_kib=1", "memory.weights_kib=1", "memory.parameters=32")
ARRAYS = {
    "output-stationary, 2 features to a bank": (
        "array.rows=3", "array.columns=8", "array.spread=2", "output.lanes=2", "memory.accumulators=64",
    ),
    "weight-stationary, 3 features to a bank": (
        "array.rows=4", "array.columns=6", "array.spread=3", "output.lanes=2", "memory.accumulators=64",
        "array.dataflow='weight-stationary'",
    ),
    "all features in one bank, the fewest rows": (
        "array.rows=2", "array.columns=4", "array.spread=4", "output.lanes=1", "memory.accumulators=16",
    ),
}  # fmt: skip
CASES = [
    Case(sizes, mode, memory(latency), seed=seed)
    for seed, (sizes, latency) in enumerate(
        [((1, 1, 1), 1), ((5, 37, 7), 20), ((4, 64, 29), 1), ((1, 200, 23), 1), ((13, 90, 41), 20)]
    )
    for mode in (RAW, REQUANTISED)
]


@pytest.fixture(autouse=True)
def spread(monkeypatch):
    monkeypatch.setitem(FAMILIES, "spread", "tests.spread_array:Spread")


def overrides(array: str) -> tuple[str, ...]:
    return ("family='spread'", *SMALL, *ARRAYS[array])


@pytest.mark.long
@pytest.mark.parametrize("array", ARRAYS)
def test_results_and_cycles(array):
    assert len(check("systolic-8x8", overrides(array), CASES)) == len(CASES)


@pytest.mark.parametrize("array", ARRAYS)
def test_programs_are_sound(array):
    loaded = config.load("systolic-8x8", list(overrides(array)))
    g, several = loaded.instance.geometry, False
    for case in CASES:
        program = prepare(loaded, case).program
        assert problems(loaded.design(), loaded.instance.model(), program.binary) == []
        for one in program.instructions:
            if one.opcode is Opcode.STORE and one.columns > g.banks:
                several = True
                assert one.accumulators_stride * -(-one.columns // g.banks) <= loaded.memory.accumulators // 2
    assert several


@pytest.mark.long
def test_a_tile_that_crosses_its_half_is_refused_by_both():
    """It would fit if the features of a tile had a bank each."""
    array = "output-stationary, 2 features to a bank"
    loaded, made = system("systolic-8x8", *overrides(array))
    design, base = loaded.design(), 0x1000
    for first, error in ((26, Error.NONE), (27, Error.LOCAL)):
        image = np.zeros(0x400, np.uint8)
        code = assemble(
            Opcode.EXECUTE, row_tiles=1, column_tiles=1, depth_tiles=4, accumulators_address=first
        )
        image[: len(code)] = np.frombuffer(code, np.uint8)
        window = (base, base + image.size - 1)
        outcome = interpreter.run(design, loaded.instance.model(), image.copy(), base, 1, window, base=base)
        assert outcome.error is error
        registers = {
            "program_address": base, "program_length": 1, "window_first": window[0], "window_last": window[1],
        }  # fmt: skip
        job = simulate.Job(image=image.tobytes(), base=base, registers=registers)
        (result,) = simulate.simulate_all(
            made.verilog,
            [job],
            top=made.top,
            data_bytes=design.data_bytes,
            address_width=design.address_width,
        )
        assert (result.error & 0xFF) == error


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            ["output.lanes=2", "array.columns=6"],
            "output.lanes = 2: must divide the array's 6 columns / 2 = 3 banks of accumulators",
        ),
        (
            ["array.rows=64", "memory.accumulators=128"],
            "memory.accumulators = 128: must be at least 256: two halves of 64 tile rows, 2 times each",
        ),
    ],
)
def test_rules_of_configurations(changes, line):
    with pytest.raises(RequestError) as caught:
        config.load("systolic-8x8", ["family='spread'", *changes])
    assert line in str(caught.value)
