"""Systems and the GEMMs on which prediction and simulation of them must agree: for the tests and for the table of figures."""

from __future__ import annotations

from gen.cases import RAW, Case, each_format, each_pair, grid, memory
from gen.families.bit_serial import KINDS

_WS = 'array.dataflow="weight-stationary"'
_DSP = 'array.multiplier="dsp"'
_IN_ORDER = 'control.issue="in-order"'
_ONE_OF_A_KIND = ("int8-s8", "int6-s8", "int5-s8", "int4", "fp4-mixed-s8", "fp3-ea-s8")
"""A format of bit-serial arrays for each number of bits, the selectors of both floats among them."""
_LOOKUPS = ("int4-s8", "int4-asym-s8", "int3-asym-s8", "int2-s8", "ternary", "bipolar3-s8", "binary-s8")
"""Formats of table-lookup arrays: each number of planes, with each offset."""
_PAIRS = (
    ("ovp4-int4", "ovp4-int4"),
    ("ovp4-flint4", "ovp4-int4"),
    ("int8", "ovp4-flint4"),
    ("int4", "int8"),
    ("int8", "ternary"),
)
"""Formats of arrays of decoded operands without blocks: slots of 4 and 8 bits, with each other and with their like."""
_SCALED_PAIRS = (
    ("mxfp4", "mxfp4"),
    ("mxfp8-e4m3", "mxfp4"),
    ("nvfp4", "nvfp4"),
    ("mxfp4", "mxfp6-e2m3"),
    ("mxfp6-e3m2", "mxfp8-e4m3"),
    ("int8", "mxint8"),
)
"""The same with blocks: of 16 and of 32, with scales of both operands and of one."""
_STAYING_PAIRS = (
    ("mxfp4", "mxfp4"),
    ("mxfp8-e4m3", "mxfp4"),
    ("nvfp4", "nvfp4"),
    ("mxfp4", "mxfp8-e4m3"),
    ("int8", "mxint8"),
    ("mxint8", "int8"),
)
"""The same of weights that stay."""
_SMALL = (
    "memory.activations_kib=1",
    "memory.weights_kib=1",
    "memory.accumulators=64",
    "memory.parameters=32",
)

Systems = dict[str, tuple[str, tuple[str, ...], list[Case]]]

