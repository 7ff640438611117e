"""The rule for a table alone: the extremes of a block meet the table's, everything goes to the nearest level."""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from hw.formats.scales import rounded
from sim.quantise.quantised import Quantised, by_blocks, nearest


def quantise(format: Format, matrix: np.ndarray) -> Quantised:
    """The smallest scale with which neither the largest nor the smallest element is beyond the table's, as a nearest number.

    A side on which the table has nothing does not count. Ties go to the lower level; a block of which nothing counts has scale 1.
    Elements saturate when the scale is the largest of its type. Quantised again, the result stays, but for scales so small that
    their own rounding moves an outermost element to another level (half precision: below 2**-12).
    """
    unit = 2.0**format.unit

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        ideal = np.zeros(blocks.shape[:-1])
        if format.maximum > 0:
            ideal = np.maximum(ideal, blocks.max(axis=-1) / (format.maximum * unit))
        if format.minimum < 0:
            ideal = np.maximum(ideal, blocks.min(axis=-1) / (format.minimum * unit))
        scales = rounded(format.scale, np.where(ideal > 0, ideal, 1.0))
        return nearest(format, blocks / scales[..., None] / unit), scales

    codes, scales = by_blocks(format, matrix, work)
    return Quantised(format=format, codes=codes, scales=scales)
