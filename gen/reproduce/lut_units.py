"""Transistors of the units that the LUT tensor core's paper compares, and what follows: its figures 12 and 13, table 2, K.

Activations of int8, sums of 24 bits. Operands, tables and indices come from outside: a unit has no register but its sum's; what
builds and keeps a table is counted apart, by the ``N`` units that share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from amaranth.lib import wiring

from fpga.dot_units import AdderDot, LookupDot, MultiplierDot, TableRegisters, TernaryDot
from fpga.transistors import FLIP_FLOP_TRANSISTORS, Transistors, transistors
from gen.progress import Progress
from hw.pe.lookup_times import LEAST_K, MOST_K, MOST_PLANES

K = 4
BITS = range(1, MOST_PLANES + 1)
PLANES = (1, 2, 4, 8)
"""Of units whose shifts differ: with 3 planes it is that of 4, with 5 to 7 that of 8."""
SERIAL = ("adder", "conventional", "lookup")
KINDS = ("multiplier", *SERIAL)
M, N = 2, 64
"""Of the paper's tile."""
FEW = 4
"""Units that share a table in its figure 13."""
STEPS = ("conventional", "reinterpreted", "recoded", "precomputed")
"""Of its table 2, each on top of the one before it."""

Found = Mapping[str, Transistors]

UNITS: dict[str, Callable[[], wiring.Component]] = {
    **{f"multiplier/{bits}": partial(MultiplierDot, k=K, bits=bits) for bits in BITS},
    **{f"adder/{planes}": partial(AdderDot, k=K, planes=planes) for planes in PLANES},
    **{
        f"conventional/{planes}": partial(LookupDot, k=K, planes=planes, symmetric=False) for planes in PLANES
    },
    **{f"lookup/{planes}": partial(LookupDot, k=K, planes=planes) for planes in PLANES},
    "not recoded/2": partial(LookupDot, k=K, planes=2, recoded=False),
    "8-bit table/2": partial(LookupDot, k=K, planes=2, width=8),
    "ternary": partial(TernaryDot, k=K),
    **{f"K {k}/2": partial(LookupDot, k=k, planes=2) for k in range(LEAST_K, MOST_K + 1) if k != K},
    **{f"table/{k}": partial(TableRegisters, k=k) for k in range(LEAST_K, MOST_K + 1)},
    "conventional table/4": partial(TableRegisters, k=K, symmetric=False),
}
"""By name: what it is, and bits of a weight, planes or K."""

MEASURED = {
    "multiplier/1": Transistors(gates=2608, flip_flops=24),
    "multiplier/2": Transistors(gates=3522, flip_flops=24),
    "multiplier/3": Transistors(gates=5004, flip_flops=24),
    "multiplier/4": Transistors(gates=6804, flip_flops=24),
    "multiplier/5": Transistors(gates=8612, flip_flops=24),
    "multiplier/6": Transistors(gates=9376, flip_flops=24),
    "multiplier/7": Transistors(gates=10212, flip_flops=24),
    "multiplier/8": Transistors(gates=11120, flip_flops=24),
    "adder/1": Transistors(gates=2072, flip_flops=24),
    "adder/2": Transistors(gates=2172, flip_flops=24),
    "adder/4": Transistors(gates=2342, flip_flops=24),
    "adder/8": Transistors(gates=2496, flip_flops=24),
    "conventional/1": Transistors(gates=3002, flip_flops=24),
    "conventional/2": Transistors(gates=3160, flip_flops=24),
    "conventional/4": Transistors(gates=3268, flip_flops=24),
    "conventional/8": Transistors(gates=3444, flip_flops=24),
    "lookup/1": Transistors(gates=1998, flip_flops=24),
    "lookup/2": Transistors(gates=2112, flip_flops=24),
    "lookup/4": Transistors(gates=2270, flip_flops=24),
    "lookup/8": Transistors(gates=2470, flip_flops=24),
    "not recoded/2": Transistors(gates=2206, flip_flops=24),
    "8-bit table/2": Transistors(gates=1900, flip_flops=24),
    "ternary": Transistors(gates=2664, flip_flops=24),
    "K 2/2": Transistors(gates=1344, flip_flops=24),
    "K 3/2": Transistors(gates=1618, flip_flops=24),
    "K 5/2": Transistors(gates=3370, flip_flops=24),
    "K 6/2": Transistors(gates=5658, flip_flops=24),
    "table/2": Transistors(gates=468, flip_flops=17),
    "table/3": Transistors(gates=1462, flip_flops=37),
    "table/4": Transistors(gates=2866, flip_flops=73),
    "table/5": Transistors(gates=6214, flip_flops=161),
    "table/6": Transistors(gates=11700, flip_flops=321),
    "conventional table/4": Transistors(gates=3358, flip_flops=136),
}
"""What :func:`measure` gives."""


def measure(progress: Progress) -> dict[str, Transistors]:
    """All ``UNITS``, synthesised."""
    found = {}
    for number, (name, make) in enumerate(UNITS.items()):
        progress(name, number, len(UNITS))
        found[name] = transistors(make())
    return found


def product(found: Found, kind: str, bits: int, units: int) -> float:
    """Transistors for a product a cycle with weights of ``bits``, where so many units share a table."""
    if kind == "multiplier":
        return found[f"multiplier/{bits}"].total / K
    total: float = found[f"{kind}/{min(planes for planes in PLANES if planes >= bits)}"].total
    if kind != "adder":
        total += found["table/4" if kind == "lookup" else "conventional table/4"].total / units
    return total * bits / K


def smallest(found: Found, bits: int, units: int) -> str:
    """The kind with fewest transistors for a product."""
    return min(KINDS, key=lambda kind: product(found, kind, bits, units))


def widest(
    found: Found, kind: str, units: int, rival: str = "multiplier", rival_bits: int | None = None
) -> int:
    """The widest weights to which ``kind`` is smaller than ``rival`` of the same width, or of ``rival_bits``; 0 when never."""
    width = 0
    for bits in BITS:
        if product(found, kind, bits, units) >= product(found, rival, rival_bits or bits, units):
            break
        width = bits
    return width


def array(found: Found, step: str) -> int:
    """Transistors of a tile for W2A8 with what table 2 does up to ``step``: its units, and a table for each row.

    Precomputed tables are written from outside: of their builder only the registers are left.
    """
    unit = {"conventional": "conventional/2", "reinterpreted": "not recoded/2"}.get(step, "lookup/2")
    table = found["conventional table/4" if step == "conventional" else "table/4"]
    kept = FLIP_FLOP_TRANSISTORS * table.flip_flops if step == "precomputed" else table.total
    return M * N * found[unit].total + M * kept


def steps(found: Found) -> dict[str, float]:
    """By how much each step makes the tile smaller than it was without any."""
    return {step: array(found, STEPS[0]) / array(found, step) for step in STEPS[1:]}


def by_k(found: Found, units: int = N) -> dict[int, float]:
    """Transistors for a product of one plane a cycle, by the activations of a table."""
    return {
        k: (found[f"K {k}/2" if k != K else "lookup/2"].total + found[f"table/{k}"].total / units) / k
        for k in range(LEAST_K, MOST_K + 1)
    }
