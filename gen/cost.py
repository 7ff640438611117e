"""What the work of a model costs on an accelerator, from the exact cycle model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gen.config import Config
from gen.models.shapes import Product
from gen.models.work import CACHE, Work
from gen.progress import Progress
from gen.whole import Predictor, Whole
from hw.control.isa import OutputMode
from hw.design import Design
from sim.cycles.memory import MemoryTiming

SUM_BITS = 32
"""Of a sum in the accumulators, int32 or float32."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """All products of a kind: ``product.count`` programs, one after the other, each ``whole``.

    Members
    -------
    product, whole
    activations, weights : str
        Formats.
    peak : float
        Products that the array can add in a cycle.
    design : Design
    """

    product: Product
    whole: Whole
    activations: str
    weights: str
    peak: float
    design: Design

    @property
    def cycles(self) -> int:
        """From each program's start to its end; what a host takes between them is not counted."""
        return self.product.count * self.whole.cycles

    @property
    def beats(self) -> dict[str, int]:
        """Bus beats: data and parameters, instructions, results."""
        one, count = self.whole, self.product.count
        return {
            "load": count * one.load_beats,
            "fetch": count * one.fetch_beats,
            "store": count * one.store_beats,
        }

    @property
    def bits(self) -> dict[str, int]:
        """Bits moved: a proxy for energy.

        ``bus``: all beats, each as wide as the bus. ``scratchpads``: what LOAD writes, a whole beat for each of the bus, and
        the words that EXECUTEs read (``Whole``). ``accumulators``: a sum of 32 bits written for each result, one read for
        each that is added to what is there, and one read for each that STORE fetches. Registers within the array, and what
        STORE reads of parameters, are not counted.
        """
        d, one, count = self.design, self.whole, self.product.count
        g, beat = d.geometry, 8 * d.data_bytes
        reads = one.activation_reads * g.activation_bytes + one.weight_reads * g.weight_bytes
        sums = one.results + one.additions + self.product.M * self.product.N
        return {
            "bus": beat * sum(self.beats.values()),
            "scratchpads": count * (beat * one.load_beats + 8 * reads),
            "accumulators": count * SUM_BITS * sums,
        }


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of a work on a configuration.

    Members
    -------
    config, work, lines
    timing : MemoryTiming
        Of the exact memory.
    clock_mhz : float or None
        For times.
    seed : int or None
        Of the weights, where cycles depend on them.
    """

    config: Config
    work: Work
    lines: tuple[Line, ...]
    timing: MemoryTiming
    clock_mhz: float | None
    seed: int | None

    @property
    def cycles(self) -> int:
        """Of everything."""
        return sum(line.cycles for line in self.lines)

    @property
    def array_utilisation(self) -> float:
        """Share of the array's products that the work needs."""
        return sum(line.product.multiplications / line.peak for line in self.lines) / self.cycles

    @property
    def seconds(self) -> float | None:
        """At the clock."""
        return self.cycles / (self.clock_mhz * 1e6) if self.clock_mhz else None

    @property
    def tokens_per_second(self) -> float | None:
        """At the clock."""
        return self.work.tokens / self.seconds if self.seconds else None

    def as_dict(self) -> dict[str, Any]:
        """As plain data: each kind of product, and all together."""
        timing = self.timing
        rows = []
        for line in self.lines:
            product = line.product
            shape = {"kind": product.kind, "M": product.M, "K": product.K, "N": product.N}
            formats = {"activations": line.activations, "weights": line.weights}
            rows.append(shape | formats | self._sums([line]))
        return {
            "workload": self.work.name,
            "configuration": self.config.name,
            "digest": self.config.digest,
            "tokens": self.work.tokens,
            "clock_mhz": self.clock_mhz,
            "memory": {
                "read_latency": timing.read_latency,
                "write_latency": timing.write_latency,
                "interval": timing.interval,
                "outstanding": timing.outstanding,
            },
            "seed": self.seed,
            "products": rows,
            "total": self._sums(self.lines),
            "tokens_per_second": self.tokens_per_second,
        }

    def _sums(self, lines: Sequence[Line]) -> dict[str, Any]:
        """Of the products of ``lines`` together."""
        cycles = sum(line.cycles for line in lines)
        beats = _added([line.beats for line in lines])
        bits = _added([line.bits for line in lines])
        multiplications = sum(line.product.multiplications for line in lines)
        # Cycles that the products would take at the array's peak, which formats may have different ones of.
        least = sum(line.product.multiplications / line.peak for line in lines)
        every = sum(beats.values())
        return {
            "count": sum(line.product.count for line in lines),
            "multiplications": multiplications,
            "cycles": cycles,
            "array_steps": sum(line.product.count * line.whole.array_steps for line in lines),
            "instructions": sum(line.product.count * line.whole.instructions for line in lines),
            "utilisation": {"array": least / cycles, "bus": (beats["load"] + beats["fetch"]) / cycles},
            "beats": beats | {"all": every},
            "bytes": every * self.config.design().data_bytes,
            "bits_moved": bits | {"all": sum(bits.values())},
            "seconds": cycles / (self.clock_mhz * 1e6) if self.clock_mhz else None,
        }


def _added(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def cost(
    config: Config,
    work: Work,
    *,
    formats: tuple[str | None, str | None] = (None, None),
    mode: OutputMode = OutputMode.REQUANTISED,
    timing: MemoryTiming | None = None,
    clock_mhz: float | None = None,
    seed: int | None = None,
    progress: Progress = lambda *_: None,
) -> Cost:
    """Predict every product of ``work`` on ``config``, each shape once.

    Parameters
    ----------
    formats
        Of activations and weights; None for the first that the array was generated for. Keys and values are ``CACHE``.
    mode : OutputMode
        What is written of each result.
    timing : MemoryTiming, optional
        Of the exact memory; the default one if it is not given.
    clock_mhz : float, optional
        For times.
    seed : int, optional
        Of random weights, where cycles depend on them.
    progress
        Called with the kind of product, how many are done, and how many there are.

    Raises
    ------
    RequestError
        When a product cannot be made to fit, or the array was not generated for its formats, or a seed is missing.
    TypeError, ValueError
        For other mistakes of the arguments.
    """
    if clock_mhz is not None and not clock_mhz > 0:
        raise ValueError(f"clock_mhz must be more than 0, not {clock_mhz!r}")
    design, family = config.design(), config.instance
    predictor = Predictor(design, family, timing or MemoryTiming(), seed)
    known: dict[tuple[int, int, int, int], Whole] = {}
    lines = []
    for done, product in enumerate(work.products):
        progress(product.kind, done, len(work.products))
        variant = family.variant(formats[0], CACHE if product.cached else formats[1])
        names = tuple(format.name for format in family.pairs[variant])
        key = (product.M, product.K, product.N, variant)
        if key not in known:
            known[key] = predictor.predict(*key[:3], mode=mode, formats=(names[0], names[1]))
        lines.append(
            Line(
                product=product,
                whole=known[key],
                activations=names[0],
                weights=names[1],
                peak=family.model().multiplications(variant),
                design=design,
            )
        )
    return Cost(
        config=config,
        work=work,
        lines=tuple(lines),
        timing=predictor.timing,
        clock_mhz=clock_mhz,
        seed=seed,
    )
