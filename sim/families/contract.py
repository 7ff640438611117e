"""What simulation needs of an array family: the model's side of the contract in docs/architecture.md. No Amaranth here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Weights = Callable[[], np.ndarray]
"""Gives the bytes (uint8) of the weight scratchpad as a command finds them; good until the next command is asked for."""


class ExecuteTimes(Protocol):
    """Cycles of one command."""

    @property
    def taken(self) -> int:
        """The command's handshake at the core."""

    @property
    def finished(self) -> int:
        """The accumulators say that the command has ended."""

    @property
    def steps(self) -> int:
        """How many cycles ``step`` is high in."""


@dataclass(frozen=True)
class Times:
    """When a command is carried out, in clock cycles: what laws here give for ``ExecuteTimes``."""

    taken: int
    """Handshake of the command."""
    begin: int
    """First cycle in which the core is busy with it."""
    end: int
    """First cycle in which the core is no longer busy with it."""
    finished: int
    """The accumulators' ``finished``."""
    steps: int
    """Cycles in which the array takes a step, ``busy`` or not with another command at the same time."""


class Successive:
    """Commands that follow each other without a gap, in a core that starts in cycle 0.

    Parameters
    ----------
    setup : int
        Cycles from a command's handshake to the first that may be busy with it; the next command is taken from that cycle on.
    overlap : bool
        If not, the next command is taken in the cycle of this one's ``finished`` at the earliest.
    """

    def __init__(self, setup: int, *, overlap: bool = True):
        self._setup, self._overlap = setup, overlap
        self._start = self._end = 0

    def next(self, visible: int, *, cycles: int, steps: int, tail: int) -> Times:
        """Of a command that is busy for so many cycles, and ends ``tail`` cycles after the last of them."""
        taken = max(visible, self._start)
        self._start = max(taken + self._setup, self._end)
        self._end = self._start + cycles
        finished = self._end - 1 + tail
        if not self._overlap:
            self._start = finished
        return Times(taken=taken, begin=taken + 1, end=self._end, finished=finished, steps=steps)


class CycleLaw(Protocol):
    """When a core does what; stateful: commands must be given in order."""

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights) -> ExecuteTimes:
        """A command is valid at the core from cycle ``visible`` on; ``fields`` are those of the instruction.

        Only a law whose times depend on the data calls ``weights``: it may take long, or fail where nobody knows them.
        """


class SettingsLaw(CycleLaw, Protocol):
    """Of a core that has settings."""

    def configure(self, visible: int, fields: Mapping[str, int]) -> ExecuteTimes:
        """The same for a CONFIGURE, which takes no step."""


class ArrayModel(Protocol):
    """The model of one array."""

    def activation_bytes(self, variant: int, steps: int) -> int:
        """Bytes that ``steps`` of K of a row take in memory and scratchpad, scales included.

        In proportion to ``steps`` at multiples of the family's ``depth_granule``.
        """

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        """Weight words of one column tile that is ``depth_tiles`` deep, scales included."""

    def multiplications(self, variant: int) -> float:
        """Products that the array can add in a cycle: what its utilisation is measured against.

        At a fixed rate; with an array that skips some of them utilisation may be above 1.
        """

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        """About how long a column tile takes when nothing waits, whatever the weights are; for the compiler to choose by."""

    def execute(
        self,
        fields: Mapping[str, int],
        activations: np.ndarray,
        weights: np.ndarray,
        settings: Sequence[int] = (),
    ) -> np.ndarray:
        """The results that an EXECUTE sends to its accumulators, from the bytes (uint8) of both scratchpads and the array's
        settings in force.

        [row_tiles * tile_rows, column_tiles * columns] of ``geometry.sums``. int32 in whatever parts they come: their sum,
        which wraps. float32 [results, rows, features], as many for each accumulator as the array sends to it, in order: their
        sum depends on it. The first one overwrites, unless the command accumulates.
        """

    def law(self) -> CycleLaw:
        """A fresh cycle law, at the start of a run; a ``SettingsLaw`` if the array has settings."""
