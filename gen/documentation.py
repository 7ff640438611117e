"""The generated parts of the documents: ``python -m gen.documentation`` writes them anew.

Each lies between ``<!-- generated: name -->`` and ``<!-- end -->``, and comes from the table that the hardware is built from.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fpga.board import Board, boards, in_words
from fpga.pll import megahertz
from gen import config
from gen.board_documentation import PARTS as BOARD_PARTS
from gen.board_figures import PARTS as BOARD_FIGURES
from gen.board_figures import SUMMARY
from gen.chat_figures import PARTS as CHAT
from gen.chat_figures import PERPLEXITIES
from gen.decoded_documentation import PARTS as DECODED_PARTS
from gen.estimate import fitted
from gen.families.bit_serial import KINDS, BitSerialConfig, BitSerialFamily
from gen.families.contract import ArrayConfig
from gen.families.decoded import DecodedConfig
from gen.families.lookup import LookupConfig
from gen.lookup_documentation import PARTS as LOOKUP_PARTS
from gen.markdown import table
from gen.pictures import PICTURES
from gen.sweep.figures import FIGURES
from hw import timing
from hw.control import isa, registers
from hw.formats import FORMATS, Format, Operand
from hw.pe.bit_serial import deepest
from hw.pe.element_times import SCALE_BITS
from hw.pe.weight_format import NIBBLE, WeightFormat
from sim import bit_serial

DOCS = Path(__file__).resolve().parent.parent / "docs"
"""In a checkout; an installed package comes without it."""

_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def documented(source: ModuleType | type) -> list[tuple[str, Any, str]]:
    """Name, value and docstring of every constant of a module or class that has one, in the order of its text."""
    tree: Any = ast.parse(inspect.getsource(source))
    body = tree.body[0].body if isinstance(source, type) else tree.body
    return [
        (one.targets[0].id, getattr(source, one.targets[0].id), inspect.cleandoc(str(text.value.value)))
        for one, text in pairwise(body)
        if isinstance(one, ast.Assign)
        and isinstance(one.targets[0], ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    ]


def _instructions() -> str:
    parts = []
    for opcode, fields in isa.FIELDS.items():
        place = isa.offsets(opcode)
        rows = (
            (f"{first + bits - 1}:{first}", f"`{field.name}`", field.range.value, field.doc)
            for field in fields
            for first, bits in [place[field.name]]
        )
        parts.append(
            f"**{opcode.name}**, opcode {opcode.value}\n\n"
            + table(("bits", "field", "unit", "meaning"), rows)
        )
    return "\n".join(parts)


def _tokens() -> str:
    rows = ((token.value, f"`{token.name.lower()}`", token.waiter.name) for token in isa.Token)
    return table(("bit", "token", "who may wait for it"), rows)


def _errors() -> str:
    return table(
        ("code", "error", "meaning"), ((int(v), f"`{n}`", doc) for n, v, doc in documented(isa.Error))
    )


def _registers() -> str:
    rows = (
        (f"`{r.offset:#04x}`", f"`{r.name}`", r.access.value, f"{r.reset:#x}" if r.reset else 0, r.doc)
        for r in registers.REGISTERS
    )
    return table(("offset", "register", "access", "reset", "meaning"), rows)


def _timing() -> str:
    rows = []
    for name, value, doc in documented(timing):
        several = isinstance(value, dict)
        text = ", ".join(f"`{key}` {cycles}" for key, cycles in value.items()) if several else value
        rows.append((f"`{name}`", text, doc))
    return table(("constant", "value", "meaning"), rows)


def _formats() -> str:
    rows = []
    for format in FORMATS.values():
        least, most = format.range
        scale = f"{format.scale} per {format.block or format.shared}" if format.scale else ""
        rows.append(
            (
                f"`{format.name}`",
                f"{format.bits_per_weight:.4g}",
                f"{least:.6g} to {most:.6g}",
                f"{scale}, {format.outer} per {format.outer_shared}" if format.outer else scale,
                f"`{format.rule}`",
                format.summary,
            )
        )
    return table(("format", "bits per weight", "range", "scale", "rule", "what"), rows)


_BIT_SERIAL_PRESETS = ("bitmod-int8-8x8", "bitmod-fp16-4x4")
_EXAMPLES = (("fp4", 0b1000, 10), ("fp4", 0b0101, 10), ("int6", 0b110100, 0), ("fp3", 0b111, 6))
"""Format, code, and the special value that is in force."""


def _terms() -> str:
    rows: list[Sequence[object]] = []
    for format, code, special in _EXAMPLES:
        number, bits = bit_serial.value(code, format, special), int(format[-1])
        weight = f"{number} halves" if format == "fp4" else str(number)
        if format in bit_serial.FLOATS:
            weight += f" = {'-' * (number < 0)}{abs(number):05b}b"
            weight += ", special" * (code == 1 << bits - 1)
        names: Sequence[str] = (f"`{format.upper()}`", f"`{code:0{bits}b}`", weight)
        for place, term in enumerate(bit_serial.terms(code, format, special)):
            rows.append((*names, place, *term, bit_serial.term_value(term)))
            names = ("", "", "")
    head = ("format", "code", "weight", "term", "sign", "exponent", "man", "significance", "value")
    return table(head, rows)


def _bit_serial(preset: str = _BIT_SERIAL_PRESETS[0]) -> BitSerialFamily:
    family = config.load(preset).instance
    assert isinstance(family, BitSerialFamily)
    return family


def _weight_formats() -> str:
    array = _bit_serial().array
    per_word = 8 * array.geometry.weight_bytes / (array.columns * array.group)
    rows = (
        (
            f"`{one.name}`",
            "two ones" if one.floating else "Booth",
            one.terms,
            f"{one.way.high} + {one.way.low}" if one.way.high else one.way.low,
            f"{array.group_weight_words(one, array.group_words) * per_word:g}",
            ", ".join(f"`{name}`" for name, taken in KINDS.items() if taken is one),
        )
        for one in WeightFormat
    )
    return table(("weights", "terms are", "terms", "bits", "in memory", "formats"), rows)


def _words() -> str:
    family = _bit_serial()
    rows = [row for name in ("int6-s8", "fp3-mixed-s8") for row in _word_rows(family, name, 4)]
    return table(("format", "word", "what", *(f"bit {bit}" for bit in reversed(range(NIBBLE)))), rows)


def _word_rows(family: BitSerialFamily, name: str, words: int) -> Iterable[Sequence[object]]:
    """The first ``words`` of a group in lane 0: where each bit goes shows by packing weights of which one has that bit only."""
    array, format = family.array, FORMATS[name]
    cells = [["-"] * NIBBLE for _ in range(words)]
    codes = np.zeros((array.word_steps, 1), np.uint8)
    empty = _lane_0(family, format, codes)
    for index, bit in product(range(array.slices), range(format.bits)):
        one = codes.copy()
        one[index * array.lanes] = 1 << bit
        for word, place in np.argwhere(_lane_0(family, format, one) != empty):
            if word < words:
                cells[word][place] = f"w{index}[{bit}]"
    yield f"`{name}`", 0, "scale, selector", "", "", "", ""
    for word, cell in enumerate(cells[1:], start=1):
        upper = cell[0].endswith(f"[{family.array.variants[family.variant(weights=name)].way.low}]")
        yield "", word, "upper parts" if upper else "lower parts", *reversed(cell)


def _lane_0(family: BitSerialFamily, format: Format, codes: np.ndarray) -> np.ndarray:
    """Bits of lane 0 of column 0 of each packed word [words, NIBBLE]."""
    shape = (1, 1)
    operand = Operand(
        format=format, codes=codes, depth_axis=0, scales=np.ones(shape, np.int64),
        selectors=np.zeros(shape, np.uint8) if len(format.tables) > 1 else None,
    )  # fmt: skip
    return (
        family.pack_weights(operand).reshape(-1, family.geometry.weight_bytes)[:, :1] >> np.arange(NIBBLE) & 1
    )


def _depths() -> str:
    most = FORMATS["int8"].maximum * ((1 << SCALE_BITS) - 1)
    rows = []
    for name in ("int8-s8", "int6-s8", "int5-s8", "int4-s8", "fp4-mixed-s8", "fp3-mixed-s8"):
        format = FORMATS[name]
        largest = int(max(map(abs, format.range)) / 2.0**format.unit)
        rows.append((f"`{name}`", deepest([KINDS[name]]), ((1 << 31) - 1) // (most * largest)))
    return table(("format", "any bits", "what the rules write"), rows)


def _group_cycles() -> str:
    arrays = [(name, _bit_serial(name).array) for name in _BIT_SERIAL_PRESETS]
    rows: list[tuple[object, ...]] = [
        ("steps of K in a word, slices", *(f"{a.word_steps}, {a.slices}" for _, a in arrays)),
        *(
            (f"cycles of a group in `{one.name}`", *(a.group_words * a.word_cycles(one) for _, a in arrays))
            for one in WeightFormat
        ),
        ("least from group to group", *(a.least for _, a in arrays)),
        ("last term to result of an element", *(a.times.latency for _, a in arrays)),
        ("last step to last row's result", *(a.result_latency for _, a in arrays)),
    ]
    return table(("a group of 128", *(f"`{name}`" for name, _ in arrays)), rows)


def _array_keys(of: type[ArrayConfig], default: str = "all of them") -> str:
    properties = of.model_json_schema()["properties"]
    rows = (
        (
            f"`array.{name}`",
            default if part["type"] == "array" else f"`{part['default']}`",
            "formats of the table above" if part["type"] == "array" else config.allowed(part),
            part["description"],
        )
        for name, part in properties.items()
    )
    return table(("key", "default", "must be", "what"), rows)


def _board_preset(board: Board, name: str) -> str:
    """With its clocks where they are its own."""
    usual, *others = (one.usual_hz(name) for one in board.memories.values())
    own = [] if usual == board.default_hz else [f"{megahertz(usual)} MHz"]
    own += [f"{megahertz(hertz)} MHz with SDRAM" for hertz in others if hertz != usual]
    return f"`{name}`" + (f" ({', '.join(own)})" if own else "")


def _boards() -> str:
    rows = (
        (
            f"`{board.name}`",
            board.summary,
            f"{board.resources.luts:,} / {board.resources.flip_flops:,}",
            f"{board.resources.block_rams} of {board.resources.block_ram_bits:,} bits",
            board.resources.dsps,
            ", ".join(f"{in_words(one.memory_bytes)} {kind}" for kind, one in board.memories.items()),
            f"{megahertz(board.clock_hz)}, {megahertz(board.default_hz)}",
            f"{board.link}, {board.baud:,} baud",
            f"`{board.programmer.tool}`",
            ", ".join(_board_preset(board, name) for name in board.presets),
        )
        for board in boards().values()
    )
    return table(
        (
            "board",
            "what",
            "LUT / FF",
            "block RAM",
            "DSP",
            "memory",
            "oscillator, usual clock, MHz",
            "link",
            "programmer",
            "presets",
        ),
        rows,
    )


def _fit_errors() -> str:
    model = fitted.model()
    rows = [
        (
            f"`{kind}`",
            model["points"][kind],
            model["errors"][kind].get("lut", {}).get("points", 0),
            *(
                f"{100 * errors['median']:.1f} %, {100 * errors['worst']:.1f} %" if errors else "not measured"
                for errors in (model["errors"][kind].get(name) for name in ("lut", "ff", "fmax_mhz"))
            ),
        )
        for kind in model["cores"]
    ]
    return table(
        ("core", "points seen", "held out", "error of LUTs: median, worst", "registers", "MHz"), rows
    )


PARTS: dict[str, Callable[[], str]] = {
    "boards": _boards,
    "instructions": _instructions,
    "tokens": _tokens,
    "errors": _errors,
    "registers": _registers,
    "timing": _timing,
    "formats": _formats,
    "terms": _terms,
    "weight_formats": _weight_formats,
    "words": _words,
    "depths": _depths,
    "group_cycles": _group_cycles,
    "array_keys": lambda: _array_keys(BitSerialConfig),
    **LOOKUP_PARTS,
    "lookup_keys": lambda: _array_keys(LookupConfig),
    **DECODED_PARTS,
    "decoded_keys": lambda: _array_keys(DecodedConfig, "those of the block"),
    **BOARD_PARTS,
    **BOARD_FIGURES,
    **SUMMARY,
    **CHAT,
    **PERPLEXITIES,
    "fit_errors": _fit_errors,
    "sweep_figures": lambda: table(
        ("figure", "what"), ((f"`{name}`", text) for name, text in FIGURES.items())
    ),
}
"""What can be generated, by name."""
DOCUMENTS = {
    "architecture.md": ("instructions", "tokens", "errors", "registers", "timing"),
    "formats.md": ("formats",),
    "bit_serial.md": ("terms", "weight_formats", "words", "depths", "group_cycles", "array_keys"),
    "lookup.md": (*LOOKUP_PARTS, "lookup_keys"),
    "decoded.md": (*DECODED_PARTS, "decoded_keys"),
    "board.md": tuple(BOARD_PARTS),
    "sweeps.md": ("sweep_figures",),
    "estimate.md": ("fit_errors",),
    "boards.md": ("boards", *BOARD_FIGURES),
    "chat.md": tuple(CHAT),
    "precision.md": tuple(PERPLEXITIES),
    "../README.md": tuple(SUMMARY),
}
"""The parts of each document."""


def filled(text: str, parts: Sequence[str]) -> str:
    """``text`` with its generated parts as they are to be.

    Raises ``ValueError`` unless each of ``parts`` is in it once.
    """
    found = [match[2] for match in _PART.finditer(text)]
    if sorted(found) != sorted(parts):
        raise ValueError(
            f"generated parts must be {', '.join(sorted(parts))}, not {', '.join(sorted(found))}"
        )
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", text)


def main() -> None:
    """Write the generated parts of all documents, and the pictures."""
    for name, picture in PICTURES.items():
        (DOCS / name).write_text(picture())
    for name, parts in DOCUMENTS.items():
        (DOCS / name).write_text(filled((DOCS / name).read_text(), parts))


if __name__ == "__main__":
    main()
