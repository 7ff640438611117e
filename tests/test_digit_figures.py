"""Figures of the array that multiplies digit by digit: how they follow from weights and from what was packed, without packing."""

from types import SimpleNamespace

import numpy as np
import pytest

from gen.bench import digit_array
from gen.families.systolic import Systolic
from sim import digits


def test_cycles_of_a_product():
    """With one column nobody waits; with more the fullest says how long a group takes; and four cycles are the least."""
    w = np.zeros((8, 2), np.int64)
    w[:, 0] = -86  # four digits
    w[0, 1] = 27  # three
    assert digit_array.cycles(w, 2) == {"digits": 35 / 16, "alone": 40 / 16, "outside": 4, "array": 4}
    w[4:] = 0
    assert digit_array.cycles(w, 2) == {
        "digits": 19 / 16, "alone": (16 + 4 + 4 + 4) / 16, "outside": 40 / 16, "array": 40 / 16,
    }  # fmt: skip


def test_one_column_alone():
    w = np.random.default_rng(1).integers(-128, 128, (64, 3))
    found = digit_array.cycles(w, 1)
    assert found["alone"] == found["outside"] == sum(digits.cycles(digits.en_t(c)) for c in w.T) / w.size
    assert found["digits"] <= found["array"] <= found["alone"]


def test_rows(monkeypatch):
    """Kinds of weights by name, without those of a model that is not there; cores by multiplier."""
    luts, told = iter((100, 90, 60, 100, 90, 100)), []
    monkeypatch.setattr(digit_array.decoded_layers, "model", lambda: None)
    monkeypatch.setattr(digit_array, "DEPTH", 64)
    monkeypatch.setattr(Systolic, "core", lambda family, design: family.config.multiplier)
    monkeypatch.setattr(
        digit_array, "area", lambda core, flow: SimpleNamespace(luts=next(luts), flip_flops=7)
    )
    cycles, area = digit_array.rows(told.append)
    assert cycles.held
    assert list(cycles.values["cycles"]) == ["uniform", "normal, sigma 20", "int4", "ternary"]
    assert "ternary: 1.00 (digits 0." in cycles.measured
    assert told == [f"core with {one}" for one in digit_array.MULTIPLIERS]
    assert area.held
    assert area.values["area"]["sparse_digit"] == {"luts": 60, "flip_flops": 7}
    assert area.measured.endswith("sparse_digit 60 LUT and 7 flip-flops: 60% of the LUT")
    assert not digit_array.area_row(told.append).held


@pytest.mark.long
def test_weights_of_a_layer(monkeypatch):
    """A model's, in eight bits and in four."""
    matrix = np.random.default_rng(1).normal(0, 1, (32, 16))
    monkeypatch.setattr(
        digit_array.decoded_layers, "model", lambda: SimpleNamespace(weights=lambda name: matrix)
    )
    found = digit_array.weights()
    eight, four = (found[f"SmolLM2-135M blk.0.attn_q, {name}"] for name in ("int8", "int4"))
    assert (eight.shape, abs(eight).max(), abs(four).max()) == ((32, 16), 127, 7)
