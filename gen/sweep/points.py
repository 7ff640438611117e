"""Points: what is evaluated, by what it is made from."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from gen import config
from gen.errors import RequestError
from gen.estimate.targets import LIBERTY, liberty_file
from gen.sweep.constraint import Value
from gen.sweep.spec import BASE, RUN_KEYS, Loaded
from sim import tools

ROOT = Path(__file__).resolve().parent.parent.parent
_PACKAGES = ("hw", "sim", "fpga", "gen")
_NO_MATTER = (
    "gen/commands",
    "gen/bench",
    "gen/reproduce",
    "gen/sweep",
    "gen/estimate",
    "fpga/host",
    "fpga/boards",
)
_MATTER = (
    "gen/sweep/evaluate.py",
    *(f"gen/estimate/{name}.py" for name in ("measured", "fpga", "asic", "work", "targets")),
)  # fmt: skip
_FITTED = ("gen/estimate/fitted.json", "gen/estimate/fitted.py", "gen/estimate/features.py")
"""What the fitted model is made of."""


@cache
def generator_version() -> str:
    """A hash of the sources that figures depend on: another one, and points are evaluated anew."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            if name in _MATTER or not name.startswith(_NO_MATTER):
                digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def fitted_version() -> str:
    """A hash of the fitted model: points by another one are evaluated anew, measured ones are not."""
    digest = hashlib.sha256()
    for name in _FITTED:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


@cache
def environment() -> str:
    """What figures depend on besides the point: the generator's version and the tools', as a digest."""
    content = {"generator": generator_version(), "tools": tools.versions()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A configuration on a part, with a workload.

    Parameters
    ----------
    base : str
        Preset or file that it starts from, for commands.
    settings : dict
        Values of the parameters that are varied, without the target.
    data : dict
        The configuration with them, as in a file.
    target : str
    options : dict
        ``place_and_route``, ``workload``, ``weights``, ``activations``, ``clock_mhz``, ``seed``, ``method``.
    """

    base: str
    settings: dict[str, Value]
    data: dict[str, Any]
    target: str
    options: dict[str, Any]

    @classmethod
    def of(cls, loaded: Loaded, settings: dict[str, Value]) -> Point:
        """From what a grid or an explorer gives; raises ``RequestError`` when a path does not lead into a table."""
        spec, (file, base) = loaded.spec, loaded.start(settings)
        data = copy.deepcopy(base)
        chosen = {path: value for path, value in settings.items() if path != "target"}
        for path, value in chosen.items():
            if path not in (BASE, *RUN_KEYS):
                _set(data, path, value)
        options = {
            "place_and_route": spec.place_and_route, "workload": loaded.workload, "weights": spec.weights,
            "activations": spec.activations, "clock_mhz": spec.clock_mhz, "seed": spec.seed,
            "method": spec.method,
        }  # fmt: skip
        options |= {key: chosen[key] for key in RUN_KEYS if key in chosen}
        return cls(base=file, settings=chosen, data=data, target=str(settings["target"]), options=options)

    @cached_property
    def refusal(self) -> str | None:
        """Why there is no such configuration, or None."""
        try:
            config.check(self.data, "of a point")
        except RequestError as error:
            return "; ".join(error.lines[1:] or error.lines)
        return None

    @cached_property
    def config(self) -> config.Config:
        """The configuration; raises ``RequestError`` when there is none."""
        return config.check(self.data, "of a point")

    def key(self, evaluator: str) -> str:
        """The content address: SHA-256 of all that its figures depend on."""
        options = dict(self.options)
        if not options["place_and_route"]:
            del options["seed"]
        if options["method"] == "measured":
            del options["method"]
        else:
            options["model"] = fitted_version()
        content = {
            "configuration": self.data if self.refusal else self.config.digest,
            "target": self._target, "options": options, "evaluator": evaluator, "environment": environment(),
        }  # fmt: skip
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def _target(self) -> str:
        """The target, or the content of its Liberty file."""
        file = liberty_file(self.target)
        if file is None or not file.is_file():
            return self.target
        return f"{LIBERTY}{hashlib.sha256(file.read_bytes()).hexdigest()}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for a process that evaluates it."""
        return {
            "base": self.base, "settings": self.settings, "configuration": self.data, "target": self.target,
            **self.options,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Point:
        """Its inverse."""
        options = {
            key: document[key]
            for key in ("place_and_route", "workload", "weights", "activations", "clock_mhz", "seed")
        }
        options["method"] = document.get("method", "measured")
        return cls(
            base=document["base"], settings=document["settings"], data=document["configuration"],
            target=document["target"], options=options,
        )  # fmt: skip

    @property
    def title(self) -> str:
        """What differs from the base, in words."""
        values = [f"{path.removeprefix('array.')} {value}" for path, value in self.settings.items()]
        return ", ".join([*values, self.target])

    def overrides(self) -> list[str]:
        """Settings of the configuration as ``--set`` takes them."""
        return [
            f"{path}={json.dumps(value)}"
            for path, value in self.settings.items()
            if path not in (BASE, *RUN_KEYS)
        ]


def _set(data: dict[str, Any], path: str, value: Value) -> None:
    *tables, last = path.split(".")
    table = data
    for key in tables:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise RequestError(f"[vary] {path!r}: {key} must be a table, and is not")
    table[last] = value


def grid(loaded: Loaded) -> Iterator[Point]:
    """Every point of a specification."""
    return (Point.of(loaded, settings) for settings in loaded.grid())
