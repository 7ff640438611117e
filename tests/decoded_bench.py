"""An array of decoded operands for tests of its core, and a plain reference of what it must give."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from small_design import small_design

from hw.array.decoded.geometry import DecodedArray
from hw.array.decoded.weight_blocks import decoded_array
from hw.design import Design
from hw.formats import FORMATS, PairFormat
from hw.interfaces import execute_command
from sim.families.decoded_law import law

OUTPUT, WEIGHT = "output-stationary", "weight-stationary"


def array_for(activations, weights, **changes) -> DecodedArray:
    """Of formats by name, as ``gen.families.decoded`` orders them."""
    pairs = [(FORMATS[x], FORMATS[w]) for x in activations for w in weights]
    sizes = {"rows": 4, "columns": 3, "data_bytes": 4, "dataflow": OUTPUT, "pairs": pairs}
    return decoded_array(**(sizes | changes))


def design_for(array, *, activation_words=256, weight_words=256, accumulator_rows=128) -> Design:
    """A small design around it."""
    return small_design(
        array.geometry,
        array.data_bytes,
        activation_words=activation_words,
        weight_words=weight_words,
        accumulator_rows=accumulator_rows,
    )


def command(array, **fields) -> SimpleNamespace:
    """Fields of an EXECUTE; what is not given is the least."""
    values = {name: 0 for name, _ in execute_command(design_for(array))}
    values |= {"row_tiles": 1, "column_tiles": 1, "depth_tiles": 1, "activations_stride": 1}
    return SimpleNamespace(**(values | fields))


def slots(array_bytes, bits):
    """Slots [..., n] of bytes [..., n], the lowest bits first."""
    if bits == 8:
        return array_bytes
    return np.stack([array_bytes & 15, array_bytes >> 4], axis=-1).reshape(*array_bytes.shape[:-1], -1)


def values(format, codes):
    """Integers, int64 of codes [..., K], from the format's tables alone; 0 for what is no number."""
    codes = codes & (1 << format.bits) - 1
    table = np.array([v or 0 for v in format.tables[0]], np.int64)[codes]
    if not isinstance(format, PairFormat):
        return table
    steps = codes.shape[-1]
    padded = np.concatenate([codes, np.zeros((*codes.shape[:-1], steps % 2), codes.dtype)], axis=-1)
    beside = padded.reshape(*padded.shape[:-1], -1, 2)[..., ::-1].reshape(padded.shape)[..., :steps]
    outliers = np.array([v or 0 for v in format.outliers], np.int64)[codes]
    return np.where(codes == format.identifier, 0, np.where(beside == format.identifier, outliers, table))


class Plain:
    """Golden execute of int32 arrays, written from the contract alone, and the cycle law."""

    def __init__(self, array: DecodedArray):
        self.array = array

    def law(self):
        return law(self.array)

    def streams(self, fields, activations, weights):
        """Formats, and slots of each row [rows, slots] and of each column [columns, slots], to the end of their words."""
        array, g = self.array, self.array.geometry
        x, w = array.pairs[fields["variant"]]
        depth_tiles, variant = fields["depth_tiles"], fields["variant"]
        rows = fields["row_tiles"] * g.tile_rows
        size = array.activation_words(variant, depth_tiles) * g.activation_bytes
        starts = (
            fields["activations_address"] + np.arange(rows) * fields["activations_stride"]
        ) * g.activation_bytes
        x_slots = slots(activations[starts[:, None] + np.arange(size)], 4 if x.bits <= 4 else 8)
        words = array.weight_words(variant, depth_tiles)
        count = fields["column_tiles"] * words
        first = fields["weights_address"]
        content = weights.reshape(-1, g.weight_bytes)[first : first + count, : g.columns]
        tiles = content.reshape(fields["column_tiles"], words, g.columns).transpose(0, 2, 1)
        w_slots = slots(tiles.reshape(-1, words), 4 if w.bits <= 4 else 8)
        return x, w, x_slots, w_slots

    def execute(self, fields, activations, weights, settings=()):
        """Wrapped sums [rows, features]."""
        x, w, x_slots, w_slots = self.streams(fields, activations, weights)
        # A neighbour in the last word counts, padding as it is.
        steps = self.array.steps(fields["variant"], fields["depth_tiles"])
        total = values(x, x_slots)[:, :steps] @ values(w, w_slots)[:, :steps].T
        return total.astype(np.uint32).view(np.int32)
