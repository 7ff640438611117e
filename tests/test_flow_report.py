"""What is read of nextpnr's report and netlist: figures, critical path, floorplan."""

from collections import Counter

import pytest
from flow_bench import ECP5_REPORT, step

from fpga.flow import floorplan
from fpga.flow.layout import flip_flops
from fpga.flow.report import critical_path, fastest, lines, overfull, utilisation
from fpga.parts import ECP5, GOWIN, ICE40, PARTS
from fpga.synthesis import FigureError


def test_utilisation():
    found = utilisation(ECP5_REPORT, ECP5)
    assert list(found) == ["luts", "flip_flops", "block_rams", "dsps"]
    assert found["luts"].as_dict() == {"used": 12148, "available": 24288, "percent": 50.0}
    assert found["block_rams"].percent == 100


def test_utilisation_of_a_gowin_part_weighs_what_shares_a_place():
    kinds = {
        "LUT4": (10, 8640), "ALU": (5, 6480), "DFF": (7, 6480), "BSRAM": (1, 26), "MULT9X9": (3, 40), "MULT18X18": (2, 20),
    }  # fmt: skip
    report = {"utilization": {kind: {"used": u, "available": a} for kind, (u, a) in kinds.items()}}
    found = {kind: (use.used, use.available) for kind, use in utilisation(report, GOWIN).items()}
    assert found == {"luts": (15, 8640), "flip_flops": (7, 6480), "block_rams": (1, 26), "dsps": (4, 20)}


def test_what_the_part_has_none_of_is_left_out():
    report = {
        "utilization": {
            "ICESTORM_LC": {"used": 1, "available": 7680},
            "ICESTORM_RAM": {"used": 0, "available": 32},
        }
    }
    assert list(utilisation(report, ICE40)) == ["luts", "block_rams"]


def test_registers_of_a_layout():
    """The tenth bit of each of a tile's eight cells: columns 36 to 45 of the first of its two lines."""
    blank, used = "0" * 54, "0" * 45 + "1" + "0" * 8
    tile = [used, used, blank, used, *[blank] * 12]
    lines = [
        ".device 5k",
        ".io_tile 0 1",
        *[used] * 16,
        ".logic_tile 1 1",
        *tile,
        ".ramb_tile 2 1",
        *[used] * 16,
    ]
    assert (
        flip_flops("\n".join([*lines, ".logic_tile 3 1", *[used] * 16, ".extra_bit 1 1 1", ""]).encode()) == 9
    )
    assert flip_flops(b".comment nothing\n") == 0


def test_what_there_is_too_much_of():
    assert overfull(ECP5_REPORT, ECP5) == {}
    use = ECP5_REPORT["utilization"]
    full = {"TRELLIS_FF": {"used": 30000, "available": 24288}, "DCCA": {"used": 60, "available": 56}}
    passing = {"TBUF": {"used": 1, "available": 0}}
    report = {"utilization": {**use, **full, **passing}}
    assert overfull(report, ECP5) == {"flip flops": (30000, 24288), "DCCA": (60, 56)}


def test_the_clock_that_was_wanted():
    assert fastest(ECP5_REPORT, 100_000_000) == 93.42
    assert fastest(ECP5_REPORT, 25_000_000) == 300
    with pytest.raises(FigureError, match="has no clock"):
        fastest({"fmax": {}}, 1)
    with pytest.raises(FigureError, match="the report has no fmax"):
        fastest({}, 1)


def test_critical_path_with_lines_of_python():
    path = critical_path(ECP5_REPORT, {})
    assert path.delay == 3.0
    assert path.sources == ("hw/dma/store.py:12",)
    assert [step.kind for step in path.steps] == ["clk-to-q", "routing", "routing", "setup"]
    assert path.as_dict()["steps"][1] == {
        "kind": "routing", "delay": 1.25, "cell": "core.b", "net": "core.x", "place": (3, 4), "sources": ("hw/dma/store.py:12",),
    }  # fmt: skip
    assert critical_path({}, {}).steps == ()


