"""Configurations: TOML in, checked models and the derived ``hw.design.Design`` out.

Every mistake is found in one go: first each value by itself (pydantic), then the rules between values, as far
as the values that a rule names are good. What a user may ask for outside the array is bounded here and
nowhere else; the family's own model bounds the array.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, create_model

from gen import toml_file
from gen.errors import RequestError
from gen.families import DEFAULT, FAMILIES, Family, load_family
from gen.notebook import Shown
from gen.sections import Bus, ControlUnit, Memory, Output, Section
from hw.control.isa import FETCH_BUFFER, INSTRUCTION_BITS
from hw.design import Design, Geometry


class Config(Shown, Section):
    """A whole configuration. ``array`` is a table of the family's own keys."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,47}$", description="small letters, digits and hyphens")
    summary: str = Field(default="", max_length=200, description="one line for people")
    family: str = Field(default=DEFAULT, description="kind of array")
    array: Any
    bus: Bus = Bus()
    memory: Memory = Memory()
    output: Output = Output()
    control: ControlUnit = ControlUnit()

    @property
    def geometry(self) -> Geometry:
        """Tile and word sizes of the array."""
        return self.instance.geometry

    @property
    def instance(self) -> Family:
        """The family's array with these keys, on this bus."""
        single = self.control.issue == "in-order"
        return load_family(self.family)(self.array, data_bytes=self.bus.data_width // 8, single=single)

    @property
    def digest(self) -> str:
        """SHA-256 of what makes the hardware, as hexadecimal digits; name and summary do not."""
        content = self.model_dump(exclude={"name", "summary", "array"})
        content["array"] = self.array.identity()
        if self.control.issue == "queues":
            del content["control"]["issue"]  # the same as before there was a choice
        else:
            content["control"] = {"issue": self.control.issue}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def design(self) -> Design:
        """The numbers that hardware, models and compiler share."""
        g, beat, control = self.geometry, self.bus.data_width // 8, self.control
        in_order = control.issue == "in-order"
        return Design(
            geometry=g,
            data_bytes=beat,
            address_width=self.bus.address_width,
            burst_beats=self.bus.burst_beats,
            outstanding=self.bus.outstanding,
            activation_words=_words(self.memory.activations_kib, g.activation_bytes, beat),
            weight_words=_words(self.memory.weights_kib, g.weight_bytes, beat),
            accumulator_rows=self.memory.accumulators,
            parameter_entries=self.memory.parameters,
            output_lanes=self.output.lanes,
            prefetch=1 if in_order else control.prefetch,
            queue_depth=0 if in_order else control.queue_depth,
            counters=control.counters and not in_order,
            issue=control.issue,
            configuration=int(self.digest[:8], 16),
        )


def _words(kib: int, word: int, beat: int) -> int:
    """Words that ``kib`` KiB hold, in whole words and whole bus beats."""
    unit = max(word, beat)
    return kib * 1024 // unit * unit // word


_MISSING = object()


@dataclass(frozen=True)
class Mistake:
    """One thing that cannot be, with where it stands and what could stand there."""

    path: str
    value: Any
    allowed: str

    def __str__(self) -> str:
        if self.value is _MISSING:
            return f"{self.path}: {self.allowed}"
        shown = json.dumps(self.value, default=str)
        return f"{self.path} = {shown if len(shown) <= 60 else shown[:57] + '...'}: {self.allowed}"


def presets() -> list[str]:
    """Names of the configurations that come with the package."""
    return sorted(entry.name[:-5] for entry in files("gen.presets").iterdir() if entry.name.endswith(".toml"))


def load(origin: str, overrides: Iterable[str] = ()) -> Config:
    """The configuration in a TOML file or of a preset's name, with ``--set`` overrides.

    Raises
    ------
    RequestError
        With all the mistakes, one a line.
    """
    data = read(origin)
    for text in overrides:
        _override(data, text)
    return check(data, origin)


def check(data: Mapping[str, Any], origin: str) -> Config:
    """The configuration in ``data``; ``origin`` is what messages call it."""
    model = _model(str(data.get("family", DEFAULT)))
    mistakes, bad, result = [], set(), None
    try:
        result = model.model_validate(dict(data))
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False):
            mistakes.append(mistake(model, item))
            bad.add(mistakes[-1].path)
    if model is Config and "family" not in bad:
        family = data.get("family", DEFAULT)
        mistakes.append(Mistake("family", family, f"must be one of {', '.join(sorted(FAMILIES))}"))
    mistakes += _Rules(model, data, bad).mistakes()
    if mistakes or result is None:
        raise toml_file.refusal(f"configuration {origin}", mistakes)
    return result


