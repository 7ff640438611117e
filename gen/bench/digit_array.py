"""The array that multiplies digit by digit: cycles of a product with several kinds of weights, and its core on an ECP5."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fpga.measure import area
from fpga.synthesis import Flow
from gen import config
from gen.bench import decoded_layers
from gen.bench.figures import Row
from hw.timing import DIGIT_GROUP
from sim import digits
from sim.families.sparse_digit import SparseDigitLaw
from sim.quantise import quantise

Notify = Callable[[str], None]

PRESET = "systolic-8x8"
MULTIPLIERS = ("native", "carry_save", "sparse_digit")
DEPTH, FEATURES = 4096, 512
LAYER = "blk.0.attn_q"
FLOW = Flow(dsp=False)


def weights() -> dict[str, np.ndarray]:
    """Integers [K, N] by their kind; those of a layer only if its model has been fetched."""
    random, shape = np.random.default_rng(1), (DEPTH, FEATURES)
    found = {
        "uniform": random.integers(-128, 128, shape),
        "normal, sigma 20": np.clip(np.rint(random.normal(0, 20, shape)), -128, 127).astype(np.int64),
        "int4": random.integers(-8, 8, shape),
        "ternary": random.integers(-1, 2, shape),
    }
    if model := decoded_layers.model():
        matrix = model.weights(LAYER).T
        for name in ("int8", "int4"):
            found[f"{decoded_layers.TITLE} {LAYER}, {name}"] = quantise(matrix, name).levels().T
    return found


def cycles(w: np.ndarray, columns: int) -> dict[str, float]:
    """Cycles in which an element takes a product of ``w`` [K, N], by how digits are taken: whole groups and column tiles.

    ``digits``: those that are not zero. ``alone``: the published element with an encoder of its own, bit weight outside
    (``sim.digits``). ``outside``: the same with all columns in step. ``array``: as the array does it.
    """
    depth, features = w.shape
    taken = digits.en_t(w) != 0
    groups = taken.reshape(
        depth // DIGIT_GROUP, DIGIT_GROUP, features // columns, columns, digits.DIGITS
    ).sum(axis=1)
    geometry = config.load(
        PRESET, ["array.multiplier=sparse_digit", f"array.columns={columns}"]
    ).instance.geometry
    size = geometry.weight_bytes // DIGIT_GROUP
    words = np.zeros((features // columns, depth, size), np.int8)
    words[:, :, :columns] = w.reshape(depth, -1, columns).transpose(1, 0, 2)
    array = SparseDigitLaw(geometry).digits(words.view(np.uint8).reshape(-1))
    return {
        "digits": float(taken.sum() / w.size),
        "alone": float(np.maximum(groups, 1).sum() / w.size),
        "outside": float(np.maximum(groups.max(axis=2), 1).sum() * columns / w.size),
        "array": float(np.maximum(array, DIGIT_GROUP).sum() * columns / w.size),
    }


def cycles_row() -> Row:
    """What working in step costs, and what it leaves."""
    columns = config.load(PRESET).instance.geometry.columns
    found = {name: cycles(w, columns) for name, w in weights().items()}
    lines = (
        f"{name}: {each['array']:.2f} (digits {each['digits']:.2f}, an element alone {each['alone']:.2f}, bit weight outside "
        f"{each['outside']:.2f})"
        for name, each in found.items()
    )
    return Row(
        key="digits",
        what=f"cycles of a product, digit by digit, {columns} columns in step",
        measured="; ".join(lines),
        must="fewer than with bit weight outside",
        held=all(each["array"] < each["outside"] for each in found.values()),
        values={"cycles": found},
    )


def area_row(notify: Notify) -> Row:
    """Cores by multiplier, without DSP blocks."""
    found = {}
    for multiplier in MULTIPLIERS:
        notify(f"core with {multiplier}")
        loaded = config.load(PRESET, [f"array.multiplier={multiplier}"])
        found[multiplier] = area(loaded.instance.core(loaded.design()), flow=FLOW)
    native, own = found["native"], found["sparse_digit"]
    lines = (f"{name} {one.luts:,} LUT and {one.flip_flops:,} flip-flops" for name, one in found.items())
    return Row(
        key="digits",
        what=f"core of {PRESET} without DSP blocks, by multiplier ({FLOW.text})",
        measured=f"{'; '.join(lines)}: {own.luts / native.luts:.0%} of the LUT",
        must="fewer LUT than native",
        held=own.luts < native.luts,
        values={
            "area": {name: {"luts": one.luts, "flip_flops": one.flip_flops} for name, one in found.items()}
        },
    )


def rows(notify: Notify) -> list[Row]:
    """All figures of the array."""
    return [cycles_row(), area_row(notify)]
