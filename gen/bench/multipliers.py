"""Multipliers of the bit-weight paper: its published RTL beside ours, under equal conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from amaranth.lib import wiring

from fpga.macs import Mac, MultiplierTree, PassingMac
from fpga.synthesis import Flow, place, synthesise
from fpga.transistors import FLIP_FLOP_TRANSISTORS, PLAIN_TEXT, plain
from gen.bench.figures import Row
from gen.rtlil import to_rtlil
from hw.pe.multipliers.carry_save import CarrySaveMac
from hw.pe.multipliers.digits import DigitEncoder
from hw.pe.multipliers.same_weight import SameWeightDot
from hw.pe.multipliers.sparse_digit import DigitElement, SparseDigitColumn, SparseEncoder

Notify = Callable[[str], None]

FLOW = Flow(dsp=False, wide_luts=True, device="25k", frequency=200)
BEST = Flow(dsp=False, device="25k", frequency=200)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is measured, and what was measured of the published RTL; ``mhz`` where it was placed.

    ``published``: false of a unit that is not the paper's, and binds nothing.
    """

    make: Callable[[], wiring.Component]
    gates: int
    flip_flops: int
    levels: int
    luts: int
    carries: int = 0
    mhz: float | None = None
    published: bool = True

    @property
    def total(self) -> int:
        """Transistors."""
        return self.gates + FLIP_FLOP_TRANSISTORS * self.flip_flops

    @property
    def cells(self) -> int:
        """LUT4, a carry cell as two."""
        return self.luts + 2 * self.carries


_MAC32, _CS32 = partial(Mac, width=32), partial(CarrySaveMac, width=32)
UNITS = {
    "multiply-accumulate, 32 bits": Unit(
        make=_MAC32, gates=8728, flip_flops=48, levels=85, luts=496, carries=16, mhz=106.5
    ),
    "carry-save, 32 bits": Unit(make=_CS32, gates=6890, flip_flops=77, levels=27, luts=635, mhz=148.4),
    "output-stationary element": Unit(
        make=_MAC32, gates=8548, flip_flops=48, levels=74, luts=524, carries=16
    ),
    "output-stationary, carry-save": Unit(make=_CS32, gates=7012, flip_flops=77, levels=24, luts=741),
    "weight-stationary element, 24 bits": Unit(
        make=partial(PassingMac, width=24, rows=1), gates=7222, flip_flops=40, levels=59, luts=448, carries=12
    ),
    "weight-stationary, carry-save, 24 bits": Unit(
        make=partial(PassingMac, width=24, rows=2), gates=6206, flip_flops=61, levels=25, luts=606
    ),
    "cube element, 24 bits": Unit(
        make=partial(Mac, width=24), gates=6874, flip_flops=40, levels=56, luts=439, carries=12
    ),
    "cube, carry-save, 24 bits": Unit(
        make=partial(CarrySaveMac, width=24), gates=6118, flip_flops=61, levels=24, luts=591
    ),
    "16 multipliers and a tree": Unit(
        make=partial(MultiplierTree, products=16), gates=64404, flip_flops=604, levels=46, luts=4950, carries=174,
        published=False,
    ),
    "same weight, 16 products": Unit(
        make=partial(SameWeightDot, products=16), gates=49200, flip_flops=1240, levels=49, luts=2891, carries=214
    ),
    "encoder of 16 operands": Unit(
        make=partial(DigitEncoder, lanes=16), gates=5446, flip_flops=512, levels=21, luts=595, carries=64
    ),
    "digit element": Unit(make=DigitElement, gates=1780, flip_flops=61, levels=17, luts=218, carries=5, mhz=186.3),
    "sparse encoder": Unit(make=SparseEncoder, gates=562, flip_flops=17, levels=11, luts=56),
    "encoder of an operand": Unit(
        make=partial(DigitEncoder, lanes=1), gates=382, flip_flops=19, levels=11, luts=25, carries=4
    ),
    "digit element with its encoder": Unit(
        make=partial(SparseDigitColumn, elements=1), gates=2358, flip_flops=78, levels=17, luts=244, carries=5
    ),
    "column of 16 digit elements": Unit(
        make=partial(SparseDigitColumn, elements=16), gates=28326, flip_flops=963, levels=17, luts=3357, carries=80
    ),
    "column of 32 digit elements": Unit(
        make=partial(SparseDigitColumn, elements=32), gates=62014, flip_flops=1907, levels=17, luts=6578, carries=160
    ),
}  # fmt: skip
"""By name. Of the rows without ``mhz`` the published RTL was not placed."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Ours: ``cells`` with the flags of the published figures, ``best`` and ``mhz`` with those that suit soft multipliers."""

    gates: int
    flip_flops: int
    total: int
    levels: int
    luts: int
    carries: int
    best: int
    mhz: float | None

    @property
    def cells(self) -> int:
        """LUT4, a carry cell as two."""
        return self.luts + 2 * self.carries


