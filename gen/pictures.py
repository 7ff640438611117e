# amaranth: UnusedElaboratable=no
"""Pictures of the documents: SVG files whose widths and names come from the hardware."""

from __future__ import annotations

from gen import config
from gen.board_documentation import PICTURES as BOARD
from gen.board_figures import PICTURES as FIGURES
from gen.chat_figures import PICTURES as TEXTS
from gen.decoded_pictures import decoded_array, decoded_codes, decoded_element
from gen.drawing import Drawing, bits
from gen.families.bit_serial import BitSerialFamily
from gen.lookup_pictures import lookup_array, lookup_timing, lookup_unit
from hw.array.bit_serial.geometry import SPECIAL_VALUES, BitSerial
from hw.pe.bit_serial import (
    BitSerialChain,
    BitSerialElement,
    BitSerialLane,
    products,
)
from hw.pe.bit_serial_fp16 import FP16, SUM, WINDOW, DotProduct, FloatElement, GroupSum
from hw.pe.element_times import SCALE_BITS
from hw.pe.scaled_sum import RESULT_BITS, ScaledSum
from hw.pe.term_folder import ELEMENT_TERM
from hw.pe.terms import SPECIAL
from hw.pe.weight_format import NIBBLE


def _preset(name: str) -> BitSerial:
    family = config.load(name).instance
    assert isinstance(family, BitSerialFamily)
    return family.array


def elements() -> str:
    """Both kinds of bit-serial element, as in the presets."""
    drawing = Drawing(1000, 570, "Bit-serial elements for int8 and for fp16 activations")
    _int8(drawing, _preset("bitmod-int8-8x8"))
    _fp16(drawing, _preset("bitmod-fp16-4x4"), 300)
    return drawing.svg()


def _int8(drawing: Drawing, array: BitSerial) -> None:
    lanes = array.lanes
    element = BitSerialElement(lanes=lanes, formats=array.formats, group=array.group)
    chain, lane = BitSerialChain(lanes=lanes, negatives=lanes), BitSerialLane()
    least, most = (array.group * one for one in products(array.formats))
    scaled = ScaledSum(addend_width=len(chain.sum), least=least, most=most, shift=4)
    drawing.text(500, 28, f"int8 activations, {lanes} lanes: every sum is exact", "bold")
    for x, number in ((150, "0"), (290, "1"), (480, str(lanes - 1))):
        drawing.wire((x + 55, 72), (x + 55, 88))
        drawing.text(x + 55, 54, f"activation {len(lane.activation)} bits")
        drawing.text(x + 55, 69, f"term {ELEMENT_TERM.size} bits")
        drawing.box(x, 90, 110, 58, "array", (f"lane {number}", "± a or ± 2 a", bits(len(lane.addend))))
        drawing.wire((x + 55, 148), (x + 55, 192))
        drawing.text(x + 90, 174, "× 1, × 4")
        drawing.box(x + 30, 194, 50, 36, "control", ("+",))
    drawing.text(440, 124, "…", "bold")
    drawing.text(82, 197, "negatives")
    drawing.text(82, 232, bits(len(element.negatives)))
    drawing.wire((40, 212), (178, 212))
    drawing.wire((230, 212), (318, 212))
    drawing.wire((370, 212), (416, 212))
    drawing.text(440, 217, "…", "bold")
    drawing.wire((462, 212), (508, 212))
    drawing.wire((560, 212), (608, 212))
    drawing.text(535, 250, f"sum {bits(len(chain.sum))}")
    drawing.box(610, 184, 90, 58, "control", ("shift", "by 0, 1 or 4"))
    drawing.wire((655, 160), (655, 182))
    drawing.text(655, 152, "significance")
    drawing.wire((700, 212), (728, 212))
    drawing.box(730, 176, 100, 74, "memory", ("total", "of the group", bits(scaled.total_bits)))
    drawing.wire((780, 152), (780, 174))
    drawing.text(780, 144, "last")
    drawing.wire((830, 212), (858, 212))
    drawing.box(860, 168, 120, 90, "mover", ("scaled", "2 scaled +", "bit × total", bits(scaled.scaled_bits)))
    drawing.wire((920, 144), (920, 166))
    drawing.text(920, 136, f"scale, {bits(SCALE_BITS)}, one a cycle")
    drawing.wire((920, 258), (920, 280))
    drawing.text(920, 294, f"result int{RESULT_BITS}")


