"""OliVe (ISCA 2023): its pairs and arithmetic over all codes, its decoders' share of an array, and what its outliers are worth.

Areas are look-up tables of an ECP5 here: that decoders are a small part can be put to the test there, square micrometres cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from gen import config
from gen.compiler import compile_gemm
from gen.reproduce import bitmod
from gen.reproduce.claims import claim, untested
from gen.reproduce.claims import table as claims_table
from hw.formats import FORMATS, PairFormat
from hw.formats.pairs import pairs
from sim.cycles.memory import MemoryTiming
from sim.cycles.program import predict

if TYPE_CHECKING:
    from gen.progress import Progress

SIDE = 64
"""Rows and columns of the paper's systolic array."""
DECODER_AREAS, ELEMENT_AREA = {"4-bit": (37.22, 128), "8-bit": (49.50, 64)}, 50.01
"""Square micrometres in 22 nm, and how many; of an element of 4 bits."""
SHARES = {"4-bit": 2.2, "8-bit": 1.5}
"""Per cent of the array."""
BYTE_LUTS, MOST_BYTE_LUTS = 18, 26
"""Measured, LUT4 for both codes of a byte of ``ovp4-int4``; a decoder made earlier for sizing."""
DECODER_LUTS = {"4-bit": 9, "8-bit": 21}
"""Measured, LUT4: a code a cycle of ``ovp4-int4``, of ``ovp8-int8-e2m5``."""
ELEMENT_LUTS, INTEGER_LUTS = 120, {"int4": 75, "int8": 220}
"""Measured, LUT4 and two for each CCU2C: an element for pairs of ``ovp4-int4``, and plain ones, with sums of 32 bits."""
WHOLE, WHOLE_INT8 = {16: 35_616, SIDE: 566_400}, {16: 60_640, SIDE: 973_696}
"""Measured, LUT4 and two for each CCU2C, by rows and columns: arrays for ``ovp4-int4`` alone, and of int8, with all that feeds
them and takes results up."""

PAIRS = {
    "BERT-base": (99.12, 0.84, 0.04),
    "BERT-large": (99.24, 0.71, 0.05),
    "GPT2-XL": (98.80, 1.14, 0.06),
    "OPT-6.7B": (99.33, 0.64, 0.03),
}
"""Per cent of pairs: normal and normal, an outlier and a normal value, two outliers."""
LAYERS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
OUR_PAIRS = (99.64, 0.36, 0.0)
"""Measured: of the weights of the first block of SmolLM2-135M, one scale for a tensor."""
QUALITY = {
    "int4": (4.2, 6.9, 5.3, 1.0, 3.1, 7.0, 4.7),
    "flint4": (10.0, 13.0, 11.9, 4.3, 10.0, 14.0, 11.4),
    "ovp4-int4": (14.8, 15.3, 16.9, 16.2, 18.7, 18.7, 16.2),
    "ovp4-flint4": (15.8, 16.3, 17.1, 16.8, 18.2, 18.2, 16.9),
}
"""Measured: dB between those weights and their error, by format and layer, one scale for a tensor."""

NOT_HERE = (
    ("speed on a GPU over GOBO", 4.5, "its GPU simulator"),
    ("speed on a GPU over ANT", 2.4, "its GPU simulator"),
    ("speed of the accelerator over OLAccel", 3.8, "its simulator of accelerators is not published"),
    ("speed of the accelerator over AdaFloat", 4.8, "its simulator of accelerators is not published"),
    ("energy of the accelerator against ANT", 3.3, "power in 22 nm"),
    ("perplexity of OPT-6.7B on WikiText, 4 bits, against 22.14", 55.44, "the model is not here"),
    ("GLUE, BERT-base, 4 bits, MRPC", 87.99, "the model is not here"),
)
"""Claim, published, why it cannot be tested."""
DECODE, PREFILL = (1, 576, 1536), (64, 576, 1536)
LATENCY = 20


def _format_claims() -> Iterable[dict[str, Any]]:
    for name, published in (
        ("ovp4-int4", (12, 16, 24, 32, 48, 64, 96)),
        ("ovp4-flint4", (24, 32, 48, 64, 96, 128, 192)),
    ):
        format = FORMATS[name]
        assert isinstance(format, PairFormat)
        equal = set(format.outliers) == {None, *published, *(-v for v in published)}
        each = ", ".join(map(str, published))
        yield claim(
            f"outliers of {name} are {each}", True, equal, "abfloat of 4 bits with a bias, both signs"
        )
    format = FORMATS["ovp4-int4"]
    levels = format.levels()[0]
    yield claim(
        "normal values of int4 in pairs", "-7 to 7", f"{levels.min()} to {levels.max()}", "-8 marks a victim"
    )


