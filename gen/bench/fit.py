"""How far off the fitted model is on configurations that it has not seen."""

from __future__ import annotations

from collections.abc import Callable

from gen.bench.figures import Row
from gen.estimate import features, fitted

MOST_LUT, MOST_CLOCK = 0.05, 0.12
"""Relative errors in the middle, of LUTs and of MHz."""


def rows(notify: Callable[[str], None]) -> list[Row]:
    """A row for each kind of core that there are points of, from the points that come along."""
    points = fitted.points()
    model = fitted.fit(points)
    notify(f"{len(points)} points")
    return [_row(kind, model, points) for kind in model["cores"]]


def _row(kind: str, model: dict, points: list[fitted.Measured]) -> Row:
    own = [one for one in points if features.kind(one.config) == kind]
    errors = model["errors"][kind]
    names = {"lut": "LUT", "ff": "registers", "dsp": "DSP blocks", "bram": "block RAMs", "fmax_mhz": "MHz"}
    parts = [
        f"{names[name]} {one['median']:.1%}, at worst {one['worst']:.1%}, of {one['points']}"
        for name, one in errors.items()
    ]
    judged = [("lut", MOST_LUT), ("fmax_mhz", MOST_CLOCK)]
    held = all(errors[name]["median"] <= most for name, most in judged if name in errors)
    return Row(
        key="fit",
        what=f"fitted model, {kind}: error in the middle on held-out configurations",
        measured="; ".join(parts) or "none was held out",
        must=f"LUT {MOST_LUT:.0%}, MHz {MOST_CLOCK:.0%}",
        held=held if errors else None,
        values={"errors": errors, "points": len(own), "held": sum(one.held for one in own)},
    )
