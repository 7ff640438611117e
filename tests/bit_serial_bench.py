"""Small designs around bit-serial arrays."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

from small_design import small_design

from hw.array.bit_serial.core import BitSerialCore
from hw.array.bit_serial.geometry import BitSerial
from hw.design import Design
from hw.pe.weight_format import WeightFormat

ALL = tuple(WeightFormat)


def array_for(*, rows, columns, lanes=4, group=32, data_bytes=8, variants=ALL, **more) -> BitSerial:
    """A small array of all formats."""
    return BitSerial(
        rows=rows, columns=columns, lanes=lanes, group=group, variants=variants, data_bytes=data_bytes, **more
    )


def design_for(array: BitSerial, *, activation_words=128, weight_words=256, accumulator_rows=64) -> Design:
    """A design around it."""
    return small_design(
        array.geometry,
        array.data_bytes,
        activation_words=activation_words,
        weight_words=weight_words,
        accumulator_rows=accumulator_rows,
    )


def core_of(array: BitSerial):
    """What makes its core."""
    return partial(BitSerialCore, array=array)


def command(**fields) -> SimpleNamespace:
    """Fields of an EXECUTE; what is not given is the least."""
    values = {
        "activations_address": 0, "weights_address": 0, "accumulators_address": 0, "activations_stride": 1, "row_tiles": 1,
        "column_tiles": 1, "depth_tiles": 1, "accumulate": 0, "variant": 0,
    }  # fmt: skip
    return SimpleNamespace(**(values | fields))


def configure(setting: int, value: int) -> SimpleNamespace:
    """Fields of a CONFIGURE."""
    return SimpleNamespace(configure=1, setting=setting, value=value)