def measured(unit: Unit) -> Found:
    """Synthesised as the published RTL was; placed where that was, too."""
    found = plain(unit.make())
    equal = synthesise(to_rtlil(unit.make(), name="top"), name="top", flow=FLOW)
    best = synthesise(to_rtlil(unit.make(), name="top"), name="top", flow=BEST)
    return Found(
        gates=found.transistors.gates,
        flip_flops=found.transistors.flip_flops,
        total=found.transistors.total,
        levels=found.levels,
        luts=equal.count("LUT4"),
        carries=equal.count("CCU2C"),
        best=best.count("LUT4") + 2 * best.count("CCU2C"),
        mhz=place(best).median if unit.mhz is not None else None,
    )


def worse(unit: Unit, found: Found) -> list[str]:
    """In what ours is larger or slower."""
    pairs: dict[str, tuple[float, float]] = {
        "transistors": (found.total, unit.total),
        "levels": (found.levels, unit.levels),
        "LUT4 and carries": (found.cells, unit.cells),
    }
    lost = [name for name, (ours, theirs) in pairs.items() if ours > theirs]
    return lost + (["MHz"] if unit.mhz and found.mhz and found.mhz < unit.mhz else [])


def row(name: str, unit: Unit, found: Found) -> Row:
    """A row of the table."""
    lost = worse(unit, found)
    values: dict[str, Any] = {
        key: getattr(found, key)
        for key in ("gates", "flip_flops", "total", "levels", "luts", "carries", "best", "mhz")
    }
    ours = f"{found.best:,} with -nowidelut" + (f", {found.mhz:.0f} MHz" if found.mhz else "")
    return Row(
        key="multipliers",
        what=f"{name}; {PLAIN_TEXT}; {FLOW.text}",
        measured="\n".join(
            [_text(found, found.total, found.cells), ours, *(f"worse: {one}" for one in lost)]
        ),
        must="no larger and no slower than the published RTL" if unit.published else "",
        peers=("published RTL: " if unit.published else "not the paper's: ")
        + _text(unit, unit.total, unit.cells)
        + (f"; {unit.mhz} MHz" if unit.mhz else ""),
        held=not lost if unit.published else None,
        values={"unit": name, "worse": lost, **values},
    )


def _text(one: Unit | Found, total: int, cells: int) -> str:
    return (
        f"{total:,} transistors ({one.gates:,} and {one.flip_flops:,} flip-flops), {one.levels} levels; "
        f"{one.luts:,} LUT4 and {one.carries:,} CCU2C ({cells:,})"
    )


def rows(notify: Notify) -> list[Row]:
    """A row for each unit; what is the same unit beside two published ones is measured once, with a clock where one needs it."""
    known: dict[Callable[[], wiring.Component], Found] = {}
    result = []
    for name, unit in sorted(UNITS.items(), key=lambda one: one[1].mhz is None):
        if unit.make not in known:
            notify(name)
            known[unit.make] = measured(unit)
        result.append(
            row(name, unit, replace(known[unit.make], mhz=known[unit.make].mhz if unit.mhz else None))
        )
    return result
