# amaranth: UnusedElaboratable=no
"""Slots of every byte, in every format of an array, as the formats' own tables say."""

from __future__ import annotations

import numpy as np
import pytest
from decoded_bench import values
from mapped import run_component

from hw.array.decoded.geometry import slot_bits
from hw.array.decoded.slots import SlotDecoder
from hw.formats import FORMATS, PairFormat
from hw.formats.pairs import PairShape
from hw.pe.decoder import pair_layout
from hw.timing import SLOT_DECODER

OLIVE = ("int8", "int4", "ovp4-int4", "ovp4-flint4", "flint4", "ternary")
MX = ("mxfp8-e4m3", "mxfp6-e3m2", "mxfp4", "nvfp4", "mxint8", "bfp6")


@pytest.mark.parametrize(
    "names",
    [OLIVE, MX, ("ovp8-int8-e2m5", "ovp4-int4", "int6"), ("ovp8-int8",), ("ovp4-flint4",), ("fp6-e3m2",)],
    ids="+".join,
)
def test_every_byte(names):
    """Both slots of narrow ones, as either of a pair of wide ones; nothing where there is no code."""
    formats = tuple(FORMATS[name] for name in names)
    shape, random = PairShape.of(*formats), np.random.default_rng(len(names))
    decoder = SlotDecoder(formats=formats, shape=shape, scale_bits=8)
    stimulus, due = [], []
    for place, format in enumerate(formats):
        narrow, marked = slot_bits(format) == 4, isinstance(format, PairFormat)
        for byte in range(256):
            for odd in (0, 1):
                other = int(random.integers(256))
                if marked and random.integers(2):
                    other = format.identifier
                codes = (byte & 15, byte >> 4) if narrow else (byte, other)[:: -1 if odd else 1]
                valid = int(random.integers(8) > 0)
                stimulus.append(
                    {
                        "byte": byte,
                        "other": other,
                        "odd": odd,
                        "narrow": narrow,
                        "format": place,
                        "valid": valid,
                    }
                )
                due.append(valid * int(values(format, np.array(codes))[odd]))
    seen = run_component(decoder, [*stimulus, *[{}] * SLOT_DECODER])[SLOT_DECODER:]
    pairs = [pair_layout(shape).from_bits(one["pair"]) for one in seen]
    assert [pair.integer << (pair.exponent if shape.exponent_bits else 0) for pair in pairs] == due
