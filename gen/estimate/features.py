"""What the size of each module of an accelerator grows with: the terms of the fitted model.

A module's LUTs and registers are sums of its terms, each times a coefficient that is not negative. Terms are made of sizes of
the configuration alone, so that an answer takes no time.
"""

from __future__ import annotations

from math import ceil, log2
from typing import Any, cast

from gen.config import Config
from gen.families.decoded import DecodedFamily
from hw.array.decoded.geometry import DecodedArray
from hw.control.isa import PARAMETER_BYTES
from hw.design import Design
from hw.pe.exponent_integer import SMALL
from hw.timing import DRAIN_ROWS

CORE = "core"
FRAME = ("control", "arbiter", "load", "store", "accumulators", "activations", "weights", "parameters", "top")
"""Modules around the core, alike in all families; ``top`` is what lies in none."""
MODULES = (CORE, *FRAME)
Terms = dict[str, float]
_WIDTHS = (1, 2, 4, 9, 18, 36)
"""Bits of a word of a block RAM; each has half as many words as the one before, the first 16,384."""
STORE_DSPS = {"int32": 4, "float32": 2}
"""Multiplier blocks of a lane of STORE, by what sums are."""
PARAMETER_BLOCKS = 3
"""Of 512 features: bias, multiplier and shift are one each."""


def kind(config: Config) -> str | None:
    """The kind of core, for which there is a model of its own; None for those that there is none of."""
    array: Any = config.array
    if config.control.issue != "queues":
        return None
    if config.family == "systolic" and (array.multiplier, array.depth) == ("native", 1):
        return array.dataflow
    if config.family == "bit-serial" and array.activations == "int8" and not array.skip_zero_terms:
        return "bit-serial"
    plain = ("int8", "int8", "exact", "planes")
    if config.family == "lookup" and (array.scales, array.activations, array.tables, array.ternary) == plain:
        return "lookup"
    if config.family == "decoded" and array.dataflow == "output-stationary" and array.accumulator == "exact":
        return "decoded-blocks" if array.block else "decoded"
    return None


def terms(config: Config) -> dict[str, Terms]:
    """Terms of each module. Raises ``ValueError`` for a configuration that has no ``kind``."""
    found = kind(config)
    if found is None:
        raise ValueError(f"configuration must be one of a fitted kind, not {config.name}")
    design = config.design()
    return {CORE: _CORES[found](config)} | _frame(design)


def dsps(config: Config) -> dict[str, int]:
    """Multiplier blocks of an ECP5 that modules take."""
    elements = config.array.rows * config.array.columns
    store = STORE_DSPS[config.geometry.sums] * config.output.lanes
    if config.family == "lookup":
        return {CORE: 1, "store": store}
    taken = config.family == "systolic"
    if config.family == "decoded":
        x, w = _operands(config).shapes
        taken = x.integer_bits + w.integer_bits > SMALL
    return {CORE: elements if taken else 0, "store": store}


def block_rams(config: Config) -> dict[str, int]:
    """Block RAMs of an ECP5 that modules take: 18 kbit each, as 512 words of 36 bits to 16,384 of one."""
    d, g = config.design(), config.geometry
    return {
        "activations": _blocks(d.activation_words, g.activation_bytes, d.data_bytes),
        "weights": _blocks(d.weight_words, g.weight_bytes, d.data_bytes, _weight_bits(config)),
        "parameters": PARAMETER_BLOCKS * d.output_lanes * ceil(d.parameter_entries / d.output_lanes / 512),
        "accumulators": 2 * g.banks * ceil(d.accumulator_rows / 2 / 512),
    }


def _weight_bits(config: Config) -> int:
    """Of a word of weights, those that the array reads: others are nowhere."""
    array = config.array
    each = {"systolic": 8, "decoded": 8, "bit-serial": 4 * getattr(array, "lanes", 0)}.get(config.family, 0)
    return each * array.columns or 8 * config.geometry.weight_bytes


def _blocks(words: int, size: int, beat: int, used: int | None = None) -> int:
    """Of a scratchpad whose places are as wide as the wider of word and beat; of a word so wide ``used`` bits are there."""
    width = 8 * max(size, beat)
    places = ceil(words * size * 8 / width)
    width = used if used and size >= beat else width
    return min(
        ceil(places / (1 << 14 - shift)) * ceil(width / _WIDTHS[shift]) for shift in range(len(_WIDTHS))
    )