def schema() -> dict[str, Any]:
    """JSON schema of a configuration file, for editors; ``array`` depends on ``family``."""
    whole = Config.model_json_schema()
    definitions = whole.setdefault("$defs", {})
    choices = []
    for name in sorted(FAMILIES):
        array = load_family(name).Config.model_json_schema()
        definitions |= array.pop("$defs", {})
        definitions[f"array-{name}"] = array
        given = {
            "properties": {"family": {"const": name}},
            **({} if name == DEFAULT else {"required": ["family"]}),
        }
        choices.append({"if": given, "then": {"properties": {"array": {"$ref": f"#/$defs/array-{name}"}}}})
    whole["properties"]["family"]["enum"] = sorted(FAMILIES)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "allOf": choices}


def read(origin: str) -> dict[str, Any]:
    """The TOML of a preset's name or a file."""
    names = presets()
    if origin in names:
        return tomllib.loads(files("gen.presets").joinpath(f"{origin}.toml").read_text())
    if not Path(origin).is_file():
        near = difflib.get_close_matches(origin, names, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise RequestError(
            f"configuration {origin!r}: must be a TOML file or one of {', '.join(names)}{hint}"
        )
    return toml_file.read(origin, "configuration")


def _override(data: dict[str, Any], text: str) -> None:
    """Put ``a.b=c`` into ``data``. ``c`` is TOML, or a word; ``pe.b`` is another name for ``array.b``."""
    path, equals, value = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) for key in keys):
        raise RequestError(f"--set {text!r}: must be KEY=VALUE with a KEY such as array.rows")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        parsed = {"value": value.strip()}
    if list(parsed) != ["value"]:
        raise RequestError(f"--set {text!r}: must be KEY=VALUE with one value")
    if keys[0] == "pe":
        keys[0] = "array"
    table = data
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise RequestError(f"--set {text!r}: {key} must be a table, and is not")
    table[keys[-1]] = parsed["value"]


@cache
def _model(family: str) -> type[Config]:
    """``Config`` with the family's keys under ``array``; plain ``Config`` when there is no such family."""
    if family not in FAMILIES:
        return Config
    return create_model("Configuration", __base__=Config, array=(load_family(family).Config, ...))


def mistake(model: type[BaseModel], error: Mapping[str, Any]) -> Mistake:
    """What pydantic found, in terms of the file."""
    path = ".".join(map(str, error["loc"]))
    above = _schema_at(model, error["loc"][:-1])
    if error["type"] == "extra_forbidden":
        keys = sorted(above.get("properties", {}))
        near = difflib.get_close_matches(str(error["loc"][-1]), keys, 1)
        return Mistake(path, error["input"], f"unknown key; {f'did you mean {near[0]}? ' if near else ''}"
                       f"allowed are {', '.join(keys)}")  # fmt: skip
    if error["type"] == "value_error":
        text, given = error["msg"].removeprefix("Value error, "), error["input"]
        return Mistake(path, _named(_schema_at(model, error["loc"]), given, text), text)
    must = f"must be {allowed(_schema_at(model, error['loc']))}"
    if error["type"] == "missing":
        return Mistake(path, _MISSING, f"is missing; {must}")
    return Mistake(path, error["input"], must)


def _named(part: Mapping[str, Any], given: Any, text: str) -> Any:
    """Of a table (with its JSON schema) the keys that ``text`` names, in that order, with their values; or ``given``."""
    keys = part.get("properties", {})
    given = given.model_dump() if isinstance(given, BaseModel) else given
    named = [word for word in dict.fromkeys(re.findall(r"\w+", text)) if word in keys]
    return {key: given.get(key, keys[key].get("default")) for key in named} if named else given


def _schema_at(model: type[BaseModel], place: Iterable[str | int]) -> dict[str, Any]:
    """The part of the model's JSON schema that bounds the value at ``place``."""
    whole = model.model_json_schema()

    def follow(part: dict[str, Any]) -> dict[str, Any]:
        return whole["$defs"][part["$ref"].rsplit("/", 1)[-1]] if "$ref" in part else part

    part = follow(whole)
    for key in place:
        inside = part.get("items", {}) if isinstance(key, int) else part.get("properties", {}).get(key, {})
        part = follow(inside)
    return part


def allowed(part: Mapping[str, Any]) -> str:
    """In words, what a part of a JSON schema lets through."""
    if "enum" in part or "const" in part:
        values = part.get("enum", [part.get("const")])
        return str(values[0]) if len(values) == 1 else f"one of {', '.join(map(str, values))}"
    if "properties" in part:
        return f"a table of {', '.join(part['properties'])}"
    kind = part.get("type", "value")
    if kind == "integer":
        steps = f" and a multiple of {part['multipleOf']}" if "multipleOf" in part else ""
        return f"an integer from {part.get('minimum', 'any')} to {part.get('maximum', 'any')}{steps}"
    if kind == "string":
        if "pattern" in part:
            return f"text that matches {part['pattern']}"
        return f"text of at most {part['maxLength']} characters" if "maxLength" in part else "text"
    return {"boolean": "true or false", "array": "a list with one value or more"}.get(kind, f"a {kind}")


