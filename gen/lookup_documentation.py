"""The generated parts of the table-lookup family's page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import product

import numpy as np

from gen import config
from gen.compiler import compile_gemm
from gen.families.groups import grouped
from gen.families.lookup import KINDS, LookupFamily
from gen.markdown import table
from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset
from hw.control.isa import Opcode, OutputMode
from hw.formats import FORMATS, Operand
from hw.pe.element_times import SCALE_BITS
from sim import lookup
from sim.families.lookup import LookupModel

PRESETS = ("lut-m2n64k4", "lut-up5k")
ACTIVATIONS, CODES, BITS, ZERO, SCALE = (3, -5, 7, 2), (2, 0, 3, 1), 2, 1, 3
"""The worked example: a table of four, unsigned codes with a zero point, a scale."""
PACKED, STEPS, PLACES = "int2-asym-s8", 8, 2
"""Whose words are shown, for so many steps of K and places of unit column 0."""
GEMM, TYPES = (4, 256, 64), ("int8", "int4-s8")
TAKEN_OFF = {Offset.NONE: "nothing", Offset.TWOS: "1", Offset.ZERO: "z'"}


def family(name: str, overrides: Sequence[str] = ()) -> LookupFamily:
    """Of that preset."""
    found = config.load(name, list(overrides)).instance
    assert isinstance(found, LookupFamily)
    return found


def _signed(number: int) -> str:
    return f"{'-' if number < 0 else '+'} {abs(number)}"


def _values() -> str:
    """Codes of two bits in each reading."""
    codes = np.arange(1 << BITS)
    values = lookup.reinterpreted(codes, BITS)
    z = int(lookup.reinterpreted(np.array(ZERO), BITS))
    rows = (
        (f"`{code:0{BITS}b}`", q, q, (q - 1) // 2, (q - z) // 2)
        for code, q in zip(codes, values, strict=True)
    )
    head = (
        "planes' bits",
        "q'",
        "`bipolar2`: q'",
        "`int2`: (q' - 1) / 2",
        f"`int2-asym`, z = {ZERO}: (q' - z') / 2",
    )
    return table(head, rows)


def _entries() -> str:
    *others, last = ACTIVATIONS
    half = lookup.half_table(np.array(ACTIVATIONS))
    rows = []
    for entry, total in enumerate(half):
        terms = (one if entry >> place & 1 else -one for place, one in enumerate(others))
        rows.append((f"`{entry:0{len(others)}b}`", " ".join([str(last), *map(_signed, terms)]), total))
    return table(("entry", "sum", "is"), rows)


def _planes() -> str:
    """Plane by plane, then all together."""
    k = len(ACTIVATIONS)
    half = lookup.half_table(np.array(ACTIVATIONS))
    whole = 0
    rows: list[Sequence[object]] = []
    for plane, index in enumerate(lookup.indices(np.array(CODES), bits=BITS, k=k)):
        entry, negative = lookup.recoded(index, k)
        found = int(lookup.looked_up(half[None], entry, negative)[0])
        bit = ZERO >> plane & 1
        total = int(half[-1]) * (-1 if bit else 1)
        whole += (found + total) << plane
        code = f"`{int(negative[0])} {int(entry[0]):0{k - 1}b}`"
        sum_ = f"({found} {_signed(total)}) × {1 << plane} = {(found + total) << plane}"
        rows.append((plane, f"`{int(index[0]):0{k}b}`", code, found, bit, total, sum_))
    rows.append(("all", "", "", "", "", "", f"{whole}"))
    rows.append(("scaled, halved", "", "", "", "", "", f"{whole} × {SCALE} / 2 = {whole * SCALE // 2}"))
    head = ("plane", "weights 3 to 0", "sign, entry", "looked up", "bit of z", "∓ total", "sum")
    return table(head, rows)


def kinds(names: Iterable[str] = KINDS) -> dict[LookupFormat, list[str]]:
    """Names of formats by what they are to the array."""
    found = defaultdict(list)
    for name in names:
        found[KINDS[name]].append(name)
    return found


def largest(format: LookupFormat) -> int:
    """Magnitude of the largest weight of any bits."""
    return 1 << format.bits - 1 if format.offset is Offset.TWOS else (1 << format.bits) - 1


def _formats() -> str:
    """With the depths up to which int32 holds any sum."""
    array = family(PRESETS[0]).array
    rows = []
    for kind, names in kinds().items():
        written = max(max(map(abs, FORMATS[name].range)) for name in names)
        bits = 8 * array.geometry.weight_bytes * array.group_cycles(kind, array.group_words)
        depths = (
            ((1 << 31) - 1) // int(most * ((1 << SCALE_BITS) - 1) * weight)
            for most, weight in ((128, largest(kind)), (FORMATS["int8"].maximum, written))
        )
        rows.append((
            ", ".join(f"`{name}`" for name in names), kind.bits, TAKEN_OFF[kind.offset],
            f"{bits / (array.columns * array.group):.4g}", *depths,
        ))  # fmt: skip
    return table(
        ("formats", "planes", "taken off", "bits in memory", "deepest, any bits", "what the rules write"),
        rows,
    )


def _rates() -> str:
    rows = []
    for name in PRESETS:
        array, shown = family(name).array, name
        model = LookupModel(array)
        for kind in sorted(kinds(family(name).config.weights), key=lambda one: (-one.bits, one.offset)):
            interval, lookups = model.law().interval(kind, array.group_words)
            chunks = array.group_words * array.slices
            pause = array.pause(kind, array.group_words)
            rate = array.rows * array.columns * array.group / interval
            rows.append((
                f"`{shown}`" * bool(shown), kind.bits, TAKEN_OFF[kind.offset], f"{chunks} × {lookups // chunks}",
                array.zero_words(kind), array.scale_words, pause, interval,
                f"{model.multiplications(array.variants.index(kind)):.1f}", f"{rate:.1f}",
            ))  # fmt: skip
            shown = ""
    counts = ("lookups", "zero points", "scales", "pause", "cycles", "most", "rate")
    head = ("a whole group", "planes", "taken off", *counts)
    return table(head, rows)


def _times() -> str:
    arrays = [family(name).array for name in PRESETS]

    def latency(array: LookupArray, doubled: bool) -> object:
        return next((array.result_latency(one) for one in array.variants if one.doubled is doubled), "")

    rows: list[Sequence[object]] = [
        ("rows × units, features in turn", *(f"{a.rows} × {a.banks}, {a.outputs}" for a in arrays)),
        ("steps of K in a chunk, chunks in a word of activations", *(f"{a.chunk}, {a.slices}" for a in arrays)),
        ("bits of a word of weights, of a beat", *(f"{8 * a.geometry.weight_bytes}, {8 * a.data_bytes}" for a in arrays)),
        ("cycles to write a chunk's tables", *(a.entries for a in arrays)),
        ("slice of activations to its first lookup", *(a.build for a in arrays)),
        ("last lookup of place 0 to its result", *(a.result_delay for a in arrays)),
        ("last word to last result, halved formats", *(latency(a, True) for a in arrays)),
        ("the same, bipolar and binary", *(latency(a, False) for a in arrays)),
    ]  # fmt: skip
    return table(("", *(f"`{name}`" for name in PRESETS)), rows)


def _words() -> str:
    """Unit column 0 of a small array: what goes where shows by packing one bit after the other."""
    small = family(PRESETS[1], ["array.columns=16", "array.groups_per_lane=2"])
    array = small.array
    cells = _cells(small)
    kind = KINDS[PACKED]
    zeros, chunks = array.zero_words(kind), array.group_words * array.slices
    scales = zeros + chunks * array.lookups(kind)
    whats = {word: f"zero points, plane {word}" for word in range(zeros)}
    for plane in range(kind.bits):
        for place in range(PLACES):
            whats[zeros + plane * array.outputs + place] = f"chunk 0, plane {plane}, place {place}"
    whats |= {scales + place: f"scale of place {place}" for place in range(PLACES)}
    rows = (
        (word, what, *(_cell(cells[word, bit]) for bit in reversed(range(array.part_bits))))
        for word, what in whats.items()
    )
    return table(("word", "what", *(f"bit {bit}" for bit in reversed(range(array.part_bits)))), rows)


def _cell(names: Sequence[str]) -> str:
    """All bits are one where all weights' are zero: an entry's bit says whether two are equal, the sign is the last's inverse."""
    if len(names) == 1 and names[0].startswith("w"):
        return f"not {names[0]}"
    return " = ".join(names)