def _frame(d: Design) -> dict[str, Terms]:
    g, beat, lanes = d.geometry, d.data_bytes, d.output_lanes
    floats = float(g.sums == "float32")
    rotation = beat * log2(beat)
    select = lanes * (g.banks / lanes - 1)
    pads = {
        "activations": (d.activation_words, g.activation_bytes),
        "weights": (d.weight_words, g.weight_bytes),
        "parameters": (d.parameter_entries // lanes, PARAMETER_BYTES * lanes),
    }
    return {
        "control": {
            "one": 1,
            "beat": beat,
            "queues": float(d.queue_depth > 0),
            "counters": float(d.counters),
        },
        "arbiter": {"one": 1, "beat": beat},
        "load": {"one": 1, "beat": beat, "rotation": rotation},
        "store": {
            "one": 1,
            "lanes": lanes,
            "beat": beat,
            "rotation": rotation,
            "select": select,
            "floats": floats * lanes,
        },
        "accumulators": {"one": 1, "banks": g.banks, "floats": floats * g.banks},
        **{name: {"one": 1, **_pad(words, size, beat)} for name, (words, size) in pads.items()},
        "top": {"one": 1, "beat": beat},
    }


def _pad(words: int, size: int, beat: int) -> Terms:
    """Of a scratchpad: what chooses among the parts of a wide place, and its addresses."""
    return {
        "choice": 8.0 * (max(size, beat) / size - 1) * size,
        "address": log2(max(words, 2)),
        "bits": 8.0 * size,
    }


def _output_stationary(config: Config) -> Terms:
    a, g = config.array, config.geometry
    return {
        "one": 1, "rows": a.rows, "columns": a.columns, "elements": a.rows * a.columns,
        "drains": a.columns * ceil(a.rows / DRAIN_ROWS), "words": a.rows * g.activation_bytes,
    }  # fmt: skip


def _weight_stationary(config: Config) -> Terms:
    a, g = config.array, config.geometry
    return {
        "one": 1, "edges": a.rows + a.columns, "elements": a.rows * a.columns,
        "sums": a.rows * a.columns * (16 + ceil(log2(a.rows))), "skew": a.rows * (a.rows - 1) / 2,
        "words": a.rows * g.activation_bytes,
    }  # fmt: skip


def _bit_serial(config: Config) -> Terms:
    a, g = config.array, config.geometry
    lanes = a.columns * a.lanes
    floating = any(name.startswith("fp") for name in a.weights)
    return {
        "one": 1, "edges": a.rows + a.columns, "elements": a.rows * a.columns, "lanes": a.rows * lanes, "decoders": lanes,
        "floating": lanes * floating, "words": a.rows * g.activation_bytes,
    }  # fmt: skip


def _lookup(config: Config) -> Terms:
    a, g = config.array, config.geometry
    units = a.columns // a.outputs
    return {
        "one": 1, "tables": a.rows * a.groups_per_lane, "units": a.rows * units, "columns": a.columns,
        "lookups": a.rows * units * a.groups_per_lane, "sums": a.rows * a.columns, "words": a.rows * g.activation_bytes,
    }  # fmt: skip


def _operands(config: Config) -> DecodedArray:
    return cast(DecodedFamily, config.instance).array


def _decoded(config: Config) -> Terms:
    a, array = config.array, _operands(config)
    x, w = array.shapes
    product = x.integer_bits * w.integer_bits
    small = x.integer_bits + w.integer_bits <= SMALL
    elements = a.rows * a.columns
    return {
        "one": 1, "rows": a.rows * x.integer_bits, "columns": a.columns * w.integer_bits, "elements": elements,
        "products": elements * product * small, "sums": elements * array.sum_bits,
        "decoders": a.rows * len(a.activations) + a.columns * len(a.weights),
    }  # fmt: skip


_CORES = {
    "output-stationary": _output_stationary,
    "weight-stationary": _weight_stationary,
    "bit-serial": _bit_serial,
    "lookup": _lookup,
    "decoded": _decoded,
    "decoded-blocks": _decoded,
}
KINDS = tuple(_CORES)
