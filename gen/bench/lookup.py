"""Table lookups on an ECP5 beside bit-plane adders, multipliers and dequantised int8, all with the same sums and scales.

COMB for a product a cycle: of a unit, times the planes of a weight, by its products of one plane; a table builder's share is what
one of a row takes by the columns that it serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from amaranth.lib import wiring

from fpga.measure import measure
from fpga.parallel import ParallelElement
from fpga.synthesis import Flow
from gen.bench.figures import Row
from hw.pe.lookup import LookupUnit, SerialTableBuilder, TableBuilder, TernaryUnit
from hw.pe.lookup_times import LEAST_K, MOST_K, entry_bits
from hw.pe.plane_sum import PlaneSum, SignedTree

Notify = Callable[[str], None]
Make = Callable[[], wiring.Component]

K, ROWS, COLUMNS, GROUP = 4, 2, 64, 128
"""Of the default tile."""
LANES = (8, 16)
"""Lookups before an accumulator."""
SWEEP_LANES = (1, 2, 4, 8)
WIDTHS = (1, 2, 3, 4)
MOST = {1: 16, 2: 32, 3: 48, 4: 64}
"""COMB for a product a cycle, tables included."""
TERNARY, TERNARY_CLOCK = 37, 110
FLOW = Flow(dsp=False, device="25k", frequency=200)
WIDE = Flow(dsp=False, wide_luts=True, device="25k", frequency=200)
PEERS = (
    "first array M2 N16 K4 by the project's reference: 74 at W2, tables included; its dot product of 16 multipliers: 46 at W2, "
    "97 at W4, 37 ternary; bitnet-kv260: 63 per MAC, 91 MHz, decode, tree and control included"
)


@dataclass(frozen=True)
class Figure:
    """A unit as it was placed, and how much of it and of the builders belongs to a product a cycle."""

    name: str
    comb: int
    ff: int
    mhz: float
    products: float
    builders: float = 0.0

    @property
    def each(self) -> float:
        """COMB for a product a cycle."""
        return self.comb / self.products + self.builders

    @property
    def text(self) -> str:
        """For people."""
        share = f" ({self.builders:.2f} of them builders)" if self.builders else ""
        return f"{self.name}: {self.comb:,} COMB, {self.ff:,} FF, {self.mhz:.0f} MHz; {self.each:.1f} each{share}"


def _placed(component: wiring.Component, flow: Flow = FLOW) -> dict[str, Any]:
    placed = measure(component, flow=flow)
    return {"comb": placed.area.luts, "ff": placed.area.flip_flops, "mhz": placed.median}


def outputs_of(bits: int) -> int:
    """Outputs of a unit with stored tables: so many that a table is of use while the next is written."""
    return -(-(1 << K - 1) // bits)


def columns_of(bits: int) -> int:
    """Units that have all columns' outputs between them."""
    return -(-COLUMNS // outputs_of(bits))


def _units(bits: int, lanes: int) -> dict[str, tuple[Make, float]]:
    """Units of as many products of one plane a cycle, and products of whole weights a cycle."""
    products, zero_points = K * lanes, bits > 1
    lookup: dict[str, Any] = {
        "k": K,
        "groups_per_lane": lanes,
        "planes": bits,
        "group": GROUP,
        "zero_points": zero_points,
    }
    found: dict[str, tuple[Make, float]] = {
        f"lookup, {lanes} tables": (partial(LookupUnit, **lookup), products / bits),
        f"lookup, {lanes} tables of 8 bits": (partial(LookupUnit, **lookup, width=8), products / bits),
        f"lookup, {lanes} stored tables, {outputs_of(bits)} outputs": (
            partial(LookupUnit, **lookup, stored=True, outputs=outputs_of(bits)), products / bits,
        ),
        f"adder, {products} lanes": (
            partial(
                PlaneSum,
                operands=products, most=128, planes=bits, group_most=(128 * GROUP * ((1 << bits) - 1)) << zero_points,
                extra=zero_points,
            ),
            products / bits,
        ),
    }  # fmt: skip
    found[f"lookup, {lanes} stored tables of 8 bits, {outputs_of(bits)} outputs"] = (
        partial(LookupUnit, **lookup, width=8, stored=True, outputs=outputs_of(bits)),
        products / bits,
    )
    if bits > 1:
        size = min(64, products)
        found[f"multiplier, {size} lanes"] = (
            partial(ParallelElement, lanes=size, weights=f"int{bits}", group=GROUP),  # type: ignore[arg-type]
            size,
        )
    return found


def _builders(notify: Notify) -> dict[str, int]:
    """COMB of the builders and of a row's sum of activations."""
    notify("table builders")
    tree = {
        lanes: _placed(SignedTree(operands=lanes, most=1 << entry_bits(K) - 1, extra=False))
        for lanes in LANES
    }
    return {
        "at once": _placed(TableBuilder(k=K))["comb"],
        "serial": _placed(SerialTableBuilder(k=K))["comb"],
    } | {f"total of {lanes}": figures["comb"] for lanes, figures in tree.items()}


def _share(name: str, bits: int, lanes: int, builders: dict[str, int]) -> float:
    """COMB of builders for a product a cycle: a row's, by the products of all columns' units in a cycle.

    A table that is not stored stays for as many cycles as a weight has planes: its builder makes those of as many lookups.
    """
    if not name.startswith("lookup"):
        return 0.0
    stored = "stored" in name
    made = lanes * builders["serial"] if stored else -(-lanes // bits) * builders["at once"]
    row = made + (bits > 1) * builders[f"total of {lanes}"]
    return row * bits / ((columns_of(bits) if stored else COLUMNS) * K * lanes)


def _width_row(bits: int, builders: dict[str, int], dequantised: Figure, notify: Notify) -> Row:
    figures = []
    for lanes in LANES:
        for name, (make, products) in _units(bits, lanes).items():
            notify(f"W{bits}A8, {name}")
            figures.append(
                Figure(
                    name,
                    **_placed(make()),
                    products=products,
                    builders=_share(name, bits, lanes, builders),
                )
            )
    notify(f"W{bits}A8, wide look-up tables")
    wide = Figure(
        f"lookup, {LANES[0]} tables, wide look-up tables",
        **_placed(_units(bits, LANES[0])[f"lookup, {LANES[0]} tables"][0](), WIDE),
        products=K * LANES[0] / bits,
        builders=_share("lookup", bits, LANES[0], builders),
    )
    figures += [wide, dequantised]
    best = {
        kind: min(one.each for one in figures if one.name.startswith(kind)) for kind in ("lookup", "adder")
    }
    return Row(
        key="lookup",
        what=f"W{bits}A8, groups of {GROUP} with scale{' and zero point' if bits > 1 else ''}; M{ROWS} N{COLUMNS} K{K}; "
        f"COMB for a product a cycle, builders included; {FLOW.text}",
        measured="\n".join(one.text for one in figures),
        must=f"{MOST[bits]} or less",
        aim="less than adder, multiplier and dequantised int8",
        peers=PEERS,
        held=best["lookup"] <= MOST[bits],
        values={"bits": bits, "builders": builders, "best": best}
        | {one.name: {"each": one.each, "comb": one.comb, "ff": one.ff, "mhz": one.mhz} for one in figures},
    )


def _dequantised(notify: Notify) -> Figure:
    """int8 products, and for every weight the tables of a code of four bits, shared by the rows."""
    notify("dequantised int8")
    lanes = 32
    figures = _placed(ParallelElement(lanes=lanes, weights="int8", group=GROUP))
    figures["comb"] += 8 * lanes // ROWS
    return Figure(f"dequantised to int8, {lanes} lanes", **figures, products=lanes)


def _ternary_row(notify: Notify) -> Row:
    figures = []
    for lanes in (32, 64, 128):
        notify(f"ternary, {lanes} lanes")
        figures.append(
            Figure(f"direct, {lanes} lanes", **_placed(TernaryUnit(lanes=lanes, group=GROUP)), products=lanes)
        )
    return Row(
        key="lookup",
        what=f"ternary weights directly, groups of {GROUP} with scale; COMB for a product a cycle; {FLOW.text}",
        measured="\n".join(one.text for one in figures),
        must=f"{TERNARY} or less at {TERNARY_CLOCK} MHz or more",
        aim="less than two planes looked up",
        peers=PEERS,
        held=all(one.each <= TERNARY and one.mhz >= TERNARY_CLOCK for one in figures),
        values={
            one.name: {"each": one.each, "comb": one.comb, "ff": one.ff, "mhz": one.mhz} for one in figures
        },
    )


def sweep(notify: Notify) -> Row:
    """W1A8 with 2 to 6 activations in a table and 1 to 8 tables before an accumulator; units alone."""
    values: dict[str, dict[str, float]] = {}
    for stored in (False, True):
        for k in range(LEAST_K, MOST_K + 1):
            name = f"K{k}{' stored' if stored else ''}"
            notify(f"sweep: {name}")
            values[name] = {}
            for lanes in SWEEP_LANES:
                # A unit with stored tables has as many outputs as make up for the writing of the next.
                outputs = min(16, 1 << k - 1) if stored else 1
                unit = LookupUnit(
                    k=k, groups_per_lane=lanes, planes=1, group=GROUP, zero_points=False, stored=stored, outputs=outputs
                )  # fmt: skip
                values[name][str(lanes)] = _placed(unit)["comb"] / (k * lanes)
    best = min((each, name, lanes) for name, row in values.items() for lanes, each in row.items())
    return Row(
        key="lookup-sweep",
        what=f"W1A8 lookup units alone, {', '.join(map(str, SWEEP_LANES))} tables before an accumulator; {FLOW.text}",
        measured="\n".join(
            f"{name}: {', '.join(f'{each:.1f}' for each in row.values())}" for name, row in values.items()
        )
        + f"\nbest: {best[1]}, {best[2]} tables, {best[0]:.1f}",
        values=values,
    )


def rows(notify: Notify) -> list[Row]:
    """A row for each width, one of ternary weights."""
    builders, dequantised = _builders(notify), _dequantised(notify)
    return [*(_width_row(bits, builders, dequantised, notify) for bits in WIDTHS), _ternary_row(notify)]
