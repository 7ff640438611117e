"""BitMoD (HPCA 2025, arXiv 2411.11745): its simulator's cycle counts and speedups, its terms and overhead; and our own cycles.

The simulator is ``bitmod_sim`` of abdelfattah-lab/BitMoD-HPCA-25 at 58d7bdb, ``gen.reproduce.analytic`` here; the counts that
its authors published stand in ``speedup_plot.ipynb`` of the same repository.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gen.models.shapes import SHAPES, Shape
from gen.reproduce import own
from gen.reproduce.analytic import Machine, Operation
from gen.reproduce.claims import claim, untested
from gen.reproduce.claims import table as claims_table
from hw.design import ceil_div
from hw.formats import find
from sim.bit_serial import integer_terms, magnitude_terms, term_value

if TYPE_CHECKING:
    from gen.progress import Progress

MODELS = ("opt-1.3b", "phi-2", "yi-6b", "llama-2-7b", "llama-2-13b", "llama-3-8b")
"""In the order of every array below."""
CONTEXT = 256
"""Tokens of the prompt, and the keys that a decoded token meets."""
DECODED = 20
"""Tokens that the figure's script generates."""
STATED = 256
"""Tokens that the paper says are generated (section II-A)."""
PHASES = ("prefill", "decode")
TASKS = ("discriminative", "generative")


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """One bar of the figure, by phase: elements (features × tokens), and bits per weight of each model."""

    arrays: Mapping[str, tuple[int, int]]
    weight_bits: Mapping[str, Sequence[float]]
    lanes: int = 1
    serial: bool = False

    def machine(self, phase: str, model: int) -> Machine:
        """What the simulator takes it for."""
        features, tokens = self.arrays[phase]
        terms = ceil_div(math.floor(self.weight_bits[phase][model]), 2) if self.serial else 1
        return Machine(features=features, tokens=tokens, lanes=self.lanes, terms=terms)


ACCELERATORS = {
    "fp16": Accelerator(
        arrays={"prefill": (32, 24), "decode": (64, 12)},
        weight_bits={"prefill": (16,) * 6, "decode": (16,) * 6},
    ),
    "ant": Accelerator(
        arrays={"prefill": (32, 32), "decode": (64, 16)},
        weight_bits={"prefill": (5.5,) * 6, "decode": (5, 5, 5.25, 5, 5, 4.5)},
    ),
    "olive": Accelerator(
        arrays={"prefill": (36, 32), "decode": (72, 16)},
        weight_bits={"prefill": (4.5,) * 6, "decode": (3.875, 4, 4.25, 3.75, 3.75, 3.5)},
    ),
    "bitmod_lossless": Accelerator(
        arrays={"prefill": (32, 32), "decode": (64, 16)},
        weight_bits={"prefill": (6.0625,) * 6, "decode": (6.0625,) * 6},
        lanes=4,
        serial=True,
    ),
    "bitmod_lossy": Accelerator(
        arrays={"prefill": (32, 32), "decode": (64, 16)},
        weight_bits={"prefill": (4.0625,) * 6, "decode": (3.0625,) * 6},
        lanes=4,
        serial=True,
    ),
}

PUBLISHED = {
    "fp16/prefill": (669255680, 1399816192, 2878668800, 3156574208, 6676111360, 3969089536),
    "fp16/decode": (82153718, 165841248, 362970848, 413518608, 804330080, 469624976),
    "ant/prefill": (440975360, 847773696, 1734868992, 1949564928, 4076584960, 2266234880),
    "ant/decode": (25779238, 51998112, 119342816, 129497936, 251907680, 132370576),
    "olive/prefill": (403718144, 779268096, 1575157760, 1768062976, 3648512000, 2008645632),
    "olive/decode": (20018374, 41655712, 96691936, 97236816, 189155680, 105031744),
    "bitmod_lossless/prefill": (336236544, 693780480, 1414209536, 1649680384, 3537397760, 1901133824),
    "bitmod_lossless/decode": (31220054, 62986912, 137681120, 156919888, 305157360, 178109840),
    "bitmod_lossy/prefill": (233070592, 515194880, 946937856, 1202921472, 2601461760, 1273233408),
    "bitmod_lossy/decode": (15857750, 31959712, 69662944, 79493200, 154552560, 90099088),
}
"""Cycles that the authors published; of decode, those of one token."""

