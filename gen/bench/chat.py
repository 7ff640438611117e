"""A real model that speaks through generated Verilog: some prompts on some arrays, every sum held against the golden model.

A case takes minutes to an hour. What is measured is kept in ``chat.json`` as soon as it is there, and shown in the documents.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen import config
from gen.bench import records
from gen.bench.figures import Row
from gen.chat.session import Request, Session
from gen.errors import RequestError
from gen.generate import generate
from gen.models import fetch

Notify = Callable[[str], None]

FILE = Path(__file__).with_name("chat.json")
MODEL = "smollm2"
TOKENS = 24
SECONDS = 60.0
"""Of wall time, that a token of ``DEFAULT`` may take at most."""
BEATS = 95.0
"""Per cent of the cycles of a token that a bus of 128 bits carries a beat, for an array of ``FULL``."""
DEFAULT, FULL = "lut-m2n64k4", ("lut-m2n64k4", "lut-gguf-m2n64k4")
PROMPTS = {"gravity": "Gravity is", "capital": "The capital of France is"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A prompt on an array: a preset with ``settings`` of other values, as ``--set`` takes them."""

    preset: str
    prompt: str
    settings: tuple[str, ...] = ()
    weights: str | None = None
    activations: str | None = None
    attention: bool = False

    @property
    def name(self) -> str:
        """As ``--case`` takes it."""
        return f"{self.preset}{'+attention' if self.attention else ''}/{self.prompt}"

    @property
    def command(self) -> str:
        """What a user does."""
        options = [
            ("--weights", self.weights),
            ("--activations", self.activations),
            ("--attention", "accelerator" if self.attention else None),
        ]
        named = "".join(f" --set {value}" for value in self.settings)
        named += "".join(f" {option} {value}" for option, value in options if value)
        text = PROMPTS[self.prompt]
        return (
            f'gatemill chat {MODEL} --config {self.preset}{named} --prompt "{text}" --tokens {TOKENS} --check'
        )


SYSTOLIC = ("array.rows=1", "array.columns=32", "bus.data_width=256")
BIT_SERIAL = ("array.rows=1", "array.columns=16", "bus.data_width=128")
DECODED = ("array.rows=1", "array.columns=32", "bus.data_width=128")
"""Arrays for one token at a time, which has one row: they are as wide as the bus brings weights for."""
CASES = {
    case.name: case
    for case in (
        Case(preset="lut-m2n64k4", prompt="gravity"),
        Case(preset="lut-m2n64k4", prompt="capital"),
        Case(preset="systolic-8x8", prompt="gravity", settings=SYSTOLIC),
        Case(preset="systolic-8x8", prompt="capital", settings=SYSTOLIC),
        Case(preset="bitmod-int8-8x8", prompt="gravity", settings=BIT_SERIAL),
        Case(preset="bitmod-int8-8x8", prompt="capital", settings=BIT_SERIAL),
        Case(preset="olive-8x8", prompt="gravity", settings=DECODED, weights="ovp4-int4", activations="int8"),
        Case(preset="lut-gguf-m2n64k4", prompt="gravity"),
        Case(preset="lut-gguf-m2n64k4", prompt="capital"),
        Case(preset="systolic-8x8", prompt="gravity", settings=SYSTOLIC, attention=True),
    )
}
"""By name, in the order in which they are measured."""


def chosen(names: Sequence[str]) -> list[Case]:
    """The cases of these names, or all. Raises ``RequestError`` when there is no such case."""
    for name in names:
        if name not in CASES:
            raise RequestError(f"--case {name!r}: must be one of {', '.join(CASES)}")
    return [CASES[name] for name in names or CASES]


def record(
    case: Case, notify: Notify = lambda _: None, *, keep: bool = False, file: Path = FILE
) -> dict[str, Any]:
    """What the case's text took, as plain data; from ``file`` where it is kept there of the same Verilog, model and request.

    ``keep``: it is put there. Raises ``RequestError`` when the model has not been fetched.
    """
    path = fetch.find(MODEL)
    if path is None:
        raise RequestError(f"{MODEL}: must have been fetched (gatemill models get {MODEL})")
    loaded = config.load(case.preset, case.settings)
    digest = records.identity(
        case.command, loaded.digest, generate(loaded).verilog, fetch.source(MODEL).wheel_sha256
    )
    if keep and (found := records.find(file, case.name, digest)):
        notify(f"{case.name}: kept")
        return found
    request = Request(
        path=path,
        config=loaded,
        prompt=PROMPTS[case.prompt],
        tokens=TOKENS,
        weights=case.weights,
        activations=case.activations,
        attention=case.attention,
        parallel=min(2, os.cpu_count() or 1),
        check=True,
    )
    with Session(request, notify=notify, progress=lambda *_: None) as session:
        began = time.perf_counter()
        for word in session.words():
            notify(
                f"{case.name}: {len(session.said)} of {TOKENS}: {word!r}, {time.perf_counter() - began:.0f} s"
            )
        seconds = time.perf_counter() - began
        document = session.document()
    result = {
        "case": case.name,
        "identity": digest,
        "command": case.command,
        "model": MODEL,
        "preset": case.preset,
        "family": loaded.family,
        "bus_bits": loaded.bus.data_width,
        "prompt": PROMPTS[case.prompt],
        # Every token but the last is read, too.
        "wall_seconds_per_token": round(
            seconds / (document["prompt_tokens"] + len(document["tokens"]) - 1), 2
        ),
        **document,
    }
    if keep:
        records.put(file, result, list(CASES))
        notify(f"{case.name}: kept in {file}")
    return result


def held(one: records.Record) -> bool:
    """Whether the text is as long as it must be, every sum equal, and no cycle off; and what more a preset must reach."""
    return (
        bool(one["equal"])
        and one["cycle_error"] == 0
        and len(one["tokens"]) == TOKENS
        and (one["preset"] not in FULL or 100 * one["bus"]["all"] >= BEATS)
        and (one["preset"] != DEFAULT or one["wall_seconds_per_token"] < SECONDS)
    )


def _must(one: records.Record) -> str:
    limits = [f"{TOKENS} tokens, equal, 0 cycles off"]
    if one["preset"] in FULL:
        limits.append(f"{BEATS:g} % of bus beats")
    if one["preset"] == DEFAULT:
        limits.append(f"below {SECONDS:g} s a token")
    return "; ".join(limits)


def row(one: records.Record) -> Row:
    """Of a record."""
    return Row(
        key="chat",
        what=f"{one['model']} on {one['case']}, {', '.join(sorted(set(one['formats'].values())))}: {one['prompt']!r}",
        measured=f"{len(one['tokens'])} tokens, {'equal' if one['equal'] else 'DIFFERENT'}, {one['cycle_error']} cycles off; "
        f"{one['cycles_per_token']:,} cycles a token in {one['programs_per_token']} programs, "
        f"bus {100 * one['bus']['all']:.1f} %; "
        f"{one['wall_seconds_per_token']:.1f} s a token, {one['cycles_per_second']:,} cycles/s of {one['simulators']} simulators",
        must=_must(one),
        held=held(one),
        values=one,
    )


def rows(notify: Notify, names: Sequence[str] = (), *, keep: bool = False) -> list[Row]:
    """Of these cases, or of all; each is kept, if it is to be, before the next is begun."""
    return [row(record(case, notify, keep=keep)) for case in chosen(names)]
