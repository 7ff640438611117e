"""Linear layers as an accelerator takes them: quantised once, packed once, with a program for each number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, reduce
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np

from gen import workload
from gen.chat import store
from gen.compiler import Program, compile_gemm
from gen.config import Config
from gen.errors import RequestError
from gen.families.contract import Family
from gen.models import assignment
from gen.models.assignment import HEAD
from gen.models.file import ModelFileError
from gen.models.llama import Llama
from gen.progress import Progress
from hw.design import Design
from hw.formats import INT8, Format, Operand
from hw.formats.operand import Span
from sim import golden
from sim.cycles.memory import MemoryTiming
from sim.cycles.prediction import WeightsNeeded
from sim.cycles.program import predict

ALONE = ("attn_output", "ffn_down", HEAD)
"""Kinds whose input is no other layer's: they are cut along N for several simulators."""
ARRAYS = tuple(one.name for one in fields(Operand) if "ndarray" in str(one.type))
"""Members of an operand that are arrays."""
MOST_GROUP = 1 << 20
PREFERRED = ("q4_1", "int4-asym-s8", "fp4-mixed-s8")
"""Formats of weights, the first of which that an array takes is its default."""


def choose(
    family: Family, layers: Sequence[str], activations: str | None, weights: str | None, formats: str
) -> dict[str, int]:
    """The variant of each of ``layers``: that of ``weights``, or what ``formats`` says (see ``gen.models.assignment``).

    Raises ``RequestError`` for formats that the array was not generated for.
    """
    activations, _ = grouped(activations)
    if weights is None:
        names = {format.name.partition(":")[0]: format.name for _, format in reversed(family.pairs)}
        weights = next((names[name] for name in PREFERRED if name in names), None)
    own = family.variant(activations, weights)
    if not formats:
        return dict.fromkeys(layers, own)
    named = assignment.parse("--format", formats, layers, family.pairs[own][1].name)
    return {layer: family.variant(activations, name) for layer, name in named.items()}