SYSTEMS: Systems = {
    "8x8 OS, 64-bit bus": (
        "systolic-8x8",
        (),
        grid([(1, 1, 1), (8, 8, 8), (9, 17, 25), (1, 64, 96), (33, 100, 41)]),
    ),
    "16x16 WS, 128-bit bus": (
        "systolic-ws-16x16",
        (),
        grid([(1, 1, 1), (16, 16, 16), (5, 33, 47), (1, 96, 64), (40, 70, 50)]),
    ),
    "4x4 OS, 32-bit bus": ("systolic-4x4", (), grid([(1, 1, 1), (4, 4, 4), (7, 65, 9), (1, 40, 33)])),
    "2x3 OS, 32-bit bus, small": (
        "systolic-4x4",
        (
            "array.rows=2",
            "array.columns=3",
            "bus.data_width=32",
            "bus.burst_beats=16",
            "bus.outstanding=1",
            *_SMALL,
        ),
        grid([(1, 1, 1), (3, 5, 7), (11, 600, 4), (1, 50, 19)]),
    ),
    "4x4 WS, 128-bit bus, small": (
        "systolic-4x4",
        (_WS, "bus.data_width=128", *_SMALL),
        grid([(1, 1, 1), (4, 4, 4), (13, 300, 9), (1, 33, 35)]),
    ),
    "5x8 OS, 512-bit bus, 64-bit addresses": (
        "systolic-8x8",
        ("array.rows=5", "bus.data_width=512", "bus.address_width=64"),
        grid([(1, 1, 1), (7, 65, 9), (1, 40, 33)], (1, 20), base=0x12_3456_7800),
    ),
    "5x3 OS digit by digit, 64-bit bus, small": (
        "systolic-4x4",
        ('array.multiplier="sparse_digit"', "array.rows=5", "array.columns=3", "bus.data_width=64", *_SMALL),
        grid([(1, 1, 1), (11, 70, 7), (1, 50, 19)], (1, 20)),
    ),
    "8x4 WS, 32-bit bus": (
        "systolic-4x4",
        (_WS, "array.rows=8"),
        grid([(1, 1, 1), (7, 65, 9)], (1, 20)),
    ),
    "3x5 OS, 8 steps of K at once, 64-bit bus": (
        "systolic-8x8",
        ("array.rows=3", "array.columns=5", "array.depth=8", "output.lanes=1"),
        grid([(1, 1, 1), (7, 165, 9), (1, 100, 33)], (1, 20)),
    ),
    "2x3 OS, 4 steps of K at once by bit weight, 32-bit bus, small": (
        "systolic-4x4",
        (
            "array.rows=2",
            "array.columns=3",
            "array.depth=4",
            "array.multiplier=same_weight",
            "bus.data_width=32",
            "bus.outstanding=1",
            *_SMALL,
        ),
        grid([(1, 1, 1), (5, 99, 7), (1, 50, 19)], (1, 20)),
    ),
    "5x6 OS of two products in a DSP block, 32-bit bus": (
        "systolic-4x4",
        (_DSP, "array.rows=5", "array.columns=6"),
        grid([(1, 1, 1), (7, 65, 9), (1, 40, 33)], (1, 20)),
    ),
    "8x8 bit-serial, 64-bit bus": (
        "bitmod-int8-8x8",
        (),
        each_format(list(KINDS), [(1, 1, 1), (9, 130, 17), (1, 384, 33)]),
    ),
    "4x4 bit-serial of fp16, 64-bit bus": (
        "bitmod-fp16-4x4",
        (),
        each_format(list(KINDS), [(1, 1, 1), (5, 130, 9)]),
    ),
    "2x3 bit-serial, groups of 32, 32-bit bus, small": (
        "bitmod-int8-8x8",
        (
            "array.rows=2",
            "array.columns=3",
            "array.lanes=4",
            "array.group=32",
            "bus.data_width=32",
            "bus.burst_beats=16",
            "bus.outstanding=1",
            *_SMALL,
        ),
        each_format(_ONE_OF_A_KIND, [(1, 1, 1), (3, 37, 7), (11, 400, 4), (1, 96, 19)]),
    ),
    "2x64 by lookups, 128-bit bus": (
        "lut-m2n64k4",
        (),
        each_format(_LOOKUPS, [(1, 1, 1), (5, 165, 70), (1, 384, 130)]),
    ),
    "OS issued in order, 32-bit bus": (
        "systolic-nano9k",
        (),
        grid([(1, 1, 1), (7, 165, 9)], (1, 20)),
    ),
    "1x16 by lookups, groups of 64, 32-bit bus, issued in order": (
        "lut-up5k",
        (),
        each_format(("int2-asym-s8", "int2-s8", "ternary", "binary-s8"), [(1, 1, 1), (3, 100, 19)]),
    ),
    "8x8 of OliVe's pairs and integers, 64-bit bus": (
        "olive-8x8",
        (),
        each_pair(_PAIRS, [(1, 1, 1), (9, 131, 17), (1, 384, 33)]),
    ),
    "8x8 of MX and NVFP4, 64-bit bus": (
        "mx-8x8",
        (),
        each_pair(_SCALED_PAIRS, [(1, 1, 1), (9, 131, 17), (1, 384, 33)]),
    ),
    "8x8 of OliVe's pairs and integers WS, 64-bit bus": (
        "olive-8x8",
        (_WS,),
        each_pair(_PAIRS, [(1, 1, 1), (9, 131, 17), (20, 96, 33)]),
    ),
    "16x16 of MX and NVFP4 WS, 128-bit bus": (
        "mx-ws-16x16",
        (),
        each_pair(_STAYING_PAIRS, [(1, 1, 1), (9, 131, 17), (21, 384, 33)]),
    ),
}
"""Preset, overrides and cases by name: all families, both dataflows, odd sizes, buses of 32 to 512 bits."""

