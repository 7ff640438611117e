"""Multiplications per cycle of the array alone, in Amaranth's simulator."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from amaranth.sim import Simulator

from gen.bench.figures import Row
from hw.array.output_stationary import OutputStationaryArray

ROWS = COLUMNS = 8
DEPTH, TILES = 64, 8


def _simulate(seed: int) -> list[int]:
    """Cycle of the last result of each tile, counted from the first operand on; tile follows tile without a gap.

    Raises ``ArithmeticError`` when a result is wrong.
    """
    generator = np.random.default_rng(seed)
    x = generator.integers(-128, 128, (TILES, ROWS, DEPTH))
    w = generator.integers(-128, 128, (TILES, DEPTH, COLUMNS))
    wanted = x @ w
    array = OutputStationaryArray(rows=ROWS, columns=COLUMNS)
    steps = TILES * DEPTH
    got: list[list[int]] = [[] for _ in range(COLUMNS)]
    ends = [0] * TILES

    async def bench(ctx: Any) -> None:
        cycle = 0
        began = []  # of each result in column 0
        while any(len(results) < TILES * ROWS for results in got):
            for row in range(ROWS):
                tile, k = divmod(cycle - row, DEPTH)
                inside = 0 <= cycle - row < steps
                ctx.set(array.activations[row], int(x[tile, row, k]) if inside else 0)
                ctx.set(array.last[row], inside and k == DEPTH - 1)
            for column in range(COLUMNS):
                inside = cycle < steps
                ctx.set(array.weights[column], int(w[cycle // DEPTH, cycle % DEPTH, column]) if inside else 0)
            if ctx.get(array.valid):
                began.append(cycle)
            for column in range(COLUMNS):
                if len(got[column]) < len(began) and began[len(got[column])] + column == cycle:
                    got[column].append(ctx.get(array.results[column]))
                    ends[(len(got[column]) - 1) // ROWS] = cycle
            await ctx.tick()
            cycle += 1

    simulator = Simulator(array)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    results = np.array(got, np.uint32).view(np.int32).T.reshape(TILES, ROWS, COLUMNS)
    if not np.array_equal(results, wanted):
        raise ArithmeticError(f"the array's results must equal the matrix product, seed {seed}")
    return ends


def row() -> Row:
    """Tile after tile, and eight tiles with fill and drain, as the peers were measured."""
    ends = _simulate(seed=1)
    work = ROWS * COLUMNS * DEPTH
    steady = work / max(after - before for before, after in pairwise(ends))
    single, several = work / (ends[0] + 1), TILES * work / (ends[-1] + 1)
    return Row(
        key="mac",
        what="MAC per cycle of the 8×8 output-stationary array (64 elements), K = 64",
        measured=f"{steady:.2f} tile after tile; from the first operand to the last result: {several:.2f} over "
        f"{TILES} tiles, {single:.2f} for one alone",
        must="62 back to back",
        aim="63",
        peers="8 tiles / 1 tile: CFU Playground 62.06 / 51.20, axis_sa 61.13 / 46.55 (own simulation)",
        held=steady >= 62,
        values={"steady": steady, "tiles_8": several, "tiles_1": single, "cycles": [end + 1 for end in ends]},
    )
