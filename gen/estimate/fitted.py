"""Answers at once: a model of each module, fitted to measured points, and judged by points that it has not seen.

``points.json`` has what was measured (``gen.estimate.collect``), ``fitted.json`` the coefficients. LUTs and registers of a module
are sums of ``features.terms`` times coefficients that are not negative, fitted by least squares of relative errors
(Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23). DSP blocks and block RAMs follow from the sizes. MHz are
those of placed points, the more alike the more they count (``clock``).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from fpga.synthesis import Flow
from gen.config import Config
from gen.errors import RequestError
from gen.estimate import features
from gen.estimate.features import CORE, FRAME, KINDS, MODULES
from gen.estimate.points import TARGET, Chosen

FOLDER = Path(__file__).parent
POINTS, MODEL = FOLDER / "points.json", FOLDER / "fitted.json"
RESOURCES = ("lut", "ff", "dsp", "bram")
FITTED = ("lut", "ff")
"""What coefficients are for."""
FLOW = f"fitted to measured points: {Flow().text}, flat and packed"
EVEN = 1e-3
"""Weight of the sizes of coefficients beside that of relative errors."""
LEAST = 3
"""Points of a kind's core that a model of it takes."""
NEAR = 1e-6
"""A distance that is none."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measured point.

    Members
    -------
    config : Config
    held, core : bool
        Held out; of the core alone.
    figures : dict
        ``lut``, ``ff``, ``dsp``, ``bram``, and each of them of each module: ``core.lut``; ``fmax_mhz`` if it was placed. One that
        is not there is not fitted.
    """

    config: Config
    held: bool
    core: bool
    figures: Mapping[str, float] = field(repr=False)

    def of(self, module: str, resource: str) -> float:
        """What a module takes: of a core alone, all of it."""
        if self.core:
            return self.figures[resource] if module == CORE else 0
        return self.figures.get(f"{module}.{resource}", 0)