def _cells(small: LookupFamily) -> dict[tuple[int, int], list[str]]:
    """Names of the bits that have a say in each bit (word, bit) of unit column 0."""
    array, format = small.array, grouped(PACKED, small.config.group)
    part, bank = array.part_bits, array.banks

    def packed(name: str, row: int, column: int, value: int) -> np.ndarray:
        given = {"codes": np.zeros((array.group, array.columns), np.uint8)}
        given |= {one: np.zeros((1, array.columns), np.int64) for one in ("zeros", "scales")}
        given[name][row, column] = value
        words = small.pack_weights(Operand(format=format, depth_axis=0, **given))
        return np.unpackbits(words.reshape(-1, array.geometry.weight_bytes), axis=1, bitorder="little")[
            :, :part
        ]

    empty = packed("codes", 0, 0, 0)
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    fields = (
        ("w", "codes", format.bits, STEPS, PLACES),
        ("z", "zeros", format.bits, 1, array.outputs),
        ("s", "scales", SCALE_BITS, 1, PLACES),
    )
    for letter, name, bits, rows, places in fields:
        for which, row, place in product(range(bits), range(rows), range(places)):
            one = f"{letter}{row if rows > 1 else place}[{which}]"
            for word, bit in np.argwhere(packed(name, row, place * bank, 1 << which) != empty):
                found[int(word), int(bit)].append(one)
    return found


