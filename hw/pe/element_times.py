"""When the bit-serial elements take their operands and give their results. No Amaranth here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hw.pe.weight_format import WeightFormat

SCALE_BITS = 8
"""Of a group's scale: one a cycle, the highest first."""
CHAIN = 8
"""Most lanes of an int8 element whose sums are formed one after another."""


@dataclass(frozen=True, kw_only=True)
class ElementTimes:
    """Cycles of an element.

    Parameters
    ----------
    feed : int
        From the encoder's terms to those of lane 0 at the element.
    skew : tuple of int
        Of each lane behind lane 0.
    control : int
        From a term at lane 0 to its ``shift`` and ``last``.
    scale : int
        From ``last`` to the first bit of the scale.
    result : int
        From ``finish`` to the result.
    """

    feed: int
    skew: tuple[int, ...]
    control: int
    scale: int
    result: int

    @property
    def latency(self) -> int:
        """From the last term of a group at lane 0 to the result."""
        return self.control + self.scale + SCALE_BITS - 1 + self.result


def int8_times(lanes: int, formats: Iterable[WeightFormat]) -> ElementTimes:
    """Of ``hw.pe.bit_serial.BitSerialElement``: two registers before its chain of adders, one for every lane of that, and one for
    each stage in which several chains are joined; one more where sums may be shifted by one and by four.
    """
    formats = set(formats)
    joins = (-(-lanes // CHAIN) - 1).bit_length()
    staged = any(one.floating for one in formats) and any(one.terms > 2 for one in formats)
    return ElementTimes(
        feed=1, skew=tuple(lane % CHAIN for lane in range(lanes)), control=1 + min(lanes, CHAIN) + joins,
        scale=1 + staged, result=2,
    )  # fmt: skip
