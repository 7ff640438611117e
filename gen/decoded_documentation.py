"""The generated parts of the page of the family of decoded operands."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from gen import config
from gen.families.decoded import DEFAULTS, DecodedFamily
from gen.markdown import table
from hw.array.decoded.geometry import scale_type, slot_bits
from hw.formats import FORMATS, Operand, find
from hw.formats.pairs import PairShape, pairs, sum_bits

OLIVE, MX = "olive-8x8", "mx-8x8"
CODES = (
    ("int4", 0b1101), ("flint4", 0b0100), ("flint4", 0b1111), ("mxfp4", 0b0111), ("mxfp4", 0b1001),
    ("mxfp6-e2m3", 0b011111), ("mxfp8-e4m3", 0b01111110), ("mxfp8-e4m3", 0b00000001), ("mxfp8-e5m2", 0b01111011),
)  # fmt: skip
"""Format and code of the worked examples."""
BYTES = (0x25, 0x85, 0xE8, 0x78, 0x18)
"""Of OliVe's pairs of ``BYTE``, the even code below."""
BYTE = "ovp4-int4"
SHOWN = ("mxfp4", "mxfp8-e4m3")
"""Whose streams are shown beside each other: activations, weights."""
RATES = (
    ("mxfp4", "mxfp4"), ("mxfp8-e4m3", "mxfp4"), ("mxfp8-e4m3", "mxfp8-e4m3"), ("nvfp4", "nvfp4"), ("mxfp8-e4m3", "nvfp4"),
    ("int8", "mxfp4"), ("q8_0", "q4_0"), ("int8", "int8"),
)  # fmt: skip
"""Formats whose steps are counted, where the shortest block has 16."""


def family(name: str, *overrides: str) -> DecodedFamily:
    """Of that preset."""
    found = config.load(name, overrides).instance
    assert isinstance(found, DecodedFamily)
    return found


def _pairs() -> str:
    rows = []
    for name, code in CODES:
        format = FORMATS[name]
        exponents, integers = pairs(format).decode(np.array([code], np.uint8))
        exponent, integer = int(exponents[0]), int(integers[0])
        unit = f" × 2^{format.unit}" if format.unit else ""
        rows.append((
            f"`{name}`", f"`{code:0{format.bits}b}`", f"{format.element(integer << exponent):g}", exponent, integer,
            f"{integer} × 2^{exponent}{unit}",
        ))  # fmt: skip
    return table(("format", "code", "stands for", "exponent", "integer", "is"), rows)


def _bytes() -> str:
    format, rows = FORMATS[BYTE], []
    for byte in BYTES:
        codes = np.array([[byte & 15, byte >> 4]], np.uint8)
        exponents, integers = (each[0].tolist() for each in pairs(format).decode(codes))
        each = [
            (f"`{code:04b}`", e, i, i << e) for code, e, i in zip(codes[0], exponents, integers, strict=True)
        ]
        rows.append((f"`{byte:08b}`", *each[0], *each[1]))
    head = [f"{which}: {what}" for which, what in product(("even", "odd"), ("code", "e", "i", "value"))]
    return table(("byte", *head), rows)


def _formats() -> str:
    names = list(dict.fromkeys(name for sides in DEFAULTS.values() for side in sides for name in side))
    rows = []
    for name in [*names, "ovp8-int8-e2m5", "mxfp8-e5m2", "q8_0", "q4_0"]:
        format = find(name)
        shape = PairShape.of(format)
        blocks = [str(block) for block, sides in DEFAULTS.items() if any(name in side for side in sides)]
        scale = f"{scale_type(format)} of {format.block}" if scale_type(format) else ""
        rows.append((
            f"`{name}`", slot_bits(format), f"{shape.exponent_bits} (to {shape.most_exponent})", shape.integer_bits, scale,
            ", ".join(blocks) or "on request",
        ))  # fmt: skip
    return table(("format", "slot", "bits of e", "bits of i", "scales", "default with block"), rows)


def _streams() -> str:
    """The end of a block, slot by slot; what goes where shows by packing one code, or one scale, after the other."""
    array = family(
        MX,
        *(f'array.{side}=["{name}"]' for side, name in zip(("activations", "weights"), SHOWN, strict=True)),
    )
    steps, length = array.array.block_steps(0), array.array.block_length(0)
    shown = (0, 1, *range(length - 2, steps))
    cells = [[_cell(array, side, slot) for slot in shown] for side in (0, 1)]
    heads = [f"step {slot}" for slot in shown]
    return table(
        ("stream", *heads),
        ((f"`{name}`", *cell) for name, cell in zip(SHOWN, cells, strict=True)),
    )  # fmt: skip


def _cell(array: DecodedFamily, side: int, slot: int) -> str:
    """Name of what lies in a slot of the stream of activations (0) or weights (1)."""
    format = array.pairs[0][side]

    def packed(place: int | None, exponent: int) -> int:
        codes = np.zeros((1, format.block), np.uint8)
        if place is not None:
            codes[0, place] = 1
        scale = np.array([[2.0**exponent]])
        if side:
            data = array.pack_weights(
                Operand(format=format, codes=codes.T.copy(), depth_axis=0, float_scales=scale)
            ).reshape(-1, array.geometry.weight_bytes)[:, :1]
        else:
            data = array.pack_activations(
                Operand(format=format, codes=codes, depth_axis=1, float_scales=scale)
            ).T
        stream = np.unpackbits(data, axis=1, bitorder="little").reshape(-1)
        return int(stream[first : first + bits] @ (1 << np.arange(bits)))

    length, bits = array.array.block_length(0), slot_bits(format)
    first = min(slot, length) * bits + max(slot - length, 0) * 8
    bits = bits if slot < length else 8
    empty = packed(None, 0)
    for place in range(length):
        if packed(place, 0) != empty:
            return f"code {place}"
    return "scale" if any(packed(None, exponent) != empty for exponent in (1, -127)) else "0"


def _rates() -> str:
    rows = []
    for names in RATES:
        sides = zip(("activations", "weights"), names, strict=True)
        array = family(MX, *(f'array.{side}=["{name}"]' for side, name in sides)).array
        length, steps = array.block_length(0), array.block_steps(0)
        share = f"{length / steps:.1%}".replace("%", " %")
        one = sum_bits(*array.pairs[0], 1)
        rows.append((" × ".join(f"`{name}`" for name in names), length, steps, share, one, array.sum_bits))
    head = ("block", "steps", "at work", "bits of a product", "bits of a sum")
    return table(("activations × weights", *head), rows)


PARTS: dict[str, Callable[[], str]] = {
    "decoded_pairs": _pairs,
    "decoded_bytes": _bytes,
    "decoded_formats": _formats,
    "decoded_streams": _streams,
    "decoded_rates": _rates,
}
"""What can be generated, by name."""
