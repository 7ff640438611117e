"""When the bit-serial elements take their operands and give their results. No Amaranth here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hw.pe.weight_format import WeightFormat
from hw.timing import TERM_FOLDER

GroupLength = Literal[32, 64, 128, 256]
"""Weights along K that may share a scale."""
Rounding = Literal["nearest", "truncate"]
"""Of an element with fp16 activations: to nearest even, or cut off."""
SCALE_BITS = 8
"""Of a group's scale, 0 to 255: one bit a cycle, the highest first."""
CHAIN = 8
"""Most lanes of an int8 element whose sums are formed one after another; with more, several such chains stand side by side."""
FLOAT_NORMALISE = 8
"""Last terms' ``last`` at a ``FloatElement`` to its sum being rounded."""


@dataclass(frozen=True, kw_only=True)
class ElementTimes:
    """Cycles of an element.

    Parameters
    ----------
    feed : int
        From the encoder's terms to those of lane 0 at the element.
    skew : tuple of int
        Of each lane behind lane 0.
    significance, last : int
        From a term at lane 0 to its significance or shift; from the last term of a group to ``last``.
    scale : int
        From ``last`` to the first bit of the scale.
    result : int
        From ``finish``, which comes with its last bit, to the result.
    """

    feed: int
    skew: tuple[int, ...]
    significance: int
    last: int
    scale: int
    result: int

    @property
    def latency(self) -> int:
        """From the last term of a group at lane 0 to the result."""
        return self.last + self.scale + SCALE_BITS - 1 + self.result


def chain_joins(lanes: int) -> int:
    """Stages in which the sums of the chains of an int8 element are joined."""
    return (-(-lanes // CHAIN) - 1).bit_length()


def shift_stages(formats: Iterable[WeightFormat]) -> int:
    """Stages between the lanes' sum and the accumulator: its adder takes one shift, a second one is made before it."""
    formats = set(formats)
    return int(any(one.floating for one in formats) and any(one.terms > 2 for one in formats))


def int8_times(lanes: int, formats: Iterable[WeightFormat]) -> ElementTimes:
    """Of ``hw.pe.bit_serial.BitSerialElement``: two registers before its chain, one for every lane of that, the joins."""
    control = 2 + min(lanes, CHAIN) + chain_joins(lanes) - 1
    return ElementTimes(
        feed=TERM_FOLDER, skew=tuple(lane % CHAIN for lane in range(lanes)), significance=control, last=control,
        scale=1 + shift_stages(formats), result=2,
    )  # fmt: skip


def small_times(lanes: int, formats: Iterable[WeightFormat]) -> ElementTimes:
    """Of ``hw.pe.small_bit_serial.SmallElement``: a register before its tree, its layers, the shift's."""
    tree = 1 + tree_cycles(lanes)
    return ElementTimes(
        feed=TERM_FOLDER,
        skew=(0,) * lanes,
        significance=tree,
        last=tree + shift_stages(formats),
        scale=1,
        result=1,
    )


def tree_cycles(lanes: int) -> int:
    """Stages in which the lanes of a ``FloatElement``, or a ``SmallElement``, are added."""
    return max(1, (lanes - 1).bit_length())


def fp16_times(lanes: int) -> ElementTimes:
    """Of ``hw.pe.bit_serial_fp16.FloatElement``."""
    tree = tree_cycles(lanes)
    return ElementTimes(
        feed=0, skew=(0,) * lanes, significance=1 + tree, last=5 + tree, scale=FLOAT_NORMALISE + 1, result=2
    )
