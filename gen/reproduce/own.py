"""Our cycle model, which simulation confirms to the cycle, beside the analytic model for an array of the same size and bus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from gen import config as configuration
from gen.compiler import compile_gemm
from gen.models.shapes import SHAPES, Product
from gen.reproduce.analytic import Machine, Operation
from sim.cycles.memory import MemoryTiming
from sim.cycles.program import predict

if TYPE_CHECKING:
    from gen.config import Config
    from gen.progress import Progress
    from sim.families.contract import CycleLaw, ExecuteTimes, Weights

PAIRS: tuple[tuple[str, str], ...] = (
    ("systolic-8x8", "int8"),
    *(("bitmod-int8-8x8", weights) for weights in ("int8-s8", "int6-s8", "fp4-mixed-s8", "fp3-mixed-s8")),
    ("bitmod-fp16-4x4", "fp4-mixed-s8"),
)
"""Presets, and a format of weights that each was generated for."""
MODEL = "smollm2"
PHASES = {"prefill": 64, "decode": 1}
"""Tokens at a time."""
CONTEXT = 256
"""Keys that they meet."""
CACHE = "int8"
"""Format of keys and values."""
RESULT_BITS = 32


class Watched:
    """A cycle law that remembers its answers to EXECUTEs."""

    def __init__(self, law: CycleLaw):
        self._law = law
        self.times: list[ExecuteTimes] = []

    def __getattr__(self, name: str) -> Any:
        """All else is the law's."""
        return getattr(self._law, name)

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights) -> ExecuteTimes:
        """As the law says."""
        self.times.append(self._law.execute(visible, fields, weights))
        return self.times[-1]


def products(tokens: int) -> list[Product]:
    """One of each size that a block of the model has; of attention, that of the heads that share keys."""
    shape, sizes = SHAPES[MODEL], dict[tuple[int, int], Product]()
    for one in [*shape.linears(tokens)[:-1], *shape.attention(tokens, CONTEXT)]:
        sizes.setdefault((one.K, one.N), one)
    return list(sizes.values())


def machine(config: Config, variant: int) -> Machine:
    """What the analytic model would take an array for: its elements, what they do in a cycle, its bus and its buffers."""
    design, family = config.design(), config.instance
    g = design.geometry
    rate = Fraction(family.model().multiplications(variant) / (g.tile_rows * g.columns)).limit_denominator(
        256
    )
    return Machine(
        features=g.columns,
        tokens=g.tile_rows,
        lanes=rate.numerator,
        terms=rate.denominator,
        input_bits=family.pairs[variant][0].bits,
        output_bits=RESULT_BITS,
        bus_bits=8 * design.data_bytes,
        weight_buffer=design.weight_words * g.weight_bytes,
        input_buffer=design.activation_words * g.activation_bytes,
    )


def row(config: Config, phase: str, product: Product, weights: str) -> dict[str, Any]:
    """One product by both models.

    Of ours, ``start`` is the cycles before the array takes its first EXECUTE, ``end`` those after its last result, ``array``
    those in which it takes a step; ``other`` is the rest: it waits, fills or drains.
    """
    design, family = config.design(), config.instance
    variant = family.variant(weights=weights)
    activations, format = family.pairs[variant]
    analytic = machine(config, variant)
    one = Operation(tokens=product.M, depth=product.K, features=product.N, weight_bits=format.bits_per_weight)
    program = compile_gemm(
        design, family, product.M, product.K, product.N, formats=(activations.name, weights)
    )
    law = Watched(family.model().law())
    ours = predict(design, law, program.instructions, MemoryTiming())
    start, end = law.times[0].taken, ours.cycles - law.times[-1].finished
    return {
        "configuration": config.name,
        "format": weights,
        "phase": phase,
        "kind": product.kind,
        "M": product.M,
        "K": product.K,
        "N": product.N,
        "analytic": {
            "array": analytic.compute(one),
            "bus": analytic.transfer(one),
            "cycles": analytic.cycles(one),
        },
        "ours": {
            "cycles": ours.cycles,
            "start": start,
            "array": ours.array_steps,
            "other": ours.cycles - start - ours.array_steps - end,
            "end": end,
            "load_beats": ours.load_beats,
            "program_beats": ours.fetch_beats,
            "store_beats": ours.store_beats,
        },
        "ratio": ours.cycles / analytic.cycles(one),
    }


def rows(progress: Progress, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[dict[str, Any]]:
    """Every pair, phase and size of product. Keys and values are in ``CACHE``, whatever the weights."""
    todo = [
        (preset, weights, phase, one)
        for preset, weights in pairs
        for phase, tokens in PHASES.items()
        for one in products(tokens)
    ]
    loaded = {preset: configuration.load(preset) for preset, _ in pairs}
    found = []
    for number, (preset, weights, phase, one) in enumerate(todo):
        progress(f"{preset}, {weights}, {one.kind}", number, len(todo))
        found.append(row(loaded[preset], phase, one, CACHE if one.cached else weights) | {"weights": weights})
    return found


def tables(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """For people: one for each array and format of weights."""
    from gen import report

    several: dict[str, list[list[str]]] = {}
    for row in rows:
        cells = [
            row["analytic"]["cycles"],
            *(row["ours"][key] for key in ("cycles", "start", "other", "end")),
        ]
        size = "{M}x{K}x{N}".format(**row)
        several.setdefault(f"{row['configuration']}, weights {row['weights']}", []).append(
            [f"{row['kind']:9}{size}", *(f"{cell:,}" for cell in cells), f"{row['ratio']:.3f}"]
        )
    return [
        report.table(
            ["layer    MxKxN", "analytic", "ours", "start", "other", "end", "ratio"],
            cells,
            title=f"Cycles of SmolLM2's layers by both models: {title}",
            numbers=6,
        )
        for title, cells in several.items()
    ]
