"""A format for every layer of a model: as text on the command line, or a file.

The text is one format for all, ``int4``, or pairs ``PATTERN=FORMAT`` with commas between, of which the last that fits a layer
holds: ``*=int4,blk.0.*=fp4-mixed,head=int8``. A pattern is a layer's name with ``*`` and ``?``, the name of a group, or a kind of
layer: ``attn_v``.
A file ``FILE.toml`` has the same pairs, in order, in its table ``[formats]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from gen import toml_file
from gen.errors import RequestError
from gen.models.llama import LINEARS

HEAD = "head"
"""What the output matrix is called among layers."""
GROUPS = {"attn": "blk.*.attn_*", "ffn": "blk.*.ffn_*", "head": HEAD}
"""Patterns that have a name."""


def parse(option: str, text: str, layers: Sequence[str], default: str | None = None) -> dict[str, str]:
    """The format's name of each of ``layers``, in their order; ``default`` for those that ``text`` does not meet.

    Names are not looked up: which there are an array says (``Family.variant``).

    Raises
    ------
    RequestError
        When ``text`` is neither of the forms, a pattern fits no layer, or a layer is left without a format.
    """
    pairs = _file(option, text) if text.endswith(".toml") else _pairs(option, text)
    formats: dict[str, str] = {} if default is None else dict.fromkeys(layers, default)
    for key, name in pairs:
        pattern = f"blk.*.{key}" if key in LINEARS else GROUPS.get(key, key)
        met = [layer for layer in layers if fnmatchcase(layer, pattern)]
        if not met:
            allowed = ", ".join((*GROUPS, *LINEARS))
            fitting = f"{layers[0]} to {layers[-1]}"
            raise RequestError(f"{option} {text!r}: {key!r} must be {allowed}, or fit a layer from {fitting}")
        formats.update(dict.fromkeys(met, name))
    missing = [layer for layer in layers if layer not in formats]
    if missing:
        raise RequestError(f"{option} {text!r}: must give every layer a format, and gives {missing[0]} none")
    return {layer: formats[layer] for layer in layers}


def _pairs(option: str, text: str) -> list[tuple[str, str]]:
    if "=" not in text and "," not in text and text.strip():
        return [("*", text.strip())]
    pairs = [tuple(map(str.strip, one.partition("=")[::2])) for one in text.split(",")]
    if not all(key and name for key, name in pairs):
        raise RequestError(
            f"{option} {text!r}: must be a format, PATTERN=FORMAT with a comma between two, or a TOML file"
        )
    return [(key, name) for key, name in pairs]


def _file(option: str, text: str) -> list[tuple[str, str]]:
    table: Any = toml_file.read(text, option).get("formats")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise RequestError(f"{option} {text!r}: must have a table [formats] of patterns and names of formats")
    return list(table.items())


def toml(formats: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    """The file that gives ``formats`` back, ``notes`` as remarks at its head."""
    lines = [*(f"# {note}" for note in notes), "[formats]"]
    return "\n".join([*lines, *(f'"{layer}" = "{name}"' for layer, name in formats.items())]) + "\n"