def grouped(activations: str | None) -> tuple[str | None, int]:
    """The array's name of ``NAME`` or ``NAME:gN``, and N: steps of K that share a scale, 0 for all.

    An array adds what has one scale. Of rows with more it computes group by group, as products of their own; their sums are
    scaled and added by the host. Raises ``RequestError`` for what is not of this form, or a format other than ``int8``.
    """
    name, colon, length = (activations or "").partition(":g")
    if not colon:
        return activations, 0
    if name != INT8.name or not length.isdecimal() or not 1 <= int(length) <= MOST_GROUP:
        raise RequestError(
            f"activations {activations!r}: groups must be those of int8, of 1 to {MOST_GROUP} steps (int8:g32)"
        )
    return name, int(length)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What programs are made for; products of one size and variant share one."""

    family: Family
    design: Design
    timing: MemoryTiming
    digest: str
    """The configuration's."""
    _programs: dict[tuple[int, ...], tuple[Program, int | None]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _making: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def of(cls, config: Config, timing: MemoryTiming) -> Target:
        """The accelerator of ``config`` with a memory of ``timing``."""
        return cls(family=config.instance, design=config.design(), timing=timing, digest=config.digest)

    def program(self, variant: int, size: tuple[int, int, int]) -> tuple[Program, int | None]:
        """Of a product of ``size`` (M, K, N), with its cycles; None where these depend on the weights.

        Raises ``RequestError`` when it cannot be made to fit.
        """
        with self._making:
            if (variant, *size) not in self._programs:
                self._programs[variant, *size] = self._compiled(variant, size)
            return self._programs[variant, *size]

    def _compiled(self, variant: int, size: tuple[int, int, int]) -> tuple[Program, int | None]:
        activations, weights = self.family.pairs[variant]
        program = compile_gemm(self.design, self.family, *size, formats=(activations.name, weights.name))
        try:
            found = predict(self.design, self.family.model().law(), program.instructions, self.timing)
        except WeightsNeeded:
            return program, None
        return program, found.cycles


@dataclass
class Loaded:
    """A program with the memory in which it runs."""

    program: Program
    image: np.ndarray
    predicted: int
    """Cycles by the cycle model."""


@dataclass
class Part:
    """Features of a linear layer that one program computes.

    Members
    -------
    name : str
        The layer's, and which of its features if there are others.
    w : Operand
    """

    name: str
    target: Target
    w: Operand
    variant: int
    _loaded: dict[int, Loaded] = field(default_factory=dict)

    @property
    def cached(self) -> bool:
        """Whether its weights are keys or values."""
        return False

    @property
    def activations(self) -> Format:
        """Format of what enters."""
        return self.target.family.pairs[self.variant][0]

    def golden(self, x: Operand) -> np.ndarray:
        """The sums of ``x`` [M, K], [M, N], by the mathematical model."""
        family = self.target.family
        return (
            golden.gemm(x.integers(), self._integers)
            if family.geometry.sums == "int32"
            else family.golden(x, self.w)
        )

    @cached_property
    def _integers(self) -> np.ndarray:
        """The weights in the narrowest type that holds them, since they are asked for with every token."""
        whole = self.w.integers()
        return whole.astype(np.result_type(np.min_scalar_type(whole.min()), np.min_scalar_type(whole.max())))

    def loaded(self, rows: int) -> Loaded:
        """The program for so many rows of X; packed when it is first asked for."""
        if rows not in self._loaded:
            self._loaded[rows] = self._load(rows)
        return self._loaded[rows]

    def put(self, rows: int, image: np.ndarray) -> None:
        """The memory of the program for so many rows, packed before; ``ValueError`` for one of another size."""
        self._loaded[rows] = self._load(rows, image)

    def _load(self, rows: int, image: np.ndarray | None = None) -> Loaded:
        """The weights in the program's memory; cycles are predicted from these where they depend on them."""
        target = self.target
        program, cycles = target.program(self.variant, (rows, *self.w.shape))
        if image is None:
            x, _ = enter(np.zeros((rows, self.w.depth)), self.activations, target.family)
            image = program.image(x, self.w)
        elif image.dtype != np.uint8 or image.shape != (program.memory.end - program.base,):
            raise ValueError(f"image must be {program.memory.end - program.base} bytes, not {image.shape}")
        if cycles is None:
            law = target.family.model().law()
            cycles = predict(
                target.design, law, program.instructions, target.timing, image=image, base=program.base
            ).cycles
        return Loaded(program, image, cycles)


def enter(rows: np.ndarray, format: Format, family: Family) -> tuple[Operand, np.ndarray]:
    """What enters a linear layer for each of ``rows`` [M, K], and the scale of each row [M, 1] that is left for its sums.

    Each row is quantised by itself.
    """
    each = [workload.quantised(row[None], format, 1, family) for row in rows]
    scales = np.array([scale[0] for _, scale in each])[:, None]
    first = each[0][0]
    if len(each) == 1:
        return first, scales
    arrays = [one.name for one in fields(Operand) if isinstance(getattr(first, one.name), np.ndarray)]
    joined: dict[str, Any] = {name: np.concatenate([getattr(x, name) for x, _ in each]) for name in arrays}
    return replace(first, **joined), scales


Task = tuple[Part, Operand]
"""A product: weights, and what enters."""


def enter_groups(
    rows: np.ndarray, format: Format, family: Family, group: int
) -> tuple[list[Operand], np.ndarray]:
    """The same with a scale for each ``group`` steps of K: an operand for each group, and scales [M, groups]; 0 for one group."""
    if not group:
        x, scales = enter(rows, format, family)
        return [x], scales
    each = [workload.quantised(row.reshape(-1, group), format, 1, family) for row in rows]
    codes = np.stack([x.codes for x, _ in each])
    operands = [
        Operand(format=format, codes=np.ascontiguousarray(codes[:, number]), depth_axis=1)
        for number in range(codes.shape[1])
    ]
    return operands, np.stack([scales for _, scales in each])


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A linear layer.

    Members
    -------
    name : str
    parts : tuple of Part
        In the order of their features, for one group of K after the other.
    scales : array
        Of each feature, which is left for its sums.
    group : int
        Steps of K that share a scale of activations, 0 for all.
    groups : int
        How many of them.
    """

    name: str
    parts: tuple[Part, ...]
    scales: np.ndarray
    group: int = 0
    groups: int = 1

    def tasks(self, operands: Sequence[Operand]) -> list[Task]:
        """Every part with the one of ``operands``, which are a group's each, that enters it."""
        wide = len(self.parts) // self.groups
        return [(part, operands[number // wide]) for number, part in enumerate(self.parts)]

    def results(self, sums: Sequence[np.ndarray], scales: np.ndarray) -> np.ndarray:
        """float64 [M, N] from the parts' sums and the scales of the rows, [M, groups]; groups are added in rising order of K."""
        wide = len(self.parts) // self.groups
        scaled = [
            np.concatenate(sums[number * wide : (number + 1) * wide], axis=1).astype(np.float64)
            * scales[:, number : number + 1]
            for number in range(self.groups)
        ]
        return reduce(np.add, scaled) * self.scales


def check_context(llama: Llama, option: str, tokens: int) -> None:
    """Raises ``RequestError`` when a text would be longer than the model was made for."""
    if llama.context is not None and tokens > llama.context:
        raise RequestError(
            f"{option}: a text must have at most the model's {llama.context} tokens, not {tokens}"
        )


def load(
    llama: Llama,
    target: Target,
    variants: dict[str, int],
    *,
    parallel: int,
    packed: bool,
    group: int = 0,
    progress: Progress = lambda *_: None,
) -> dict[str, Linear]:
    """All linear layers of a model by name; packed for one row, if they are to be.

    ``parallel`` simulators share a layer whose input is its own: it then has as many programs. With a ``group`` every so many
    steps of K are products of their own.

    Raises
    ------
    RequestError
        When the file is damaged, sums might not fit 32 bits, a program cannot be made to fit, or K cannot be cut so.
    """
    names = [*llama.layers, HEAD]

    def one(name: str) -> Linear:
        parts = parallel if name.rsplit(".", 1)[-1] in ALONE else 1
        if packed:
            return _kept(llama, target, name, variants[name], parts, group)
        return linear(llama, target, name, variants[name], parts, group)

    found = {}
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for number, made in enumerate(pool.map(one, names)):
                progress("packing the model", number + 1, len(names))
                found[made.name] = made
        except ModelFileError as error:
            raise RequestError(f"MODEL: must be a file that can be read ({error})") from None
        finally:
            pool.shutdown(cancel_futures=True)
    if packed:
        store.prune()
    return found


def _kept(llama: Llama, target: Target, name: str, variant: int, parts: int, group: int) -> Linear:
    """The layer packed for one row: from the user's cache, or made and put there."""
    formats = target.family.pairs[variant]
    tensor = llama.head if name == HEAD else f"{name}.weight"
    key = store.key(
        llama.file.raw(tensor),
        f"{llama.file.tensors[tensor].type.name} {llama.file.tensors[tensor].shape} {llama.sizes}",
        f"{target.digest} {name == HEAD} {name.rsplit('.', 1)[-1]} {parts} {group}",
        *(format.name for format in formats),
    )
    arrays = store.get(key)
    if arrays is not None:
        with suppress(KeyError, TypeError, ValueError):
            return _restored(arrays, target, name, variant, group)
    made = linear(llama, target, name, variant, parts, group)
    kept = {
        "scales": made.scales,
        "names": np.array([part.name for part in made.parts]),
        "groups": np.array(made.groups),
    }
    for number, part in enumerate(made.parts):
        kept |= {
            f"{each}{number}": getattr(part.w, each) for each in ARRAYS if getattr(part.w, each) is not None
        }
        kept[f"image{number}"] = part.loaded(1).image
    store.put(key, kept)
    return made


def _restored(arrays: store.Arrays, target: Target, name: str, variant: int, group: int) -> Linear:
    """Of what ``_kept`` puts away; ``KeyError``, ``TypeError`` or ``ValueError`` where that is not what it is."""
    parts = []
    for number, label in enumerate(arrays["names"].tolist()):
        each = {field: arrays[f"{field}{number}"] for field in ARRAYS if f"{field}{number}" in arrays}
        w = Operand(format=target.family.pairs[variant][1], depth_axis=0, **each)
        part = Part(name=label, target=target, w=w, variant=variant)
        part.put(1, arrays[f"image{number}"])
        parts.append(part)
    return Linear(
        name=name, parts=tuple(parts), scales=arrays["scales"], group=group, groups=int(arrays["groups"])
    )


def linear(llama: Llama, target: Target, name: str, variant: int, parts: int = 1, group: int = 0) -> Linear:
    """The layer ``name`` in a variant, cut along N into at most so many parts. Raises ``RequestError`` as ``load`` does."""
    family = target.family
    formats = family.pairs[variant]
    tensor = llama.head if name == HEAD else f"{name}.weight"
    matrix = llama.file.read(tensor) if name == HEAD else llama.weights(name).T
    w, scales = workload.tensor_weights(llama.file, tensor, matrix, formats[1], family)
    if family.geometry.sums == "int32":
        workload.check_width(name, largest(formats[0]), w)
    cuts, groups = spans(w.shape[1], parts, family.geometry.columns), _groups(name, w, target, variant, group)

    def named(steps: Span, cut: Span) -> str:
        features = "" if len(cuts) == 1 else f"[{cut[0]}:{cut[1]}]"
        return name + ("" if len(groups) == 1 else f"[{steps[0]}:{steps[1]},:]") + features

    whole = len(cuts) == len(groups) == 1
    return Linear(
        name=name,
        parts=tuple(
            Part(name=named(steps, cut), target=target, w=w if whole else w.part(steps, cut), variant=variant)
            for steps in groups
            for cut in cuts
        ),
        scales=np.broadcast_to(scales, w.shape[1]),
        group=group,
        groups=len(groups),
    )


def _groups(name: str, w: Operand, target: Target, variant: int, group: int) -> list[Span]:
    """What of K shares a scale of activations."""
    if not group:
        return [(0, w.depth)]
    check_group(target.family, variant, group)
    check_whole(name, w.depth, group)
    return [(first, first + group) for first in range(0, w.depth, group)]


def check_group(family: Family, variant: int, group: int) -> None:
    """Raises ``RequestError`` when the array cannot begin a product at each multiple of ``group``."""
    if group and group % (granule := family.depth_granule(variant)):
        raise RequestError(
            f"activations int8:g{group}: groups must be multiples of {granule} steps with {family.pairs[variant][1].name}"
            " on this array"
        )


def check_whole(name: str, depth: int, group: int) -> None:
    """Raises ``RequestError`` when a layer of so many steps ends within a ``group``."""
    if group and depth % group:
        raise RequestError(
            f"activations int8:g{group}: {name} must have whole groups, its sums have {depth} steps"
        )


def largest(format: Format) -> Operand:
    """A row of one element, the largest that there can be."""
    values = np.array([[value or 0 for value in format.values]])
    codes = np.abs(values).argmax(axis=1)[:, None].astype(format.code_type)
    return Operand(format=format, codes=codes, depth_axis=1)


def spans(features: int, parts: int, columns: int) -> list[Span]:
    """``parts`` stretches of about as many features each, cut at multiples of ``columns``; fewer where there are not enough."""
    tiles = -(-features // columns)
    edges = sorted({tiles * part // parts * columns for part in range(parts)} | {features})
    return list(pairwise(edges))