SPEEDUPS = {
    "lossless": ("bitmod_lossless", "fp16", "lossless (INT6) over FP16", (1.99, 2.41, 2.2)),
    "ant": ("bitmod_lossy", "ant", "lossy over ANT", (1.72, 1.66, 1.69)),
    "olive": ("bitmod_lossy", "olive", "lossy over OliVe", (1.56, 1.39, 1.48)),
}
"""Which is faster than which, in words, and what is published: discriminative, generative, mean of the two (section V-C)."""

TERMS = {"int8": 4, "int6": 3, "int5": 3, "fp4-mixed": 2, "fp3-mixed": 2}
"""Terms of a weight (section IV-A)."""

MAC_LUTS = 1159
"""LUT4 of an ECP5: the authors' FP16 multiplier and adder, one product per cycle."""
ELEMENT_LUTS, ENCODER_LUTS = 640, 241
"""Measured, LUT4 of an ECP5: our element for fp16 and the encoder of a column, both of 4 lanes.

``test_areas_are_those_of_synthesis`` in tests/test_reproduce.py checks both.
"""
ROWS = 8
"""Elements that share an encoder, in the paper's array."""
AREAS: tuple[tuple[str, str, str], ...] = (
    (
        "an element is smaller than an FP16 multiply-accumulate by",
        "24 %",
        f"{1 - ELEMENT_LUTS / MAC_LUTS:.0%}".replace("%", " %"),
    ),
    (
        "area of the term encoders against the array's elements",
        "2.5 %",
        f"{ENCODER_LUTS / (ROWS * ELEMENT_LUTS):.1%}".replace("%", " %"),
    ),
)
"""Claims of area (section V-C, 28 nm): what, published, ours."""


def operations(shape: Shape, *, tokens: int, weight_bits: float, by_heads: bool = False) -> list[Operation]:
    """The products of a model as the simulator has them; all have 16-bit activations.

    The simulator takes the two products of attention over all heads at once, with sizes that are not theirs: a score is as
    deep as all heads together, and there are as many keys, and as many features in a head's values, as there are
    queries. ``by_heads`` has them as they are, head by head.
    """
    linears = [
        Operation(tokens=one.M, depth=one.K, features=one.N, weight_bits=weight_bits, count=one.count)
        for one in shape.linears(tokens)
    ]
    if by_heads:
        return linears + [
            Operation(tokens=one.M, depth=one.K, features=one.N, weight_bits=16, count=one.count)
            for one in shape.attention(tokens, CONTEXT)
        ]
    return [
        *linears,
        Operation(
            tokens=shape.heads * tokens,
            depth=shape.width,
            features=tokens,
            weight_bits=16,
            count=shape.layers,
            input_depth=shape.key_width,
        ),
        Operation(
            tokens=tokens,
            depth=CONTEXT,
            features=shape.heads * tokens,
            weight_bits=16,
            count=shape.layers,
            input_depth=shape.key_width,
        ),
    ]


def simulator(*, by_heads: bool = False) -> dict[str, list[Any]]:
    """Cycles of every accelerator, phase and model; decode is one token."""
    arrays: dict[str, list[Any]] = {"models": [SHAPES[name].source for name in MODELS]}
    for name, accelerator in ACCELERATORS.items():
        for phase in PHASES:
            total, compute = [], []
            for model, key in enumerate(MODELS):
                machine = accelerator.machine(phase, model)
                several = operations(
                    SHAPES[key],
                    tokens=CONTEXT if phase == "prefill" else 1,
                    weight_bits=accelerator.weight_bits[phase][model],
                    by_heads=by_heads,
                )
                total.append(sum(one.count * machine.cycles(one) for one in several))
                compute.append(sum(one.count * machine.compute(one) for one in several))
            arrays[f"{name}/{phase}/total"] = total
            arrays[f"{name}/{phase}/compute"] = compute
            arrays[f"{name}/{phase}/w_prec"] = list(accelerator.weight_bits[phase])
            arrays[f"{name}/{phase}/array"] = list(accelerator.arrays[phase])
    return arrays


