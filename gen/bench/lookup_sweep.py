"""How many activations a table should have, and how many tables one accumulator: W2A8 on an ECP5, builders included."""

from __future__ import annotations

from collections.abc import Callable

from fpga.measure import area
from gen.bench.figures import Row
from gen.bench.lookup_units import COLUMNS, FLOW, GROUP, ROWS, builders, lookup_unit, outputs_of
from hw.pe.lookup_times import LEAST_K, MOST_K

Notify = Callable[[str], None]

BITS = 2
LANES = (1, 2, 4, 8, 16, 32)
KINDS = ("broadcast", "stored")


def measured(notify: Notify) -> dict[str, dict[int, dict[int, float]]]:
    """COMB for a product a cycle, by kind, activations of a table and tables before an accumulator."""
    values: dict[str, dict[int, dict[int, float]]] = {kind: {} for kind in KINDS}
    for k in range(LEAST_K, MOST_K + 1):
        notify(f"sweep: builders of {k}")
        share = builders(LANES, k=k)
        for kind in KINDS:
            notify(f"sweep: tables of {k}, {kind}")
            outputs = outputs_of(BITS, k) if kind == "stored" else 0
            values[kind][k] = {}
            for lanes in LANES:
                unit = lookup_unit(lanes, BITS, k=k, stored=bool(outputs), outputs=outputs or 1)
                values[kind][k][lanes] = area(unit(), flow=FLOW).luts * BITS / (k * lanes) + share.share(
                    BITS, lanes, k=k, outputs=outputs
                )
    return values


def picture(values: dict[str, dict[int, dict[int, float]]]) -> bytes:
    """A panel for each kind, a line for each number of activations."""
    from gen.plots import lines

    return lines(
        {
            f"{kind} tables": {f"K = {k}": list(several.values()) for k, several in by_k.items()}
            for kind, by_k in values.items()
        },
        [str(lanes) for lanes in LANES],
        ("tables before an accumulator", "COMB for a product a cycle"),
        f"W{BITS}A8 lookup units on an ECP5, M{ROWS} N{COLUMNS}, builders included",
    )


def row(notify: Notify) -> Row:
    """A line for each kind and number of activations."""
    values = measured(notify)
    found = sorted(
        (each, kind, k, lanes)
        for kind, by_k in values.items()
        for k, several in by_k.items()
        for lanes, each in several.items()
    )
    best = {kind: next(one for one in found if one[1] == kind) for kind in KINDS}
    text = [
        f"{kind}, K = {k}: {', '.join(f'{each:.1f}' for each in several.values())}"
        for kind, by_k in values.items()
        for k, several in by_k.items()
    ]
    text += [
        f"least, {kind}: {each:.1f} with K = {k}, {lanes} tables" for each, kind, k, lanes in best.values()
    ]
    return Row(
        key="lookup-sweep",
        what=f"W{BITS}A8 units, {', '.join(map(str, LANES))} tables before an accumulator, groups of {GROUP}; "
        f"M{ROWS} N{COLUMNS}; COMB for a product a cycle, builders of tables included; {FLOW.text}",
        measured="\n".join(text),
        peers="LUT Tensor Core: K = 4 is densest in 28 nm",
        values={
            "least": {
                kind: {"each": each, "k": k, "tables": lanes} for kind, (each, _, k, lanes) in best.items()
            }
        }
        | {
            kind: {str(k): {str(n): each for n, each in several.items()} for k, several in by_k.items()}
            for kind, by_k in values.items()
        },
        picture=lambda: picture(values),
    )
