"""Systolic arrays of int8 multiply-accumulate elements, output stationary or weight stationary."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from gen.families.contract import ArrayConfig, Family
from hw.array.geometry import MULTIPLIERS, Dataflow, Depth, Multiplier, check_elements, systolic_geometry
from hw.design import Design, Geometry, ceil_div
from hw.formats import FORMATS, INT8, Format, Operand
from sim.families.contract import ArrayModel


class SystolicConfig(ArrayConfig):
    """``[array]`` of the family ``systolic``."""

    added: ClassVar[tuple[str, ...]] = ("multiplier", "depth")

    rows: Annotated[int, Field(ge=1, le=64, description="rows of processing elements")] = 8
    columns: Annotated[int, Field(ge=1, le=64, description="columns of processing elements")] = 8
    dataflow: Annotated[Dataflow, Field(description="which operand stays in the elements")] = (
        "output-stationary"
    )
    multiplier: Annotated[Multiplier, Field(description="how elements multiply and add")] = "native"
    depth: Annotated[Depth, Field(description="steps of K that an element takes at once")] = 1

    @model_validator(mode="after")
    def _there(self) -> SystolicConfig:
        check_elements(self.multiplier, columns=self.columns, dataflow=self.dataflow, depth=self.depth)
        return self

    @model_validator(mode="after")
    def _power_of_two(self) -> SystolicConfig:
        if self.dataflow == "weight-stationary" and self.rows & (self.rows - 1):
            raise ValueError(f"rows must be a power of two with weight-stationary dataflow, not {self.rows}")
        return self


class Systolic(Family):
    """See ``hw/array/output_core.py`` and ``hw/array/weight_core.py`` for the arrays themselves.

    A weight word is one row of W within a column tile: ``columns`` codes of int8, or of int4, two in a byte, the first one's in
    its lower half; zeros up to a power of two of bytes. Where elements take ``depth`` steps of K at once it is so many rows,
    feature by feature: the codes of feature 0 in rising order of K first. Where these are multiplied digit by digit, it is four
    rows after each other.
    """

    name = "systolic"
    summary = "int8 multiply-accumulate elements with neighbour links only"
    Config = SystolicConfig
    activations = (INT8,)
    weights = tuple(
        FORMATS[f"int{bits}"] for bits in sorted({one.weight_bits for one in MULTIPLIERS.values()})
    )
    config: SystolicConfig

    @property
    def _weight_bits(self) -> int:
        return MULTIPLIERS[self.config.multiplier].weight_bits

    @property
    def pairs(self) -> tuple[tuple[Format, Format], ...]:
        """int8, and the weights of its multipliers."""
        return ((INT8, FORMATS[f"int{self._weight_bits}"]),)

    def _geometry(self) -> Geometry:
        c = self.config
        return systolic_geometry(
            rows=c.rows,
            columns=c.columns,
            data_bytes=self.data_bytes,
            dataflow=c.dataflow,
            multiplier=c.multiplier,
            depth=c.depth,
            single=self.single,
        )

    def core(self, design: Design) -> Any:
        """The array with what feeds it."""
        from hw.array.core import systolic_core

        return systolic_core(design=design, dataflow=self.config.dataflow, multiplier=self.config.multiplier)

    def model(self) -> ArrayModel:
        """Golden execute and cycle law."""
        from sim.families.sparse_digit import SparseDigitModel
        from sim.families.systolic import SystolicModel

        if self.config.multiplier == "sparse_digit":
            return SparseDigitModel(geometry=self.geometry)
        return SystolicModel(
            geometry=self.geometry, dataflow=self.config.dataflow, multiplier=self.config.multiplier
        )

    def depth_granule(self, variant: int) -> int:
        """Whole activation words and depth tiles."""
        return math.lcm(self.geometry.activation_bytes, self.geometry.tile_depth)

    def pack_activations(self, x: Operand, variant: int | None = None) -> np.ndarray:
        """A byte per step of K."""
        return x.codes

    def pack_weights(self, w: Operand, variant: int | None = None) -> np.ndarray:
        """One word per ``depth`` steps of K, or part of a word, in rising order; zeros to whole tiles."""
        g, lanes, bits = self.geometry, self.config.depth, self._weight_bits
        tiles = ceil_div(w.shape[1], g.columns)
        missing = -w.depth % g.tile_depth, tiles * g.columns - w.shape[1]
        codes = np.pad(w.codes, [(0, one) for one in missing])
        steps = codes.reshape(-1, lanes, tiles, g.columns).transpose(2, 0, 3, 1)
        words = steps.reshape(tiles, -1, g.columns * lanes)
        size = g.weight_bytes // MULTIPLIERS[self.config.multiplier].group * 8 // bits
        words = np.pad(words, [(0, 0), (0, 0), (0, size - g.columns * lanes)])
        shifted = words.reshape(-1, 8 // bits) << np.arange(0, 8, bits, dtype=np.uint8)
        return np.bitwise_or.reduce(shifted, axis=1)
