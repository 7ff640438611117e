"""An array family for tests whose features share banks of accumulators: a systolic array that takes a tile in ``spread`` parts.

Inside is an array of ``banks`` columns. It gets each EXECUTE with ``spread`` times the column tiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from pydantic import Field

from gen.families.systolic import Systolic, SystolicConfig
from hw.array.core import systolic_core
from hw.array.geometry import Dataflow
from hw.design import Design, Geometry, ceil_div
from hw.formats import Operand
from hw.interfaces import core_members
from sim.families.contract import CycleLaw, Weights
from sim.families.systolic import SystolicModel, Times


class SpreadConfig(SystolicConfig):
    """As its base; ``columns`` is the width of a tile."""

    spread: Annotated[int, Field(ge=1, le=64)] = 2


class SpreadCore(wiring.Component):
    """The core within, of the geometry ``inner``."""

    def __init__(self, *, design: Design, inner: Geometry, dataflow: Dataflow) -> None:
        self._spread = design.geometry.spread
        self._core = systolic_core(design=replace(design, geometry=inner), dataflow=dataflow)
        super().__init__(core_members(design))

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self._core
        for port in ("activations", "weights", "results"):
            wiring.connect(m, getattr(core, port), wiring.flipped(getattr(self, port)))
        m.d.comb += [
            core.command.valid.eq(self.command.valid),
            core.command.payload.eq(self.command.payload),
            core.command.payload.column_tiles.eq(self.command.payload.column_tiles * self._spread),
            self.command.ready.eq(core.command.ready),
            core.halt.eq(self.halt),
            self.step.eq(core.step),
            self.busy.eq(core.busy),
            self.fault.eq(core.fault),
        ]
        return m


class SpreadLaw:
    """Of the core within."""

    def __init__(self, law: CycleLaw, spread: int) -> None:
        self._law, self._spread = law, spread

    def execute(self, visible: int, fields: Mapping[str, int], weights: Weights | None = None) -> Times:
        return self._law.execute(visible, parts(fields, self._spread), weights)


def parts(fields: Mapping[str, int], spread: int) -> dict[str, int]:
    """An EXECUTE as the core within sees it."""
    return {**fields, "column_tiles": fields["column_tiles"] * spread}


class SpreadModel:
    """Of an array of ``inner``'s geometry that takes a tile in ``spread`` parts."""

    def __init__(self, inner: Geometry, dataflow: Dataflow, spread: int) -> None:
        self._inner, self._spread = SystolicModel(geometry=inner, dataflow=dataflow), spread

    def activation_bytes(self, variant: int, steps: int) -> int:
        return self._inner.activation_bytes(variant, steps)

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        return self._spread * self._inner.weight_words(variant, depth_tiles)

    def multiplications(self, variant: int) -> float:
        return self._inner.multiplications(variant)

    def tile_cycles(self, variant: int, row_tiles: int, depth_tiles: int) -> int:
        return self._spread * self._inner.tile_cycles(variant, row_tiles, depth_tiles)

    def law(self) -> SpreadLaw:
        return SpreadLaw(self._inner.law(), self._spread)

    def execute(
        self,
        fields: Mapping[str, int],
        activations: np.ndarray,
        weights: np.ndarray,
        settings: Sequence[int] = (),
    ) -> np.ndarray:
        return self._inner.execute(parts(fields, self._spread), activations, weights, settings)


class Spread(Systolic):
    """A tile's words are those of its parts, one after the other."""

    name = "spread"
    summary = "a systolic array that takes a tile in parts"
    Config = SpreadConfig
    config: SpreadConfig

    @property
    def inner(self) -> Systolic:
        """The family of the array within."""
        c = self.config
        return Systolic(
            SystolicConfig(rows=c.rows, columns=c.columns // c.spread, dataflow=c.dataflow),
            data_bytes=self.data_bytes,
        )

    def _geometry(self) -> Geometry:
        inner, c = self.inner.geometry, self.config
        words = c.spread * inner.weight_words
        return replace(inner, columns=c.columns, spread=c.spread, weight_words=words)

    def core(self, design: Design) -> Any:
        return SpreadCore(design=design, inner=self.inner.geometry, dataflow=self.config.dataflow)

    def model(self) -> SpreadModel:
        return SpreadModel(self.inner.geometry, self.config.dataflow, self.config.spread)

    def pack_weights(self, w: Operand, variant: int | None = None) -> np.ndarray:
        g, steps = self.geometry, ceil_div(w.depth, self.geometry.tile_depth) * self.geometry.tile_depth
        size = ceil_div(w.shape[1], g.columns) * g.spread * steps * g.weight_bytes
        words = self.inner.pack_weights(w)
        return np.pad(words, (0, size - words.size))
