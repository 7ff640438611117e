"""The core of an array of decoded operands, by dataflow."""

from __future__ import annotations

from amaranth.lib import wiring

from hw.array.decoded.geometry import DecodedArray
from hw.array.decoded.output_core import DecodedOutputCore
from hw.array.decoded.weight_block_core import DecodedBlockCore
from hw.array.decoded.weight_blocks import StationaryBlocks
from hw.array.decoded.weight_core import DecodedWeightCore
from hw.design import Design


def decoded_core(*, design: Design, array: DecodedArray) -> wiring.Component:
    """The core of ``array``, with the members of ``core_members``.

    Raises
    ------
    ValueError
        The design's geometry is not the array's, or ``accumulator_rows`` is not a power of two, 2 or more.
    """
    if design.geometry != array.geometry:
        raise ValueError(f"geometry must be {array.geometry}, not {design.geometry}")
    rows = design.accumulator_rows
    if rows < 2 or rows & (rows - 1):
        raise ValueError(f"accumulator_rows must be a power of two, 2 or more, not {rows!r}")
    if isinstance(array, StationaryBlocks):
        return DecodedBlockCore(design=design, array=array)
    kind = DecodedWeightCore if array.stationary_weights else DecodedOutputCore
    return kind(design=design, array=array)
