"""Number formats: what a stored code stands for, exactly. One module per kind; a new format is one more entry of its table.

No Amaranth here. How codes are found is ``sim.quantise``'s.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

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

    Raises ``ValueError`` when there is none, or when its scales cannot be shared so.
    """
    match = re.fullmatch(r"([a-z0-9_-]+)(?::(?:g(\d{1,6})|(row|tensor)))?", name)
    if match is None or match[1] not in FORMATS:
        base = name.partition(":")[0]
        near = [] if base in FORMATS else get_close_matches(base, FORMATS)
        raise ValueError(
            "format must be one of those that `gatemill formats` lists, alone or with :gN for blocks of N, :row or :tensor, "
            f"not {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
        )
    format = FORMATS[match[1]]
    if match[2]:
        return format.grouped(int(match[2]))
    return format.shared_by(match[3]) if match[3] else format


__all__ = ["FORMATS", "INT8", "Format", "Operand", "PairFormat", "find"]
