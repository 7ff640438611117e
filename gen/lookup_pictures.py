# amaranth: UnusedElaboratable=no
"""Pictures of the table-lookup family: its unit, its array and the times of its chunks, as in ``lut-m2n64k4``."""

from __future__ import annotations

from gen import config
from gen.drawing import Drawing, bits
from gen.families.lookup import KINDS, LookupFamily
from hw.array.lookup.geometry import SCALE_STEP, LookupArray
from hw.pe.element_times import SCALE_BITS
from hw.pe.lookup_times import entry_bits
from hw.pe.plane_sum import SignedTree
from hw.pe.scaled_sum import RESULT_BITS, signed_bits

PRESET = "lut-m2n64k4"
TIMED = "int2-s8"
"""Weights of the picture of times."""


def _array() -> LookupArray:
    family = config.load(PRESET).instance
    assert isinstance(family, LookupFamily)
    return family.array


def widths(array: LookupArray) -> dict[str, int]:
    """Bits of a unit's registers and memories by their names in the Verilog; ``addend``: of the tree's sum."""
    entry = entry_bits(array.k)
    tree = SignedTree(operands=array.groups_per_lane, most=128 * array.k, extra=array.halved)
    group = 128 * array.group * ((1 << array.planes) - 1) << array.halved
    scaled = signed_bits(*(((1 << SCALE_BITS) - 1) * one for one in (-group, group)))
    return {
        "found_0": entry,
        "addend": len(tree.sum),
        "held": signed_bits(-group, group),
        "scaled": scaled + scaled % 2,
        "result": RESULT_BITS,
    }


def lookup_unit() -> str:
    """A row's tables at the left edge, and one unit."""
    array, drawing = _array(), Drawing(1000, 470, "Lookup unit: stored tables, tree, sums of places, scaling")
    size, tables, last = widths(array), array.groups_per_lane, array.groups_per_lane - 1
    drawing.text(155, 28, "left edge of the row, for all its units", "bold")
    drawing.text(640, 28, f"unit, for {array.outputs} features in turn", "bold")
    for y, number in ((60, 0), (150, 1), (270, last)):
        first = number * array.k
        drawing.text(62, y + 22, "activations")
        drawing.text(62, y + 38, f"{first} to {first + array.k - 1}")
        drawing.wire((20, y + 47), (118, y + 47))
        drawing.box(
            120, y, 120, 70, "mover", (f"table {number}", f"{array.k - 1} adders", "an entry a cycle")
        )
        drawing.wire((240, y + 35), (338, y + 35))
        drawing.text(289, y + 28, bits(entry_bits(array.k)))
        drawing.box(
            340, y, 140, 70, "memory",
            (f"tables {number}", f"2 banks of {array.entries}", "± entry of the code"),
        )  # fmt: skip
        drawing.wire((480, y + 35), (528, y + 35))
    for x in (180, 410):
        drawing.text(x, 250, "⋮", "bold")
    drawing.wire((410, 44), (410, 58))
    drawing.text(410, 42, f"codes: {tables} × ({array.k - 1} bits of entry, 1 of sign)")
    drawing.box(110, 372, 140, 70, "memory", ("totals", "last entries, summed", "for both banks"))
    drawing.wire((180, 340), (180, 370))
    drawing.box(530, 60, 80, 280, "control", ("tree", f"{tables} entries", f"{array.times.extra - 1} stages"))
    drawing.wire((610, 200), (638, 200))
    drawing.wire((250, 407), (655, 407), (655, 244))
    drawing.text(440, 400, "± total: plane of the zero point, or of one")
    drawing.box(640, 158, 70, 84, "control", ("+", "extra", bits(size["addend"])))
    drawing.wire((710, 200), (738, 200))
    shifts = f"by 0 to {array.planes - 1}"
    drawing.box(740, 158, 80, 84, "control", ("shift", shifts, "the plane"))
    drawing.wire((820, 200), (848, 200))
    drawing.box(
        850, 150, 130, 100, "memory",
        ("open sums", f"{array.outputs} places", f"of {bits(size['held'])}", "distributed RAM"),
    )  # fmt: skip
    drawing.wire((915, 118), (915, 148))
    drawing.text(915, 110, "place, first")
    drawing.wire((915, 250), (915, 278))
    drawing.text(950, 270, "last")
    drawing.box(850, 280, 130, 62, "memory", ("complete", f"{array.outputs} places", "distributed RAM"))
    drawing.wire((850, 311), (818, 311))
    drawing.box(
        690,
        270,
        126,
        84,
        "mover",
        ("scaled", f"{1 << SCALE_STEP} scaled +", "bits × sum", bits(size["scaled"])),
    )
    drawing.wire((730, 384), (730, 356))
    drawing.text(752, 398, f"scale, {SCALE_BITS} bits, {SCALE_STEP} a cycle")
    drawing.wire((790, 354), (790, 375), (880, 375), (880, 418))
    drawing.text(880, 434, f"half of it: result int{RESULT_BITS}")
    return drawing.svg()


