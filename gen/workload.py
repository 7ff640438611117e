"""The operands of a GEMM and what it must equal: random ones, and those of a real layer on a real prompt."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gen.compiler.compile import MOST_SIZE
from gen.compiler.program import BIASES
from gen.errors import RequestError
from gen.families.contract import Family
from hw.control.isa import OutputMode
from hw.design import ceil_div
from hw.formats import FORMATS, INT8, Format, Operand, PairFormat, scales
from hw.formats.operand import Span
from sim import golden
from sim.quantise import Quantised, quantise

MODES = ("raw", "requantised")
E4M3_NAN = 127
"""The code of E4M3 above all those of positive numbers."""
LARGEST_BYTES = 1 << 28
"""Most bytes of all operands and results together: what a simulation can be given in good time."""

PROMPT = (
    "A river begins as a trickle between stones. Rain falls on the hills, sinks into moss and peat, and "
    "comes out again lower down, a little at a time, long after the clouds have gone. That patience is "
    "what keeps a stream alive in a dry summer. Further on it meets others, cuts a bed, carries sand from "
    "one bend to the next, and slows where the valley opens. People built their first towns in such "
    "places, because water turned their mills, moved their goods and fed their fields. By the time it "
    "reaches the sea, in 2 days or in 20, the river has done more work than any machine beside it, and it "
    "has never once been in a hurry."
)
"""What the model reads, unless the user has something better."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A GEMM ``Y[M, N] = X[M, K] W[K, N]`` with its operands.

    ``bias``, ``multiplier`` and ``shift`` have a value per feature; the mode ``RAW`` uses none. Where sums are float32, bias and
    multiplier are so, too, and ``shift`` is not used.
    """

    title: str
    layer: str | None
    x: Operand
    w: Operand
    mode: OutputMode
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    family: Family | None = None
    """Whose golden sums count; without one they are int32 of integers."""

    @property
    def floats(self) -> bool:
        """Sums are float32."""
        return self.family is not None and self.family.geometry.sums == "float32"

    @property
    def sizes(self) -> tuple[int, int, int]:
        """M, K and N."""
        return *self.x.shape, self.w.shape[1]

    @property
    def formats(self) -> tuple[str, str]:
        """Names of the formats of X and W, as ``compile_gemm`` takes them."""
        return self.x.format.name, self.w.format.name

    @property
    def scaling(self) -> tuple[np.ndarray, ...]:
        """What a program's image takes beside the operands."""
        if self.mode is OutputMode.RAW:
            return ()
        return (self.bias, self.multiplier) if self.floats else (self.bias, self.multiplier, self.shift)

    def sums(self) -> np.ndarray:
        """What is added up: int32, or float32."""
        if self.family is None:
            return golden.gemm(self.x.integers(), self.w.integers())
        return self.family.golden(self.x, self.w)

    def golden(self) -> np.ndarray:
        """What comes out: the mathematical model, which knows nothing of the hardware."""
        if self.mode is OutputMode.RAW:
            return self.sums()
        if self.floats:
            return golden.rescaled(self.sums(), self.bias, self.multiplier)
        return golden.requantised(self.sums(), self.bias, self.multiplier, self.shift)

    @property
    def result_type(self) -> np.dtype:
        """Of what comes out."""
        raw, requantised = ("f4", "f2") if self.floats else ("i4", "i1")
        return np.dtype(raw if self.mode is OutputMode.RAW else requantised)

    def part(self, rows: Span, features: Span) -> Workload:
        """Some of its rows and features: a workload of its own, whose results are that part of the results."""
        whole = (0, self.x.depth)
        return replace(
            self,
            x=self.x.part(whole, rows),
            w=self.w.part(whole, features),
            bias=self.bias[slice(*features)],
            multiplier=self.multiplier[slice(*features)],
            shift=self.shift[slice(*features)],
        )

    def describe(self) -> dict[str, Any]:
        """The workload as plain data."""
        m, k, n = self.sizes
        return {
            "title": self.title,
            "layer": self.layer,
            "M": m,
            "K": k,
            "N": n,
            "mode": self.mode.name.lower(),
            "activations": self.x.format.name,
            "weights": self.w.format.name,
        }


def parse_gemm(text: str, option: str = "--gemm") -> tuple[int, int, int]:
    """Sizes of ``MxKxN``, as ``option`` has them. Raises ``RequestError`` for anything else, and for too large ones."""
    match = re.fullmatch(r"(\d{1,10})x(\d{1,10})x(\d{1,10})", text)
    sizes = tuple(map(int, match.groups())) if match else (0, 0, 0)
    if not all(1 <= size <= MOST_SIZE for size in sizes):
        raise RequestError(f"{option} {text!r}: must be MxKxN, three integers from 1 to {MOST_SIZE}")
    m, k, n = sizes
    if (total := m * k + k * n + 4 * m * n) > LARGEST_BYTES:
        raise RequestError(f"{option} {text!r}: operands must be at most {LARGEST_BYTES} bytes, not {total}")
    return m, k, n


