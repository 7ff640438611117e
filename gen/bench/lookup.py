"""Table lookups on an ECP5 beside bit-plane adders, multipliers and dequantised int8, all with the same sums and scales.

COMB for a product a cycle: of a unit, times the planes of a weight, by its products of one plane; a table builder's share is what
one of a row takes by the columns that it serves.
"""

from __future__ import annotations

from collections.abc import Callable

from gen.bench.figures import Row
from gen.bench.lookup_units import (
    ARRAY_OUTPUTS,
    COLUMNS,
    FLOW,
    GROUP,
    ROWS,
    Builders,
    Figure,
    K,
    Placed,
    array_figure,
    array_unit,
    builders,
    dequantised,
    placed,
    units,
)
from hw.pe.lookup import TernaryUnit

Notify = Callable[[str], None]

LANES = (8, 16)
"""Lookups before an accumulator."""
WIDTHS = (1, 2, 3, 4)
MOST = {1: 16, 2: 32, 3: 48, 4: 64}
"""COMB for a product a cycle, tables included."""
TERNARY, TERNARY_CLOCK = 37, 110
TERNARY_LANES = (32, 64, 128)
PEERS = {
    1: "",
    2: "the reference's first array, M2 N16 K4: 74, tables included; its dot product of 16 multipliers: 46",
    3: "",
    4: "the reference's dot product of 16 multipliers: 97",
}
TERNARY_PEERS = (
    "the reference's dot product of 16 ternary weights: 37; bitnet-kv260: 63 per MAC, 91 MHz, decode, tree and "
    "control included"
)


def least(figures: list[Figure]) -> dict[str, float]:
    """Fewest COMB for a product a cycle, by kind."""
    found: dict[str, float] = {}
    for one in sorted(figures, key=lambda one: -one.each):
        found[one.kind] = one.each
    return found


def _lines(figures: list[Figure]) -> str:
    """A line for each, the smallest first."""
    return "\n".join(one.text for one in sorted(figures, key=lambda one: one.each))


def _width_figures(
    bits: int, share: Builders, array: dict[int, Placed], fixed: Figure, notify: Notify
) -> list[Figure]:
    figures = [array_figure(bits, lanes, unit, share) for lanes, unit in array.items()]
    for lanes in LANES:
        for kind, name, make, products, shared in units(bits, lanes, share):
            notify(f"W{bits}A8: {name}")
            figures.append(Figure(kind, name, placed(make()), products, shared))
    return [*figures, fixed]


def _width_row(bits: int, share: Builders, figures: list[Figure]) -> Row:
    smallest = least(figures)
    lost = [
        f"{kind} {smallest[kind]:.1f}"
        for kind in ("adder", "multiplier", "dequantised")
        if kind in smallest and smallest[kind] <= smallest["array"]
    ]
    held = smallest["array"] <= MOST[bits]
    return Row(
        key="lookup",
        what=f"W{bits}A8 units, groups of {GROUP} with scale{' and zero point' if bits > 1 else ''} (multipliers without); "
        f"M{ROWS} N{COLUMNS} K{K}; COMB for a product a cycle, builders of tables included; {FLOW.text}",
        measured=_lines(figures)
        + (f"\nno more than the unit for all widths: {', '.join(lost)}" if lost else ""),
        must=f"{MOST[bits]} or less for all widths' unit, {ARRAY_OUTPUTS} outputs",
        aim="less than adder, multiplier and dequantised int8",
        peers=PEERS[bits],
        held=held,
        values={
            "bits": bits,
            "most": MOST[bits],
            "least": smallest,
            "lost": lost,
            "builders": share.values,
            "units": {one.name: one.values for one in figures},
        },
    )


def _ternary_row(two_planes: list[Figure], notify: Notify) -> Row:
    figures = []
    for lanes in TERNARY_LANES:
        name = f"direct, {lanes} lanes"
        notify(f"ternary: {name}")
        figures.append(Figure("direct", name, placed(TernaryUnit(lanes=lanes, group=GROUP)), lanes))
    # As two planes its weights are those of two's complement, or bits with a zero point of one.
    planes = [one for one in two_planes if one.kind not in ("multiplier", "dequantised")]
    smallest = least([*figures, *planes])
    return Row(
        key="lookup",
        what=f"ternary, directly and as two planes; groups of {GROUP} with scale; COMB for a product a cycle; {FLOW.text}",
        measured=_lines([*figures, *planes]),
        must=f"direct: {TERNARY} or less at {TERNARY_CLOCK} MHz or more",
        aim="less than two planes",
        peers=TERNARY_PEERS,
        held=all(one.each <= TERNARY and one.placed.mhz >= TERNARY_CLOCK for one in figures),
        values={
            "most": TERNARY,
            "least": smallest,
            "units": {one.name: one.values for one in [*figures, *planes]},
        },
    )


def rows(notify: Notify) -> list[Row]:
    """A row for each width, one of ternary weights."""
    notify("table builders")
    share = builders(LANES)
    notify("dequantised int8")
    fixed = dequantised()
    array = {}
    for lanes in LANES:
        notify(f"unit for all widths, {lanes} tables")
        array[lanes] = placed(array_unit(lanes)())
    figures = {bits: _width_figures(bits, share, array, fixed, notify) for bits in WIDTHS}
    table = [_width_row(bits, share, several) for bits, several in figures.items()]
    return [*table, _ternary_row(figures[2], notify)]
