# amaranth: UnusedElaboratable=no
"""Pictures of the family of decoded operands: its array, its element, the pairs of a format; as in ``olive-8x8``."""

from __future__ import annotations

from gen import config
from gen.drawing import Drawing, bits
from gen.families.decoded import DecodedFamily
from hw.array.decoded.geometry import DecodedArray
from hw.formats import FORMATS, PairFormat
from hw.formats.pairs import PairShape, pairs
from hw.pe.exponent_integer import PairProduct, product_bits

PRESET = "olive-8x8"
SHOWN = "ovp4-int4"
"""Format whose codes are shown."""


def _array() -> DecodedArray:
    family = config.load(PRESET).instance
    assert isinstance(family, DecodedFamily)
    return family.array


def _shape(shape: PairShape) -> str:
    return f"e {shape.exponent_bits}, i {bits(shape.integer_bits)}"


def widths(array: DecodedArray) -> dict[str, int]:
    """Bits inside an element: of the multiplier's product, of what is shifted, of the sum, and the longest shift."""
    x, w = array.shapes
    product = PairProduct(a=x, b=w, width=min(array.sum_bits, product_bits(x, w)), dropped=array.dropped)
    return {
        "multiplied": x.integer_bits + w.integer_bits,
        "product": len(product.product),
        "sum": array.sum_bits,
        "shift": x.most_exponent + w.most_exponent,
    }


def decoded_array() -> str:
    """Decoders on two borders, elements within, results at the top."""
    array = _array()
    g, (x_shape, w_shape) = array.geometry, array.shapes
    drawing = Drawing(
        1000, 640, "Array of decoded operands: decoders on two borders, elements of exponents and integers"
    )
    drawing.box(20, 30, 170, 74, "control", ("Sequencer", "which slot of", "which tile"))
    drawing.wire((190, 52), (250, 52), (250, 156), (338, 156))
    drawing.text(294, 149, "steering")
    drawing.wire((105, 104), (105, 158))
    drawing.wire((20, 67), (10, 67), (10, 380), (18, 380))
    drawing.text(147, 136, "addresses")
    drawing.box(20, 160, 170, 74, "memory", ("Weight scratchpad", "words of", bits(8 * g.weight_bytes)))
    drawing.wire((190, 206), (338, 206))
    drawing.text(264, 199, f"{array.columns} × 8 bits")
    drawing.box(
        20, 330, 130, 92, "memory",
        ("Activation", "scratchpad", "words of", bits(8 * g.activation_bytes)),
    )  # fmt: skip
    places = ((320, 0), (420, 1), (550, array.rows - 1))
    for y, row in places:
        drawing.box(
            190,
            y,
            120,
            64,
            "mover",
            (f"decoder {row}", "its word, a slot", f"{len(array.activations)} formats"),
        )
    drawing.wire((150, 352), (188, 352))
    drawing.wire((170, 352), (170, 452), (188, 452))
    drawing.wire((170, 452), (170, 582), (188, 582))
    for x, column in ((340, 0), (540, 1), (790, array.columns - 1)):
        drawing.box(x, 30, 170, 56, "memory", (f"accumulators {column}", g.sums))
        drawing.box(
            x, 140, 130, 84, "mover",
            (f"decoder {column}", "a byte: one slot or", "two, and a slot of it", f"{len(array.weights)} formats"),
        )  # fmt: skip
        drawing.wire((x + 65, 224), (x + 65, 318))
        drawing.text(x + 28, 276, "pair")
        drawing.text(x + 108, 276, _shape(w_shape))
        for (y, row), after in zip(places, (*places[1:], None), strict=True):
            drawing.box(
                x,
                y,
                130,
                64,
                "array",
                ("element", f"row {row}, column {column}", f"sum {bits(array.sum_bits)}"),
            )
            drawing.wire((x + 130, y + 16), (x + 155, y + 16))
            if after and after[1] == row + 1:
                drawing.wire((x + 65, y + 64), (x + 65, after[0] - 2))
            elif after:
                drawing.wire((x + 65, y + 64), (x + 65, y + 84))
                drawing.text(x + 65, y + 101, "⋮", "bold")
                drawing.wire((x + 65, y + 108), (x + 65, after[0] - 2))
        drawing.wire((x + 156, places[-1][0] + 16), (x + 156, 88))
    for y, _ in places:
        for left, right in ((310, 338), (470, 538), (670, 716), (742, 788)):
            drawing.wire((left, y + 46), (right, y + 46))
        drawing.text(729, y + 51, "…", "bold")
    drawing.text(250, 306, f"pairs: {_shape(x_shape)}")
    for left, right in ((470, 538), (670, 716), (742, 788)):
        drawing.wire((left, 192), (right, 192))
    drawing.text(729, 197, "…", "bold")
    drawing.text(
        500, 632, "Down go pairs of weights, right go pairs of activations, bytes and steering: a cycle for each. Up go results."
    )  # fmt: skip
    return drawing.svg()