def of_operands(x: Operand, w: Operand, family: Family) -> Workload:
    """X [M, K] · W [K, N] as they are; out come the sums."""
    n = w.shape[1]
    return Workload(
        title=f"GEMM, {x.shape[0]} x {x.depth} x {n}",
        layer=None,
        x=x,
        w=w,
        mode=OutputMode.RAW,
        bias=np.zeros(n, np.int32),
        multiplier=np.zeros(n, np.uint32),
        shift=np.zeros(n, np.uint8),
        family=family,
    )


def random(
    sizes: tuple[int, int, int],
    mode: str,
    seed: int,
    formats: tuple[Format, Format] = (INT8, INT8),
    family: Family | None = None,
) -> Workload:
    """Operands over the whole of their ``formats``, bias and scale such that about every output value occurs.

    Scales of blocks, selectors, zero points and half-precision numbers are drawn too (see ``_random``). Sums of int32 may
    wrap, in the golden model as in the hardware.
    """
    m, k, n = sizes
    generator = np.random.default_rng(seed)
    x = _random(generator, formats[0], (m, k), 1)
    w = _random(generator, formats[1], (k, n), 0)
    # About the standard deviation of a result.
    powers = [np.mean(np.square(_summed(operand, family))) for operand in (x, w)]
    floats = family is not None and family.geometry.sums == "float32"
    spread = 1.0 if floats else max(math.sqrt(k * powers[0] * powers[1]), 1.0)
    multiplier, shift = golden.dyadics(generator.uniform(40, 80, n) / spread)
    load = Workload(
        title=f"random GEMM, {m} x {k} x {n}",
        layer=None,
        x=x,
        w=w,
        mode=_mode(mode),
        bias=generator.integers(-int(spread), int(spread) + 1, n, dtype=np.int32),
        multiplier=multiplier,
        shift=shift,
        family=family,
    )
    return _of_floats(load, generator) if load.floats else load


def _of_floats(load: Workload, generator: np.random.Generator) -> Workload:
    """``load`` with bias and multiplier of floats: results from the least fp16 to those beyond the greatest."""
    n = load.sizes[2]
    spread = math.sqrt(float(np.mean(np.square(load.sums(), dtype=float)))) or 1.0
    spread = max(spread, BIASES[0])
    factors = generator.choice([-1, 1], n) * 2.0 ** generator.uniform(-26, 18, n)
    bias = (spread * generator.uniform(-1, 1, n)).astype(np.float32)
    return replace(
        load,
        bias=np.where(np.abs(bias) < BIASES[0], np.float32(0), bias),
        multiplier=golden.short(factors / spread),
    )


def _random(
    generator: np.random.Generator, format: Format, shape: tuple[int, int], depth_axis: int
) -> Operand:
    """Any code that stands for a number, or any pair of such; one scale in 17 is 0, if there is a 0.

    Half precision is drawn otherwise (see ``_halves``), and powers of two (see ``_exponents``).
    """
    if format.rule == "cast":
        return Operand(format=format, codes=_halves(generator, format, shape), depth_axis=depth_axis)
    codes = _any_code(generator, format, shape)
    if isinstance(format, PairFormat):
        codes = _with_outliers(generator, format, codes, depth_axis)
    blocks = list(shape)
    blocks[depth_axis] = ceil_div(shape[depth_axis], format.block) if format.block else 1
    whole = selectors = zeros = float_scales = minimums = None
    if format.scale == "fp16" and format.block:
        float_scales = _halves(generator, FORMATS["fp16"], tuple(blocks)).view(np.float16)
        if format.offset == "minimum":
            minimums = _halves(generator, FORMATS["fp16"], tuple(blocks)).view(np.float16)
    if format.scale == "e8m0" and format.block:
        float_scales = np.exp2(_exponents(generator, tuple(blocks)))
    if format.scale == "e4m3" and format.block:
        float_scales = scales.decode("e4m3", generator.integers(0, E4M3_NAN, blocks))
        float_scales *= generator.random(blocks) >= 1 / 17
    if format.scale == "int8":
        whole = generator.integers(0, 256, blocks) * (generator.random(blocks) >= 1 / 17)
    if len(format.tables) > 1:
        selectors = generator.integers(0, len(format.tables), blocks, dtype=np.uint8)
    if format.offset == "zero" and format.block:
        zeros = generator.integers(0, 1 << format.bits, blocks)
    return Operand(
        format=format, codes=codes, depth_axis=depth_axis, scales=whole, selectors=selectors, zeros=zeros,
        float_scales=float_scales, minimums=minimums,
    )  # fmt: skip


