"""The specification of a sweep: TOML in, checked model out, every mistake at once. Nothing in it is ever executed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from gen import toml_file
from gen.config import Mistake, Section, mistake, presets
from gen.errors import RequestError
from gen.estimate.points import TARGET as FITTED_TARGET
from gen.estimate.targets import LIBERTY, is_part, liberty_file
from gen.estimate.targets import check as check_target
from gen.models import work
from gen.models.work import Work
from gen.sweep.constraint import Constraint, Value
from gen.sweep.figures import FIGURES, OF_TOKENS, PLACED, Objective, of_target

MOST_VALUES, MOST_POINTS = 1000, 1_000_000
"""Of one parameter; of a grid."""
LARGEST = 1 << 53
"""Number among the values of a parameter: tables and pages have it as it is."""
RUN_KEYS = ("weights", "activations")
"""Parameters of the run, not of the configuration: formats out of those that it was generated for."""
BASE, ALL = "base", "all"
"""The parameter that is the configuration that points start from; the values of ``weights`` that each of them takes."""
PATH = r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*"


class Range(Section):
    """Values from ``from`` to ``to`` inclusive: ``step`` apart, or each ``times`` the one before."""

    first: int = Field(alias="from", ge=0, le=1 << 32, description="first value")
    last: int = Field(alias="to", ge=0, le=1 << 32, description="last value, if the steps reach it")
    step: int | None = Field(default=None, ge=1, le=1 << 32, description="difference of two values")
    times: int | None = Field(default=None, ge=2, le=1 << 16, description="ratio of two values")

    @model_validator(mode="after")
    def _check(self) -> Range:
        if self.first > self.last:
            raise ValueError("must have a from that is at most to")
        if self.step and self.times:
            raise ValueError("must have step or times, not both")
        if self.times and not self.first:
            raise ValueError("must have a from of at least 1 with times")
        if not self.times and (self.last - self.first) // (self.step or 1) >= MOST_VALUES:
            raise ValueError(f"must have at most {MOST_VALUES} values")
        return self

    @property
    def values(self) -> list[Value]:
        """All of them."""
        if not self.times:
            return list(range(self.first, self.last + 1, self.step or 1))
        found = [self.first]
        while found[-1] * self.times <= self.last:
            found.append(found[-1] * self.times)
        return list(found)


class Explore(Section):
    """How points are chosen with ``--explore``."""

    sampler: Literal["nsga2", "tpe"] = Field(default="nsga2", description="Optuna's sampler")
    seed: int = Field(default=0, ge=0, le=(1 << 32) - 1, description="of its choices")


class Spec(Section):
    """A specification: what is varied, on which parts, for which workload, and what is wanted of it."""

    base: str = Field(max_length=4096, description="preset's name or TOML file that points start from")
    targets: list[str] = Field(min_length=1, max_length=16, description="parts, cmos, liberty:FILE")
    method: Literal["measured", "fitted"] = Field(
        default="measured", description="areas by synthesis, or at once from the fitted model"
    )
    place_and_route: bool = Field(
        default=False, description="place and route each point: minutes instead of seconds"
    )
    workload: str = Field(default="gemm:64x576x576", max_length=4096, description="what the cycles are of")
    objectives: list[str] = Field(
        default=["cycles", "lut"], min_length=1, max_length=8, description="figures to be small, with - large"
    )
    vary: dict[str, Range | list[bool | int | float | str] | Literal["all"]] = Field(
        default={}, max_length=32, description="values of each parameter"
    )
    constraints: list[str] = Field(default=[], max_length=64, description="conditions that points must meet")
    weights: str | None = Field(default=None, max_length=64, description="format of the run's weights")
    activations: str | None = Field(default=None, max_length=64, description="and of its activations")
    clock_mhz: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="clock to be reached; without place and route it is assumed",
    )
    seed: int = Field(default=1, ge=0, le=(1 << 31) - 1, description="of place and route")
    timeout: int = Field(default=1800, ge=1, le=7 * 86400, description="seconds for a point")
    explore: Explore = Explore()

    @field_validator("targets")
    @classmethod
    def _targets(cls, names: list[str]) -> list[str]:
        return [check_target(name) for name in names]

    @field_validator("workload")
    @classmethod
    def _workload(cls, text: str) -> str:
        if not _is_file(text):
            _work_of(text)
        return text

    @field_validator("vary")
    @classmethod
    def _vary(cls, vary: dict[str, Any]) -> dict[str, Any]:
        for path, values in vary.items():
            if path not in RUN_KEYS and not re.fullmatch(PATH, path):
                raise ValueError(f"must have keys such as array.rows, not {path!r}")
            if values == ALL and path != "weights":
                raise ValueError(f"must have {ALL} for weights alone, not for {path!r}")
            if path == BASE and not (
                isinstance(values, list) and all(isinstance(one, str) for one in values)
            ):
                raise ValueError(f"must have texts for {BASE}, not {values!r}")
            if path in ("name", "summary"):
                raise ValueError(f"must not have {path!r}, which makes no difference")
            if isinstance(values, list) and not 1 <= len(values) <= MOST_VALUES:
                raise ValueError(f"must have 1 to {MOST_VALUES} values of {path}, not {len(values)}")
            for value in values if isinstance(values, list) else ():
                if isinstance(value, str) and not value.isprintable():
                    raise ValueError(f"must have texts that can be printed for {path}, not {value!r}")
                if not isinstance(value, str) and not abs(value) <= LARGEST:
                    raise ValueError(f"must have numbers up to 2**53 for {path}, not {value!r}")
        return vary

    @field_validator("constraints")
    @classmethod
    def _constraints(cls, texts: list[str]) -> list[str]:
        for text in texts:
            Constraint(text)
        return texts

    @model_validator(mode="after")
    def _objectives(self) -> Spec:
        for text in self.objectives:
            figure = Objective.of(text).figure
            if figure not in FIGURES:
                raise ValueError(f"objectives must be of {', '.join(FIGURES)}, not {text!r}")
            missing = [target for target in self.targets if figure not in of_target(target)]
            if missing:
                raise ValueError(f"objectives must be figures of {missing[0]}, not {text!r}")
            if figure in PLACED and not self.place_and_route and self.method == "measured":
                raise ValueError(f"place_and_route must be true for the objective {text!r}")
            if figure in OF_TOKENS and not (_is_file(self.workload) or _work_of(self.workload).of_tokens):
                raise ValueError(
                    f"workload must be a model's, or a file, for the objective {text!r}, not {self.workload!r}"
                )
        if self.method == "fitted" and (self.place_and_route or set(self.targets) != {FITTED_TARGET}):
            raise ValueError(
                f'place_and_route must be false and targets {FITTED_TARGET} alone with method = "fitted"'
            )
        if self.place_and_route and not all(is_part(target) for target in self.targets):
            raise ValueError("place_and_route must be false unless all targets are parts of FPGAs")
        if len({Objective.of(text).figure for text in self.objectives}) < len(self.objectives):
            raise ValueError(f"objectives must differ, not {self.objectives!r}")
        return self

    @property
    def goals(self) -> list[Objective]:
        """The objectives themselves."""
        return [Objective.of(text) for text in self.objectives]

    @property
    def parameters(self) -> dict[str, list[Value]]:
        """Values of each parameter, the target last: different ones, in their order."""
        lists: dict[str, list[Value]] = {
            path: values.values if isinstance(values, Range) else list(values)
            for path, values in self.vary.items()
            if values != ALL
        }
        lists["target"] = list(self.targets)
        return {path: _different(values) for path, values in lists.items()}

    @property
    def size(self) -> int:
        """Points of the grid, before constraints."""
        return math.prod(len(values) for values in self.parameters.values())


def _is_file(workload: str) -> bool:
    return ":" not in workload and workload.endswith(".toml")


def _work_of(text: str) -> Work:
    """The work of a text; raises ``ValueError`` for anything else."""
    try:
        return work.parse(text)
    except RequestError as error:
        raise ValueError(str(error)) from None


def _different(values: list[Value]) -> list[Value]:
    """Without repetitions; 1 and true are not the same."""
    return list({(type(value), value): value for value in values}.values())


@dataclass(frozen=True)
class Loaded:
    """A specification with what it refers to.

    Parameters
    ----------
    spec : Spec
    base : dict
        The configuration that points start from, as in its file.
    file : str
        That file, or the preset's name, as commands take it.
    origin : str
        What a user calls the specification.
    bases : dict
        Of each configuration by the text that ``vary`` has it as: its file, or the preset's name, and what is in it.
    formats : dict or None
        Weights that each of ``bases`` takes, where all of them are wanted; the only one is ``base``.
    workload : str or dict
        Its text; of a file what is in it, so that it is a part of points wherever they are evaluated.
    """

    spec: Spec
    base: dict[str, Any]
    file: str
    origin: str
    bases: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    formats: dict[str, list[str]] | None = None
    workload: str | dict[str, Any] = ""

    def start(self, settings: Mapping[str, Value]) -> tuple[str, dict[str, Any]]:
        """The configuration that a point with ``settings`` starts from: its file or name, and what is in it."""
        return self.bases[str(settings[BASE])] if BASE in settings else (self.file, self.base)

    @cached_property
    def constraints(self) -> list[Constraint]:
        """Those of the specification."""
        return [Constraint(text) for text in self.spec.constraints]

    def wanted(self, settings: dict[str, Value]) -> bool:
        """Whether all constraints hold with ``settings``, and the base's values of what they leave alone.

        Raises ``RequestError`` when that cannot be said.
        """
        if self.formats and settings["weights"] not in self.formats[self.start(settings)[0]]:
            return False
        if not self.constraints:
            return True
        values = {name: self._value(name, settings) for one in self.constraints for name in one.names}
        try:
            return all(one.holds(values) for one in self.constraints)
        except ValueError as error:
            raise RequestError(f"specification {self.origin}: {error}") from None

    def _value(self, name: str, settings: dict[str, Value]) -> Value:
        if name in settings:
            return settings[name]
        found: Any = self.start(settings)[1]
        for key in name.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, Value):
            known = ", ".join(settings)
            raise RequestError(
                f"specification {self.origin}: a constraint's names must be of {known} or in {self.spec.base}, not {name!r}"
            )
        return found

    def grid(self) -> Iterator[dict[str, Value]]:
        """Settings of every point that is wanted, the last parameter fastest.

        Raises ``RequestError`` when there are too many to go through.
        """
        if self.spec.size > MOST_POINTS:
            raise RequestError(
                f"specification {self.origin}: [vary] must make at most {MOST_POINTS} points, not {self.spec.size} "
                "(fewer values, or --explore N)"
            )
        names = list(self.spec.parameters)
        for values in product(*self.spec.parameters.values()):
            settings = dict(zip(names, values, strict=True))
            if self.wanted(settings):
                yield settings


def load(file: str | Path) -> Loaded:
    """The specification in a TOML file.

    Raises ``RequestError`` with all the mistakes, one a line.
    """
    return check(toml_file.read(file, "specification"), str(file), folder=Path(file).parent)


def check(data: dict[str, Any], origin: str, *, folder: Path | None = None) -> Loaded:
    """The specification in ``data``; files that it names are taken from ``folder`` unless they are there as they are."""
    from gen import config

    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        found = [mistake(Spec, item) for item in error.errors(include_url=False, include_context=False)]
        mistakes = list(dict.fromkeys(str(_plain(one)) for one in found))
        raise toml_file.refusal(f"specification {origin}", mistakes) from None
    base = _found(spec.base, folder)
    names = [str(name) for name in spec.vary.get(BASE, []) if isinstance(name, str)]
    bases = {name: (file := _found(name, folder), config.read(file)) for name in names}
    several = list(bases.values()) or [(base, config.read(base))]
    formats = None
    if spec.vary.get("weights") == ALL:
        formats = {file: _weights(content, file) for file, content in several}
        every = list(dict.fromkeys(name for some in formats.values() for name in some))
        spec = spec.model_copy(update={"vary": {**spec.vary, "weights": every}})
    spec = spec.model_copy(update={"targets": [_located(target, folder) for target in spec.targets]})
    workload = (
        work.read(_found(spec.workload, folder)).as_dict() if _is_file(spec.workload) else spec.workload
    )
    return Loaded(
        spec=spec, base=config.read(base), file=base, origin=origin, bases=bases, formats=formats, workload=workload,
    )  # fmt: skip


def _found(base: str, folder: Path | None) -> str:
    """A preset's name as it is, a file where it is: beside the specification, too."""
    if folder is None or base in presets() or Path(base).is_absolute():
        return base
    return str(folder / base) if (folder / base).is_file() else base


def _weights(content: dict[str, Any], file: str) -> list[str]:
    """Formats of weights that a configuration is generated for."""
    from gen import config

    return list(dict.fromkeys(weights.name for _, weights in config.check(content, file).instance.pairs))


def _located(target: str, folder: Path | None) -> str:
    """A target whose Liberty file is found from anywhere: points are evaluated in folders of their own.

    Raises ``RequestError`` when it is not there.
    """
    file = liberty_file(target)
    if file is None:
        return target
    beside = folder / file if folder is not None else file
    found = beside if beside.is_file() else file
    if not found.is_file():
        raise RequestError(f"target {target!r}: must name a file that is there")
    return f"{LIBERTY}{found.resolve()}"


def _plain(mistake: Mistake) -> Mistake:
    """Without the names of kinds that pydantic adds where there are several."""
    return Mistake(re.split(r"\.(?=list\[|Range)", mistake.path)[0], mistake.value, mistake.allowed)