def test_lines_of_what_yosys_made():
    nets = {"core.count": "hw/a.py:3|/share/x.v:1", "core.count_x": "/share/x.v:1", "core.a_b": "hw/b.py:4"}
    known = lines(
        {"modules": {"top": {"netnames": {name: {"attributes": {"src": src}} for name, src in nets.items()}}}}
    )
    assert known == {"core.count": "hw/a.py:3", "core.a_b": "hw/b.py:4"}
    path = [
        step("clk-to-q", 1, "core.count_TRELLIS_FF_Q_3"), step("routing", 1, "z", "core.a_b_LUT4_Z_D"),
        step("routing", 1, "z", "core.count[3]"), step("logic", 1, "core.b.count_LUT4"), step("logic", 1, "other"),
    ]  # fmt: skip
    found = critical_path({"critical_paths": [{"from": "clk", "to": "clk", "path": path}]}, known)
    assert [one.sources for one in found.steps] == [("hw/a.py:3",), ("hw/b.py:4",), ("hw/a.py:3",), (), ()]


def placed(**cells: tuple[str, str]) -> dict:
    return {
        "modules": {
            "top": {
                "cells": {n: {"type": t, "attributes": {"NEXTPNR_BEL": b}} for n, (t, b) in cells.items()}
            }
        }
    }


CELLS = {
    "system.core.load.a": ("TRELLIS_COMB", "X4/Y42/SLICEC.K1"),
    "system.core.load.b": ("TRELLIS_FF", "X4/Y42/SLICEC.FF0"),
    "system.core.store.c": ("LUT4", "X12Y7/LUT0"),
    "clocking.pll": ("EHXPLLL", "X1/Y1/EHXPLL_LL"),
    "$nextpnr_x": ("ICESTORM_LC", "X2/Y2/lc0"),
    "tx": ("TRELLIS_IO", "X0/Y1/PIOA"),
}


def test_places_of_cells():
    assert floorplan.places(placed(**CELLS)) == [
        ("system.core.load", 4, 42), ("system.core.load", 4, 42), ("system.core.store", 12, 7),
    ]  # fmt: skip


def test_the_largest_module_is_divided_first():
    paths = ["a.x"] * 5 + ["a.y"] * 4 + ["a"] * 2 + ["b.z.w"] * 8 + ["b.z"] + ["c"]
    assert floorplan.groups(paths, most=3) == ["a", "b", "c"]
    assert floorplan.groups(paths, most=6) == ["a", "a.x", "a.y", "b.z", "c"]
    assert floorplan.groups(["core.small", *["core.big"] * 200]) == ["core", "core.big"]
    found = floorplan.groups(paths, most=99)
    sizes = Counter(floorplan.group_of(path, found) for path in paths)
    assert sizes == {"a.x": 5, "a.y": 4, "a": 2, "b.z.w": 8, "b.z": 1, "c": 1}
    assert floorplan.groups([]) == []


def test_a_module_is_no_part_of_one_whose_name_begins_alike():
    assert floorplan.group_of("core.loading", ["", "core.load"]) == ""


def test_picture_is_the_same_each_time():
    small = PARTS["LFE5U-25F"]
    first = floorplan.draw(placed(**CELLS), "two modules", small)
    assert first.startswith(b"\x89PNG")
    assert first == floorplan.draw(placed(**CELLS), "two modules", small)
    assert floorplan.draw(placed(), "nothing", small).startswith(b"\x89PNG")
    assert first != floorplan.draw(placed(**CELLS), "two modules", PARTS["LFE5U-85F"])
    beyond = placed(**{"system.core.load.a": ("TRELLIS_COMB", "X4/Y51/SLICEC.K1")})
    with pytest.raises(IndexError):
        floorplan.draw(beyond, "beyond", small)
