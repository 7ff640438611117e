"""Figures of lookup units: how they follow from what was placed, without placing; counts that are the same everywhere."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from fpga import synthesis
from fpga.measure import area
from fpga.transistors import Transistors
from gen.bench import __main__ as bench
from gen.bench import lookup, lookup_array, lookup_cmos, lookup_sweep, lookup_units
from gen.bench.figures import Row
from gen.bench.lookup_units import Builders, Figure, Placed
from gen.reproduce import lut_units
from hw.pe.lookup import LookupUnit, SerialTableBuilder, TableBuilder, TernaryUnit
from hw.pe.plane_sum import PlaneSum


def test_outputs_and_columns():
    """A table of eight entries is of use for eight cycles or more; 64 outputs for 1 to 4 planes; 16 at most."""
    assert [lookup_units.outputs_of(bits) for bits in (1, 2, 3, 4, 8)] == [8, 4, 3, 2, 1]
    assert [lookup_units.outputs_of(1, k) for k in (2, 5, 6)] == [2, 16, 16]
    assert [lookup_units.columns_of(outputs) for outputs in (8, 4, 3, 2, 1)] == [8, 16, 22, 32, 64]


def test_share_of_the_builders():
    """Those of a row, by the products of 64 columns."""
    share = Builders(at_once=100, serial=40, totals={8: 90}, activations={32: 150})
    assert share.share(1, 8) == 800 / (64 * 32)
    assert share.share(4, 8) == (200 + 90) * 4 / (64 * 32)
    assert share.share(4, 8, outputs=2) == (320 + 90) * 4 / (32 * 32)
    assert share.share(1, 8, outputs=8, total=True) == (320 + 90) / (8 * 32)
    assert share.share(2, 8, k=6) == (400 + 90) * 2 / (64 * 48)
    assert share.adder_share(4, 32) == 150 * 4 / (64 * 32)
    assert share.adder_share(1, 32) == 0
    assert share.values == {
        "at once": 100,
        "serial": 40,
        "total of 8 tables": 90,
        "total of 32 activations": 150,
    }


def test_a_figure():
    figure = Figure("lookup", "eight", Placed(400, 7, 120.4), 32, 0.5)
    assert figure.each == 13
    assert figure.text == "  13.0  eight (0.5 of it builders; 400 COMB, 7 FF, 120 MHz)"
    assert figure.values == {
        "kind": "lookup", "each": 13.0, "builders": 0.5, "products": 32, "comb": 400, "ff": 7, "mhz": 120.4,
    }  # fmt: skip
    assert [lookup.least([figure, Figure("lookup", "", Placed(32, 0, 1), 32)])] == [{"lookup": 1.0}]


def use(component):
    """Keep Amaranth from complaining that it was not elaborated: that takes seconds for all of them."""
    component._MustUse__used = True


@pytest.fixture
def comb(monkeypatch):
    """COMB of units; others take 100. What is packed takes as much as what is placed."""
    comb = {LookupUnit: 400, TernaryUnit: 1120, TableBuilder: 128, SerialTableBuilder: 32, PlaneSum: 600}

    def found(component, *, flow):
        assert not flow.dsp
        use(component)
        return SimpleNamespace(luts=comb.get(type(component), 100), flip_flops=7)

    def measure(component, *, flow):
        return SimpleNamespace(area=found(component, flow=flow), median=120.0)

    for module, name, what in (
        (lookup_units, "measure", measure), (lookup_units, "area", found), (lookup_sweep, "area", found),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, what)
    return comb


def test_rows(comb):
    said: list[str] = []
    rows = lookup.rows(said.append)
    assert [row.key for row in rows] == ["lookup"] * 5
    assert [row.held for row in rows] == [True] * 5
    assert [row.values.get("bits") for row in rows] == [1, 2, 3, 4, None]
    one = rows[0].values["units"]["lookup, 8 tables"]
    assert one == {
        "kind": "lookup", "each": 13.0, "builders": 0.5, "products": 32.0, "comb": 400, "ff": 7, "mhz": 120.0,
    }  # fmt: skip
    assert "  13.0  lookup, 8 tables (0.5 of it builders; 400 COMB, 7 FF, 120 MHz)" in rows[0].measured
    # The unit for all widths has the same area in each: as much more for a product as there are planes.
    every = [row.values["units"]["lookup, 16 stored tables, 8 outputs, all widths"] for row in rows[:4]]
    assert [unit["each"] for unit in every] == [every[0]["each"] * bits for bits in (1, 2, 3, 4)]
    assert "multiplier" not in rows[0].values["least"]
    assert set(rows[1].values["least"]) == {
        "array",
        "lookup",
        "lookup of 8 bits",
        "adder",
        "multiplier",
        "dequantised",
    }
    assert rows[4].values["units"]["direct, 64 lanes"]["each"] == 17.5
    assert {unit["kind"] for unit in rows[4].values["units"].values()} == {
        "direct",
        "array",
        "lookup",
        "lookup of 8 bits",
        "adder",
    }


def test_rows_that_miss(comb):
    comb |= {LookupUnit: 4000, TernaryUnit: 38 * 128, PlaneSum: 300}
    rows = lookup.rows(lambda _: None)
    assert [row.held for row in rows] == [False] * 5
    assert all(row.values["lost"] for row in rows[:4])
    assert "no more than the unit for all widths: adder" in rows[0].measured


@pytest.fixture
def placed(monkeypatch):
    """COMB and MHz of arrays: direct ones', others'."""
    found = {True: (9472, 110.0), False: (8192, 80.0)}

    def measure(component, *, flow):
        assert flow == lookup_array.FLOW
        use(component)
        luts, clock = found[component._array.direct]
        return synthesis.Placed(
            area=synthesis.Area(luts=luts, flip_flops=7, dsps=0, block_rams=0),
            frequencies=(clock,),
            seeds=(1,),
            flow=flow,
        )

    monkeypatch.setattr(lookup_array, "measure", measure)
    return found


def test_arrays(placed):
    """2 x 8 units of 32 products of one plane a cycle; a ternary weight takes two cycles' share."""
    said: list[str] = []
    rows = lookup_array.rows(said.append)
    assert {row.key for row in rows} == {"lookup-array"}
    assert [row.held for row in rows] == [True, True, True, None, None, None, True]
    assert rows[0].values["lut-m2n64k4"]["each"] == {"1": 16, "2": 32, "3": 48, "4": 64}
    assert rows[0].measured in said
    assert [list(one["each"].items()) for one in rows[1].values.values()] == [
        [("1", 16)],
        [("2", 32)],
        [("4", 64)],
    ]
    assert rows[2].measured == "W2 37.0: lut-ternary-m2n64k4 (9,472 COMB, 7 FF, 110 MHz)"
    each = {name: one["each"] for name, one in rows[4].values.items()}
    assert (
        each["lut-fp16-m2n64k4"]
        == each["lut-fp16-m2n64k4, bipolar"]
        == {"1": 128, "2": 256, "3": 384, "4": 512}
    )
    assert rows[6].values["int2 alone, N128"]["each"] == {"2": 16}


