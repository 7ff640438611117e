# amaranth: UnusedElaboratable=no
"""Walks of a bit-serial core: the address of each word, for sequences of commands without a gap."""

from __future__ import annotations

from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.array.walks import ActivationWalk, WeightWalk

WORDS, ROWS = 64, 3


@st.composite
def commands(draw):
    """Tiles of commands: rows, columns, depth, and where they lie."""
    return [
        {name: draw(st.integers(1, 3)) for name in ("row_tiles", "column_tiles", "depth")}
        | {"base": draw(st.integers(0, WORDS - 1)), "stride": draw(st.integers(0, 5))}
        | {"wait": draw(st.integers(0, 2))}
        for _ in range(draw(st.integers(1, 4)))
    ]


def tiles(one):
    """Number of the row tile, number of the tile, column tile after column tile."""
    for column in range(one["column_tiles"]):
        for row in range(one["row_tiles"]):
            yield row, column, {"fresh": row == column == 0, "again": row != 0}


def simulated(walk, stimulus, cycles):
    """Addresses of each cycle; ``stimulus`` by cycle, 0 for what is not named."""
    seen, names = [], [name for name, member in walk.signature.members.items() if name != "address"]

    async def bench(ctx):
        for cycle in range(cycles):
            for name in names:
                ctx.set(getattr(walk, name), int(stimulus.get(cycle, {}).get(name, 0)))
            seen.append(ctx.get(walk.address))
            await ctx.tick()

    simulator = Simulator(walk)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@settings(max_examples=30)
@given(commands(), st.integers(0, 2))
def test_activations(given_commands, apart):
    """Each word of row 0, and those of the other rows after it."""
    walk = ActivationWalk(words=WORDS, tile_stride_bits=6)
    stimulus, expected, cycle = {}, {}, 0
    for one in given_commands:
        cycle += one["wait"]
        fixed = {"base": one["base"], "stride": one["stride"], "tile_stride": one["stride"] * ROWS}
        for row_tile, _, flags in tiles(one):
            for word in range(one["depth"]):
                stimulus[cycle] = fixed | flags | {"word": 1, "tile": word == 0}
                for row in range(ROWS):
                    address = one["base"] + (row_tile * ROWS + row) * one["stride"] + word
                    expected[cycle + 1 + row] = address % (1 << len(walk.address))
                cycle += ROWS + apart
    seen = simulated(walk, stimulus, cycle + ROWS + 2)
    assert {cycle: seen[cycle] for cycle in expected} == expected


@settings(max_examples=30)
@given(commands(), st.lists(st.booleans(), min_size=8, max_size=8))
def test_weights(given_commands, gaps):
    """Words of a column tile in turn, once for every row tile, with gaps anywhere; a tile's first follows at once."""
    walk = WeightWalk(words=WORDS)
    stimulus, expected, cycle = {}, {}, 1
    for one in given_commands:
        cycle += one["wait"]
        for _, column, flags in tiles(one):
            stimulus[cycle - 1] = stimulus.get(cycle - 1, {}) | flags | {"tile": 1, "base": one["base"]}
            for word in range(one["depth"]):
                cycle += gaps[cycle % len(gaps)]
                stimulus[cycle] = stimulus.get(cycle, {}) | {"read": 1}
                expected[cycle] = one["base"] + column * one["depth"] + word
                cycle += 1
    seen = simulated(walk, stimulus, cycle + 2)
    assert {cycle: seen[cycle] for cycle in expected} == {c: a % (2 * WORDS) for c, a in expected.items()}
