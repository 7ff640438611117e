"""Families: their registry, what configurations they take, and the systolic one against the reference and with programs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from gen import config
from gen.compiler import compile_gemm
from gen.families import FAMILIES, load_family
from gen.families.contract import ArrayConfig
from gen.options import Options
from hw.formats import INT8, Operand
from sim.cycles.program import predict
from tests.reference_array import PAIRS, Reference, design
from tests.test_compiler import RAW, REQUANTISED, TINY, codes, verify


def test_the_registry() -> None:
    assert load_family("systolic").name == "systolic"
    assert set(FAMILIES) >= {"systolic"}
    with pytest.raises(ValueError, match=r"family must be one of .*systolic.*, not 'optical'"):
        load_family("optical")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_takes_its_own_configuration_only(name: str) -> None:
    kind = load_family(name)
    assert kind.activations
    assert kind.weights
    assert kind.summary
    with pytest.raises(TypeError, match=f"config of family {name} must be a"):
        kind(ArrayConfig(), data_bytes=8)
    with pytest.raises(ValueError, match="data_bytes must be 4, 8, 16, 32 or 64, not 12"):
        kind(kind.Config(), data_bytes=12)


@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
@pytest.mark.parametrize(
    ("rows", "columns", "width"), [(8, 8, 8), (4, 3, 8), (16, 12, 8), (2, 5, 64), (1, 1, 4)]
)
def test_the_systolic_family_agrees_with_the_reference(
    rows: int, columns: int, width: int, dataflow: str
) -> None:
    kind = load_family("systolic")
    array = kind(kind.Config(rows=rows, columns=columns, dataflow=dataflow), data_bytes=width)
    same = Reference(rows=rows, columns=columns, data_bytes=width, stationary=dataflow == "weight-stationary")
    # The reference has a pair of 4-bit activations, too.
    wanted = replace(array.geometry, variants=len(PAIRS), settings=2, activation_bits=4)
    assert wanted == same.geometry
    assert array.model().weight_words(0, 5) == same.model().weight_words(0, 5)
    drawn = codes(np.random.default_rng(0), INT8, (13, 2 * columns + 1))
    w = Operand(format=INT8, codes=drawn, depth_axis=0)
    assert np.array_equal(array.pack_weights(w), same.pack_weights(w))


@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
def test_two_int4_weights_share_a_byte(dataflow: str) -> None:
    """The first column's in the lower half; zeros in features and steps that are not there."""
    kind = load_family("systolic")
    array = kind(kind.Config(rows=4, columns=6, dataflow=dataflow, multiplier="dsp"), data_bytes=8)
    ((x, weights),) = array.pairs
    assert (x.name, weights.name, array.geometry.weight_bytes) == ("int8", "int4", 4)
    w = Operand(format=weights, codes=codes(np.random.default_rng(0), weights, (3, 9)), depth_axis=0)
    words = array.pack_weights(w).reshape(2, -1, 4)
    assert words.shape[1] == (3 if dataflow == "output-stationary" else 4)
    found = np.stack([words & 15, words >> 4], axis=-1).reshape(*words.shape[:2], 8)
    expected = np.zeros_like(found)
    expected[0, :3, :6], expected[1, :3, :3] = w.codes[:, :6], w.codes[:, 6:]
    assert np.array_equal(found, expected)


def test_int4_weights_take_half_the_bandwidth() -> None:
    """Of a bus that is the bound: 16 columns for one row of X, on 8 bytes a cycle. Cycles of docs/multipliers.md."""
    cycles = []
    for multiplier in ("native", "dsp"):
        loaded = config.load("systolic-8x8", ["array.columns=16", f"pe.multiplier={multiplier}"])
        family, chip = loaded.instance, loaded.design()
        program = compile_gemm(chip, family, 1, 576, 1536, mode=RAW)
        law = family.model().law()
        cycles.append(predict(chip, law, program.instructions, Options().timing).cycles)
    assert cycles == [112_192, 56_896]


@pytest.mark.parametrize(
    "keys",
    [{"rows": 0}, {"rows": 65}, {"columns": 0}, {"columns": 65}, {"rows": "8"}, {"size": 8}, {"dataflow": "none"},
     {"rows": 6, "dataflow": "weight-stationary"}, {"multiplier": "best"}, {"columns": 7, "multiplier": "dsp"}],
    ids=str,
)  # fmt: skip
def test_bounds_of_the_systolic_configuration(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        load_family("systolic").Config(**keys)


@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
@pytest.mark.parametrize("multiplier", ["native", "dsp"])
@pytest.mark.parametrize("shape", [(1, 70, 40), (13, 33, 21), (30, 130, 9)], ids=str)
def test_programs_on_the_systolic_model(shape: tuple[int, int, int], multiplier: str, dataflow: str) -> None:
    kind = load_family("systolic")
    keys = {"rows": 8, "columns": 6, "dataflow": dataflow, "multiplier": multiplier}
    family = kind(kind.Config(**keys), data_bytes=8)
    for memory in ({}, TINY):
        chip = design(family, **memory, lanes=2)
        verify(chip, family, compile_gemm(chip, family, *shape, mode=REQUANTISED))