def _with_outliers(
    generator: np.random.Generator, format: PairFormat, codes: np.ndarray, depth_axis: int
) -> np.ndarray:
    """``codes`` with any outlier in one pair of four; which of the two is its victim is chance."""
    codes = np.moveaxis(codes, depth_axis, -1).copy()
    pairs = codes[..., : codes.shape[-1] // 2 * 2].reshape(*codes.shape[:-1], -1, 2)
    shape = pairs.shape[:-1]
    numbers = np.array([code for code, value in enumerate(format.outliers) if value is not None])
    outliers = np.stack(
        [numbers[generator.integers(0, len(numbers), shape)], np.full(shape, format.identifier)], -1
    )
    outliers = np.where(generator.random(shape)[..., None] < 1 / 2, outliers, outliers[..., ::-1])
    pairs = np.where(generator.random(shape)[..., None] < 1 / 4, outliers, pairs)
    codes[..., : codes.shape[-1] // 2 * 2] = pairs.reshape(*codes.shape[:-1], -1)
    return np.ascontiguousarray(np.moveaxis(codes, -1, depth_axis))


def _exponents(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of E8M0: rows by chance of moderate ones, of such and one in eight that is any, or of any."""
    moderate = generator.integers(-8, 9, shape)
    wide = generator.random(shape) < generator.choice([0, 1 / 8, 1], (shape[0], 1))
    bias = scales.E8M0_BIAS
    return np.where(wide, generator.integers(-bias, bias + 1, shape), moderate).astype(np.float64)


def _any_code(generator: np.random.Generator, format: Format, shape: tuple[int, ...]) -> np.ndarray:
    numbers = [code for code, value in enumerate(format.values) if value is not None]
    return np.array(numbers, format.code_type)[
        generator.integers(0, len(numbers), shape, dtype=format.code_type)
    ]


def _halves(generator: np.random.Generator, format: Format, shape: tuple[int, ...]) -> np.ndarray:
    """Rows by chance of normal numbers, of such and one code in eight that is any, or of any codes; one in 17 is a zero.

    Among all codes every exponent is as frequent, that of subnormal numbers included.
    """
    moderate = generator.standard_normal(shape).astype(np.float16).view(format.code_type)
    wide = generator.random(shape) < generator.choice([0, 1 / 8, 1], (shape[0], 1))
    codes = np.where(wide, _any_code(generator, format, shape), moderate)
    # The sign stays: there are zeros of both.
    return np.where(generator.random(shape) < 1 / 17, codes & 0x8000, codes)


def _unit(format: Format, family: Family | None) -> float:
    """What a 1 in the sums is worth, as far as that is due to an operand of ``format``."""
    if family is not None:
        return 2.0 ** family.sum_unit(format)
    return 2.0**format.unit if format.scale else 1.0


def _summed(operand: Operand, family: Family | None) -> np.ndarray:
    """float64: what enters the sums. Integers, exact up to 2**53, or what the family makes of them."""
    return operand.numbers() * (2.0**operand.format.unit / _unit(operand.format, family))


def of_layer(
    model: str,
    layer: str,
    tokens: int,
    mode: str,
    prompt: str = PROMPT,
    formats: tuple[Format, Format] = (INT8, INT8),
    family: Family | None = None,
) -> Workload:
    """What a layer of a fetched model computes for the last ``tokens`` tokens of ``prompt``, quantised to ``formats``.

    Activations have one scale for all in the mode ``requantised``, whose output scale makes the largest result 127. Those in
    half precision are rounded to it and have none. Weights that the model's file has in this very format (of GGUF) are taken
    as they are.

    Raises
    ------
    RequestError
        When the model has not been fetched or is damaged, has no such layer, or the prompt is too short; when sums might not fit
        32 bits (see ``check_width``).
    """
    from gen.models.fetch import find
    from gen.models.file import ModelFile, ModelFileError
    from gen.models.llama import Llama

    path = find(model)
    if path is None:
        raise RequestError(f"--model {model!r}: must have been fetched (gatemill models get {model})")
    try:
        llama = Llama(ModelFile(path))
        if layer not in llama.layers:
            raise RequestError(f"--layer {layer!r}: must be one of {llama.layers[0]} to {llama.layers[-1]}")
        numbers = llama.tokenizer.encode(prompt)
        if not 1 <= tokens <= len(numbers):
            raise RequestError(
                f"--tokens {tokens}: must be an integer from 1 to {len(numbers)}, the prompt's tokens"
            )
        entering = llama.entering(layer, numbers)[-tokens:]
        name = f"{layer}.weight"
        w, w_scales = tensor_weights(llama.file, name, llama.weights(layer).T, formats[1], family)
    except ModelFileError as error:
        raise RequestError(f"--model {model!r}: {path} must be a model that can be read ({error})") from None
    x, x_scales = quantised(entering, formats[0], 1, family, one_scale=mode != "raw")
    if mode != "raw" and x_scales.size > 1:
        raise RequestError(
            f"--mode {mode!r}: must be raw with activations in {formats[0].name}, which have a scale in each row"
        )
    floats = family is not None and family.geometry.sums == "float32"
    if x.format.scale and not floats:
        check_width(layer, x, w)
    scales = np.ones(w.shape[1])
    if mode != "raw" and not floats:
        largest = float(np.abs(_summed(x, family) @ _summed(w, family) * (x_scales * w_scales)).max()) or 1.0
        scales = x_scales * w_scales * 127 / largest
        # What is smaller has no multiplier, and leaves 0 of any sum of 32 bits.
        scales = np.where(scales < 2.0**-33, 0.0, scales)
    multiplier, shift = golden.dyadics(scales)
    m, k, n = *x.shape, w.shape[1]
    load = Workload(
        title=f"{layer}, {m} x {k} x {n}",
        layer=layer,
        x=x,
        w=w,
        mode=_mode(mode),
        bias=np.zeros(n, dtype=np.float32 if floats else np.int32),
        multiplier=multiplier,
        shift=shift,
        family=family,
    )
    if floats and load.mode is OutputMode.REQUANTISED:
        # fp16 holds the layer's own values.
        load = replace(load, multiplier=golden.short(np.broadcast_to(x_scales * w_scales, n)))
    return load


def quantised(
    matrix: np.ndarray, format: Format, depth_axis: int, family: Family | None, *, one_scale: bool = False
) -> tuple[Operand, np.ndarray]:
    """The operand whose rows are those of ``matrix``, and the scale of each, or the only one, that is left for its sums."""
    result = quantise(matrix, format.shared_by("tensor") if one_scale and format.shared == "row" else format)
    # Who shares the scale does not matter to an array: it knows the format by its codes.
    operand = replace(result.operand(depth_axis=depth_axis), format=format)
    return operand, _left(result, format, family)


def _left(result: Quantised, format: Format, family: Family | None) -> np.ndarray:
    """What sums are still to be multiplied by, for each row or for all; 1 for a format without a scale."""
    if not format.scale:
        return np.ones(1)
    return result.row_scales * (_unit(format, family) / 2.0**format.unit)


def tensor_weights(
    file: Any, name: str, matrix: np.ndarray, format: Format, family: Family | None
) -> tuple[Operand, np.ndarray]:
    """W of the tensor ``name``, whose numbers are ``matrix`` [N, K], and the scale of each feature.

    Blocks that the file has in this very format are taken as they are.

    Raises ``ModelFileError`` for blocks whose numbers are not finite.
    """
    from gen.models.file import ModelFileError
    from sim.quantise.ggml import from_blocks

    if not file.stores(name, format):
        return quantised(matrix, format, 0, family)
    try:
        blocks = from_blocks(format, file.raw(name), matrix.shape, name=f"tensor {name}")
    except ValueError as error:
        raise ModelFileError(str(error)) from None
    return blocks.operand(depth_axis=0), _left(blocks, format, family)


def check_width(layer: str, x: Operand, w: Operand) -> None:
    """That no sum of integers, whole or in part, can leave int32, whatever the signs of the activations.

    The bound of a feature is ``max |x| * sum over k of |w[k]| * scale[k]``, and must be below 2**31. With activations of 8 bits
    (up to 127) and blocks whose scales are 255 it is so up to a K of 2**31 / (127 * 255 * largest |w|); docs/bit_serial.md has
    that of each format. Real weights are mostly far from the largest, so that most layers of a larger K pass.

    Raises ``RequestError``, which names the first feature and its bound.
    """
    bounds = np.abs(w.integers()).sum(axis=0) * int(np.abs(x.integers()).max())
    wide = np.flatnonzero(bounds >= 1 << 31)
    if wide.size:
        raise RequestError(
            f"--layer {layer!r}: sums in {w.format.name} must stay below 2**31, but those of feature {wide[0]} "
            f"could reach {bounds[wide[0]]}"
        )


def _mode(name: str) -> OutputMode:
    return OutputMode[name.upper()]