MORE_SYSTEMS: Systems = {
    "bit-serial issued in order, 32-bit bus": (
        "bitserial-up5k",
        (),
        each_format(("int8-s8", "int4-s8", "fp3-mixed-s8"), [(1, 1, 1), (5, 300, 3), (1, 140, 9)], (1, 20)),
    ),
    "4x4 OS issued in order, 64-bit bus, 40-bit addresses, small": (
        "systolic-4x4",
        (_IN_ORDER, "bus.data_width=64", "bus.address_width=40", *_SMALL),
        grid([(1, 1, 1), (13, 300, 9), (1, 33, 35)], base=0x12_3456_7800),
    ),
    "5x3 OS digit by digit, issued in order, 32-bit bus, small": (
        "systolic-4x4",
        (
            _IN_ORDER,
            'array.multiplier="sparse_digit"',
            "array.rows=5",
            "array.columns=3",
            "bus.outstanding=1",
            "bus.burst_beats=5",
            *_SMALL,
        ),
        grid([(1, 1, 1), (11, 70, 7), (1, 50, 19)], (1, 20)),
    ),
    "3x5 OS issued in order, 256-bit bus, small": (
        "systolic-4x4",
        (_IN_ORDER, "array.rows=3", "array.columns=5", "bus.data_width=256", *_SMALL),
        grid([(1, 1, 1), (7, 65, 9), (1, 40, 33)], (1, 20)),
    ),
    "4x6 WS of two products in a DSP block, 64-bit bus, small": (
        "systolic-4x4",
        (_WS, _DSP, "array.columns=6", "bus.data_width=64", *_SMALL),
        grid([(1, 1, 1), (13, 300, 9), (1, 33, 35)]),
    ),
    "4x5 WS of carry-save elements, 64-bit bus": (
        "systolic-4x4",
        (_WS, 'array.multiplier="carry_save"', "array.columns=5", "bus.data_width=64"),
        grid([(1, 1, 1), (13, 300, 9), (1, 33, 35)]),
    ),
    "5x4 bit-serial, 512-bit bus, 64-bit addresses": (
        "bitmod-int8-8x8",
        ("array.rows=5", "array.columns=4", "bus.data_width=512", "bus.address_width=64"),
        each_format(_ONE_OF_A_KIND, [(7, 165, 9), (1, 140, 33)], (1, 20), base=0x12_3456_7800),
    ),
    "3x5 bit-serial, 16 lanes, groups of 256, 128-bit bus": (
        "bitmod-int8-8x8",
        ("array.rows=3", "array.columns=5", "array.lanes=16", "array.group=256", "bus.data_width=128"),
        each_format(_ONE_OF_A_KIND, [(1, 1, 1), (7, 300, 11), (1, 513, 12)]),
    ),
    "2x3 bit-serial of fp16, groups of 32, 32-bit bus, truncating, small": (
        "bitmod-fp16-4x4",
        (
            "array.rows=2",
            "array.columns=3",
            "array.group=32",
            'array.rounding="truncate"',
            "bus.data_width=32",
            "bus.burst_beats=16",
            "bus.outstanding=1",
            *_SMALL,
        ),
        each_format(_ONE_OF_A_KIND, [(1, 1, 1), (3, 37, 7), (5, 200, 4), (1, 96, 19)]),
    ),
    "1x2 bit-serial of fp16, 8 lanes, groups of 64, 256-bit bus": (
        "bitmod-fp16-4x4",
        ("array.rows=1", "array.columns=2", "array.lanes=8", "array.group=64", "bus.data_width=256"),
        each_format(_ONE_OF_A_KIND, [(1, 1, 1), (3, 137, 5)]),
    ),
    "3x24 by lookups, tables of 2, groups of 32, 32-bit bus, small": (
        "lut-m2n64k4",
        (
            "array.rows=3",
            "array.columns=24",
            "array.k=2",
            "array.outputs=6",
            "array.group=32",
            "bus.data_width=32",
            "bus.burst_beats=16",
            "bus.outstanding=1",
            "memory.activations_kib=1",
            "memory.weights_kib=2",
            "memory.accumulators=128",
            "memory.parameters=32",
            "output.lanes=1",
        ),
        each_format(_LOOKUPS, [(1, 1, 1), (4, 37, 7), (7, 200, 25), (1, 96, 50)]),
    ),
    "2x16 of ternary weights added directly, 32-bit bus": (
        "lut-ternary-m2n64k4",
        ("array.columns=16", "array.groups_per_lane=4", "bus.data_width=32", "output.lanes=1"),
        each_format(("ternary-s8", "ternary"), [(1, 1, 1), (5, 165, 19), (1, 300, 40)]),
    ),
    "3x32 by lookups, scales of fp16, 64-bit bus": (
        "lut-gguf-m2n64k4",
        ("array.rows=3", "array.columns=32", "bus.data_width=64", "output.lanes=1"),
        each_format(
            ("q4_0", "q4_1", "int3-asym", "ternary", "bipolar1"), [(1, 1, 1), (5, 100, 40), (1, 96, 33)]
        ),
    ),
    "8x32 by lookups, 16 features to a unit, groups of 256, 512-bit bus, 64-bit addresses": (
        "lut-m2n64k4",
        (
            "array.rows=8",
            "array.columns=32",
            "array.outputs=16",
            "array.groups_per_lane=16",
            "array.group=256",
            "bus.data_width=512",
            "bus.address_width=64",
        ),
        each_format(_LOOKUPS, [(1, 1, 1), (11, 300, 33), (1, 513, 40)], (1, 20), base=0x12_3456_7800),
    ),
    "5x8 by lookups, 4 features to a unit, groups of 64, 64-bit bus": (
        "lut-m2n64k4",
        (
            "array.rows=5",
            "array.columns=8",
            "array.outputs=4",
            "array.groups_per_lane=4",
            "array.group=64",
            'array.weights=["int4-asym-s8", "int3", "bipolar2-s8", "ternary-s8"]',
            "bus.data_width=64",
        ),
        each_format(("int4-asym-s8", "int3", "bipolar2-s8", "ternary-s8"), [(1, 1, 1), (7, 165, 20)]),
    ),
    "3x5 of OliVe's pairs and integers, 8-bit ones among them, 32-bit bus, small": (
        "olive-8x8",
        (
            "array.rows=3",
            "array.columns=5",
            'array.activations=["ovp8-int8-e2m5", "ovp4-int4", "int3"]',
            'array.weights=["ovp8-int8-e2m5", "ovp4-flint4", "fp6-e3m2"]',
            "bus.data_width=32",
            "bus.burst_beats=16",
            "bus.outstanding=1",
            *_SMALL,
        ),
        each_pair(
            (
                ("ovp8-int8-e2m5", "ovp8-int8-e2m5"),
                ("ovp4-int4", "ovp8-int8-e2m5"),
                ("ovp8-int8-e2m5", "ovp4-flint4"),
                ("int3", "fp6-e3m2"),
            ),
            [(1, 1, 1), (7, 99, 11), (1, 50, 19)],
        ),
    ),
    "5x6 of E5M2 and MXFP4, blocks of 32, 128-bit bus": (
        "mx-8x8",
        (
            "array.rows=5",
            "array.columns=6",
            "array.block=32",
            'array.activations=["mxfp8-e5m2", "mxfp4"]',
            'array.weights=["mxfp8-e5m2", "mxfp4"]',
            "bus.data_width=128",
        ),
        each_pair(
            (("mxfp8-e5m2", "mxfp8-e5m2"), ("mxfp4", "mxfp8-e5m2"), ("mxfp4", "mxfp4")),
            [(1, 1, 1), (7, 165, 20), (1, 96, 33)],
        ),
    ),
    "3x4 of fp16 scales and whole ones, 32-bit bus, small": (
        "mx-8x8",
        (
            "array.rows=3",
            "array.columns=4",
            'array.activations=["int8", "nvfp4", "q8_0"]',
            'array.weights=["q4_0", "q8_0", "int4-s8"]',
            "bus.data_width=32",
            "bus.outstanding=1",
            *_SMALL,
        ),
        each_pair(
            (("int8", "q4_0"), ("q8_0", "q8_0"), ("nvfp4", "int4-s8"), ("q8_0", "q4_0")),
            [(1, 1, 1), (5, 100, 9), (1, 64, 19)],
        ),
    ),
    "4x5 of OliVe's pairs WS, 8-bit ones among them, 128-bit bus, small": (
        "olive-8x8",
        (
            _WS,
            "array.rows=4",
            "array.columns=5",
            'array.activations=["ovp8-int8-e2m5", "ovp4-int4", "int3"]',
            'array.weights=["ovp8-int8-e2m5", "ternary"]',
            "bus.data_width=128",
            *_SMALL,
        ),
        each_pair(
            (("ovp8-int8-e2m5", "ovp8-int8-e2m5"), ("ovp4-int4", "ternary"), ("int3", "ovp8-int8-e2m5")),
            [(1, 1, 1), (9, 131, 17), (20, 48, 33)],
        ),
    ),
    "16x3 of fp16 scales, whole ones and none WS, 32-bit bus, small": (
        "mx-ws-16x16",
        (
            "array.columns=3",
            'array.activations=["int8", "nvfp4", "q8_0"]',
            'array.weights=["q4_0", "q8_0", "int4-s8"]',
            "bus.data_width=32",
            "bus.outstanding=1",
            "output.lanes=1",
            *_SMALL,
        ),
        each_pair(
            (("int8", "q4_0"), ("q8_0", "q8_0"), ("nvfp4", "int4-s8"), ("q8_0", "q4_0")),
            [(1, 1, 1), (5, 100, 9), (20, 64, 7)],
        ),
    ),
    "32x4 of MX WS, 512-bit bus": (
        "mx-ws-16x16",
        (
            "array.rows=32",
            "array.columns=4",
            "array.block=32",
            'array.activations=["mxfp4", "mxint8", "int4"]',
            'array.weights=["mxfp6-e2m3", "mxfp4"]',
            "bus.data_width=512",
        ),
        each_pair(
            (("mxfp4", "mxfp4"), ("mxint8", "mxfp6-e2m3"), ("int4", "mxfp4")),
            [(1, 1, 1), (7, 165, 9), (40, 300, 5)],
        ),
    ),
}
"""Further ones: other sizes, groups, roundings, formats and buses."""