def lookup_array() -> str:
    """Tables at the left, columns of units, words, results."""
    array = _array()
    g, last = array.geometry, array.banks - 1
    drawing = Drawing(1000, 590, "Table-lookup array: tables of the rows, columns of units, words of weights")
    drawing.box(20, 30, 170, 74, "control", ("Sequencer", "which place and plane", "of which chunk"))
    drawing.wire((190, 52), (250, 52), (250, 166), (338, 166))
    drawing.text(294, 159, "steering")
    drawing.wire((105, 104), (105, 158))
    drawing.wire((20, 67), (10, 67), (10, 406), (18, 406))
    drawing.text(147, 136, "addresses")
    drawing.box(20, 160, 170, 74, "memory", ("Weight scratchpad", "words of", bits(8 * g.weight_bytes)))
    drawing.wire((190, 210), (338, 210))
    drawing.text(264, 203, f"{array.banks} × {bits(array.part_bits)}")
    drawing.box(
        20, 360, 130, 92, "memory",
        ("Activation", "scratchpad", "words of", bits(8 * g.activation_bytes)),
    )  # fmt: skip
    places = ((350, 0), (460, array.rows - 1))
    for y, row in places:
        drawing.box(
            190, y, 120, 76, "mover",
            (f"row {row}", f"{array.groups_per_lane} tables of {array.k}", f"{array.chunk} activations", "and their total"),
        )  # fmt: skip
    drawing.wire((150, 388), (188, 388))
    drawing.wire((170, 388), (170, 498), (188, 498))
    for x, column in ((340, 0), (540, 1), (790, last)):
        drawing.box(x, 30, 170, 56, "memory", (f"accumulators {column}", f"{array.outputs} places, {g.sums}"))
        drawing.box(
            x, 140, 130, 106, "control",
            (f"column {column}", f"{array.groups_per_lane} codes of {array.k} bits", "scales, zero points",
             f"of {array.outputs} places:", "a bit a cycle"),
        )  # fmt: skip
        drawing.wire((x + 65, 246), (x + 65, 348))
        drawing.text(x + 30, 300, "codes")
        drawing.text(x + 96, 300, bits(array.part_bits))
        for y, row in places:
            drawing.box(
                x,
                y,
                130,
                76,
                "array",
                ("unit", f"row {row}, column {column}", "stored tables", f"{array.outputs} sums"),
            )
            drawing.wire((x + 130, y + 20), (x + 155, y + 20))
        drawing.wire((x + 65, 426), (x + 65, 458))
        drawing.wire((x + 156, 480), (x + 156, 88))
    for y, _ in places:
        for left, right in ((310, 338), (470, 538), (670, 716), (742, 788)):
            drawing.wire((left, y + 50), (right, y + 50))
        drawing.text(729, y + 55, "…", "bold")
    for left, right in ((470, 538), (670, 716), (742, 788)):
        drawing.wire((left, 200), (right, 200))
    drawing.text(729, 205, "…", "bold")
    drawing.text(
        500, 572, "Right go entries of tables, words and steering, down go codes: a cycle for each. Up go results."
    )  # fmt: skip
    return drawing.svg()


def lookup_timing() -> str:
    """Two groups of two planes, at the unit of row 0 and column 0: cycle 0 is the first lookup."""
    array, format = _array(), KINDS[TIMED]
    drawing = Drawing(1000, 322, "Times of chunks: tables are built while the ones before are looked up")
    chunk, outputs, chunks = array.lookups(format), array.outputs, array.group_words * array.slices
    words = array.group_cycles(format, array.group_words)
    group = words + array.pause(format, array.group_words)

    def x(cycle: int) -> int:
        return 200 + round(5.6 * cycle)

    def bar(row: int, start: int, cycles: int, kind: str, text: str = "") -> None:
        drawing.box(x(start), 40 + 44 * row, x(start + cycles) - x(start), 30, kind, (text,) * bool(text))

    labels = ("words, lookups", "tables, bank 0", "tables, bank 1", "scaling, place", "results, all rows")
    for row, label in enumerate(labels):
        drawing.text(80, 60 + 44 * row, label)
    for number in range(2 * chunks):
        start, name = number // chunks * group + number % chunks * chunk, str(number % chunks)
        for plane in range(format.bits):
            bar(0, start + plane * outputs, outputs, "array", f"p{plane}")
        bar(1 + number % 2, start - array.entries, array.entries, "memory", name)
        bar(1 + number % 2, start, chunk, "array", name)
    for end in (words, group + words):
        bar(0, end - array.scale_words, array.scale_words, "control")
        drawing.text(x(end) - 5, 30, "scales")
    # Of place 0 the last code is one of the last plane's first; its steering is a cycle before it is looked up.
    result = words - array.scale_words - outputs + array.result_delay - 1
    step = array.spacing(format)
    for place in range(outputs):
        # The column's register, and before that the cycle of the last bit.
        bar(3, result - 1 - step + place * step, step, "mover", str(place))
        bar(4, result + place * step, array.rows, "memory")
    for cycle in (0, chunk, group, result):
        drawing.wire((x(cycle), 272), (x(cycle), 260))
        drawing.text(x(cycle), 287, str(cycle))
    drawing.text(80, 287, "cycle")
    drawing.text(
        500, 312,
        f"{TIMED}, {array.group} weights: a chunk is {format.bits} planes, p0 and p1, of {outputs} places. "
        "Tables with the number of their chunk: written, then looked up.",
    )  # fmt: skip
    return drawing.svg()