def faster(arrays: Mapping[str, Sequence[int]], fast: str, slow: str, decoded: int) -> list[float]:
    """By how much ``fast`` is faster than ``slow``, for each model with ``decoded`` tokens after its prompt."""

    def cycles(name: str) -> list[int]:
        pairs = zip(arrays[f"{name}/prefill/total"], arrays[f"{name}/decode/total"], strict=True)
        return [prefill + decoded * decode for prefill, decode in pairs]

    return [a / b for a, b in zip(cycles(slow), cycles(fast), strict=True)]


def arithmetic(arrays: Mapping[str, Sequence[int]], fast: str, slow: str, decoded: int) -> float:
    """Mean over the models."""
    return statistics.fmean(faster(arrays, fast, slow, decoded))


def geometric(arrays: Mapping[str, Sequence[int]], fast: str, slow: str, decoded: int) -> float:
    """Geometric mean over the models."""
    return statistics.geometric_mean(faster(arrays, fast, slow, decoded))


def quotient(arrays: Mapping[str, Sequence[int]], fast: str, slow: str, decoded: int) -> float:
    """Mean of ``fast`` over FP16 by the mean of ``slow`` over FP16: what the figure's script prints."""
    return arithmetic(arrays, fast, "fp16", decoded) / arithmetic(arrays, slow, "fp16", decoded)


Mean = Callable[[Mapping[str, Sequence[int]], str, str, int], float]


def speedups(
    arrays: Mapping[str, Sequence[int]], *, decoded: int = DECODED, mean: Mean = arithmetic
) -> dict[str, list[float]]:
    """Those of ``SPEEDUPS``, discriminative and generative."""
    return {
        key: [mean(arrays, fast, slow, tokens) for tokens in (0, decoded)]
        for key, (fast, slow, *_) in SPEEDUPS.items()
    }


def _count_claims(arrays: Mapping[str, Sequence[int]]) -> Iterable[dict[str, Any]]:
    for phase in PHASES:
        pairs = [
            (arrays[f"{name}/{phase}/total"][model], PUBLISHED[f"{name}/{phase}"][model])
            for name in ACCELERATORS
            for model in range(len(MODELS))
        ]
        yield claim(
            f"cycle counts of the simulator, {phase}: equal",
            len(pairs),
            sum(ours == published for ours, published in pairs),
            "the larger of array steps and bits over 256 a cycle, product by product",
        )


def _speedup_claims(arrays: Mapping[str, Sequence[int]]) -> Iterable[dict[str, Any]]:
    figure, stated = speedups(arrays), speedups(arrays, decoded=STATED)
    for key, (_, _, words, published) in SPEEDUPS.items():
        yield claim(
            f"{words}, discriminative",
            published[0],
            round(figure[key][0], 2),
            f"{CONTEXT} tokens read; arithmetic mean of six models, which the figure calls geometric",
        )
        yield claim(
            f"{words}, generative",
            published[1],
            round(figure[key][1], 2),
            f"with the {DECODED} generated tokens of the figure's script",
        )
        yield claim(
            f"{words}, generative, {STATED} tokens as stated",
            published[1],
            round(stated[key][1], 2),
            f"section II-A says {STATED} generated tokens; the figure's script has {DECODED}",
        )
        # As the paper has it: the mean of two rounded numbers.
        digits = len(str(published[2]).partition(".")[2])
        ours = sum(round(value, 2) for value in figure[key]) / 2
        yield claim(
            f"{words}, mean of both",
            published[2],
            math.floor(ours * 10**digits + 0.5) / 10**digits,
            "of the two above",
        )


