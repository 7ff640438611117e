# amaranth: UnusedElaboratable=no
"""Sums of blocks times scales against exact arithmetic, rounded twice as defined, bit for bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from mapped import run_component

from hw.pe.block_scale import BlockScale
from hw.pe.block_scale_times import E8M0_LEAST, E8M0_MOST, block_scale_latency


def nearest(value: Fraction) -> Fraction:
    """Of 24 bits, ties to even."""
    if not value:
        return value
    exponent = abs(value).numerator.bit_length() - value.denominator.bit_length() - 25
    while abs(value) >= Fraction(2) ** (exponent + 24):
        exponent += 1
    return round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent


def scale(kind, code):
    """Exact scale, and exponent of E8M0."""
    if kind == "e8m0":
        return Fraction(1), code - 127
    if kind == "int8":
        return Fraction(code), 0
    if kind == "":
        return Fraction(1), 0
    fraction, of_one = (3, 10) if kind == "e4m3" else (10, 25)
    field = code >> fraction & (15 if kind == "e4m3" else 31)
    significand = (code & (1 << fraction) - 1) + ((field > 0) << fraction)
    exact = significand * Fraction(2) ** (max(field, 1) - of_one)
    return (-exact if kind == "fp16" and code >> 15 else exact), 0


def expected(total, kinds, codes, unit):
    """The pattern."""
    (x, x_power), (w, w_power) = map(scale, kinds, codes)
    power = min(max(x_power + w_power, E8M0_LEAST), E8M0_MOST)
    value = nearest(nearest(Fraction(total)) * x * w * Fraction(2) ** (power + unit))
    result = np.float32(float(value))
    assert Fraction(float(result)) == value
    return int((result + np.float32(0)).view(np.uint32))


CODES = {
    "": [0],
    "e8m0": [0, 1, 33, 80, 96, 126, 127, 128, 150, 175, 254],
    "e4m3": [0, 1, 7, 8, 9, 0x38, 0x7D, 0x7E],
    "int8": [0, 1, 2, 3, 128, 255],
    "fp16": [0, 1, 0x8001, 0x3FF, 0x400, 0x3C00, 0xBC01, 0x5555, 0x7BFF, 0xFBFF],
}
CASES = [
    (70, ("e8m0",), ("e8m0",), -32),
    (15, ("e8m0", ""), ("e8m0",), -2),
    (24, ("",), ("e4m3", "e8m0"), -1),
    (25, ("e4m3",), ("e4m3",), -2),
    (40, ("e8m0", "e4m3", "fp16", "int8", ""), ("e8m0", "e4m3", "fp16", "int8", ""), 0),
    (21, ("fp16",), ("int8",), 0),
]


@pytest.mark.parametrize(("width", "x_kinds", "w_kinds", "unit"), CASES, ids=str)
def test_block_scale(width, x_kinds, w_kinds, unit):
    random = np.random.default_rng(width)
    bits = [16 if "fp16" in kinds else 8 * any(kinds) for kinds in (x_kinds, w_kinds)]
    top = 1 << width - 1
    edges = [0, 1, -1, top - 1, -top, 1 - top]
    edges += [s * ((1 << n) + d) for n in range(20, width - 1) for d in (-1, 0, 1) for s in (-1, 1)]
    edges += [(3 << n) + (1 << n - 23) for n in range(23, width - 3)]
    stimulus, wanted = [], []
    for turn in range(1500):
        total = int(random.integers(-(1 << 62), 1 << 62)) * (1 << max(0, width - 63)) >> max(0, 63 - width)
        total >>= int(random.integers(width))
        # Few bits beyond 24, for ties.
        if turn % 3 == 0:
            total = total >> max(0, abs(total).bit_length() - 26) << max(0, abs(total).bit_length() - 26)
        if turn % 4 == 0:
            total = edges[int(random.integers(len(edges)))]
        kinds, numbers, codes = [], [], []
        for side in (x_kinds, w_kinds):
            number = int(random.integers(len(side)))
            kind = side[number]
            code = int(random.choice(CODES[kind]))
            if turn % 2 and kind:
                code = int(random.integers({"fp16": 0x7C00, "e4m3": 127, "e8m0": 255, "int8": 256}[kind]))
            kinds.append(kind)
            numbers.append(number)
            codes.append(code)
        if "e8m0" in kinds and set(kinds) & {"fp16", "e4m3"} and width > 24:
            # Not both limits at once: results stay normal.
            codes = [
                min(max(code, 80), 150) if kind == "e8m0" else code
                for kind, code in zip(kinds, codes, strict=True)
            ]
        # Scales of 8 bits are in the upper half of 16, with anything below.
        placed = [
            code if width_ < 16 or kind == "fp16" else code << 8 | int(random.integers(256))
            for kind, code, width_ in zip(kinds, codes, bits, strict=True)
        ]
        one = {"total": total % (1 << width), "unit": unit % 256}
        one |= {f"{s}_scale": placed[i] for i, s in enumerate("xw") if bits[i]}
        one |= {f"{s}_kind": numbers[i] for i, s in enumerate("xw") if (x_kinds, w_kinds)[i][1:]}
        stimulus.append(one)
        wanted.append(expected(total, kinds, codes, unit))
    unit_under_test = BlockScale(
        width=width, x_kinds=x_kinds, w_kinds=w_kinds, x_bits=bits[0], w_bits=bits[1]
    )
    late = block_scale_latency(width, x_kinds, w_kinds)
    seen = run_component(unit_under_test, [*stimulus, *[{}] * late])
    assert [one["result"] for one in seen[late:]] == wanted
