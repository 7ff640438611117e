"""A format for every layer under a budget: least error, by integer linear programming.

A variable for each layer and format is 1 where the layer has the format; each layer has one. The sum of cycles (of the exact
cycle model) or of bytes stays within the budget, and that of the layers' errors, each times its sensitivity, is least.

Reference: HAWQ-V3, Yao et al., ICML 2021, section 4.2; solved with HiGHS through ``scipy.optimize.milp``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from gen.errors import RequestError
from gen.precision.cycles import Taken

MEASURES = ("cycles", "bytes")
"""What a budget may be of: members of ``Taken``."""
SECONDS = 60.0
"""That the solver may take; what it has by then is within ``Choice.gap`` of the best."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What there is to choose from.

    Members
    -------
    layers, formats : tuple of str
    taken : list of list of Taken
        [layer][format].
    errors : float64 [layers, formats]
        Of each layer in each format, times its sensitivity.
    """

    layers: tuple[str, ...]
    formats: tuple[str, ...]
    taken: Sequence[Sequence[Taken]]
    errors: np.ndarray

    def of(self, measure: str) -> np.ndarray:
        """int64 [layers, formats] of one of ``MEASURES``."""
        return np.array([[getattr(one, measure) for one in row] for row in self.taken], np.int64)

    def sums(self, places: np.ndarray) -> Choice:
        """Of the assignment whose formats are at ``places`` [layers]."""
        rows = np.arange(len(self.layers))
        return Choice(
            formats={
                layer: self.formats[place] for layer, place in zip(self.layers, places.tolist(), strict=True)
            },
            cycles=int(self.of("cycles")[rows, places].sum()),
            bytes=int(self.of("bytes")[rows, places].sum()),
            error=float(self.errors[rows, places].sum()),
        )

    def uniform(self) -> list[Choice]:
        """Every layer in the same format, format by format."""
        return [self.sums(np.full(len(self.layers), place)) for place in range(len(self.formats))]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A format for every layer, and what it comes to. ``gap`` is how far the error may be above the least, as a share."""

    formats: Mapping[str, str]
    cycles: int
    bytes: int
    error: float
    gap: float = 0.0


def solve(table: Table, budgets: Mapping[str, int]) -> Choice:
    """The choice of least error within ``budgets``, by names out of ``MEASURES``.

    Raises
    ------
    RequestError
        When no choice is within a budget; says what the least is.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, kron, vstack

    layers, formats = table.errors.shape
    for measure, budget in budgets.items():
        least = int(table.of(measure).min(axis=1).sum())
        if budget < least:
            raise RequestError(f"budget of {budget} {measure}: must be at least {least} with these formats")
    one_each = csr_array(kron(np.eye(layers), np.ones((1, formats))))
    scale = float(table.errors.max()) or 1.0
    limits = dict(budgets)
    while True:
        # Over the least of each layer: small numbers are solved more exactly.
        rows, most = [], []
        for measure, limit in limits.items():
            amounts = table.of(measure)
            least = amounts.min(axis=1, keepdims=True)
            unit = int(np.gcd.reduce((amounts - least).reshape(-1))) or 1
            rows.append(csr_array(((amounts - least) // unit).reshape(1, -1)))
            most.append((limit - int(least.sum())) // unit)
        with _quiet():
            found = milp(
                table.errors.reshape(-1) / scale,
                integrality=np.ones(layers * formats),
                bounds=Bounds(0, 1),
                constraints=LinearConstraint(
                    vstack([one_each, *rows]),
                    np.r_[np.ones(layers), np.full(len(rows), -np.inf)],
                    np.r_[np.ones(layers), most],
                ),
                options={"mip_rel_gap": 1e-6, "time_limit": SECONDS},
            )
        if found.x is None:
            raise RequestError(f"budgets {dict(budgets)}: must be ones that a choice meets ({found.message})")
        choice = table.sums(found.x.reshape(layers, formats).argmax(axis=1))
        beyond = {measure: getattr(choice, measure) - budget for measure, budget in budgets.items()}
        if max(beyond.values()) <= 0:
            return replace(choice, gap=float(found.mip_gap or 0.0))
        # What the solver's tolerance has let through.
        limits = {measure: limit - max(beyond[measure], 0) for measure, limit in limits.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """What the solver's library prints of itself goes nowhere: standard output is the command's."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def front(table: Table, measure: str, points: int) -> list[Choice]:
    """Choices for ``points`` budgets, evenly from the least to what the least error takes, and for what uniform ones take."""
    amounts = table.of(measure)
    low = int(amounts.min(axis=1).sum())
    best = table.errors.argmin(axis=1)
    high = max(low, int(amounts[np.arange(len(best)), best].sum()))
    budgets = {round(low + (high - low) * i / max(points - 1, 1)) for i in range(points)}
    budgets |= {getattr(one, measure) for one in table.uniform()}
    return [solve(table, {measure: budget}) for budget in sorted(budgets) if budget <= high]


def next_to_widen(table: Table, choice: Choice, measure: str) -> list[tuple[str, str, float, int]]:
    """Steps from ``choice`` that lower the error, the most for what they take first: layer, format, error saved, taken more.

    Of each layer its best step. One that takes nothing more is before all others.
    """
    amounts = table.of(measure)
    steps = []
    for row, layer in enumerate(table.layers):
        now = table.formats.index(choice.formats[layer])
        options = [
            (float(table.errors[row, now] - table.errors[row, place]), int(amounts[row, place] - amounts[row, now]), place)
            for place in range(len(table.formats))
        ]  # fmt: skip
        better = [(saved / max(more, 1), saved, more, place) for saved, more, place in options if saved > 0]
        if better:
            rate, saved, more, place = max(better)
            steps.append((rate, layer, table.formats[place], saved, more))
    steps.sort(key=lambda step: (-step[0], step[1]))
    return [(layer, name, saved, more) for _, layer, name, saved, more in steps]
