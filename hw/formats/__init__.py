"""Number formats: what a stored code stands for, exactly. One module per kind, one line here per format.

No Amaranth here.
"""

from __future__ import annotations

from hw.formats.format import Format
from hw.formats.integers import INT8
from hw.formats.operand import Operand

FORMATS: dict[str, Format] = {format.name: format for format in (INT8,)}
"""Every format by name."""

__all__ = ["FORMATS", "INT8", "Format", "Operand"]