def terms(name: str) -> int:
    """Terms that every value of a format is the sum of: radix-4 digits of an integer, ones of a float's magnitude.

    Raises ``ValueError`` for a magnitude of three ones or more.
    """
    format = find(name)
    values = [value for table in format.tables for value in table if value is not None]
    if len(format.tables) > 1:
        several = [magnitude_terms(int(value < 0), abs(value)) for value in values]
    else:
        several = [integer_terms(value, format.bits) for value in values]
    if [sum(map(term_value, one)) for one in several] != values:
        raise AssertionError(f"terms of {name} do not add up to its values")
    return max(map(len, several))


def _format_claims() -> Iterable[dict[str, Any]]:
    for name, published in TERMS.items():
        kind = "ones of a magnitude" if name.startswith("fp") else "radix-4 digits"
        yield claim(f"terms of a weight: {name}", published, terms(name), f"{kind}, over all codes")
    format = find("fp4-mixed-s8")
    yield claim(
        "bits of scale and selector in a group of 128",
        10,
        round((format.bits_per_weight - format.bits) * 128),
        "as fp4-mixed-s8 is stored; the simulator has 8; a row has one fp16 more",
    )


def claims(arrays: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """All rows."""
    rows = [*_count_claims(arrays), *_speedup_claims(arrays), *_format_claims()]
    why = "in 28 nm; ours in LUT4 of an ECP5 without DSPs, 4 lanes, as many rows: no such claim can be checked there"
    for what, published, ours in AREAS:
        rows.append(untested(what, published, ours, why))
    return rows


def variations(arrays: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """The speedups when one thing of the figure's script is done otherwise."""
    cases = {
        f"as published, {DECODED} tokens": speedups(arrays),
        f"{STATED} tokens": speedups(arrays, decoded=STATED),
        "geometric mean": speedups(arrays, mean=geometric),
        "quotient of means over FP16": speedups(arrays, mean=quotient),
        "attention in its true sizes": speedups(simulator(by_heads=True)),
    }
    return [
        {"what": what}
        | {
            f"{key}/{task}": round(value, 4)
            for key in SPEEDUPS
            for task, value in zip(TASKS, found[key], strict=True)
        }
        for what, found in cases.items()
    ]


def document(progress: Progress) -> dict[str, Any]:
    """Everything as plain data."""
    arrays = simulator()
    return {
        "paper": "BitMoD, HPCA 2025",
        "claims": claims(arrays),
        "published_simulator": arrays,
        "variations": variations(arrays),
        "own_model": own.rows(progress),
    }


def render(document: Mapping[str, Any]) -> Any:
    """Claims, speedups otherwise, and our own cycles beside the analytic model's."""
    from rich.console import Group

    from gen.report import table

    otherwise = [
        [row["what"], *(" / ".join(f"{row[f'{key}/{task}']:.2f}" for task in TASKS) for key in SPEEDUPS)]
        for row in document["variations"]
    ]
    return Group(
        claims_table(document),
        table(
            [
                "mean of six",
                *(f"{fast} / {slow}".replace("bitmod_", "") for fast, slow, *_ in SPEEDUPS.values()),
            ],
            otherwise,
            title="The same speedups, discriminative / generative, worked out otherwise",
            numbers=len(SPEEDUPS),
        ),
        *own.tables(document["own_model"]),
    )


def picture(document: Mapping[str, Any]) -> bytes:
    """Speedups over FP16 of every model, discriminative and generative: the paper's figure 7."""
    from gen.plots import grouped

    arrays = document["published_simulator"]
    places = [name.rpartition("/")[2] for name in arrays["models"]]
    panels = {}
    for task, decoded in zip(TASKS, (0, DECODED), strict=True):
        several = {name: faster(arrays, name, "fp16", decoded) for name in ACCELERATORS}
        panels[task] = {name: [*values, statistics.fmean(values)] for name, values in several.items()}
    title = f"{document['paper']}, figure 7, worked out anew"
    return grouped([*places, "mean"], panels, "times as fast as FP16", title)