def _lmma() -> str:
    """The second EXECUTE of a GEMM, and its STORE."""
    lut = family(PRESETS[0])
    g = lut.geometry
    program = compile_gemm(
        config.load(PRESETS[0]).design(), lut, *GEMM, mode=OutputMode.REQUANTISED, formats=TYPES
    )
    execute = [one.values for one in program.instructions if one.opcode is Opcode.EXECUTE][1]
    store = next(one.values for one in program.instructions if one.opcode is Opcode.STORE)
    sizes = zip(
        "MNK",
        ("row_tiles", "column_tiles", "depth_tiles"),
        (g.tile_rows, g.columns, g.tile_depth),
        strict=True,
    )
    rows: list[Sequence[object]] = [
        (size, f"`{field}` × {tile}", f"{execute[field]} × {tile} = {execute[field] * tile}") for size, field, tile in sizes
    ]  # fmt: skip
    x, w = lut.pairs[execute["variant"]]
    rows += [
        ("A_dtype, W_dtype", "`variant` of EXECUTE", f"{execute['variant']}: `{x.name}`, `{w.name}`"),
        ("Accum_dtype", "of the family", g.sums),
        ("+ Accum[M, N]", "`accumulate`: 1 adds, 0 overwrites", execute["accumulate"]),
        ("where A is", "`activations_address`", execute["activations_address"]),
        ("its rows apart", "`activations_stride`, in words", execute["activations_stride"]),
        ("where W is", "`weights_address`", execute["weights_address"]),
        ("where Accum is", "`accumulators_address`", execute["accumulators_address"]),
        ("O_dtype", "`variant` of STORE", f"{store['variant']}: {OutputMode(store['variant']).name}, int8"),
    ]  # fmt: skip
    return table(("LMMA", "here", "in the example"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "lookup_values": _values,
    "lookup_entries": _entries,
    "lookup_planes": _planes,
    "lookup_formats": _formats,
    "lookup_rates": _rates,
    "lookup_times": _times,
    "lookup_words": _words,
    "lookup_lmma": _lmma,
}
"""What can be generated, by name."""
