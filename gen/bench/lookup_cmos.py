"""Transistors of lookup units, adders and multipliers; the paper's own comparisons beside ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from amaranth.lib import wiring

from fpga.dot_units import MultiplierSum
from fpga.transistors import TEXT, Transistors, transistors
from gen.bench.figures import Row
from gen.bench.lookup_units import COLUMNS, GROUP, K, lookup_unit
from gen.reproduce import lut_units
from hw.pe.lookup import TableBuilder, TernaryUnit
from hw.pe.lookup_times import entry_bits
from hw.pe.plane_sum import PlaneSum, SignedTree

Notify = Callable[[str], None]

WIDTHS = (1, 2, 3, 4)
LANES = 8
"""Lookups before an accumulator."""
PRODUCTS = K * LANES
PAPER_STEPS = {"reinterpreted": 1.317, "recoded": 1.351, "precomputed": 1.440}


def units(bits: int) -> dict[str, tuple[Callable[[], wiring.Component], float]]:
    """Units with registers, groups and scales, and their products of whole weights a cycle."""
    most = (128 * GROUP * ((1 << bits) - 1)) << (bits > 1)
    adder = partial(
        PlaneSum, operands=PRODUCTS, most=128, planes=bits, group_most=most, extra=bits > 1
    )  # fmt: skip
    found: dict[str, tuple[Callable[[], wiring.Component], float]] = {
        "lookup": (lookup_unit(LANES, bits), PRODUCTS / bits),
        "lookup, tables of 8 bits": (lookup_unit(LANES, bits, width=8), PRODUCTS / bits),
        "adder": (adder, PRODUCTS / bits),
    }
    if bits > 1:
        found["multiplier"] = (partial(MultiplierSum, operands=PRODUCTS, bits=bits, group=GROUP), PRODUCTS)
    if bits == 2:
        found["ternary, direct"] = (partial(TernaryUnit, lanes=PRODUCTS, group=GROUP), PRODUCTS)
    return found


def _width_row(bits: int, builder: int, totals: dict[str, int], fixed: Transistors, notify: Notify) -> Row:
    values = {}
    for name, (make, products) in units(bits).items():
        notify(f"W{bits}A8: {name}")
        unit = transistors(make())
        kind = name.partition(",")[0]
        shared = (bits > 1) * totals.get(kind, 0) + (kind == "lookup") * -(-LANES // bits) * builder
        share = shared / (COLUMNS * products)
        values[name] = {**unit.as_dict(), "builders": share, "each": unit.total / products + share}
    values["multiplier of int8"] = {**fixed.as_dict(), "builders": 0.0, "each": fixed.total / PRODUCTS}
    lines = [
        f"{one['each']:7,.0f}  {name} ({one['gates']:,} and {one['flip_flops']:,} flip-flops)"
        for name, one in sorted(values.items(), key=lambda pair: pair[1]["each"])
    ]
    return Row(
        key="lookup-cmos",
        what=f"W{bits}A8 units, {PRODUCTS} products a cycle (lookup, adder: of a plane), groups of {GROUP}; transistors for a "
        f"product a cycle, builders of tables for {COLUMNS} columns included; {TEXT}",
        measured="\n".join(lines),
        values={"bits": bits, "units": values},
    )


def _dots_row(notify: Notify) -> Row:
    found = lut_units.measure(lambda name, *_: notify(f"units of four products: {name}"))
    steps, by_k = lut_units.steps(found), lut_units.by_k(found)
    lines = ["\N{MULTIPLICATION SIGN} smaller, ours / paper's table 2:"]
    lines += [f"{step}: {ratio:.3f} / {PAPER_STEPS[step]:.3f}" for step, ratio in steps.items()]
    figure = {
        str(units): {
            str(bits): {kind: lut_units.product(found, kind, bits, units) for kind in lut_units.KINDS}
            for bits in lut_units.BITS
        }
        for units in (lut_units.FEW, lut_units.N)
    }
    for units, several in figure.items():
        lines.append(f"for a product, {units} units to a table ({', '.join(lut_units.KINDS)}):")
        lines += [
            f"W{bits}: {' / '.join(f'{each:,.0f}' for each in kinds.values())}"
            for bits, kinds in several.items()
        ]
    lines.append("K: " + ", ".join(f"{k} {each:,.0f}" for k, each in by_k.items()))
    return Row(
        key="lookup-cmos",
        what="the paper's units of four products, sums of 24 bits alone; transistors for a product a cycle; "
        "K: for a product of one plane, 64 units to a table",
        measured="\n".join(lines),
        peers="LUT Tensor Core, table 2, W2A8: 1.317 / 1.351 / 1.440 in 28 nm; figure 13, 4 units to a table: lookup beats "
        "multiplier to 6 bits, adder to 2, conventional lookup to 2; K = 4 is densest",
        values={
            "units": {name: one.as_dict() for name, one in found.items()},
            "steps": steps,
            "paper": PAPER_STEPS,
            "each": figure,
            "k": {str(k): each for k, each in by_k.items()},
        },
    )


def rows(notify: Notify) -> list[Row]:
    """A row for each width, one of the paper's units."""
    notify("builders, sums of activations, multiplier of int8")
    builder = transistors(TableBuilder(k=K)).total
    totals = {
        "lookup": transistors(SignedTree(operands=LANES, most=1 << entry_bits(K) - 1, extra=False)).total,
        "adder": transistors(SignedTree(operands=PRODUCTS, most=128, extra=False)).total,
    }
    fixed = transistors(MultiplierSum(operands=PRODUCTS, bits=8, group=GROUP))
    return [*(_width_row(bits, builder, totals, fixed, notify) for bits in WIDTHS), _dots_row(notify)]
