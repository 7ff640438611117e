"""GGUF's blocks: taken as they are and put back, and quantised to the same bytes as by the ``gguf`` package."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hw.formats import find
from hw.formats.ggml import GGML
from sim.quantise import quantise
from sim.quantise.ggml import block_bytes, from_blocks, to_blocks

NAMES = [format.name for format in GGML]
TYPES = {name: gguf.GGMLQuantizationType[name.upper()] for name in NAMES}


@st.composite
def matrices(draw: st.DrawFn, multiple: int = 32) -> np.ndarray:
    """Normal numbers, or few different ones (ties), some blocks zero or constant."""
    rows, depth = draw(st.integers(1, 3)), multiple * draw(st.integers(1, 3 if multiple > 1 else 70))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        matrix = generator.standard_normal((rows, depth))
    else:
        matrix = generator.integers(-16, 17, (rows, depth)) / 2
    matrix = matrix * 10.0 ** draw(st.sampled_from([-30, -7, -3, 0, 3])) + draw(st.sampled_from([0.0, 3.0]))
    return (matrix * (generator.random((rows, 1)) > 0.2)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@given(matrices())
def test_the_same_bytes(name: str, matrix: np.ndarray) -> None:
    quantised = quantise(matrix, name)
    data = to_blocks(quantised)
    np.testing.assert_array_equal(data, gguf.quants.quantize(matrix, TYPES[name]))
    np.testing.assert_array_equal(
        quantised.values().astype(np.float32), gguf.quants.dequantize(data, TYPES[name])
    )


@pytest.mark.parametrize("name", NAMES)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_any_bytes_are_taken_and_put_back(name: str, rows: int, blocks: int, seed: int) -> None:
    """Negative, subnormal and zero scales among them."""
    format = find(name)
    size = block_bytes(format)
    assert size == gguf.GGML_QUANT_SIZES[TYPES[name]][1]
    data = np.random.default_rng(seed).integers(0, 256, (rows, blocks * size), dtype=np.uint8)
    # Exponents of all ones are infinities and NaN.
    data.reshape(-1, size)[:, 1] &= 0xBF
    data.reshape(-1, size)[:, 3] &= 0xBF if format.offset else 0xFF
    quantised = from_blocks(format, data, (rows, 32 * blocks))
    np.testing.assert_array_equal(to_blocks(quantised), data)
    wanted = gguf.quants.dequantize(data, TYPES[name])
    np.testing.assert_array_equal(quantised.values().astype(np.float32), wanted)
    again = from_blocks(format, data.tobytes(), (rows, 32 * blocks))
    np.testing.assert_array_equal(again.codes, quantised.codes)


@pytest.mark.parametrize("name", NAMES)
@given(matrices(multiple=1))
def test_quantised_again_it_stays(name: str, matrix: np.ndarray) -> None:
    """Blocks may end early. Of Q4_1 only what float32 has without rounding: a minimum below 2**12 scales."""
    once = quantise(matrix, name)
    if once.offsets is not None:
        assume(bool((np.abs(once.offsets) <= once.scales * 2**12).all()))
    values = once.values()
    np.testing.assert_array_equal(quantise(values, name).values(), values)


@pytest.mark.parametrize("name", NAMES)
@given(matrices(multiple=1))
def test_monotone(name: str, matrix: np.ndarray) -> None:
    matrix = matrix[:1, :32]
    values = quantise(matrix, name).values()
    assert (np.diff(values[0, np.argsort(matrix[0])]) >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_zeros_of_tiny_and_of_huge_elements(name: str) -> None:
    for element in (0.0, 1e-300, 1e-41, 1e-12):
        quantised = quantise(np.array([[element, -element]]), name)
        assert (quantised.scales.tolist(), quantised.values().tolist()) == ([[0.0]], [[0.0, 0.0]])
    huge = quantise(np.array([[3e38, -3e38, 1e300, -1e300]]), name)
    assert np.abs(huge.scales).tolist() == [[65504.0]]
    assert np.isfinite(huge.values()).all()


def test_the_scale_of_q4_0_has_a_sign() -> None:
    quantised = quantise(np.array([[8.0, -7.0, 1.0, 0.0]]), "q4_0")
    assert quantised.scales.tolist() == [[-1.0]]
    assert quantised.values().tolist() == [[8.0, -7.0, 1.0, 0.0]]


def test_what_cannot_be() -> None:
    format = find("q4_1")
    data = np.zeros((2, 40), np.uint8)
    with pytest.raises(ValueError, match=r"blk\.0 must be 40 bytes of q4_1 for 2 x 32, not 80"):
        from_blocks(format, data, (2, 32), name="blk.0")
    with pytest.raises(ValueError, match=r"blk\.0 must have a K that is a multiple of 32 for q4_1, not 33"):
        from_blocks(format, data, (2, 33), name="blk.0")
    data[1, 22:24] = 0x00, 0x7C
    with pytest.raises(ValueError, match="the tensor must be finite, not inf as the minimum of block 3"):
        from_blocks(format, data, (2, 64))
    with pytest.raises(ValueError, match="K must be a multiple of 32 for q4_0, not 5"):
        to_blocks(quantise(np.ones((1, 5)), "q4_0"))
    for name, block in (("q8_0:g64", 64), ("q8_0:row", 0)):
        with pytest.raises(ValueError, match=f"block of format {name} must be 32, not {block}"):
            quantise(np.ones((1, 64)), name)
