"""What a layer takes in each format on an array: exact cycles of one token, and the bytes of its weights in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gen.chat.network import check_group, grouped
from gen.config import Config
from gen.whole import Predictor, Whole
from hw.control.isa import OutputMode
from hw.design import ceil_div
from hw.formats import Format
from sim.cycles.memory import MemoryTiming


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Of a product X[tokens, K] · W[K, N].

    Members
    -------
    cycles : int
        From its program's start to its end.
    bytes : int
        Of the weights as they lie in memory, scales and filling included.
    bus_bytes : int
        Moved: instructions, operands, results.
    array, bus : float
        Utilisation: products per cycle of what the array can add, and loaded and fetched beats per cycle.
    """

    cycles: int
    bytes: int
    bus_bytes: int
    array: float
    bus: float


@dataclass
class Costs:
    """Costs of layers on a configuration; each size and format is predicted once.

    Results are raw sums, as a host wants them that scales them itself.

    Parameters
    ----------
    config : Config
    tokens : int
        Rows of each product.
    activations : str or None
        Their format; None for the first that the array has beside the weights. Of ``int8:g32`` groups of K are products of
        their own.
    timing : MemoryTiming
        Of the exact memory.
    seed : int
        Of random weights, where cycles depend on them.
    """

    config: Config
    tokens: int = 1
    activations: str | None = None
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    seed: int = 0
    _known: dict[tuple[int, int, int], Taken] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.family, self.design = self.config.instance, self.config.design()
        self._name, self.group = grouped(self.activations)
        self._predictor = Predictor(self.design, self.family, self.timing, self.seed)

    def pair(self, weights: str | None) -> tuple[Format, Format]:
        """The formats of activations and weights that ``weights`` names on this array; ``RequestError`` if it has none."""
        variant = self.variant(weights)
        activations, taken = self.family.pairs[variant]
        check_group(self.family, variant, self.group)
        return activations.grouped(self.group) if self.group else activations, taken

    def variant(self, weights: str | None) -> int:
        """Of weights of that name; ``RequestError`` if the array has none."""
        return self.family.variant(self._name, weights)

    def of(self, size: tuple[int, int], weights: str) -> Taken:
        """Of a layer of ``size`` (K, N) with ``weights`` in the format of that name."""
        variant = self.variant(weights)
        key = (*size, variant)
        if key not in self._known:
            names = tuple(format.name for format in self.family.pairs[variant])
            depth, features = size
            groups = ceil_div(depth, self.group) if self.group else 1
            whole = self._predictor.predict(
                self.tokens, self.group or depth, features, mode=OutputMode.RAW, formats=(names[0], names[1])
            )
            self._known[key] = self._taken(whole, groups, *key)
        return self._known[key]

    def _taken(self, whole: Whole, groups: int, depth: int, features: int, variant: int) -> Taken:
        """Of ``groups`` products, each as ``whole`` is."""
        g, model = self.design.geometry, self.family.model()
        words = groups * model.weight_words(variant, ceil_div(depth // groups, g.tile_depth))
        beats = whole.load_beats + whole.fetch_beats
        peak: Any = model.multiplications(variant) * groups * whole.cycles
        return Taken(
            cycles=groups * whole.cycles,
            bytes=ceil_div(features, g.columns) * words * g.weight_bytes,
            bus_bytes=groups * (beats + whole.store_beats) * self.design.data_bytes,
            array=self.tokens * depth * features / peak,
            bus=beats / whole.cycles,
        )
