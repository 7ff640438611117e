"""Perplexity of a real model by format: of the golden model, which is the accelerator's to the last integer.

A row takes minutes. What is measured is kept in ``perplexity.json`` as soon as it is there, and shown in the documents.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen import config
from gen.bench import records
from gen.bench.figures import Row
from gen.errors import RequestError
from gen.models import fetch
from gen.precision import figures, linears, perplexity
from gen.precision.study import read_tokens

Notify = Callable[[str], None]

FILE = Path(__file__).with_name("perplexity.json")
MODEL, TEXT = "smollm2", "pydoc_data.topics"
TOKENS, WINDOW = 2048, 512
"""Of the text: windows that begin anew."""
CLOCK = 100.0
"""MHz, for tokens a second of the arrays."""
PEERS = {
    "fp32": "15.24 (PyTorch, Q4_1's weights)",
    "q4_1": "15.49 (PyTorch)",
    "q4_1/int8:g32": "15.27 (PyTorch)",
    "int4-s8": "23.02 (PyTorch, INT4 of groups of 64)",
    "int3-asym": "124 (PyTorch, groups of 64)",
    "int2-asym": "7e5 (PyTorch, groups of 64)",
}
"""The same text and windows, without an accelerator, with the tokenizer of transformers."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A format, as ``gatemill eval`` takes it, on a preset's array; ``fp32`` is on none."""

    format: str
    preset: str = ""

    @property
    def command(self) -> str:
        """What a user does."""
        preset = self.preset or "lut-m2n64k4"
        formats = "--format" if "=" in self.format else "--formats"
        return f"gatemill eval {MODEL} --config {preset} {formats} {self.format} --tokens {TOKENS} --window {WINDOW}"


CASES = {
    format: Case(format=format, preset=preset)
    for preset, formats in (
        ("", ("fp32",)),
        ("lut-gguf-m2n64k4", ("q4_1", "q4_1/int8:g32", "q4_1+int8", "q4_1+kivi4", "q4_1+kivi2", "q4_1+kivi2-r128")),
        ("systolic-ws-16x16", ("int8", "int8+array")),
        ("bitmod-int8-8x8", ("int6-s8", "fp4-mixed", "fp3-mixed", "attn=fp4-mixed,ffn=fp3-mixed,head=int8-s8")),
        ("lut-m2n64k4", ("int4-asym", "int4-s8", "int3-asym", "int3-s8", "int2-asym", "int2-s8", "ternary-s8")),
        ("mx-8x8", ("mxfp4/mxint8", "nvfp4/mxint8", "mxfp4", "nvfp4/nvfp4")),
        ("olive-8x8", ("ovp4-int4/int8", "ovp4-int4/ovp4-int4")),
    )
    for format in formats
}  # fmt: skip
"""By name, in the order in which they are measured: neighbours that differ in their cache share their layers."""


def chosen(names: Sequence[str]) -> list[Case]:
    """The cases of these names, or all. Raises ``RequestError`` when there is no such case."""
    for name in names:
        if name not in CASES:
            raise RequestError(f"--case {name!r}: must be one of {', '.join(CASES)}")
    return [CASES[name] for name in names or CASES]


class Measure:
    """The model and its text, read when the first row needs them; and the layers of the last setup.

    Raises ``RequestError`` when the model has not been fetched.
    """

    def __init__(self, notify: Notify):
        path = fetch.find(MODEL)
        if path is None:
            raise RequestError(f"{MODEL}: must have been fetched (gatemill models get {MODEL})")
        self._path, self._notify = path, notify
        self._text = figures.topics()
        self._model: linears.Linears | None = None
        self._last: tuple[Hashable, Mapping[str, Any]] | None = None

    def record(self, case: Case, *, keep: bool = False, file: Path = FILE) -> dict[str, Any]:
        """A row, as plain data; from ``file`` where it is kept there of the same configuration, model and text.

        ``keep``: it is put there.
        """
        loaded = config.load(case.preset) if case.preset else None
        text = hashlib.sha256(self._text.encode()).hexdigest()
        digest = records.identity(
            case.command, loaded.digest if loaded else None, text, fetch.source(MODEL).wheel_sha256
        )
        if keep and (found := records.find(file, case.format, digest)):
            self._notify(f"{case.format}: kept")
            return found
        began = time.perf_counter()
        if self._model is None:
            self._model = linears.load(self._path)
        model = self._model
        tokens = read_tokens(model, self._text, TOKENS)
        windows = [tokens[i : i + WINDOW] for i in range(0, len(tokens) - 1, WINDOW)]
        setup = perplexity.setup(case.format, [loaded], model.names) if loaded else None
        if setup is not None and (self._last is None or self._last[0] != setup.layers):
            self._last = setup.layers, perplexity.linears(model, setup)
        row = figures.row(
            model, setup, self._last[1] if self._last else {}, windows, clock=CLOCK,
            progress=lambda what, done, total: self._notify(f"{what} {done + 1} of {total}"),
        )  # fmt: skip
        result = {
            "case": case.format,
            "identity": digest,
            "command": case.command,
            "model": MODEL,
            "text": TEXT,
            "sha256": text,
            "tokens": len(tokens),
            "window": WINDOW,
            "clock_mhz": CLOCK,
            "digest": loaded.digest if loaded else None,
            **row,
            "seconds": round(time.perf_counter() - began),
        }
        if keep:
            records.put(file, result, list(CASES))
            self._notify(f"{case.format}: {result['perplexity']:.4g}, kept in {file}")
        return result


def judged(rows: Sequence[records.Record]) -> list[dict[str, Any]]:
    """The rows with a note at those that break the model."""
    found = [dict(one) for one in rows]
    figures.judge(found)
    return found


def _row(one: records.Record) -> Row:
    bits = "" if one["bits"] is None else f", {one['bits']:.2f} bits"
    return Row(
        key="perplexity",
        what=f"{one['model']} in {one['name']}, {one['tokens']} tokens of {one['text']}, windows of {one['window']}",
        measured=f"{one['perplexity']:.4g}{bits}{', ' + one['note'] if one['note'] else ''}",
        must="a number",
        peers=PEERS.get(one["name"], ""),
        held=math.isfinite(one["perplexity"]),
        values=one,
    )


def rows(notify: Notify, names: Sequence[str] = (), *, keep: bool = False) -> list[Row]:
    """Of these cases, or of all; each is kept, if it is to be, before the next is begun."""
    measure = Measure(notify)
    return [_row(one) for one in judged([measure.record(case, keep=keep) for case in chosen(names)])]
