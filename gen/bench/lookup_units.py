"""Units of table lookups and their peers as they are placed, and what of the builders of tables belongs to each product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from amaranth.lib import wiring

from fpga.measure import area, measure
from fpga.parallel import ParallelElement, Weights
from fpga.synthesis import Flow
from hw.pe.lookup import LookupUnit, SerialTableBuilder, TableBuilder
from hw.pe.lookup_times import MOST_OUTPUTS, entry_bits
from hw.pe.plane_sum import PlaneSum, SignedTree

Make = Callable[[], wiring.Component]

K, ROWS, COLUMNS, GROUP = 4, 2, 64, 128
"""Of the default tile."""
WEIGHTS: dict[int, Weights] = {2: "int2", 3: "int3", 4: "int4"}
"""Of the multipliers beside lookups, by bits."""
ARRAY_OUTPUTS, ARRAY_PLANES = 8, 4
"""Of a unit that takes weights of all widths: tables are of use for 8 cycles or more even where weights have one plane."""
FLOW = Flow(dsp=False, device="25k", frequency=200)


@dataclass(frozen=True)
class Placed:
    """COMB, flip-flops, MHz."""

    comb: int
    ff: int
    mhz: float


@dataclass(frozen=True)
class Figure:
    """A unit as it was placed, and how much of it and of the builders belongs to a product a cycle.

    Members
    -------
    kind : str
        What it is: "lookup", "lookup of 8 bits" with quantised tables, "array" for lookups by a unit for all widths, "adder",
        "multiplier", "direct" of ternary weights, or "dequantised".
    products : float
        Of whole weights a cycle.
    builders : float
        COMB of builders, and of the row's sum of activations, for a product a cycle.
    """

    kind: str
    name: str
    placed: Placed
    products: float
    builders: float = 0.0

    @property
    def each(self) -> float:
        """COMB for a product a cycle."""
        return self.placed.comb / self.products + self.builders

    @property
    def text(self) -> str:
        """For people."""
        share = f"{self.builders:.1f} of it builders; " if self.builders else ""
        unit = self.placed
        return (
            f"{self.each:6.1f}  {self.name} ({share}{unit.comb:,} COMB, {unit.ff:,} FF, {unit.mhz:.0f} MHz)"
        )

    @property
    def values(self) -> dict[str, float | int | str]:
        """Plain data."""
        unit = self.placed
        return {
            "kind": self.kind,
            "each": self.each,
            "builders": self.builders,
            "products": self.products,
            "comb": unit.comb,
            "ff": unit.ff,
            "mhz": unit.mhz,
        }


def placed(component: wiring.Component, flow: Flow = FLOW) -> Placed:
    """``component``, measured."""
    found = measure(component, flow=flow)
    return Placed(found.area.luts, found.area.flip_flops, found.median)


def outputs_of(bits: int, k: int = K) -> int:
    """Outputs of a unit with stored tables: so many that a table is of use while the next is written."""
    return min(MOST_OUTPUTS, -(-(1 << k - 1) // bits))


def columns_of(outputs: int) -> int:
    """Units that have all columns' outputs between them."""
    return -(-COLUMNS // outputs)


@dataclass(frozen=True)
class Builders:
    """COMB of a row's builders and of its sum of activations, by what is summed: tables' last entries, or activations."""

    at_once: int
    serial: int
    totals: dict[int, int]
    activations: dict[int, int]

    def share(
        self, bits: int, lanes: int, *, k: int = K, outputs: int = 0, total: bool | None = None
    ) -> float:
        """For a product a cycle: a row's, by the products of all columns' units in a cycle.

        A table that is not stored (``outputs`` 0) stays for as many cycles as a weight has planes: its builder makes those of as
        many lookups. ``total``: with the sum of the activations; left out, where weights have several planes.
        """
        made = lanes * self.serial if outputs else -(-lanes // bits) * self.at_once
        row = made + (bits > 1 if total is None else total) * self.totals[lanes]
        return row * bits / (columns_of(outputs or 1) * k * lanes)

    def adder_share(self, bits: int, operands: int) -> float:
        """Of the row's sum alone, as units of adders take it."""
        return (bits > 1) * self.activations[operands] * bits / (COLUMNS * operands)

    @property
    def values(self) -> dict[str, Any]:
        """Plain data."""
        return {"at once": self.at_once, "serial": self.serial} | {
            f"total of {count} {what}": comb
            for what, several in (("tables", self.totals), ("activations", self.activations))
            for count, comb in several.items()
        }


def builders(lanes: tuple[int, ...], *, k: int = K) -> Builders:
    """Packed, for units with so many lookups of ``k`` activations."""

    def total(count: int, most: int) -> int:
        return area(SignedTree(operands=count, most=most, extra=False), flow=FLOW).luts

    return Builders(
        at_once=area(TableBuilder(k=k), flow=FLOW).luts,
        serial=area(SerialTableBuilder(k=k), flow=FLOW).luts,
        totals={count: total(count, 1 << entry_bits(k) - 1) for count in lanes},
        activations={k * count: total(k * count, 128) for count in lanes} if k == K else {},
    )


def lookup_unit(lanes: int, bits: int, **more: Any) -> Make:
    """Of the default K and groups."""
    return partial(
        LookupUnit,
        **(
            {"k": K, "groups_per_lane": lanes, "planes": bits, "group": GROUP, "zero_points": bits > 1} | more
        ),
    )


def units(bits: int, lanes: int, share: Builders) -> list[tuple[str, str, Make, float, float]]:
    """Units of as many products of one plane a cycle: kind, name, how it is made, products of whole weights, builders."""
    products, outputs = K * lanes, outputs_of(bits)
    most = (128 * GROUP * ((1 << bits) - 1)) << (bits > 1)
    found: list[tuple[str, str, Make, float, float]] = []
    for width, kind, words in ((None, "lookup", ""), (8, "lookup of 8 bits", " of 8 bits")):
        unit = partial(lookup_unit, lanes, bits, width=width)
        found += [
            (kind, f"lookup, {lanes} tables{words}", unit(), products / bits, share.share(bits, lanes)),
            (
                kind,
                f"lookup, {lanes} stored tables{words}, {outputs} outputs",
                unit(stored=True, outputs=outputs),
                products / bits,
                share.share(bits, lanes, outputs=outputs),
            ),
        ]
    adder = partial(
        PlaneSum, operands=products, most=128, planes=bits, group_most=most, extra=bits > 1
    )  # fmt: skip
    found.append(
        ("adder", f"adder, {products} lanes", adder, products / bits, share.adder_share(bits, products))
    )
    if bits > 1:
        size = min(64, products)
        make = partial(ParallelElement, lanes=size, weights=WEIGHTS[bits], group=GROUP)
        found.append(("multiplier", f"multiplier, {size} lanes", make, size, 0.0))
    return found


def array_unit(lanes: int) -> Make:
    """The unit for weights of all widths; a bit of a scale a cycle like the units beside it, where the array's take two."""
    return lookup_unit(lanes, ARRAY_PLANES, stored=True, outputs=ARRAY_OUTPUTS)


def array_figure(bits: int, lanes: int, unit: Placed, share: Builders) -> Figure:
    """It, with weights of ``bits``; there the sum of the activations is always needed."""
    return Figure(
        "array",
        f"lookup, {lanes} stored tables, {ARRAY_OUTPUTS} outputs, all widths",
        unit,
        K * lanes / bits,
        share.share(bits, lanes, outputs=ARRAY_OUTPUTS, total=True),
    )


def dequantised() -> Figure:
    """int8 products, and for every weight the tables of a code of four bits, shared by the rows."""
    lanes = 32
    found = placed(ParallelElement(lanes=lanes, weights="int8", group=GROUP))
    found = Placed(found.comb + 8 * lanes // ROWS, found.ff, found.mhz)
    return Figure("dequantised", f"dequantised to int8, {lanes} lanes", found, lanes)
