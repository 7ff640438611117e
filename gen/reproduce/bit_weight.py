"""Transformation in the bit-weight dimension of MACs (HPCA 2025, arXiv 2503.06342): digits, cycles and areas beside ours.

Ours are transistors and levels of gates by open tools (``fpga.transistors.plain``). What of an area-efficiency gain they
show is the
clock, as levels on the longest path, times the area; arrays, synthesis towards a clock, and power are not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fpga.transistors import PLAIN_TEXT, Plain, Transistors
from gen.reproduce.claims import claim, untested
from gen.reproduce.claims import table as claims_table
from sim import digits

if TYPE_CHECKING:
    from gen.progress import Progress

SIGMAS = (10, 20, 30, 40, 50)
AVERAGES = {10: 1.75, 20: 2.10, 30: 2.32, 40: 2.48, 50: 2.60}
"""EN-T digits of normal operands, simulated with K = 128: the code's README."""
GAINS = (
    ("systolic array (TPU)", 1.27),
    ("cube (Ascend)", 1.28),
    ("multipliers and a tree (Trapezoid)", 1.56),
    ("two-dimensional array (FlexFlow)", 1.44),
)
"""Gains of area efficiency: the abstract."""
NOT_HERE = (
    ("energy efficiency gains of the four engines", "1.04, 1.56, 1.49, 1.20", "power in 28 nm"),
    ("energy efficiency over Laconic", 12.10, "power in 28 nm, and Laconic is not here"),
    ("area efficiency over Laconic", 2.85, "Laconic is not here"),
)


def _plain(gates: int, flip_flops: int, levels: int) -> Plain:
    return Plain(transistors=Transistors(gates=gates, flip_flops=flip_flops), levels=levels)


MEASURED = {
    "carry-save, 32 bits": _plain(4088, 77, 20),
    "multiply-accumulate, 32 bits": _plain(4382, 48, 67),
    "cube, carry-save, 24 bits": _plain(3652, 61, 20),
    "cube element, 24 bits": _plain(3984, 40, 55),
    "same weight, 16 products": _plain(40520, 440, 44),
    "16 multipliers and a tree": _plain(50006, 604, 47),
}
"""What ``python -m gen.bench --only multipliers`` gives."""


def _digit_claims() -> Iterable[dict[str, Any]]:
    yield claim(
        "share of int8 operands with three Booth digits or fewer that are not zero, per cent",
        68.4,
        round(100 * int(np.count_nonzero(digits.nonzero(digits.booth) <= 3)) / 256, 1),
        "all 256 operands, each once",
    )
    for sigma, published in AVERAGES.items():
        found = digits.average(digits.en_t, digits.normal(sigma))
        yield claim(
            f"EN-T digits of an operand that are not zero, within 0.02, normal with sigma {sigma}",
            True,
            bool(abs(found - published) < 0.02),
            f"published {published:.2f} of a sample, ours {found:.3f} exactly",
        )
    yield untested(
        f"cycles of an operand at a digit a cycle, normal with sigma {', '.join(map(str, SIGMAS))}",
        None,
        ", ".join(f"{digits.cycles_per_operand(digits.en_t, digits.normal(sigma)):.2f}" for sigma in SIGMAS),
        "cycles are not published, only digits; in the published RTL four zeros take a cycle, too",
    )
    yield untested(
        "EN-T and Booth digits of a normal operand",
        "2.22, 2.41",
        ", ".join(f"{digits.average(code, digits.normal(25)):.2f}" for code in (digits.en_t, digits.booth)),
        "which normal distribution is not said; ours has sigma 25; uniform operands have "
        + ", ".join(f"{digits.average(code):.3f}" for code in (digits.en_t, digits.booth)),
    )


def delay_area(found: Mapping[str, Plain], before: str, after: str) -> float:
    """By how much levels times transistors are less ``after`` than ``before``."""
    a, b = (found[name].levels * found[name].transistors.total for name in (before, after))
    return round(a / b, 2)


def _unit_claims(found: Mapping[str, Plain]) -> Iterable[dict[str, Any]]:
    wide, narrow = found["carry-save, 32 bits"], found["cube, carry-save, 24 bits"]
    yield claim(
        "the delay of a carry-save unit does not depend on the accumulator's width",
        True,
        abs(wide.levels - narrow.levels) <= 1,
        f"{narrow.levels} levels with 24 bits, {wide.levels} with 32; one level is what gates are mapped by chance",
    )
    mac = found["multiply-accumulate, 32 bits"]
    yield claim(
        "a carry-save unit's delay is half of the multiplier's and accumulator's or less (0.92 of 1.95 ns)",
        True,
        2 * wide.levels <= mac.levels,
        f"{wide.levels} of {mac.levels} levels",
    )
    names = (
        ("multiply-accumulate, 32 bits", "carry-save, 32 bits"),
        ("cube element, 24 bits", "cube, carry-save, 24 bits"),
        ("16 multipliers and a tree", "same weight, 16 products"),
    )
    for (what, published), (before, after) in zip(GAINS, names, strict=False):
        yield untested(
            f"area efficiency gained: {what}",
            published,
            delay_area(found, before, after),
            f"ours are levels times transistors of one unit, {before} over {after}, not an array's area at its clock in 28 nm; "
            f"transistors alone: {found[before].transistors.total:,} to {found[after].transistors.total:,}",
        )
    what, published = GAINS[-1]
    yield untested(
        f"area efficiency gained: {what}", published, None, "cannot be tested: there is no such array here"
    )


def claims(found: Mapping[str, Plain]) -> list[dict[str, Any]]:
    """All rows."""
    others = (
        untested(what, published, None, f"cannot be tested with open tools: {why}")
        for what, published, why in NOT_HERE
    )
    return [*_digit_claims(), *_unit_claims(found), *others]


def averages() -> dict[str, list[float]]:
    """Digits of each code that are not zero: of normal operands by ``SIGMAS``, then of uniform ones."""
    probabilities = [*(digits.normal(sigma) for sigma in SIGMAS), digits.UNIFORM]
    return {name: [digits.average(code, one) for one in probabilities] for name, code in digits.CODES.items()}


def document(progress: Progress) -> dict[str, Any]:
    """Everything as plain data; of ``digits`` averages by code, for ``SIGMAS`` and uniform operands."""
    del progress
    return {
        "paper": "Bit-weight transformation of MACs, HPCA 2025",
        "claims": claims(MEASURED),
        "flow": PLAIN_TEXT,
        "units": {name: one.as_dict() for name, one in MEASURED.items()},
        "digits": averages(),
    }


def _operands() -> list[str]:
    return [*(f"sigma {sigma}" for sigma in SIGMAS), "uniform"]


def render(document: Mapping[str, Any]) -> Any:
    """Claims, and digits."""
    from rich.console import Group

    from gen.report import table

    several = [[name, *(f"{one:.3f}" for one in found)] for name, found in document["digits"].items()]
    return Group(
        claims_table(document),
        table(
            ["code", *_operands()],
            several,
            title="Digits of an int8 operand that are not zero",
            numbers=len(_operands()),
        ),
    )


def picture(document: Mapping[str, Any]) -> bytes:
    """Digits that are not zero, by code."""
    from gen.plots import grouped

    title = f"{document['paper']}: digits that are not zero"
    return grouped(
        _operands(), {"int8 operands": document["digits"]}, "digits of an operand", title, digits=2
    )
