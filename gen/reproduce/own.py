"""Our cycle model, which simulation confirms to the cycle, beside the analytic model for an array of the same size and bus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    from gen.reproduce import Progress

PAIRS: tuple[tuple[str, str], ...] = (("systolic-8x8", "int8"),)
"""Presets, and a format of weights that each was generated for."""
MODEL = "smollm2"
PHASES = {"prefill": 64, "decode": 1}
"""Tokens at a time."""
CONTEXT = 64
"""Keys that they meet."""
CACHE = "int8"
"""Format of keys and values."""
RESULT_BITS = 32


def products(tokens: int) -> Iterator[Product]:
    """One of each size that a block of the model has; of attention, the heads that share keys."""
    shape = SHAPES[MODEL]
    seen = set()
    for one in [*shape.linears(tokens)[:-1], *shape.attention(tokens, CONTEXT)]:
        if (one.K, one.N) not in seen:
            seen.add((one.K, one.N))
            yield one


def machine(config: Config, variant: int) -> Machine:
    """What the analytic model would take an array for: its elements, what they do in a cycle, its bus and its buffers."""
    design, family = config.design(), config.instance
    g = design.geometry
    rate = Fraction(family.model().multiplications(variant) / (g.tile_rows * g.columns)).limit_denominator(256)
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
    """One product by both models."""
    design, family = config.design(), config.instance
    variant = family.variant(weights=weights)
    machine_, format = machine(config, variant), family.pairs[variant][1]
    one = Operation(
        tokens=product.M, depth=product.K, features=product.N, weight_bits=format.bits_per_weight
    )
    formats = (family.pairs[variant][0].name, weights)
    program = compile_gemm(design, family, product.M, product.K, product.N, formats=formats)
    ours = predict(design, family.model().law(), program.instructions, MemoryTiming())
    return {
        "configuration": config.name,
        "weights": weights,
        "phase": phase,
        "kind": product.kind,
        "M": product.M,
        "K": product.K,
        "N": product.N,
        "analytic": {
            "array": machine_.compute(one),
            "bus": machine_.transfer(one),
            "cycles": machine_.cycles(one),
        },
        "ours": {
            "cycles": ours.cycles,
            "array": ours.array_steps,
            "loads": ours.load_beats,
            "stores": ours.store_beats,
            "program": ours.fetch_beats,
        },
        "ratio": ours.cycles / machine_.cycles(one),
    }


def rows(progress: Progress, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[dict[str, Any]]:
    """Every pair, phase and kind of product. Keys and values are in ``CACHE``, whatever the weights."""
    found = []
    for number, (preset, weights) in enumerate(pairs):
        progress(f"{preset}, {weights}", number, len(pairs))
        config = configuration.load(preset)
        for phase, tokens in PHASES.items():
            for one in products(tokens):
                found.append(row(config, phase, one, CACHE if one.kind.startswith("attn_s") else weights))
    return found


def table(rows: Sequence[dict[str, Any]]) -> Any:
    """For people."""
    from gen import report

    return report.table(
        ["array", "weights", "layer", "M x K x N", "steps", "bus", "analytic", "ours", "ratio"],
        [
            [
                row["configuration"],
                row["weights"],
                row["kind"],
                f"{row['M']} x {row['K']} x {row['N']}",
                f"{row['analytic']['array']:,}",
                f"{row['analytic']['bus']:,}",
                f"{row['analytic']['cycles']:,}",
                f"{row['ours']['cycles']:,}",
                f"{row['ratio']:.3f}",
            ]
            for row in rows
        ],
        title="our cycle model beside the analytic one: SmolLM2-135M's layers",
        numbers=5,
    )