class _Rules:
    """The rules between values. A rule speaks only when every value that it names is good by itself."""

    def __init__(self, model: type[Config], data: Mapping[str, Any], bad: Iterable[str]):
        self._bad = set(bad)
        self._values = {
            f"{section}.{key}": value
            for section in ("bus", "memory", "output", "control")
            for key, value in self._filled(
                model.model_fields[section].annotation, data.get(section, {})
            ).items()
        }
        self._array: Mistake | Geometry | None = None
        if model is not Config and not any(path.split(".")[0] == "array" for path in self._bad):
            self._array = self._geometry(str(data.get("family", DEFAULT)), data["array"])

    @staticmethod
    def _filled(section: Any, given: Any) -> dict[str, Any]:
        defaults = {key: field.default for key, field in section.model_fields.items()}
        return {**defaults, **given} if isinstance(given, dict) else defaults

    def _geometry(self, name: str, array: Any) -> Mistake | Geometry | None:
        width = self._good("bus.data_width")
        if width is None:
            return None
        family = load_family(name)
        try:
            array, single = family.Config.model_validate(array), self._values["control.issue"] == "in-order"
            return family(array, data_bytes=width[0] // 8, single=single).geometry
        except ValueError as error:
            return Mistake("array", _named(family.Config.model_json_schema(), array, str(error)), str(error))

    def _good(self, *paths: str) -> list[Any] | None:
        """The values at ``paths``, or None when one of them is a mistake already."""
        if any(path in self._bad or path.split(".")[0] in self._bad for path in paths):
            return None
        return [self._values[path] for path in paths]

    def mistakes(self) -> Iterator[Mistake]:
        """All the rules that are broken."""
        if isinstance(self._array, Mistake):
            yield self._array
        geometry = self._array if isinstance(self._array, Geometry) else None
        if good := self._good("output.lanes", "bus.data_width"):
            lanes, width = good
            if 32 * lanes > width:
                most = width // 32
                yield Mistake(
                    "output.lanes",
                    lanes,
                    f"must be at most {most}, as bus.data_width = {width} carries {most}",
                )
        in_order = self._good("control.issue") == ["in-order"]
        if in_order:
            yield from self._in_order(geometry)
        elif (good := self._good("bus.address_width")) and good[0] < 32:
            yield Mistake(
                "bus.address_width", good[0], 'must be at least 32, or control.issue must be "in-order"'
            )
        if (
            not in_order
            and (good := self._good("control.prefetch", "bus.data_width"))
            and good[0] == 1
            and good[1] > INSTRUCTION_BITS
        ):
            yield Mistake(
                "control.prefetch",
                1,
                f"must be {FETCH_BUFFER}, as bus.data_width = {good[1]} carries two instructions",
            )
        if geometry:
            yield from self._against(geometry)

    def _in_order(self, geometry: Geometry | None) -> Iterator[Mistake]:
        """What instructions issued in order ask for."""
        why = 'as control.issue = "in-order"'
        for path, most in (("bus.data_width", INSTRUCTION_BITS), ("output.lanes", 1)):
            if (good := self._good(path)) and good[0] > most:
                yield Mistake(path, good[0], f"must be at most {most}, {why}")
        if geometry and geometry.sums != "int32":
            yield Mistake(
                "control.issue", "in-order", f"must be queues, as the array's sums are {geometry.sums}"
            )
        elif geometry and not geometry.single:
            yield Mistake(
                "control.issue", "in-order", "must be queues, as there is no such array of one EXECUTE"
            )

    def _against(self, g: Geometry) -> Iterator[Mistake]:
        """Rules between the array and what is around it."""
        if (good := self._good("output.lanes")) and g.banks % good[0]:
            banks = f" / {g.spread} = {g.banks} banks of accumulators" if g.spread > 1 else ""
            yield Mistake("output.lanes", good[0], f"must divide the array's {g.columns} columns{banks}")
        if (good := self._good("memory.accumulators")) and good[0] < 2 * g.accumulator_tile:
            times = f", {g.spread} times each" if g.spread > 1 else ""
            yield Mistake(
                "memory.accumulators",
                good[0],
                f"must be at least {2 * g.accumulator_tile}: two halves of {g.tile_rows} tile rows{times}",
            )
        if (good := self._good("memory.parameters")) and good[0] < g.columns:
            yield Mistake("memory.parameters", good[0], f"must be at least the array's {g.columns} columns")
        needs = (
            (
                "memory.activations_kib",
                2 * g.tile_rows * g.activation_bytes,
                f"{2 * g.tile_rows} words of {g.activation_bytes}",
            ),
            (
                "memory.weights_kib",
                2 * g.weight_words * g.weight_bytes,
                f"{2 * g.weight_words} words of {g.weight_bytes}",
            ),
        )
        for path, least, why in needs:
            if (good := self._good(path)) and good[0] * 1024 < least:
                yield Mistake(
                    path,
                    good[0],
                    f"must be at least {-(-least // 1024)}, for two of the array's tiles: {why} bytes",
                )
