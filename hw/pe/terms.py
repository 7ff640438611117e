"""A weight's terms, as they travel to the bit-serial elements."""

from __future__ import annotations

from amaranth.lib.data import StructLayout

TERM = StructLayout({"sign": 1, "exponent": 2, "man": 1})
"""``(-1)**sign * man * 2**exponent``, times two to the power of the significance that all lanes share."""