def decoded_element() -> str:
    """A byte of activations and one of weights, decoded, and the element that they meet in."""
    array, drawing = _array(), Drawing(1000, 330, "Element: multiply integers, add exponents, shift, add")
    size, shapes = widths(array), array.shapes
    for y, name, shape in ((50, "activation", shapes[0]), (200, "weight", shapes[1])):
        drawing.text(60, y + 27, "byte of the")
        drawing.text(60, y + 43, f"{name}s")
        drawing.wire((20, y + 52), (118, y + 52))
        drawing.box(
            120, y, 130, 90, "mover", ("decoder", "code, and the", "neighbour's: is it", "a victim's mark?")
        )
        drawing.text(310, y + 15, f"e: {bits(shape.exponent_bits)}")
        drawing.text(310, y + 61, f"i: {bits(shape.integer_bits)}")
    drawing.text(185, 176, "on the borders")
    drawing.text(640, 34, "element", "bold")
    # To the adder of exponents, above, and to the multiplier.
    drawing.wire((250, 72), (408, 72))
    drawing.wire((250, 118), (380, 118), (380, 216), (408, 216))
    drawing.wire((250, 222), (355, 222), (355, 104), (408, 104))
    drawing.wire((250, 268), (380, 268), (380, 250), (408, 250))
    drawing.box(410, 56, 100, 64, "control", ("+", "exponents"))
    drawing.box(410, 196, 100, 74, "control", ("×", "integers", bits(size["multiplied"])))
    drawing.wire((510, 88), (630, 88), (630, 188))
    drawing.text(570, 80, f"0 to {size['shift']}")
    drawing.wire((510, 233), (568, 233))
    drawing.box(570, 190, 120, 86, "array", ("shift", f"by 0 to {size['shift']}", bits(size["product"])))
    drawing.wire((690, 233), (738, 233))
    drawing.box(740, 190, 110, 86, "memory", ("+ sum", bits(size["sum"]), "cleared by", "the last"))
    drawing.wire((850, 233), (898, 233))
    drawing.text(940, 229, "result")
    drawing.text(940, 245, "up the column")
    drawing.wire((795, 150), (795, 188))
    drawing.text(795, 142, "last, with the activation")
    drawing.text(
        500, 318, "Pairs go on to the next element, a cycle later, and meet the next operand there: no element decodes."
    )  # fmt: skip
    return drawing.svg()


def decoded_codes() -> str:
    """Every code of a format of pairs, as a pair: normal, and beside a victim."""
    format = FORMATS[SHOWN]
    assert isinstance(format, PairFormat)
    table, drawing = (
        pairs(format),
        Drawing(1000, 300, f"Codes of {SHOWN} as pairs of an exponent and an integer"),
    )
    kinds = (("normal", 70, "array", format.tables[0]), ("beside a victim", 170, "mover", format.outliers))
    drawing.text(500, 28, f"{SHOWN}: what a code stands for, by its neighbour", "bold")
    for code in range(1 << format.bits):
        x = 140 + 53 * code
        drawing.text(x + 25, 56, f"{code:0{format.bits}b}", "bold")
        for which, (_, y, kind, numbers) in enumerate(kinds):
            number = numbers[code]
            if code == format.identifier:
                continue
            if number is None:
                drawing.box(x, y, 50, 84, "control", ("none",))
                continue
            e, i = int(table.exponents[which, code]), int(table.integers[which, code])
            drawing.box(x, y, 50, 84, kind, (str(number), f"e {e}", f"i {i}"))
        if code == format.identifier:
            drawing.box(x, 70, 50, 184, "memory", ("0", "the", "victim"))
    for text, y, *_ in kinds:
        drawing.text(70, y + 46, text)
    drawing.text(70, 56, "code")
    drawing.text(
        500, 286, "Number = i × 2^e. A byte is two codes; where one is 1000, the other is an outlier."
    )
    return drawing.svg()
