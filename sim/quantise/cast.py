"""The rule for half precision: each element to the nearest number, ties to even, without a scale."""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from sim.quantise.quantised import Quantised

_LARGEST = float(np.finfo(np.float16).max)


def quantise(format: Format, matrix: np.ndarray) -> Quantised:
    """IEEE 754's rounding, subnormal numbers kept; what is too large saturates, for the format has no infinity.

    -0 and what rounds to it keep their sign. The only scale is 1.
    """
    codes = np.clip(matrix, -_LARGEST, _LARGEST).astype(np.float16).view(format.code_type)
    return Quantised(format=format, codes=codes, scales=np.ones((1, 1)))
