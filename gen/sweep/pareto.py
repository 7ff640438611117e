"""The Pareto front: points that no other one beats or equals in all objectives and beats in one."""

from __future__ import annotations

from collections.abc import Sequence

from gen.sweep.figures import Objective
from gen.sweep.store import Row


def front(rows: Sequence[Row], objectives: Sequence[Objective]) -> list[Row]:
    """Of those that are done and have all figures of ``objectives``; ordered by the first. Equal ones are all in it."""
    losses = [
        (tuple(one.loss(row.figures) for one in objectives), row)
        for row in rows
        if row.done and all(one.figure in row.figures for one in objectives)
    ]
    losses.sort(key=lambda pair: pair[0])
    best: list[tuple[tuple[float, ...], Row]] = []
    for loss, row in losses:
        # Whoever beats it comes before it in this order.
        if not any(_beats(other, loss) for other, _ in best):
            best.append((loss, row))
    return [row for _, row in best]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