def read(rows: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """Points from the rows of ``points.json``."""
    return [
        Measured(
            config=Chosen(base=row["base"], settings=row["settings"]).config,
            held=row["held"], core=row["core"], figures=row["figures"],
        )
        for row in rows
    ]  # fmt: skip


def points() -> list[Measured]:
    """All that were measured."""
    return read(json.loads(POINTS.read_text()))


def non_negative(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The x of least ``|matrix x - values|`` with no negative element."""
    x, passive = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1], bool)
    tolerance = 1e-10 * max(1.0, np.abs(matrix).sum())
    for _ in range(3 * matrix.shape[1]):
        gradient = matrix.T @ (values - matrix @ x)
        if passive.all() or gradient[~passive].max() <= tolerance:
            break
        passive[np.argmax(np.where(passive, -np.inf, gradient))] = True
        while True:
            tried = np.zeros_like(x)
            tried[passive] = np.linalg.lstsq(matrix[:, passive], values, rcond=None)[0]
            wrong = passive & (tried <= 0)
            if not wrong.any():
                break
            share = (x[wrong] / (x[wrong] - tried[wrong])).min()
            x = x + share * (tried - x)
            passive &= x > tolerance
            x[~passive] = 0
        x = tried
    return x


def fit(measured: Sequence[Measured]) -> dict[str, Any]:
    """The model, as ``fitted.json`` has it: coefficients, errors on held-out points, and the range of sizes."""
    seen = [one for one in measured if not one.held]
    model: dict[str, Any] = {"target": TARGET, "cores": {}, "frame": {}, "clocks": {}, "points": {}}
    whole = [one for one in seen if not one.core]
    model["ranges"] = {module: _range(whole, module) for module in FRAME}
    for module in FRAME:
        model["frame"][module] = {name: _coefficients(whole, module, name) for name in FITTED}
    for kind in KINDS:
        own = [one for one in seen if features.kind(one.config) == kind]
        if len(own) < LEAST:
            continue
        model["cores"][kind] = {name: _coefficients(own, CORE, name) for name in FITTED}
        model["points"][kind] = len(own)
        model["ranges"][kind] = _range(own, CORE)
    model["clocks"] = _clocks([one for one in seen if "fmax_mhz" in one.figures])
    model["errors"] = {kind: errors(model, kind, measured) for kind in model["cores"]}
    return model


def _clocks(placed: Sequence[Measured]) -> dict[str, list[dict[str, Any]]]:
    """By kind, points that were placed: the ``terms`` of their cores, and the MHz of the accelerator, ``whole``, and of the
    ``core`` alone, if it was placed. Where only that was, an accelerator is made up.

    It takes the share of its core's MHz that others take whose core of the same array was placed alone, but no more than the
    fastest with the same sums: that is what is around a core. The fastest says nothing of the share.
    """
    wholes, cores = ([one for one in placed if one.core == core] for core in (False, True))
    most: dict[str, float] = {}
    for one in wholes:
        sums = one.config.geometry.sums
        most[sums] = max(most.get(sums, 0.0), one.figures["fmax_mhz"])
    shares = [
        whole.figures["fmax_mhz"] / core.figures["fmax_mhz"]
        for whole in wholes
        for core in cores
        if whole.config.array == core.config.array and whole.figures["fmax_mhz"] < max(most.values())
    ]
    share = statistics.median(shares) if shares else 1.0
    found: dict[str, list[dict[str, Any]]] = {}
    for one in [*wholes, *cores]:
        mhz, terms = one.figures["fmax_mhz"], features.terms(one.config)[CORE]
        rows = found.setdefault(str(features.kind(one.config)), [])
        row = next((row for row in rows if row["terms"] == terms), None)
        if row is None:
            row = {"terms": terms}
            rows.append(row)
            if one.core:
                top = most.get(one.config.geometry.sums, max(most.values(), default=mhz))
                row["whole"] = round(min(top, share * mhz), 2)
        row.setdefault("core" if one.core else "whole", round(mhz, 2))
    return found


def clock(model: Mapping[str, Any], config: Config, name: str = "whole") -> float | None:
    """MHz of the accelerator, or of its ``core`` alone; None if none of its kind was placed.

    The mean of those of placed points of its kind, each with the inverse of its distance as weight (Shepard, A two-dimensional
    interpolation function for irregularly-spaced data, 1968). The distance is that of the terms' logarithms, summed.
    """
    terms = features.terms(config)[CORE]
    rows = [row for row in model["clocks"].get(features.kind(config), []) if name in row]
    if not rows:
        return None
    weights = [
        1 / max(NEAR, sum(abs(log((1 + terms[term]) / (1 + row["terms"][term]))) for term in terms))
        for row in rows
    ]
    return round(sum(weight * row[name] for weight, row in zip(weights, rows, strict=True)) / sum(weights), 2)


def _coefficients(measured: Sequence[Measured], module: str, resource: str) -> dict[str, float]:
    """Of the terms of a module; small ones are left out."""
    measured = [one for one in measured if resource in one.figures]
    rows = [features.terms(one.config)[module] for one in measured]
    if not rows:
        return {}
    names = list(rows[0])
    values = np.array([one.of(module, resource) for one in measured], float)
    weights = 1 / np.maximum(values, 16)
    matrix = np.array([[row[name] for name in names] for row in rows]) * weights[:, None]
    scale = np.maximum(np.linalg.norm(matrix, axis=0), 1e-12)
    # Of models that are as good, the one whose terms have even shares: with few points there are many.
    even = np.sqrt(EVEN) * np.eye(len(names))
    found = (
        non_negative(np.vstack([matrix / scale, even]), np.append(values * weights, np.zeros(len(names))))
        / scale
    )
    return {name: float(f"{value:.6g}") for name, value in zip(names, found, strict=True) if value > 1e-9}


def _range(measured: Sequence[Measured], module: str) -> dict[str, list[float]]:
    """The least and the most of each term of a module."""
    rows = [features.terms(one.config)[module] for one in measured]
    names = rows[0] if rows else {}
    return {name: [min(row[name] for row in rows), max(row[name] for row in rows)] for name in names}


def beyond(model: Mapping[str, Any], config: Config) -> list[str]:
    """Terms of a configuration that are smaller or larger than those of all points that its models were fitted to."""
    kind, found = features.kind(config), []
    for module, terms in features.terms(config).items():
        ranges = model["ranges"][kind if module == CORE else module]
        found += [
            f"{module}.{name}"
            for name, value in terms.items()
            if not ranges.get(name, [0, -1])[0] <= value <= ranges.get(name, [0, -1])[1]
        ]
    return found


def errors(model: Mapping[str, Any], kind: str, measured: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Relative errors on the points of a kind that were held out, whole accelerators and cores alone: the middle one and the
    worst of each figure."""
    found: dict[str, list[float]] = {}
    for one in measured:
        if one.held and features.kind(one.config) == kind:
            told = predict(model, one.config)
            if one.core:
                told = told["modules"][CORE] | {"fmax_mhz": clock(model, one.config, "core")}
            for name in (*RESOURCES, "fmax_mhz"):
                if told.get(name) is not None and one.figures.get(name) is not None:
                    found.setdefault(name, []).append(
                        abs(told[name] - one.figures[name]) / max(one.figures[name], 1)
                    )
    return {
        name: {"median": round(statistics.median(some), 4), "worst": round(max(some), 4), "points": len(some)}
        for name, some in found.items()
    }


def predict(model: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """``lut``, ``ff``, ``dsp``, ``bram``, ``fmax_mhz`` (None if no such point was placed), and ``modules`` by name."""
    kind = features.kind(config)
    if kind is None:
        raise ValueError(f"configuration must be of a fitted kind, not {config.name}")
    terms, dsps, brams = features.terms(config), features.dsps(config), features.block_rams(config)
    modules: dict[str, dict[str, int]] = {}
    for module in MODULES:
        known = model["cores"][kind] if module == CORE else model["frame"][module]
        area = {
            name: round(sum(each * terms[module][term] for term, each in known[name].items()))
            for name in FITTED
        }
        modules[module] = area | {"dsp": dsps.get(module, 0), "bram": brams.get(module, 0)}
    total = {name: sum(one[name] for one in modules.values()) for name in RESOURCES}
    return {**total, "fmax_mhz": clock(model, config), "modules": modules}


@cache
def model() -> dict[str, Any]:
    """The one that comes along."""
    return json.loads(MODEL.read_text())


def answer(config: Config, target: str) -> dict[str, Any]:
    """What ``predict`` says, with the errors of that kind of core on held-out points.

    Raises ``RequestError`` where there is no model.
    """
    known, kind = model(), features.kind(config)
    if target != known["target"]:
        raise RequestError(
            f"target {target!r}: must be {known['target']} for the fitted model, or be measured"
        )
    if kind is None or kind not in known["cores"]:
        raise RequestError(
            f"configuration {config.name!r}: must have a core of {', '.join(known['cores']) or 'a fitted kind'}, with queues, "
            "for the fitted model, or be measured"
        )
    return predict(known, config) | {
        "kind": kind,
        "errors": known["errors"].get(kind, {}),
        "beyond": beyond(known, config),
    }


def figures(config: Config, target: str) -> dict[str, Any]:
    """What there is of an answer, by the names of ``gen.sweep.figures.FIGURES``. Raises as :func:`answer`."""
    told = answer(config, target)
    return {name: told[name] for name in (*RESOURCES, "fmax_mhz") if told[name] is not None}


def main() -> None:
    """Fit the model to the points anew."""
    MODEL.write_text(json.dumps(fit(points()), indent=1) + "\n")


if __name__ == "__main__":
    main()
