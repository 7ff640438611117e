"""The rule for a table alone: the largest magnitude of a block meets the table's, everything goes to the nearest level."""

from __future__ import annotations

import numpy as np

from hw.formats import Format
from hw.formats.scales import rounded
from sim.quantise.quantised import Quantised, by_blocks, largest, nearest


def quantise(format: Format, matrix: np.ndarray) -> Quantised:
    """Ties go to the lower level; a block of zeros has scale 1."""
    most = max(-format.minimum, format.maximum) * 2.0**format.unit
    tensor = largest(matrix.reshape(-1)) if format.shared == "tensor" else None

    def work(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
        peak = largest(blocks) if tensor is None else np.full(blocks.shape[:2], tensor)
        scales = rounded(format.scale, np.where(peak > 0, peak / most, 1.0))
        scaled = blocks / scales[..., None] / 2.0**format.unit
        return nearest(format, scaled), scales

    codes, scales = by_blocks(format, matrix, work)
    return Quantised(format=format, codes=codes, scales=scales)
