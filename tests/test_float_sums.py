"""Arrays whose results are float32, from compiler to interpreter: order of additions, fp16 results, what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen import workload
from gen.compiler import compile_gemm
from gen.compiler.check import problems
from gen.families import Family
from gen.report import simulation
from gen.run import mismatch
from hw.control.isa import Opcode, OutputMode
from hw.formats import INT8
from sim.interpreter import run
from tests.float_array import GROUP, FloatReference
from tests.reference_array import Reference, design

RAW, REQUANTISED = OutputMode


def family(
    rows: int = 2, columns: int = 3, data_bytes: int = 4, stationary: bool = False, spread: int = 1
) -> FloatReference:
    return FloatReference(
        rows=rows, columns=columns, data_bytes=data_bytes, stationary=stationary, spread=spread
    )


def computed(array, chip, sizes, mode, seed=1, **options):
    """The output of a random GEMM, its golden one and its program."""
    load = workload.random(sizes, mode.name.lower(), seed, (INT8, INT8), array)
    program = compile_gemm(chip, array, *sizes, mode=mode, **options)
    assert problems(chip, array.model(), program.binary) == []
    image = program.image(load.x, load.w, *load.scaling)
    assert run(
        chip, array.model(), image, program.address, program.length, program.window, base=program.base
    ).passed
    assert program.damaged(image) is None
    return program.read_output(image), load.golden(), program


@settings(max_examples=25)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 90), st.integers(1, 9)),
    st.sampled_from(OutputMode),
    st.booleans(),
    st.sampled_from([1, 3]),
    st.sampled_from([128, 1024]),
    st.integers(0, 127),
    st.integers(0, 2**32 - 1),
)
def test_interpreted_programs_equal_the_golden_model(
    sizes, mode, stationary, spread, activations, offset, seed
):
    """Bit for bit, whatever the tiling; results of two bytes at any address."""
    array = family(rows=4 if stationary else 3, stationary=stationary, spread=spread)
    chip = design(array, activations=activations, weights=512, accumulators=16 * spread, parameters=16)
    got, wanted, _ = computed(array, chip, sizes, mode, seed, alignment={"output": offset})
    assert got.dtype == (np.float32 if mode is RAW else np.float16)
    assert mismatch(got, wanted) is None


def test_cuts_of_k_do_not_change_the_order():
    """One EXECUTE over the whole of K, or one for every group: the same bits, which another order would not give."""
    array, sizes = family(), (4, 20 * GROUP, 5)
    outputs, executes = [], []
    for activations in (4096, 4 * GROUP):
        chip = design(array, activations=activations, weights=8192, accumulators=16)
        got, wanted, program = computed(array, chip, sizes, RAW)
        assert mismatch(got, wanted) is None
        outputs.append(got)
        executes.append(sum(one.opcode is Opcode.EXECUTE for one in program.instructions))
    assert executes[1] >= 10 * executes[0]
    load = workload.random(sizes, "raw", 1, (INT8, INT8), array)
    reverse = [replace(load.x, codes=load.x.codes[:, ::-1]), replace(load.w, codes=load.w.codes[::-1])]
    assert mismatch(outputs[0], outputs[1]) is None
    assert mismatch(outputs[0], array.golden(*reverse)) is not None


def test_random_workloads_reach_all_results():
    """Subnormal numbers, saturation on both sides, zero."""
    load = workload.random((20, 16, 60), "requantised", 3, (INT8, INT8), family())
    result = load.golden()
    sizes = np.abs(result.astype(float))
    assert {-65504.0, 65504.0} <= set(result.reshape(-1).tolist())
    assert ((sizes > 0) & (sizes < 2.0**-14)).any()
    assert ((sizes > 2.0**-14) & (sizes < 65504)).mean() > 0.5


def test_geometry_of_float_sums():
    floats, integers = (
        family().geometry,
        Reference(rows=2, columns=3, data_bytes=4, stationary=False).geometry,
    )
    for mode, sums in product(OutputMode, (floats, integers)):
        assert sums.result_bytes(mode) == {RAW: 4, REQUANTISED: 2 if sums is floats else 1}[mode]
    with pytest.raises(ValueError, match="sums must be one of int32, float32, not 'fp16'"):
        replace(floats, sums="fp16")


def test_a_family_must_say_what_its_sums_are():
    array = family()
    load = workload.random((2, 4, 2), "raw", 1)
    with pytest.raises(
        NotImplementedError, match="family float-reference must say what its float32 sums are"
    ):
        Family.golden(array, load.x, load.w)


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("bias", np.zeros(3, np.int32), TypeError, "bias must be an array of float32, not dtype"),
        ("bias", np.array([0, 2.0**-101, 0], np.float32), ValueError, "bias must be 0 or .* in magnitude"),
        ("bias", np.array([0, 2.0**101, 0], np.float32), ValueError, "bias must be 0 or"),
        ("bias", np.array([0, np.nan, 0], np.float32), ValueError, "bias must be 0 or"),
        ("multiplier", np.ones(2, np.float32), ValueError, r"multiplier must be of shape \(3,\)"),
        ("multiplier", np.array([1, 2, 1e-40], np.float32), ValueError, "multiplier must be 0 or"),
        ("multiplier", np.array([1, 2, np.inf], np.float32), ValueError, "multiplier must be 0 or"),
        ("multiplier", np.array([1, 2, 1 + 2.0**-18], np.float32), ValueError, "of 18 bits at most"),
        ("shift", np.zeros(3, np.uint8), ValueError, "shift must be left out"),
    ],
)
def test_parameters_that_are_refused(name, value, error, text):
    array = family()
    load = workload.random((2, 4, 3), "requantised", 1, (INT8, INT8), array)
    program = compile_gemm(design(array), array, 2, 4, 3, mode=REQUANTISED)
    with pytest.raises(error, match=text):
        program.image(load.x, load.w, **{"bias": load.bias, "multiplier": load.multiplier, name: value})


def test_a_mismatch_of_floats_is_told_with_its_patterns():
    wanted = np.array([[1.5, -0.0], [2.0, 65504.0]], np.float16)
    got = wanted.copy()
    got[0, 1] = 0.0
    found = mismatch(got, wanted)
    assert found == {
        "index": [0, 1],
        "got": 0.0,
        "wanted": -0.0,
        "count": 1,
        "patterns": ["0x0000", "0x8000"],
    }
    nothing = np.full((1, 1), np.nan, np.float32)
    assert mismatch(nothing, nothing.copy()) is None
    document = {
        "workload": {"title": "t"}, "cycles": {"measured": 1, "predicted": None}, "breakdown": [], "pass": False,
        "utilisation": {"array": 0.0, "bus": 0.0}, "simulator": "s", "seed": 1, "configuration": "c",
        "breaches": [], "error": None, "stray_write": None, "mismatch": found,
    }  # fmt: skip
    cells = [str(cell) for column in simulation(document).renderables[0].columns for cell in column.cells]
    assert "differs at (0, 1): got 0.0 (0x0000), wanted -0.0 (0x8000); 1 results in all" in cells
