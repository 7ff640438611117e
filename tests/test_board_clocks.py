"""Every board's presets meet the board's clock: by the figures that are kept, and by building the smallest of each maker."""

from __future__ import annotations

import pytest

from fpga.board import boards
from fpga.flow.build import build
from fpga.parts import FAMILIES, ICE40
from gen.bench import boards as figures

KEPT = {
    (one["board"], one["preset"]): one
    for one in figures.kept()
    if one["memory"] == boards()[one["board"]].memory
}
"""With their usual memories."""
DESIGNS = [(board, loaded) for board in boards().values() for loaded in figures.designs(board)]
TIMEOUT = 3600


def smallest(family):
    """Of all designs: the first on the board with the fewest tables."""
    return min(
        (one for one in DESIGNS if one[0].resources.family == family), key=lambda one: one[0].resources.luts
    )


@pytest.mark.parametrize(
    ("board", "loaded"), DESIGNS, ids=[f"{two.name} on {one.name}" for one, two in DESIGNS]
)
def test_figures_are_of_the_presets_as_they_are(board, loaded):
    """Each design has some, of this board or of another with the part."""
    found = [one for one in KEPT.values() if (one["part"], one["preset"]) == (board.part, loaded.name)]
    assert {one["digest"] for one in found} == {loaded.digest}


@pytest.mark.parametrize("one", KEPT.values(), ids=[f"{preset} on {board}" for board, preset in KEPT])
def test_every_design_fits_and_meets_its_clock(one):
    assert "lacking" not in one
    assert one["holds"]
    assert one["fmax_mhz"] >= one["clock_mhz"]
    assert one["clock_mhz"] == boards()[one["board"]].usual_hz(one["preset"]) / 1e6


def test_what_is_wanted_of_an_ulx3s():
    """100 MHz, and 80 % of what is reached with 75 % of all multipliers."""
    usual, large = (KEPT["ulx3s-85f", preset] for preset in ("systolic-ulx3s", "systolic-ulx3s-large"))
    assert usual["fmax_mhz"] >= 100
    assert large["fmax_mhz"] >= 0.8 * usual["fmax_mhz"]
    assert large["utilisation"]["dsps"]["percent"] >= 75


def test_what_is_wanted_of_an_icebreaker():
    """36 MHz with each of its designs."""
    assert min(one["fmax_mhz"] for (board, _), one in KEPT.items() if board == "icebreaker") >= 36


@pytest.mark.parametrize(
    "family", [pytest.param(one, marks=() if one == ICE40 else pytest.mark.long) for one in FAMILIES]
)
def test_the_smallest_of_each_maker(family):
    """Built by the real programs unless the cache has it: less than a minute on an iCE40."""
    board, loaded = smallest(family)
    made = build(figures.prepared(board, loaded), timeout=TIMEOUT, name=loaded.name)
    assert made.holds, f"{made.fmax_mhz} MHz of {made.clock_hz / 1e6}: {made.nearest}"
