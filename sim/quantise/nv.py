"""NVIDIA's blocks: 4-bit elements, an E4M3 scale for a block, a float32 scale for the tensor.

Reference: fouroversix (commit dadfad6, reference.py), whose arithmetic, all of it float32, is followed step by step:

    encode = most * scale_most / amax(tensor)       scale = e4m3(amax(block) / most * encode)
    decode = 1 / encode                             element = round(x * (1 / (decode * scale)))
    outer = amax(tensor) / (most * scale_most)      x stands for element * scale * outer

``most`` is the largest element value, ``scale_most`` 448 (256 for four over six); ties to even in both roundings. Edges:

- a matrix of float64 is rounded to float32 first, what is too large to the largest float32 (``outer`` comes from before that);
- a block too small for E4M3 next to the tensor's largest, or for the reciprocal to be finite, has scale 0 and zeros for
  elements; so has a block of zeros;
- ``encode`` has to be finite: a tensor of zeros, or whose largest magnitude is below 8e-36, is scaled as if that were 8e-36
  (there the published code divides infinities);
- a block with a subnormal scale can have elements beyond ``most``: they saturate (the published code lets 8 overflow into the
  sign bit). Only such a block can change when its values are quantised again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from hw.formats import Format
from sim.quantise.mx import by_shares, rounded_codes
from sim.quantise.quantised import Quantised, largest

SCALE_MOST = 448
"""Largest number of E4M3."""
FOUR_OVER_SIX_MOST = 256
"""Largest scale of four over six before its 3/2."""
INTEGER = 6 / 7
"""What 1 of the integers of IF4 counts, next to 1 of E2M1."""
ERRORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mse": lambda off: (off * off).sum(axis=-1, dtype=np.float64),
    "mae": lambda off: np.abs(off).sum(axis=-1, dtype=np.float64),
    "abs_max": largest,
}
"""By name, what the better of two candidates has less of, from what a block's values are off."""

_LARGEST = np.finfo(np.float32).max


def quantise(format: Format, matrix: np.ndarray) -> Quantised:
    """NVFP4 and NVINT4: the largest magnitude of a block meets the largest element value."""
    tensor = Tensor.of(matrix, format.maximum * 2.0**format.unit, SCALE_MOST)

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        blocks = _float32(blocks)
        scales = tensor.scales(blocks)
        return rounded_codes(format, tensor.scaled(blocks, scales), "even"), scales.astype(np.float64)

    codes, scales = by_shares(format, matrix, work)
    return Quantised(format=format, codes=codes, scales=scales, outer=tensor.outer())


def four_over_six(format: Format, matrix: np.ndarray, *, error: str = "mse") -> Quantised:
    """NVFP4, a block's largest magnitude meeting 6 or 4 (scale times 3/2), whichever errs less; 6 when neither does.

    Errors are those of float32, and infinite when float32 overflows: 6 then. Their sums, whose order the published code
    leaves to the machine, are float64.
    """
    _check(error)
    tensor = Tensor.of(matrix, format.maximum * 2.0**format.unit, FOUR_OVER_SIX_MOST)

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        blocks = _float32(blocks)
        six, four = tensor.scales(blocks), tensor.scales(blocks, expansion=1.5)
        codes = [rounded_codes(format, tensor.scaled(blocks, scales), "even") for scales in (six, four)]
        elements = [(format.decode(each) * 2.0**format.unit).astype(np.float32) for each in codes]
        errors = [
            _errors(error, blocks, tensor.dequantised(each, scales))
            for each, scales in zip(elements, (six, four), strict=True)
        ]
        less = errors[1] < errors[0]
        return np.where(less[..., None], codes[1], codes[0]), np.where(less, four, six).astype(np.float64)

    codes, scales = by_shares(format, matrix, work)
    return Quantised(format=format, codes=codes, scales=scales, outer=tensor.outer())


def integer_or_float(format: Format, matrix: np.ndarray, *, error: str = "mse") -> Quantised:
    """IF4: E2M1 (selector 0) or integers times 6/7 (selector 1) with one scale, whichever errs less; E2M1 when neither does.

    The format counts in fourteenths, so that both are integers: ``outer`` is a seventh of NVFP4's.
    """
    _check(error)
    tensor = Tensor.of(matrix, format.maximum * 2.0**format.unit / 7, SCALE_MOST)

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        blocks = _float32(blocks)
        scales = tensor.scales(blocks)
        scaled = tensor.scaled(blocks, scales)
        floats = rounded_codes(format, scaled * 7.0, "even", 0)
        steps = np.clip(np.rint(scaled * np.float32(1 / INTEGER)), -7, 7)
        integers = rounded_codes(format, steps * 6.0, "even", 1)
        elements = (format.decode(floats) * 2.0**format.unit / 7).astype(np.float32)
        chosen = _errors(error, blocks, tensor.dequantised(steps, scales, INTEGER)) < _errors(
            error, blocks, tensor.dequantised(elements, scales)
        )
        codes = np.where(chosen[..., None], integers, floats)
        return codes, scales.astype(np.float64), chosen.astype(np.uint8)

    codes, scales, selectors = by_shares(format, matrix, work)
    return Quantised(
        format=format, codes=codes, scales=scales, selectors=selectors, outer=tensor.outer(parts=7)
    )


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """What the blocks of a tensor have in common."""

    peak: float
    most: float
    scale_most: int

    @classmethod
    def of(cls, matrix: np.ndarray, most: float, scale_most: int) -> Tensor:
        """For the matrix in which ``most`` is the largest element value, and ``scale_most`` the largest scale."""
        least = np.nextafter(np.float32(most * scale_most) / _LARGEST, np.float32(1))
        peak = np.clip(largest(matrix.reshape(-1)), float(least), float(_LARGEST))
        return cls(peak=float(peak), most=most, scale_most=scale_most)

    @property
    def encode(self) -> np.float32:
        """From numbers to products of element and scale."""
        return np.float32(self.most * self.scale_most / self.peak)

    def outer(self, parts: int = 1) -> np.ndarray:
        """The second scale, elements being given in ``parts``."""
        return (
            np.array([[self.peak / (self.most * self.scale_most * parts)]])
            .astype(np.float32)
            .astype(np.float64)
        )

    def scales(self, blocks: np.ndarray, expansion: float = 1.0) -> np.ndarray:
        """E4M3 scales of blocks, as float32."""
        wanted = largest(blocks) / np.float32(self.most) * self.encode * np.float32(expansion)
        scales = wanted.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
        return np.where(np.isfinite(self._reciprocals(scales)), scales, np.float32(0))

    def _reciprocals(self, scales: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", over="ignore"):
            return np.float32(1) / (np.float32(1) / self.encode * scales)

    def scaled(self, blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """The elements before rounding; -0 becomes 0."""
        factors = np.where(scales > 0, self._reciprocals(scales), np.float32(0))
        return blocks * factors[..., None] + np.float32(0)

    def dequantised(self, elements: np.ndarray, scales: np.ndarray, factor: float = 1.0) -> np.ndarray:
        """What candidates are compared by: multiplied in this order, each product rounded to float32."""
        with np.errstate(over="ignore"):
            product = elements * scales[..., None] * np.float32(self.peak) * np.float32(factor)
        return product / np.float32(self.most * self.scale_most)


def _float32(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -float(_LARGEST), float(_LARGEST)).astype(np.float32)


def _errors(kind: str, blocks: np.ndarray, dequantised: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return ERRORS[kind](dequantised - blocks)


def _check(kind: str) -> None:
    if kind not in ERRORS:
        raise ValueError(f"error must be one of {', '.join(ERRORS)}, not {kind!r}")