@pytest.mark.parametrize(("direct", "comb", "clock", "held"), [
    (False, 8193, 80.0, [False, False, True, None, None, None, True]),
    (False, 8192, 79.9, [False, False, True, None, None, None, False]),
    (True, 9473, 110.0, [True, True, False, None, None, None, True]),
    (True, 9472, 109.9, [True, True, False, None, None, None, True]),
])  # fmt: skip
def test_arrays_that_miss(placed, direct, comb, clock, held):
    placed[direct] = (comb, clock)
    assert [row.held for row in lookup_array.rows(lambda _: None)] == held


def test_sweep(comb):
    row = lookup_sweep.row(lambda _: None)
    assert row.held is None
    assert row.values["broadcast"]["4"]["8"] == 400 * 2 / 32 + (4 * 128 + 100) * 2 / (64 * 32)
    assert row.values["stored"]["4"]["8"] == 400 * 2 / 32 + (8 * 32 + 100) * 2 / (16 * 32)
    assert row.values["least"]["broadcast"]["k"] == 6
    assert [len(one) for one in row.values["stored"].values()] == [6] * 5
    assert "least, broadcast: " in row.measured
    assert row.picture is not None
    assert row.picture() == row.picture()
    assert ElementTree.fromstring(row.picture()).tag.endswith("svg")


def test_transistors(monkeypatch):
    def transistors(component):
        use(component)
        return Transistors(gates=760, flip_flops=10)

    monkeypatch.setattr(lookup_cmos, "transistors", transistors)
    monkeypatch.setattr(lut_units, "measure", lambda _: lut_units.MEASURED)
    rows = lookup_cmos.rows(lambda _: None)
    assert [row.key for row in rows] == ["lookup-cmos"] * 5
    units = rows[1].values["units"]
    assert units["lookup"] == {
        "gates": 760, "flip_flops": 10, "total": 1000, "builders": 5000 / (64 * 16), "each": 62.5 + 5000 / (64 * 16),
    }  # fmt: skip
    assert units["multiplier"]["each"] == units["ternary, direct"]["each"] == 1000 / 32
    assert rows[4].values["steps"] == lut_units.steps(lut_units.MEASURED)
    assert "reinterpreted: 1.345 / 1.317" in rows[4].measured


def test_pictures_are_written(monkeypatch, tmp_path, capsys):
    rows = [
        Row(key="lookup-sweep", what="", measured="", picture=lambda: b"<svg/>"),
        Row(key="lookup-sweep", what="", measured=""),
    ]
    monkeypatch.setitem(bench.FIGURES, "lookup-sweep", lambda _: rows)
    assert bench.main(["--only", "lookup-sweep", "-o", str(tmp_path / "there")]) == 0
    assert (tmp_path / "there" / "lookup-sweep.svg").read_bytes() == b"<svg/>"
    assert f"wrote {tmp_path / 'there' / 'lookup-sweep.svg'}" in capsys.readouterr().err


@pytest.mark.parametrize(("unit", "comb"), [
    (lookup_units.lookup_unit(8, 2), 477),
    (lookup_units.lookup_unit(8, 2, stored=True, outputs=4), 361),
])  # fmt: skip
def test_area_of_units(unit, comb):
    assert area(unit(), flow=lookup_units.FLOW).luts == comb
