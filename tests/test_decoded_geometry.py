"""Sizes and streams of arrays of decoded operands, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from decoded_bench import OUTPUT, WEIGHT, array_for, design_for

from hw.array.decoded.core import decoded_core
from hw.array.decoded.words import AHEAD, WordEnds
from hw.formats import FORMATS
from hw.formats.pairs import sum_bits


def test_streams():
    """int4 lasts twice as long in a word as int8; a step is a slot of both."""
    array = array_for(("int4", "int8"), ("ovp4-int4", "int8"), rows=8, columns=8, data_bytes=8)
    assert [array.weight_words(v, 7) for v in range(4)] == [4, 7, 4, 7]
    assert [array.activation_words(v, 17) for v in range(4)] == [2, 2, 3, 3]
    assert [array.depth_granule(v) for v in range(4)] == [16, 16, 8, 8]
    assert (array.sum_bits, array.geometry.tile_depth, array.geometry.sums) == (32, 1, "int32")


@pytest.mark.parametrize(
    ("x", "w", "block", "slots"),
    [
        ("mxfp4", "mxfp4", 32, 1),
        ("mxfp4", "mxfp8-e4m3", 32, 1),
        ("mxfp8-e4m3", "mxfp8-e4m3", 32, 1),
        ("int8", "int8", 16, 0),
        ("int8", "int4", 16, 0),
        ("q8_0", "q4_0", 32, 2),
        ("q8_0", "q8_0", 32, 2),
        ("nvfp4", "bfp8", 16, 1),
        ("ovp8-int8-e2m5", "mxfp4", 32, 2),
        ("ovp4-int4", "mxfp4", 32, 1),
        ("mxfp4", "ovp8-int8-e2m5", 32, 1),
    ],
)
def test_slots_of_scales(x, w, block, slots):
    """A byte of a scale is one, whatever the codes' slots; so that pairs of bytes stay in a word, two."""
    array = array_for((x,), (w,), block=block)
    assert array.scale_slots(0) == slots
    assert array.steps(0, 3) == 3 * (block + slots)
    whole, tiles = array.depth_granule(0), array.depth_granule(0) // block
    assert array.stream_bytes(0, 0, tiles) % array.geometry.activation_bytes == 0
    assert whole % block == 0
    assert all(
        array.stream_bytes(0, side, 3 * tiles) == 3 * array.stream_bytes(0, side, tiles) for side in (0, 1)
    )


@pytest.mark.parametrize(
    ("x", "w", "block", "length"),
    [
        ("mxfp4", "mxfp8-e4m3", 16, 32),
        ("mxfp4", "mxfp4", 32, 32),
        ("nvfp4", "mxfp4", 16, 16),
        ("mxint8", "bfp8", 16, 16),
        ("int8", "mxint8", 16, 32),
        ("mxint8", "ovp4-int4", 16, 32),
        ("int8", "int4", 16, 16),
        ("int8", "int4", 64, 64),
        ("int8", "int8-s8", 64, 128),
        ("mxint8", "int4-s8", 16, 32),
    ],
)
def test_block_of_a_pair(x, w, block, length):
    """The longest that both formats' scales allow; the shortest where neither has any."""
    array = array_for((x,), (w,), block=block)
    assert (array.block_length(0), array.geometry.tile_depth) == (length, block)
    tiles = length // block
    assert [array.blocks(0, count) for count in (1, tiles, tiles + 1, 3 * tiles)] == [1, 1, 2, 3]
    assert array.geometry.weight_words == block + (array.scale_slots(0) > 0)
    assert array.sum_bits == sum_bits(FORMATS[x], FORMATS[w], length)