def equal_products() -> int:
    """Products of two 4-bit pairs of codes, of either kind, that are (i · j) << (e + f)."""
    count = 0
    several = []
    for name in ("ovp4-int4", "ovp4-flint4"):
        format = FORMATS[name]
        assert isinstance(format, PairFormat)
        exponents, integers = pairs(format).exponents, pairs(format).integers
        values = [[v or 0 for v in format.tables[0]], [v or 0 for v in format.outliers]]
        several += list(zip(exponents.flat, integers.flat, np.ravel(values), strict=True))
    for (e, i, x), (f, j, y) in product(several, several):
        count += int((int(i) * int(j)) << int(e + f)) == int(x) * int(y)
    return count


def equal_joined() -> int:
    """Products of two bytes that four elements of 4 bits make: x = h · 2^4 + l, the upper half signed."""
    x = np.arange(-128, 128)
    high, low = x >> 4, x & 15

    def outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.multiply.outer(a, b)

    joined = (outer(high, high) << 8) + (outer(high, low) << 4) + (outer(low, high) << 4) + outer(low, low)
    return int((joined == outer(x, x)).sum())


def _arithmetic_claims() -> Iterable[dict[str, Any]]:
    yield claim(
        "products as (i · j) << (e + f): exact",
        (4 * 16) ** 2,
        equal_products(),
        "all codes of both 4-bit formats, normal and outlier",
    )
    yield claim(
        "8-bit products by four 4-bit elements: exact", 1 << 16, equal_joined(), "all of int8 by int8"
    )


def shares() -> dict[str, float]:
    """Per cent of a 64×64 array that the decoders are, by look-up tables."""
    sizes = {name: count * DECODER_LUTS[name] for name, (_, count) in DECODER_AREAS.items()}
    whole = sum(sizes.values()) + SIDE * SIDE * ELEMENT_LUTS
    return {name: 100 * size / whole for name, size in sizes.items()}


def _at_most(what: str, published: float, ours: float, why: str) -> dict[str, Any]:
    return claim(what, published, ours, why) | {"holds": ours <= published}


def _area_claims() -> Iterable[dict[str, Any]]:
    whole = sum(area * count for area, count in DECODER_AREAS.values()) + SIDE * SIDE * ELEMENT_AREA
    for name, (area, count) in DECODER_AREAS.items():
        yield claim(
            f"its areas add up: {name} decoders, per cent", SHARES[name], round(100 * area * count / whole, 1),
            f"{count} of {area} square micrometres, {SIDE * SIDE} elements of {ELEMENT_AREA}",
        )  # fmt: skip
    for name, share in shares().items():
        yield _at_most(
            f"{name} decoders of a {SIDE}×{SIDE} array: per cent of it, at most", SHARES[name], round(share, 2),
            f"LUT4 of an ECP5: {DECODER_AREAS[name][1]} of {DECODER_LUTS[name]}, elements of {ELEMENT_LUTS}; no feeding",
        )  # fmt: skip
    yield _at_most(
        "LUT4 of a decoder for a byte of ovp4-int4, at most",
        MOST_BYTE_LUTS,
        BYTE_LUTS,
        "one made for sizing; the paper has none",
    )
    for side, size in WHOLE.items():
        decoders = 2 * side * DECODER_LUTS["4-bit"]
        yield _at_most(
            f"decoders of a whole {side}×{side} array for ovp4-int4: per cent of it, at most",
            SHARES["4-bit"],
            round(100 * decoders / size, 2),
            f"LUT4 of an ECP5, two for each CCU2C, words, skew and results included: {decoders:,} of {size:,}",
        )
    ratios = {side: WHOLE[side] / WHOLE_INT8[side] for side in WHOLE}
    yield untested(
        "a whole array for ovp4-int4 against one of int8", None,
        ", ".join(f"{side}×{side} {ratio:.2f}" for side, ratio in ratios.items()),
        "LUT4 of an ECP5, no DSPs; a product in each element and cycle",
    )  # fmt: skip
    yield untested(
        "an element for pairs against one of int8", None, f"{ELEMENT_LUTS / INTEGER_LUTS['int8']:.2f}",
        f"LUT4 of an ECP5; against one of int4 {ELEMENT_LUTS / INTEGER_LUTS['int4']:.2f}",
    )  # fmt: skip


