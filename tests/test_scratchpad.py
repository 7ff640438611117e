# amaranth: UnusedElaboratable=no
"""Scratchpads: any word and beat, written and read at the same time, data after exactly ``SCRATCHPAD`` cycles."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.memory.scratchpad import Scratchpad
from hw.timing import SCRATCHPAD


@settings(max_examples=25, deadline=None)
@given(
    word_bytes=st.sampled_from([1, 2, 4, 8, 16, 64]),
    beat_bytes=st.sampled_from([4, 8, 16, 64]),
    rows=st.integers(1, 9),
    seed=st.integers(0, 1 << 32),
)
def test_against_bytes(word_bytes, beat_bytes, rows, seed):
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    size = rows * max(word_bytes, beat_bytes)
    dut = Scratchpad(words=size // word_bytes, word_bytes=word_bytes, beat_bytes=beat_bytes)
    content, due = np.zeros(size, np.uint8), {}

    async def bench(ctx):
        for now in range(120):
            word = int(random.integers(size // word_bytes))
            ctx.set(dut.read.address, word)
            write, beat = bool(random.integers(2)), int(random.integers(size // beat_bytes))
            data = random.integers(0, 256, beat_bytes, dtype=np.uint8)
            ctx.set(dut.write.valid, write)
            ctx.set(dut.write.address, beat)
            ctx.set(dut.write.data, int.from_bytes(data.tobytes(), "little"))
            if now in due:
                assert ctx.get(dut.read.data).to_bytes(word_bytes, "little") == due[now]
            if write:
                content[beat * beat_bytes : (beat + 1) * beat_bytes] = data
            # The write of the same cycle is seen, that of the next is not.
            due[now + SCRATCHPAD] = content[word * word_bytes : (word + 1) * word_bytes].tobytes()
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((8, 3, 4), "word_bytes must be a power of two, not 3"),
        ((8, 4, 12), "beat_bytes must be a power of two, not 12"),
        ((3, 4, 8), "words must fill whole beats of 8 bytes, not 3 words of 4"),
        ((0, 4, 4), "words must fill whole beats"),
    ],
)
def test_refuses(sizes, message):
    words, word_bytes, beat_bytes = sizes
    with pytest.raises(ValueError, match=message):
        Scratchpad(words=words, word_bytes=word_bytes, beat_bytes=beat_bytes)