@pytest.mark.parametrize("rows", [1, 3, 8, 11])
@pytest.mark.parametrize(
    ("x", "w"),
    [
        ("mxfp4", "mxfp4"),
        ("nvfp4", "int8"),
        ("mxfp8-e4m3", "mxfp4"),
        ("q4_0", "q8_0"),
        ("int4", "int4"),
        ("ovp8-int8-e2m5", "mxfp4"),
    ],
)
def test_words_step_by_step(x, w, rows):
    """A row's words begin where its bytes say; the last rows' words may come after the last step."""
    array = array_for((x,), (w,), rows=rows, block=16, data_bytes=8)
    size, code = array.geometry.activation_bytes, 1 if FORMATS[x].bits <= 4 else 2
    for tiles in range(1, 40):
        blocks = -(-tiles // (array.block_length(0) // 16))
        halves = [*[code] * array.block_length(0), *[2] * array.scale_slots(0)] * blocks
        begins, place = [], 0
        for step, half in enumerate(halves):
            if place % (2 * size) == 0:
                begins.append(step)
            place += half
        assert array.steps(0, tiles) == len(halves)
        assert array.stream_bytes(0, 0, tiles) == place // 2
        assert array.activation_words(0, tiles) == len(begins)
        assert array.waiting(0, tiles) == max(0, begins[-1] + rows - len(halves))


@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize(("length", "scales", "word_bits"), [(16, 1, 2), (32, 1, 3), (16, 0, 3), (32, 2, 2)])
def test_word_ends(narrow, length, scales, word_bits):
    """Three steps ahead; a scale takes a whole byte of a stream of halves."""
    words, found, wanted = WordEnds(word_bits=word_bits, slot_bits=6), [], []
    steps, place = 3 * (length + scales), 0
    for step in range(steps):
        place += 1 if narrow and step % (length + scales) < length else 2
        wanted.append(place % (2 << word_bits) == 0)

    async def bench(ctx):
        for name, value in (("narrow", narrow), ("length", length), ("end", length + scales - 1)):
            ctx.set(getattr(words, name), value)
        ctx.set(words.begin, 1)
        await ctx.tick().repeat(5)
        ctx.set(words.begin, 0)
        for _ in range(steps - AHEAD):
            found.append(ctx.get(words.ends))
            await ctx.tick()

    simulator = Simulator(words)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == wanted[AHEAD:]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 65}, "rows must be 1 to 64, not 65"),
        ({"columns": 0}, "columns must be 1 to 64, not 0"),
        ({"data_bytes": 2}, "data_bytes must be one of 4, 8, 16, 32, 64, not 2"),
        ({"block": 8}, "block must be one of 0, 16, 32, 64, 128, not 8"),
        ({"dataflow": "both"}, "dataflow must be one of .*, not 'both'"),
        ({"accumulator": "wide"}, "accumulator must be one of exact, aligned, not 'wide'"),
        ({"accumulator": "aligned"}, "accumulator must be exact without blocks, not aligned"),
        ({"pairs": ()}, "pairs must be 1 to 256, not 0"),
        ({"dataflow": WEIGHT, "rows": 6}, "rows must be a power of two, 2 or more, .*, not 6"),
        ({"dataflow": WEIGHT, "block": 16}, "rows must be as many as steps of a block, 16, .*, not 4"),
        ({"rows": 13, "block": 16}, "rows must be fewer with blocks of 16 steps .*17 cycles.*, not 13"),
    ],
    ids=str,
)
def test_sizes_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        array_for(("int8",), ("int4",), **changes)


@pytest.mark.parametrize(
    ("x", "w", "changes", "message"),
    [
        ("fp16", "int4", {}, "bits of fp16 must be 1 to 8, not 16"),
        ("int8", "if4", {"block": 16}, "formats must have one table, not 2 as if4"),
        ("int8", "q4_1", {"block": 32}, "formats must have no offset, not minimum as q4_1"),
        ("int8", "mxfp4", {}, "block must be 32 or a divisor for mxfp4, not 0"),
        ("int8", "nvfp4", {"block": 32}, "block must divide the block of nvfp4, 16, not be 32"),
        ("ovp8-int8", "ovp8-int8", {}, "products must be of up to 32 bits, not 47 of ovp8-int8 x ovp8-int8"),
        ("mxfp8-e4m3", "q4_0", {"block": 32}, r"results must be multiples of 2\*\*-126, not of 2\*\*-127"),
    ],
)
def test_formats_refused(x, w, changes, message):
    with pytest.raises(ValueError, match=message):
        array_for((x,), (w,), **changes)


def test_aligned_pairs_lose_alike():
    with pytest.raises(ValueError, match=r"pairs must all lose 33 bits .*, not 0 as mxfp4 x mxfp4"):
        array_for(
            (), (), block=32, accumulator="aligned",
            pairs=[(FORMATS[name], FORMATS[name]) for name in ("mxfp8-e5m2", "mxfp4")],
        )  # fmt: skip


def test_cores_refused():
    array = array_for(("int8",), ("int4",), dataflow=WEIGHT)
    other = array_for(("int8",), ("int4",), dataflow=OUTPUT)
    with pytest.raises(ValueError, match="geometry must be"):
        decoded_core(design=design_for(array), array=other)
    with pytest.raises(ValueError, match="accumulator_rows must be a power of two, 2 or more, not 96"):
        decoded_core(design=replace(design_for(other), accumulator_rows=96), array=other)
