"""An array family for tests whose results are float32: a result for every ``GROUP`` steps of K, int8 operands.

Like ``reference_array``, whose packing it has: written from docs/architecture.md alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from hw.design import Geometry
from hw.formats import INT8, Operand
from tests.reference_array import Model, Reference

GROUP = 8
FACTOR = 3 * 0x10001
"""What the sum of a group is multiplied by: more digits than a float32 has, so that the order of additions matters."""
UNIT = -10


def result(sums: np.ndarray) -> np.ndarray:
    """float32 of a group's integer sums: rounded once."""
    return np.ldexp(sums.astype(np.float64) * FACTOR, UNIT).astype(np.float32)


class FloatModel(Model):
    """As its base, but the products of each group are a result of their own."""

    def execute(
        self,
        fields: Mapping[str, int],
        activations: np.ndarray,
        weights: np.ndarray,
        settings: Sequence[int] = (),
    ) -> np.ndarray:
        g = self._shape
        depth, words = fields["depth_tiles"], self.weight_words(0, fields["depth_tiles"])
        each = GROUP // g.tile_depth
        parts = []
        for first, last in pairwise([*range(0, depth, each), depth]):
            tiles = []
            for n in range(fields["column_tiles"]):
                part = {
                    "depth_tiles": last - first,
                    "column_tiles": 1,
                    "weights_address": fields["weights_address"] + n * words + first * g.tile_depth,
                }
                at = first * g.tile_depth
                tiles.append(super().execute({**fields, **part}, activations[at:], weights))
            parts.append(result(np.concatenate(tiles, axis=1)))
        return np.stack(parts)


class FloatReference(Reference):
    """One pair of formats; K may be cut where a group, an activation word and a tile end."""

    name = "float-reference"
    summary = "sums of float32"
    pairs = ((INT8, INT8),)

    def _geometry(self) -> Geometry:
        return replace(self._shape, variants=1, settings=0, sums="float32")

    def depth_granule(self, variant: int) -> int:
        return math.lcm(self.geometry.activation_bytes, self.geometry.tile_depth, GROUP)

    def settings(self, variant: int) -> tuple[tuple[int, int], ...]:
        return ()

    def model(self) -> FloatModel:
        return FloatModel(self.geometry)

    def golden(self, x: Operand, w: Operand) -> np.ndarray:
        """Group after group, result by result."""
        (rows, depth), features = x.shape, w.shape[1]
        left, right = x.integers(), w.integers()
        sums = np.zeros((rows, features), np.float32)
        for m in range(rows):
            for n in range(features):
                for first in range(0, depth, GROUP):
                    group = sum(
                        int(left[m, k]) * int(right[k, n]) for k in range(first, min(first + GROUP, depth))
                    )
                    one = np.float32(math.ldexp(group * FACTOR, UNIT))
                    sums[m, n] = one if first == 0 else sums[m, n] + one
        return sums
