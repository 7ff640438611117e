"""What the cycle model says of a program."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Trace:
    """What happened when, in clock cycles; lists by instruction are in program order."""

    handed: list[int] = field(default_factory=list)
    """Fetch handed each instruction over; issued in order, it starts."""
    looked: list[int] = field(default_factory=list)
    """Each instruction, then at the head of its queue, first looked for its tokens; issued in order, it is asked for."""
    steps: list[int] = field(default_factory=list)
    """Array steps of each instruction."""
    events: list[int] = field(default_factory=list)
    """Everything that happened in the model, in order; issued in order, what the core took."""


@dataclass
class Prediction:
    """What a program is predicted to take."""

    cycles: int
    """As the ``cycles`` counter: from the start to the end."""
    array_steps: int = 0
    load_beats: int = 0
    fetch_beats: int = 0
    store_beats: int = 0
    finished: list[int] = field(default_factory=list)
    """Cycle in which each instruction ended, in program order."""
    trace: Trace | None = None
    """Only if it was asked for."""


class WeightsNeeded(ValueError):
    """Cycles depend on the weights, and nobody has told them."""