def _fp16(drawing: Drawing, array: BitSerial, top: int) -> None:
    lanes = array.lanes
    element = FloatElement(lanes=lanes, rounding=array.rounding)
    dot = DotProduct(lanes=lanes, rounding=array.rounding)
    group = GroupSum(lanes=lanes, rounding=array.rounding)
    fraction, exponent = (FP16[name].shape for name in ("fraction", "exponent"))
    drawing.text(
        500, top + 28, f"fp16 activations, {lanes} lanes: sums have an exponent and are rounded", "bold"
    )
    drawing.text(82, top + 75, "exponents")
    drawing.text(82, top + 110, bits(int(exponent)))
    drawing.wire((40, top + 90), (158, top + 90))
    drawing.box(
        160, top + 52, 150, 76, "control",
        ("exponent match", "activation + term", f"greatest: {bits(len(dot.exponent))}"),
    )  # fmt: skip
    drawing.wire((235, top + 128), (235, top + 162))
    drawing.text(275, top + 150, "distance")
    drawing.text(82, top + 190, "significands")
    drawing.text(82, top + 225, bits(int(fraction) + 1))
    drawing.wire((40, top + 205), (158, top + 205))
    drawing.box(
        160, top + 164, 150, 82, "array",
        (f"{lanes} lanes", f"window {bits(WINDOW)}", "right by distance", "± by both signs"),
    )  # fmt: skip
    drawing.wire((310, top + 205), (368, top + 205))
    drawing.box(370, top + 172, 100, 66, "control", ("+", "all lanes", bits(len(dot.product))))
    drawing.wire((310, top + 90), (570, top + 90), (570, top + 154))
    drawing.text(440, top + 83, "exponent + significance")
    drawing.wire((470, top + 205), (518, top + 205))
    drawing.box(
        520, top + 156, 170, 98, "memory",
        ("group sum", f"{bits(len(group.value))} and {SUM - len(group.value)} more",
         f"exponent {bits(len(group.sum_exponent))}", "the smaller operand", "moves right"),
    )  # fmt: skip
    drawing.wire((650, top + 132), (650, top + 154))
    drawing.text(650, top + 124, "last")
    drawing.wire((690, top + 205), (738, top + 205))
    drawing.text(714, top + 198, "round")
    drawing.box(
        740, top + 160, 130, 90, "mover",
        ("scaled", "2 scaled +", "bit × magnitude", f"{bits(WINDOW)} × {SCALE_BITS}"),
    )  # fmt: skip
    drawing.wire((805, top + 136), (805, top + 158))
    drawing.text(805, top + 128, f"scale, {bits(SCALE_BITS)}, one a cycle")
    drawing.wire((870, top + 205), (898, top + 205))
    drawing.text(938, top + 202, "result")
    drawing.text(938, top + 219, f"float{len(element.result)}")


def bit_serial_array() -> str:
    """The array of ``bitmod-int8-8x8``."""
    array = _preset("bitmod-int8-8x8")
    g = array.geometry
    drawing = Drawing(1000, 656, "Bit-serial array: heads, rows, elements and the way of the results")
    drawing.box(20, 30, 170, 74, "control", ("Sequencer", "which term of which", "slice of which group"))
    drawing.wire((190, 52), (250, 52), (250, 156), (338, 156))
    drawing.text(294, 149, "steering")
    drawing.wire((105, 104), (105, 158))
    drawing.wire((20, 67), (10, 67), (10, 396), (18, 396))
    drawing.text(147, 136, "addresses")
    drawing.box(20, 160, 170, 74, "memory", ("Weight scratchpad", "words of", bits(8 * g.weight_bytes)))
    drawing.wire((190, 210), (338, 210))
    drawing.text(264, 203, f"{array.columns} × {NIBBLE * array.lanes} bits")
    drawing.box(
        20, 350, 170, 92, "memory",
        ("Activation", "scratchpad", f"words of {8 * g.activation_bytes} bits:", f"{array.slices} slices"),
    )  # fmt: skip
    columns = ((340, 0), (540, 1), (790, array.columns - 1))
    places = ((340, 0), (430, 1), (560, array.rows - 1))
    for y, row in places:
        drawing.box(230, y, 80, 60, "mover", (f"row {row}", "slice"))
    drawing.wire((190, 370), (228, 370))
    drawing.wire((210, 370), (210, 460), (228, 460))
    drawing.wire((210, 460), (210, 590), (228, 590))
    for x, column in columns:
        drawing.box(x, 30, 170, 56, "memory", (f"accumulators {column}", g.sums))
        drawing.box(
            x, 140, 130, 124, "control",
            (f"head {column}", f"words → {array.lanes} codes", f"codes → {array.lanes} terms",
             f"SV_reg {SPECIAL_VALUES} × {SPECIAL.size} bits", f"scale {bits(SCALE_BITS)}", "a bit a cycle"),
        )  # fmt: skip
        drawing.wire((x + 65, 264), (x + 65, 338))
        drawing.text(x + 32, 305, "terms")
        drawing.text(x + 108, 305, f"{array.lanes} × {ELEMENT_TERM.size} bits")
        for (y, row), after in zip(places, (*places[1:], None), strict=True):
            drawing.box(x, y, 130, 60, "array", ("element", f"row {row}, column {column}"))
            drawing.wire((x + 130, y + 20), (x + 155, y + 20))
            if after and after[1] == row + 1:
                drawing.wire((x + 65, y + 60), (x + 65, after[0] - 2))
            elif after:
                drawing.wire((x + 65, y + 60), (x + 65, y + 82))
                drawing.text(x + 65, y + 98, "⋮", "bold")
                drawing.wire((x + 65, y + 106), (x + 65, after[0] - 2))
        drawing.wire((x + 156, places[-1][0] + 20), (x + 156, 88))
    for y, _ in places:
        for left, right in ((310, 338), (470, 538), (670, 716), (742, 788)):
            drawing.wire((left, y + 44), (right, y + 44))
        drawing.text(729, y + 49, "…", "bold")
    for left, right in ((470, 538), (670, 716), (742, 788)):
        drawing.wire((left, 200), (right, 200))
    drawing.text(729, 205, "…", "bold")
    drawing.text(
        500, 644, "Down go terms and bits of scales, right go activations, words and steering: a cycle for each. Up go results."
    )  # fmt: skip
    return drawing.svg()


PICTURES = {
    "bit_serial_element.svg": elements,
    "bit_serial_array.svg": bit_serial_array,
    "lookup_unit.svg": lookup_unit,
    "lookup_array.svg": lookup_array,
    "lookup_timing.svg": lookup_timing,
    "decoded_array.svg": decoded_array,
    "decoded_element.svg": decoded_element,
    "decoded_codes.svg": decoded_codes,
    **BOARD,
    **FIGURES,
    **TEXTS,
}
"""By file in the documents."""