def _pair_claims() -> Iterable[dict[str, Any]]:
    for name, (_, *published) in PAIRS.items():
        yield untested(
            f"pairs with an outlier, per cent: {name}", round(sum(published), 2), round(sum(OUR_PAIRS[1:]), 2),
            "ours are weights of SmolLM2-135M's first block, one scale for a tensor",
        )  # fmt: skip
    yield claim(
        "pairs of two outliers are rarer than one in a thousand",
        True,
        OUR_PAIRS[2] < 0.1,
        "those of SmolLM2-135M's first block",
    )
    better = all(
        min(outliers) > max(plain)
        for *plain, a, b in zip(*QUALITY.values(), strict=True)
        for outliers in [(a, b)]
    )
    spans = {name: f"{min(each):.1f} to {max(each):.1f}" for name, each in QUALITY.items()}
    yield claim(
        "with outliers 4 bits err less than int4 and flint4 (ANT) do", True, better,
        "weights of SmolLM2-135M's first block, one scale for a tensor, dB: " + ", ".join(f"{n} {s}" for n, s in spans.items()),
    )  # fmt: skip


def cycles(sizes: tuple[int, int, int], columns: int, activations: str, weights: str) -> int:
    """Of a layer on ``olive-8x8`` with so many columns, by the cycle model."""
    loaded = config.load("olive-8x8", [f"array.columns={columns}"])
    family = loaded.instance
    program = compile_gemm(loaded.design(), family, *sizes, formats=(activations, weights))
    timing = MemoryTiming(read_latency=LATENCY, write_latency=LATENCY)
    return predict(loaded.design(), family.model().law(), program.instructions, timing).cycles


def _speed_claims() -> Iterable[dict[str, Any]]:
    for what, sizes, columns, why in (
        ("one token, 8×16 elements", DECODE, 16, "the bus of 8 bytes is the bound, and 4 bits are half of them"),
        ("64 tokens, 8×8 elements", PREFILL, 8, "an element takes a product of either in a cycle; the paper, four for 8 bits"),
    ):  # fmt: skip
        ratio = cycles(sizes, columns, "int8", "int8") / cycles(sizes, columns, "ovp4-int4", "ovp4-int4")
        yield untested(
            f"speed over int8 (on a GPU): {what}", 2.7, f"{ratio:.2f}", f"olive-8x8, cycle model; {why}"
        )
    arrays = bitmod.simulator()
    ratio = bitmod.arithmetic(arrays, "olive", "ant", 0)
    yield untested(
        "speed of the accelerator over ANT",
        3.7,
        f"{ratio:.2f}",
        "ours: BitMoD's simulator, six language models, prompt alone",
    )
    for what, published, why in NOT_HERE:
        yield untested(what, published, None, why)


def claims() -> list[dict[str, Any]]:
    """All rows."""
    return [
        *_format_claims(), *_arithmetic_claims(), *_area_claims(), *_pair_claims(), *_speed_claims(),
    ]  # fmt: skip


def measured_layers() -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """``OUR_PAIRS`` and ``QUALITY``, measured again; the model must have been fetched."""
    from gen.models.fetch import fetch
    from gen.models.file import ModelFile
    from gen.models.llama import Llama
    from sim.quantise import quantise
    from sim.quantise.olive import pair_counts

    model = Llama(ModelFile(fetch("smollm2")))
    counted = np.zeros(3)
    quality: dict[str, list[float]] = {name: [] for name in QUALITY}
    for layer in LAYERS:
        matrix = model.weights(f"blk.0.{layer}").T
        for name in QUALITY:
            found = quantise(matrix, f"{name}:tensor")
            error = np.linalg.norm(found.values() - matrix)
            quality[name].append(round(float(20 * np.log10(np.linalg.norm(matrix) / error)), 1))
            if name == "ovp4-int4":
                counted += np.array(pair_counts(found, matrix).shares) * matrix.size
    pairs_ = tuple(round(float(share), 2) for share in 100 * counted / counted.sum())
    return pairs_, {name: tuple(each) for name, each in quality.items()}


def document(progress: Progress) -> dict[str, Any]:
    """Everything as plain data."""
    del progress
    return {
        "paper": "OliVe, ISCA 2023",
        "claims": claims(),
        "layers": list(LAYERS),
        "quality": {name: list(each) for name, each in QUALITY.items()},
    }


def render(document: Mapping[str, Any]) -> Any:
    """Claims, and what the outliers are worth."""
    from rich.console import Group

    from gen.report import table

    several = [
        [layer, *(f"{each[place]:.1f}" for each in document["quality"].values())]
        for place, layer in enumerate(document["layers"])
    ]
    return Group(
        claims_table(document),
        table(
            ["blk.0", *document["quality"]], several, numbers=len(document["quality"]),
            title="Weights of SmolLM2-135M, one scale for a tensor: dB to their error",
        ),
    )  # fmt: skip


def picture(document: Mapping[str, Any]) -> bytes:
    """What the outliers are worth."""
    from gen.plots import grouped

    panels = {"one scale for a tensor": document["quality"]}
    title = f"{document['paper']}: weights of SmolLM2-135M in 4 bits"
    return grouped(document["layers"], panels, "dB to the error", title, digits=1)
