# amaranth: UnusedElaboratable=no
"""The parallel elements that bit-serial ones are measured against do the same sums: their netlists, carried out."""

import json

import numpy as np
import pytest
from mapped import run_mapped

from fpga.parallel import ParallelElement
from fpga.synthesis import Flow, synthesise
from gen.rtlil import to_rtlil
from hw.pe.element_times import CHAIN

BITS = {"fp4": 6, "int2": 2, "int3": 3, "int4": 4, "int8": 8}


def packed(words, bits):
    """Words of all lanes as one number."""
    return sum((int(word) % (1 << bits)) << bits * i for i, word in enumerate(words))


def weights_of(random, kind, shape):
    """Codes of random weights, and what these are."""
    if kind != "fp4":
        values = random.integers(-(1 << BITS[kind] - 1), 1 << BITS[kind] - 1, size=shape)
        return values, values
    magnitudes = random.choice([m for m in range(32) if m.bit_count() <= 2], size=shape)
    signs = random.integers(2, size=shape)
    return magnitudes | signs << 5, np.where(signs, -magnitudes, magnitudes)


@pytest.mark.parametrize(
    ("kind", "lanes"),
    [
        *((kind, lanes) for kind in BITS for lanes in (1, 4)),
        ("fp4", 16),
        *(pytest.param(kind, 16, marks=pytest.mark.long) for kind in ("int4", "int8")),
    ],
)
def test_element(kind, lanes):
    random, size = np.random.default_rng(lanes), 32
    element = ParallelElement(lanes=lanes, weights=kind, group=size)
    result = synthesise(to_rtlil(element, name="top"), name="top", flow=Flow(dsp=False))
    slices, groups = -(-size // lanes), 8
    spacing = max(slices, 8)
    begin = (
        40  # by then the registers have what zeros make, which the constant that integers need makes up for
    )
    inputs = [{} for _ in range(begin + groups * spacing + element.latency + 12)]
    inputs[begin + element.control - 1]["last"] = 1
    expected = {}

    def put(cycle, name, number):
        inputs[cycle][name] = inputs[cycle].get(name, 0) | number

    for group in range(groups):
        codes, weights = weights_of(random, kind, (slices, lanes))
        activations = random.integers(-128, 128, size=(slices, lanes))
        if group % 2:  # the greatest and the least
            activations[:] = -128
            best = codes.reshape(-1)[np.argmax(weights * (-1) ** (group // 2))]
            weights[:] = (-1) ** (group // 2) * max(weights.reshape(-1) * (-1) ** (group // 2))
            codes[:] = best
        for part in range(slices):
            cycle = begin + group * spacing + part
            for lane in range(lanes):
                put(cycle + lane % CHAIN, "activations", packed([activations[part, lane]], 8) << 8 * lane)
                put(
                    cycle + lane % CHAIN,
                    "weights",
                    packed([codes[part, lane]], BITS[kind]) << BITS[kind] * lane,
                )
            if kind == "fp4":
                put(cycle + element.steps, "negatives", int((codes[part] >> 5).sum()))
        last = begin + group * spacing + slices - 1
        put(last + element.control, "last", 1)
        scale = 255 if group % 2 else int(random.integers(256))
        for bit in range(8):
            put(last + element.control + 1 + bit, "scale_bit", scale >> 7 - bit & 1)
        put(last + element.control + 8, "finish", 1)
        expected[last + element.latency] = scale * int((weights * activations).sum()) % (1 << 32)
    seen = run_mapped(json.loads(result.netlist)["modules"]["top"], inputs)
    assert {cycle: out["result"] for cycle, out in enumerate(seen) if out["valid"]} == expected
    assert all(not out["result"] for out in seen if not out["valid"])


def test_refused():
    with pytest.raises(ValueError, match="weights must be one of fp4, int2, int3, int4, int8, not 'int5'"):
        ParallelElement(lanes=4, weights="int5", group=32)
    with pytest.raises(ValueError, match=r"lanes must be 1 to 8, .*, not 0"):
        ParallelElement(lanes=0, weights="int4", group=32)
