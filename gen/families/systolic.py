"""Systolic arrays of int8 multiply-accumulate elements, output stationary or weight stationary."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from gen.families.contract import ArrayConfig, Family
from hw.array.geometry import Dataflow, Multiplier, systolic_geometry
from hw.design import Design, Geometry, ceil_div
from hw.formats import INT8, Operand
from sim.families.contract import ArrayModel


class SystolicConfig(ArrayConfig):
    """``[array]`` of the family ``systolic``."""

    added: ClassVar[tuple[str, ...]] = ("multiplier",)

    rows: Annotated[int, Field(ge=1, le=64, description="rows of processing elements")] = 8
    columns: Annotated[int, Field(ge=1, le=64, description="columns of processing elements")] = 8
    dataflow: Annotated[Dataflow, Field(description="which operand stays in the elements")] = (
        "output-stationary"
    )
    multiplier: Annotated[Multiplier, Field(description="how elements multiply and add")] = "native"

    @model_validator(mode="after")
    def _native(self) -> SystolicConfig:
        if self.dataflow == "weight-stationary" and self.multiplier != "native":
            raise ValueError(
                f"multiplier must be native with weight-stationary dataflow, not {self.multiplier}"
            )
        return self

    @model_validator(mode="after")
    def _power_of_two(self) -> SystolicConfig:
        if self.dataflow == "weight-stationary" and self.rows & (self.rows - 1):
            raise ValueError(f"rows must be a power of two with weight-stationary dataflow, not {self.rows}")
        return self


class Systolic(Family):
    """See ``hw/array/output_core.py`` and ``hw/array/weight_core.py`` for the arrays themselves.

    A weight word is one row of W within a column tile: ``columns`` int8 codes, zero bytes up to a power of two; or, where
    these are multiplied digit by digit, four rows after each other.
    """

    name = "systolic"
    summary = "int8 multiply-accumulate elements with neighbour links only"
    Config = SystolicConfig
    activations = weights = (INT8,)
    config: SystolicConfig

    def _geometry(self) -> Geometry:
        c = self.config
        return systolic_geometry(
            rows=c.rows,
            columns=c.columns,
            data_bytes=self.data_bytes,
            dataflow=c.dataflow,
            multiplier=c.multiplier,
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
        """One word per step of K, or part of a word, in rising order; zeros to whole tiles."""
        g = self.geometry
        depth, features = w.shape
        tiles = ceil_div(features, g.columns)
        steps = ceil_div(depth, g.tile_depth) * g.tile_depth
        words = np.zeros((tiles, steps, g.weight_words * g.weight_bytes // g.tile_depth), dtype=np.uint8)
        padded = np.zeros((depth, tiles * g.columns), dtype=np.uint8)
        padded[:, :features] = w.codes
        words[:, :depth, : g.columns] = padded.reshape(depth, tiles, g.columns).transpose(1, 0, 2)
        return words.reshape(-1)
