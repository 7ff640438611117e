"""What formats make of a model's text: perplexity of the golden model, which is the accelerator's to the last integer.

Every linear layer's sums are those of its format's array, all else is the host's shared code (``gen.chat.host``): whoever has
the sums from the simulated Verilog gets the same logits bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gen.chat import network
from gen.chat.attention import ArrayAttention, Attention, HostAttention, cache_variant
from gen.chat.device import Device
from gen.chat.generate import Decoder
from gen.chat.network import Linear
from gen.config import Config
from gen.errors import RequestError
from gen.models.assignment import HEAD, parse
from gen.models.llama import Llama, Sizes
from gen.precision.cache import KINDS, Kind
from gen.precision.cycles import Costs
from gen.precision.linears import Linears
from gen.progress import Progress
from hw.formats import Format

FLOAT = "fp32"
"""The model as its file has it, in float32, on no array."""
BROKEN = 10.0
"""Times the perplexity in float32 from which on a format is good for nothing but throughput."""


class Reader(Decoder):
    """A text of which the model says after every token what comes next; its cache is that of a setup."""

    def __init__(self, llama: Llama, linears: Mapping[str, Linear], device: Device, chosen: Setup):
        super().__init__(llama, linears, device, chosen.attention(llama.sizes, device))

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Read ``tokens`` at once: float64 [tokens, vocabulary]."""
        rows = self._blocks(self._embedding[np.asarray(tokens)].astype(np.float64))
        return self._through([HEAD], self._normed(rows, "output_norm"))[0]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A model in formats.

    Parameters
    ----------
    name : str
        As it was asked for.
    costs : Costs
        Of the array.
    weights : dict
        The array's name of each layer's format.
    kind : Kind
        Of cache.
    """

    name: str
    costs: Costs
    weights: Mapping[str, str]
    kind: Kind

    @property
    def layers(self) -> Hashable:
        """What its linear layers depend on: setups that differ in their cache alone share them."""
        return self.costs.config.digest, self.costs.activations, tuple(self.weights.items())

    def attention(self, sizes: Sizes, device: Device) -> Attention:
        """Of a new text; ``RequestError`` when the array cannot have it."""
        if self.kind.make is None:
            return ArrayAttention(sizes, network.Target.of(self.costs.config, self.costs.timing), device)
        return HostAttention(sizes, self.kind.make)

    def pairs(self) -> dict[str, tuple[Format, Format]]:
        """Formats of activations and weights, by layer."""
        return {layer: self.costs.pair(name) for layer, name in self.weights.items()}


def setup(text: str, configs: Sequence[Config], layers: Sequence[str], interval: int = 1) -> Setup:
    """Of ``WEIGHTS[/ACTIVATIONS][+CACHE]``, on the first of ``configs`` whose array has these formats.

    ``WEIGHTS`` is what ``gen.models.assignment.parse`` takes.

    Raises ``RequestError`` when none has, or there is no such cache.
    """
    from sim.cycles.memory import MemoryTiming

    rest, _, cache = text.partition("+")
    if (cache := cache or "float") not in KINDS:
        raise RequestError(f"format {text!r}: cache must be one of {', '.join(KINDS)}, not {cache!r}")
    weights, slash, activations = rest.rpartition("/") if not rest.endswith(".toml") else (rest, "", "")
    if not slash:
        weights, activations = rest, ""
    named = parse("format", weights, layers)
    refusals = []
    for config in configs:
        costs = Costs(config=config, activations=activations or None, timing=MemoryTiming(interval=interval))
        try:
            taken = {layer: costs.pair(name)[1].name for layer, name in named.items()}
            if KINDS[cache].make is None:
                cache_variant(costs.family)
        except RequestError as error:
            refusals.append(f"{config.name}: {error}")
            continue
        return Setup(name=text, costs=costs, weights=taken, kind=KINDS[cache])
    raise RequestError(f"format {text!r}: must be one that the array of a configuration has", *refusals)


def linears(model: Linears, chosen: Setup, progress: Progress = lambda *_: None) -> dict[str, Linear]:
    """The layers on their array."""
    target = network.Target.of(chosen.costs.config, chosen.costs.timing)
    found = {}
    for number, (layer, name) in enumerate(chosen.weights.items()):
        found[layer] = network.linear(
            model, target, layer, chosen.costs.variant(name), group=chosen.costs.group
        )
        progress(f"{chosen.name}: quantising", number + 1, len(chosen.weights))
    return found


def of_float(model: Linears, windows: Sequence[Sequence[int]], progress: Progress = lambda *_: None) -> float:
    """Perplexity of the model as it is, on windows of tokens that each begin anew."""
    total, count = 0.0, 0
    for number, window in enumerate(windows):
        progress(f"{FLOAT}: reading", number, len(windows))
        total += _surprise(model.logits_from(0, model.embedded(window[:-1])), window)
        count += len(window) - 1
    return _exponential(total / count)


def perplexity(
    model: Linears,
    layers: Mapping[str, Linear],
    chosen: Setup,
    device: Device,
    windows: Sequence[Sequence[int]],
    progress: Progress = lambda *_: None,
) -> float:
    """Of the model on its array, on windows of tokens that each begin anew."""
    total, count = 0.0, 0
    for number, window in enumerate(windows):
        progress(f"{chosen.name}: reading", number, len(windows))
        total += _surprise(Reader(model, layers, device, chosen).logits(window[:-1]), window)
        count += len(window) - 1
    return _exponential(total / count)


def _exponential(surprise: float) -> float:
    """Infinite where float64 ends: some formats leave nothing of a model."""
    try:
        return math.exp(surprise)
    except OverflowError:
        return math.inf


def _surprise(logits: np.ndarray, window: Sequence[int]) -> float:
    """-log p of every token of ``window`` but the first, added."""
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    chances = logits[np.arange(len(logits)), np.asarray(window[1:])] - np.log(np.exp(logits).sum(axis=-1))
    return -float(chances.sum())


def compare(
    model: Linears,
    layers: Mapping[str, Linear],
    chosen: Setup,
    golden: Device,
    simulated: Device,
    tokens: Sequence[int],
    progress: Progress = lambda *_: None,
) -> bool:
    """Whether the logits of ``tokens``, read one by one on the simulated device, are bit for bit those of the golden model,
    which reads them at once."""
    wanted = Reader(model, layers, golden, chosen).logits(tokens)
    reader, equal = Reader(model, layers, simulated, chosen), True
    for number, token in enumerate(tokens):
        progress(f"{chosen.name}: simulating", number, len(tokens))
        equal &= bool(np.array_equal(reader.logits([token])[0], wanted[number]))
    return equal


@dataclass
class Sums:
    """What the formats of a setup take: bits of a weight, cycles and bytes of a token, of all layers together."""

    bits: float
    cycles: int
    bytes: int


def sums(model: Linears, chosen: Setup) -> Sums:
    """Of one token."""
    bits = count = 0.0
    cycles = size = 0
    for layer, pair in chosen.pairs().items():
        depth, features = model.size(layer)
        taken = chosen.costs.of((depth, features), pair[1].name)
        bits += pair[1].bits_per_weight * depth * features
        count += depth * features
        cycles += taken.cycles
        size += taken.bytes
    return Sums(bits=bits / count, cycles=cycles, bytes=size)