_LAYERS = ((64, 576, 576), (1, 576, 1536))
FULL_SIZE: dict[str, list[Case]] = {
    **{
        preset: [*grid(_LAYERS), Case((64, 576, 1536), RAW, memory(20))]
        for preset in ("systolic-8x8", "systolic-ws-16x16")
    },
    "bitmod-int8-8x8": [
        *each_format(["fp4-mixed-s8"] * 3, _LAYERS),
        Case((64, 576, 1536), RAW, memory(20), weights="fp4-mixed-s8"),
    ],
    "olive-8x8": [
        *each_pair([("ovp4-int4", "ovp4-int4"), ("int8", "ovp4-flint4"), ("int4", "ternary")], _LAYERS),
        Case((64, 576, 1536), RAW, memory(20)),
    ],
    "mx-8x8": [
        *each_pair([("mxfp4", "mxfp4"), ("mxfp8-e4m3", "mxfp4"), ("nvfp4", "nvfp4")], _LAYERS),
        Case((64, 576, 1536), RAW, memory(20), weights="mxfp8-e4m3", activations="mxfp8-e4m3"),
    ],
    "lut-m2n64k4": [
        *each_format(["int2-s8", "int4-s8", "ternary-s8"], _LAYERS),
        Case((64, 576, 1536), RAW, memory(20), weights="binary-s8"),
    ],
}
"""Layers of SmolLM2-135M's sizes, by preset."""
