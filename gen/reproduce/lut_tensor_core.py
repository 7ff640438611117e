"""LUT Tensor Core (ISCA 2025, arXiv 2408.06003): its arithmetic, its tables' own sums, and its comparisons of units beside ours.

Ours are transistors by open tools (``fpga.transistors``), of NAND, NOR and NOT alone: which unit is the smaller can be put to the
test there; by how much, in square micrometres and watts, cannot.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from fpga.transistors import TEXT
from gen.reproduce import lut_units
from gen.reproduce.claims import claim, untested
from gen.reproduce.claims import table as claims_table
from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset
from sim import lookup

if TYPE_CHECKING:
    from gen.progress import Progress

K = lut_units.K
TILE = 512
"""Products of a plane that a tile has in a cycle, M N K."""
MULTIPROCESSORS = {"A100": 108, "H100": 132}
UNPU, STEPS = 17_271.71, {"reinterpreted": 13_116.60, "recoded": 12_780.05, "precomputed": 11_991.29}
"""Table 2: square micrometres."""
RATIOS = {"reinterpreted": 1.317, "recoded": 1.351, "precomputed": 1.440}
DENSITIES = (
    ("A100, FP16", "A100", "312", "0.975", 2.96),
    ("A100, INT8", "A100", "624", "0.312", 17.73),
    ("A100, LUT 4X", "A100", "1248", "0.187", 61.84),
    ("A100, LUT 8X", "A100", "2496", "0.373", 61.95),
    ("H100, FP8", "H100", "1525", "0.918", 12.59),
    ("H100, LUT 4X", "H100", "1525", "0.488", 23.69),
    ("H100, LUT 8X", "H100", "3049", "0.909", 25.40),
)
"""Table 1: 10**12 operations a second, square millimetres of tensor cores in a multiprocessor, and their quotient."""
TIMES = {
    "prefill": (("32.38", "38.77", "33.63"), ("107.11", "129.85", "108.38"), ("34.68", "37.60", "35.65")),
    "decode": (("14.99", "17.43", "15.50"), ("20.99", "26.05", "21.31"), ("11.45", "15.21", "11.75")),
}
"""Table 4: milliseconds of three models without tables, with their computation apart, and fused."""
OVERHEADS = {"prefill": (16.47, 2.62), "decode": (24.41, 2.52)}
"""Per cent that it says this costs on average."""
NOT_HERE = (
    (
        "area of the W1A16 array against FP16 tensor cores (abstract: 16 %)",
        "14.3 %",
        "no FP16 array here to set it against",
    ),
    ("density of a unit of four products, W1A16 over FP16 (figure 12)", "61.55 / 3.39", "28 nm, FP16"),
    ("end-to-end speed over FP16", "2.06 to 5.51, 8.2 at most", "its GPU simulator; kernels of a GPU"),
    ("energy efficiency", 11.2, "power in 28 nm"),
    ("TOPs/W of W1A8 at 0.9 V (table 3)", 63.78, "power in 28 nm"),
    ("perplexity of LLaMA2-7B with 8-bit tables, W2 (table 5)", "7.68 to 7.69", "the model is not here"),
)
"""What, published, and why it cannot be tested with open tools."""


def printed(text: str) -> tuple[Fraction, Fraction]:
    """The least and the greatest number that is printed so."""
    half = Fraction(1, 2 * 10 ** len(text.partition(".")[2]))
    return Fraction(text) - half, Fraction(text) + half


def within(
    of: Callable[..., Fraction], arguments: Iterable[str | int], published: float, digits: int = 2
) -> tuple[float, bool]:
    """``of`` the printed numbers, and whether the published one can come of what they were before they were rounded."""
    several = [printed(one) if isinstance(one, str) else (Fraction(one),) * 2 for one in arguments]
    middle = of(*((low + high) / 2 for low, high in several))
    values = [of(*chosen) for chosen in itertools.product(*several)]
    low, high = printed(f"{published:.{digits}f}")
    return round(float(middle), digits), min(values) <= high and max(values) >= low


def _arithmetic_claims() -> Iterable[dict[str, Any]]:
    activations = np.random.default_rng(1).integers(-128, 128, (4096, K))
    table, half = lookup.table(activations), lookup.half_table(activations)
    every = np.arange(1 << K)
    entry, negative = lookup.recoded(every, K)
    yield claim(
        "entries of a table of four activations", 1 << K, table.shape[-1], "all sums of plus and minus"
    )
    yield claim(
        "entries of which are stored",
        1 << K - 1,
        half.shape[-1],
        "the other half is these with a minus (equation 4)",
    )
    yield claim(
        "an inverted index looks up the sum with a minus",
        True,
        bool((table == -table[:, ::-1]).all()),
        f"all indices of {len(activations)} random tables",
    )
    yield claim(
        "weights recoded beforehand need no inverter of the index",
        True,
        all(
            (
                lookup.looked_up(half, np.full(len(half), entry[i]), np.full(len(half), negative[i]))
                == table[:, i]
            ).all()
            for i in every
        ),
        "all indices (equation 6)",
    )
    exact = all(
        (weights := lookup.reinterpreted(np.arange(1 << bits), bits)).tolist()
        == [sum((2 * (q >> i & 1) - 1) << i for i in range(bits)) for q in range(1 << bits)]
        and weights.tolist() == list(range(1 - (1 << bits), 1 << bits, 2))
        for bits in range(1, 9)
    )
    yield claim(
        "q' = 2q - (2^b - 1) is a sum of planes of plus and minus one",
        True,
        exact,
        "all codes of 1 to 8 bits (equation 2)",
    )
    yield claim(
        "bits of a code of three ternary weights", 5, (3**3 - 1).bit_length(), "27 values; as two planes 6"
    )
    wires = {m: m * (1 << K - 1) * 8 + TILE // (m * K) * K for m in (1, 2, 4, 8, 16)}
    least = [m for m, bits in wires.items() if bits == min(wires.values())]
    yield claim(
        "rows of the tile of 512 with fewest bits of tables (8 bits) and weights (1 bit)",
        2,
        least[0],
        f"equations 7 and 8: {', '.join(f'M{m} N{TILE // m // K}: {bits}' for m, bits in wires.items())}; M4 N32 has as few",
    )


def _table_claims() -> Iterable[dict[str, Any]]:
    for step, published in RATIOS.items():
        yield claim(
            f"table 2, area saved: {step}", published, round(UNPU / STEPS[step], 3), "of the printed areas"
        )
    for name, gpu, peak, area, published in DENSITIES:
        ours, holds = within(lambda a, b, c: a / (b * c), [peak, area, MULTIPROCESSORS[gpu]], published)
        why = f"peak by area of {MULTIPROCESSORS[gpu]} multiprocessors, as printed"
        if not holds:
            why += ": area or density is misprinted"
        yield claim(f"table 1, density per mm2: {name}", published, ours, why) | {"holds": holds}
    ours, holds = within(lambda a, b: a / b, ["61.95", "2.96"], 20.9, 1)
    yield claim("compute density, LUT 8X over FP16", 20.9, ours, "of table 1") | {"holds": holds}
    ours, holds = within(lambda a, b: a / b, ["25.40", "12.59"], 2.02)
    yield claim("compute density, LUT 8X over FP8 of an H100", 2.02, ours, "of table 1") | {"holds": holds}
    ours, holds = within(lambda a, b: 100 * a / b, ["0.373", "0.975"], 38.3, 1)
    yield claim("area of LUT 8X, per cent of FP16", 38.3, ours, "of table 1") | {"holds": holds}
    ours, holds = within(lambda a, b: a / b, ["41.15", "7.47"], 5.51)
    yield claim("speed of BitNet, LUT 8X over FP16, decode", 5.51, ours, "of table 1") | {"holds": holds}
    for phase, models in TIMES.items():
        for place, (what, published) in enumerate(
            zip(("apart", "fused"), OVERHEADS[phase], strict=True), start=1
        ):
            pairs = [text for one in models for text in (one[place], one[0])]
            ours, holds = within(_mean_overhead, pairs, published)
            yield claim(
                f"table 4, per cent that tables cost, {what}, {phase}",
                published,
                ours,
                "mean of three models, of the printed times",
            ) | {"holds": holds}


def _mean_overhead(*times: Fraction) -> Fraction:
    several = [a / b - 1 for a, b in zip(times[::2], times[1::2], strict=True)]
    return 100 * sum(several, Fraction(0)) / len(several)


def _unit_claims(found: lut_units.Found) -> Iterable[dict[str, Any]]:
    few, many = lut_units.FEW, lut_units.N
    ours = lut_units.steps(found)
    yield claim(
        "each step of table 2 makes the tile smaller",
        True,
        1 < ours["reinterpreted"] < ours["recoded"] < ours["precomputed"],
        "W2A8, M2 N64 K4, transistors",
    )
    for step, published in RATIOS.items():
        yield untested(
            f"table 2, transistors saved: {step}",
            published,
            round(ours[step], 3),
            "28 nm against transistors of ours; the first step is ours too: tables of 16 sums, the highest plane with a minus",
        )
    by_k = lut_units.by_k(found)
    yield claim(
        "K with fewest transistors for a product, int8 activations",
        4,
        min(by_k, key=by_k.__getitem__),
        f"{many} units to a table; with {few} it is {min(fewer := lut_units.by_k(found, few), key=fewer.__getitem__)}",
    )
    int8 = "int8 activations: there a multiplier is small, and sums of planes must be shifted"
    for kind, published in (("lookup", 6), ("adder", 2), ("conventional", 2)):
        width = lut_units.widest(found, kind, few)
        more, fixed = lut_units.widest(found, kind, many), lut_units.widest(found, kind, few, rival_bits=8)
        fixed_many = lut_units.widest(found, kind, many, rival_bits=8)
        yield claim(
            f"widest weights at which {kind} is smaller than a multiplier",
            published,
            width,
            f"{few} units to a table, {int8}; with {many} units {more}; against multipliers of int8, after dequantising, "
            f"{fixed}, with {many} units {fixed_many}",
        )
    won = {
        units: [
            bits
            for bits in range(1, 7)
            if lut_units.product(found, "lookup", bits, units)
            < lut_units.product(found, "adder", bits, units)
        ]
        for units in (few, many)
    }
    yield claim(
        "widths of 1 to 6 bits at which lookups are smaller than adders of planes",
        6,
        len(won[few]),
        f"{few} units to a table, {int8}; with {many} units {len(won[many])}",
    )
    ratio = lut_units.product(found, "multiplier", 8, many) / lut_units.product(found, "lookup", 1, many)
    yield untested(
        "area of W1 against multipliers of tensor cores",
        "4 to 6",
        round(ratio, 2),
        f"W1A8 lookups against multipliers of int8, {many} units to a table",
    )
    direct = found["ternary"].total / K
    yield untested(
        "transistors for a ternary product: directly, looked up as two planes",
        None,
        f"{direct:,.0f}, {lut_units.product(found, 'lookup', 2, many):,.0f}",
        "not in the paper: it has two planes",
    )
    saved = 1 - found["8-bit table/2"].total / found["lookup/2"].total
    yield untested(
        "a unit's transistors that 8-bit tables save",
        None,
        f"{saved:.0%}".replace("%", " %"),
        "exact ones have 10 bits with int8 activations",
    )


ECP5 = {1: (11.4, 11.8, None), 2: (22.8, 24.6, 25.3), 3: (34.2, 37.6, 36.0), 4: (45.5, 50.3, 50.4)}
"""COMB of an ECP5 for a product a cycle, by bits of a weight: our lookup unit for all widths with 16 tables and 8 outputs, with
builders; the adder and the multiplier of 64 lanes (``python -m gen.bench --only lookup``)."""


def _array_claims() -> Iterable[dict[str, Any]]:
    one = LookupFormat(bits=1, offset=Offset.NONE)
    array = LookupArray(
        rows=lut_units.M, columns=lut_units.N, k=K, groups_per_lane=8, outputs=8, group=128, variants=[one], data_bytes=8
    )  # fmt: skip
    yield untested(
        "per cent of time that tables cost, fused (table 4)",
        f"{OVERHEADS['prefill'][1]} to {OVERHEADS['decode'][1]}",
        100 * max(0, array.entries - array.lookups(one)) // array.entries,
        f"of a GPU; our unit of {array.outputs} outputs uses a table for {array.lookups(one)} cycles at W1, in which the "
        f"{array.entries} entries of the next are written: only a first one is waited for",
    )
    yield claim(
        "cycles of a table for an output, W1 to W4",
        "1, 2, 3, 4",
        ", ".join(
            str(array.lookups(LookupFormat(bits=bits, offset=Offset.TWOS)) // array.outputs)
            for bits in range(1, 5)
        ),
        "a plane a cycle",
    )


CMOS = {1: (660, 831, None), 2: (1409, 1790, 1491), 3: (2200, 2782, 1898), 4: (2940, 3724, 2408)}
"""Transistors for a product a cycle likewise, of units with 8 tables or 32 lanes (``python -m gen.bench --only lookup-cmos``)."""
CMOS_INT8 = 3736
"""Of the multiplier of int8."""


def _full_unit_claims() -> Iterable[dict[str, Any]]:
    yield claim(
        "widest weights at which lookup is smaller than a multiplier, 8 tables before an accumulator",
        6,
        max(bits for bits, (lookups, _, other) in CMOS.items() if other is None or lookups < other),
        f"int8 activations, {lut_units.N} outputs to a table, groups with scale; transistors for a product: "
        + ", ".join(
            f"W{bits} {lookups:,} to {other:,}" for bits, (lookups, _, other) in CMOS.items() if other
        )
        + f"; multipliers of int8 take {CMOS_INT8:,}",
    )
    yield claim(
        "lookups are smaller than adders of planes, 8 tables before an accumulator, 1 to 4 bits",
        True,
        all(lookups < adder for lookups, adder, _ in CMOS.values()),
        ", ".join(f"W{bits} {lookups:,} to {adder:,}" for bits, (lookups, adder, _) in CMOS.items()),
    )


ECP5_K = {2: 34.2, 3: 26.3, 4: 20.6, 5: 30.7, 6: 48.5}
"""COMB for a product a cycle at W2 by K, 16 stored tables before an accumulator (``python -m gen.bench --only lookup-sweep``)."""


def _ecp5_claims() -> Iterable[dict[str, Any]]:
    yield claim(
        "K with fewest LUT4 and carries for a product, ECP5 without DSPs",
        4,
        min(ECP5_K, key=ECP5_K.__getitem__),
        f"W2A8, 16 stored tables before an accumulator: {', '.join(f'K{k} {each}' for k, each in ECP5_K.items())}",
    )
    for place, kind in ((1, "adders of planes"), (2, "multipliers")):
        pairs = {
            bits: (several[0], other)
            for bits, several in ECP5.items()
            if (other := several[place]) is not None
        }
        yield untested(
            f"widths of 1 to 4 bits at which lookups are smaller than {kind}, ECP5 without DSPs",
            len(pairs),
            sum(lookups < other for lookups, other in pairs.values()),
            "our units, not the paper's: 8 outputs by turns, tables in distributed RAM; LUT4 and carries for a product: "
            + ", ".join(f"W{bits} {lookups} to {other}" for bits, (lookups, other) in pairs.items()),
        )


def _others() -> Iterable[dict[str, Any]]:
    for what, published, why in NOT_HERE:
        yield untested(what, published, None, f"cannot be tested with open tools: {why}")


def claims(found: lut_units.Found) -> list[dict[str, Any]]:
    """All rows."""
    return [
        *_arithmetic_claims(),
        *_table_claims(),
        *_unit_claims(found),
        *_full_unit_claims(),
        *_ecp5_claims(),
        *_array_claims(),
        *_others(),
    ]


def document(progress: Progress) -> dict[str, Any]:
    """Everything as plain data; of ``figure_13`` transistors for a product, by units to a table, kind and bits of a weight."""
    del progress
    found = lut_units.MEASURED
    return {
        "paper": "LUT Tensor Core, ISCA 2025",
        "claims": claims(found),
        "flow": TEXT,
        "units": {name: one.as_dict() for name, one in found.items()},
        "figure_13": {
            str(units): {
                kind: [lut_units.product(found, kind, bits, units) for bits in lut_units.BITS]
                for kind in lut_units.KINDS
            }
            for units in (lut_units.FEW, lut_units.N)
        },
    }


def render(document: Mapping[str, Any]) -> Any:
    """Claims, and figure 13."""
    from rich.console import Group

    from gen.report import table

    several = [
        [f"{units} units, W{bits}", *(f"{kinds[kind][place]:,.0f}" for kind in lut_units.KINDS)]
        for units, kinds in document["figure_13"].items()
        for place, bits in enumerate(lut_units.BITS)
    ]
    return Group(
        claims_table(document),
        table(
            ["to a table", *lut_units.KINDS],
            several,
            title="Transistors for a product a cycle, int8 activations",
            numbers=len(lut_units.KINDS),
        ),
    )


def picture(document: Mapping[str, Any]) -> bytes:
    """The paper's figure 13 with int8 activations, by our transistors."""
    from gen.plots import grouped

    panels = {f"{units} units to a table": kinds for units, kinds in document["figure_13"].items()}
    title = f"{document['paper']}, figure 13, int8 activations"
    return grouped(
        [f"W{bits}" for bits in lut_units.BITS], panels, "transistors for a product a cycle", title, digits=0
    )
