"""Number formats: what a stored code stands for, exactly. One module per kind; a new format is one more entry of its table.

No Amaranth here. How codes are found is ``sim.quantise``'s.
"""

from __future__ import annotations

import re

from hw.formats.bitmod import BITMOD
from hw.formats.floats import FLOATS
from hw.formats.format import Format
from hw.formats.ggml import GGML
from hw.formats.integers import INT8, INTEGERS
from hw.formats.olive import OLIVE, PairFormat
from hw.formats.operand import Operand

FORMATS: dict[str, Format] = {format.name: format for format in (*INTEGERS, *BITMOD, *OLIVE, *FLOATS, *GGML)}
"""Every format by name."""


def find(name: str) -> Format:
    """The format of that name; ``:gN`` appended for blocks of N elements, ``:row`` or ``:tensor`` for none.

    Raises ``ValueError`` when there is none.
    """
    match = re.fullmatch(r"([a-z0-9_-]+)(?::(?:g(\d{1,6})|(row|tensor)))?", name)
    if match is None or match[1] not in FORMATS:
        raise ValueError(
            f"format must be one of {', '.join(FORMATS)}, :gN appended for blocks of N, "
            f":row or :tensor for a scale each, not {name!r}"
        )
    format = FORMATS[match[1]]
    if match[2]:
        return format.grouped(int(match[2]))
    return format.shared_by(match[3]) if match[3] else format


__all__ = ["FORMATS", "INT8", "Format", "Operand", "PairFormat", "find"]
