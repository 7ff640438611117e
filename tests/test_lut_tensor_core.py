"""``gatemill reproduce lut-tensor-core``: which claims hold, and the figures that they are held against."""

from __future__ import annotations

import json
from fractions import Fraction
from xml.etree import ElementTree

import pytest

from fpga.measure import area
from fpga.transistors import Transistors
from gen.bench import lookup_cmos, lookup_sweep, lookup_units
from gen.bench.lookup_units import Figure, Placed
from gen.reproduce import lut_tensor_core, lut_units
from gen.reproduce.lut_tensor_core import printed, within


@pytest.fixture(scope="module")
def rows():
    return {row["claim"]: row for row in lut_tensor_core.claims(lut_units.MEASURED)}


def test_rows_have_all_keys(rows) -> None:
    assert all(set(row) == {"claim", "published", "ours", "holds", "why"} for row in rows.values())
    assert all(row["why"] for row in rows.values())


def test_what_does_not_hold(rows) -> None:
    failed = {row["claim"]: (row["published"], row["ours"]) for row in rows.values() if row["holds"] is False}
    assert failed == {
        "table 1, density per mm2: A100, INT8": (17.73, 18.52),
        "widest weights at which lookup is smaller than a multiplier": (6, 0),
        "widest weights at which adder is smaller than a multiplier": (2, 1),
        "widest weights at which conventional is smaller than a multiplier": (2, 0),
        "widths of 1 to 6 bits at which lookups are smaller than adders of planes": (6, 0),
        "widest weights at which lookup is smaller than a multiplier, 8 tables before an accumulator": (6, 2),
    }


def test_what_cannot_be_tested_says_so(rows) -> None:
    untested = {row["claim"] for row in rows.values() if row["holds"] is None and row["ours"] is None}
    assert untested == {what for what, *_ in lut_tensor_core.NOT_HERE}
    assert all(rows[what]["why"].startswith("cannot be tested with open tools: ") for what in untested)


def test_steps_of_table_2(rows) -> None:
    assert [rows[f"table 2, area saved: {step}"]["holds"] for step in lut_tensor_core.RATIOS] == [True] * 3
    ours = [rows[f"table 2, transistors saved: {step}"]["ours"] for step in lut_tensor_core.RATIOS]
    assert ours == [1.345, 1.391, 1.414]


def test_k(rows) -> None:
    assert rows["K with fewest transistors for a product, int8 activations"]["holds"]
    assert rows["area of W1 against multipliers of tensor cores"]["ours"] == 4.42


def test_lookups_are_smaller_on_an_ecp5(rows) -> None:
    name = "widths of 1 to 4 bits at which lookups are smaller than {}, ECP5 without DSPs"
    assert (rows[name.format("adders of planes")]["ours"], rows[name.format("multipliers")]["ours"]) == (4, 3)


@pytest.mark.long
def test_figures_of_the_ecp5_are_current(monkeypatch) -> None:
    monkeypatch.setattr(
        lookup_units, "placed", lambda unit: Placed(area(unit, flow=lookup_units.FLOW).luts, 0, 0)
    )
    share = lookup_units.builders((16,))
    unit = lookup_units.placed(lookup_units.array_unit(16)())
    for bits, (lookups, adder, multiplier) in lut_tensor_core.ECP5.items():
        figures = {
            kind: Figure(kind, "", lookup_units.placed(make()), products, shared).each
            for kind, _, make, products, shared in lookup_units.units(bits, 16, share)
            if kind in ("adder", "multiplier")
        }
        assert round(lookup_units.array_figure(bits, 16, unit, share).each, 1) == lookups
        assert round(figures["adder"], 1) == adder
        assert multiplier is None or round(figures["multiplier"], 1) == multiplier


@pytest.mark.long
def test_transistors_of_whole_units_are_current(monkeypatch) -> None:
    monkeypatch.setattr(lut_units, "measure", lambda _: lut_units.MEASURED)
    for row in lookup_cmos.rows(lambda _: None)[:4]:
        units = row.values["units"]
        found = tuple(
            round(units[kind]["each"]) if kind in units else None
            for kind in ("lookup", "adder", "multiplier")
        )
        assert found == lut_tensor_core.CMOS[row.values["bits"]]
        assert round(units["multiplier of int8"]["each"]) == lut_tensor_core.CMOS_INT8


@pytest.mark.long
def test_k_on_an_ecp5_is_current(monkeypatch) -> None:
    monkeypatch.setattr(lookup_sweep, "LANES", (16,))
    monkeypatch.setattr(lookup_sweep, "KINDS", ("stored",))
    found = lookup_sweep.measured(lambda _: None)["stored"]
    assert {k: round(each[16], 1) for k, each in found.items()} == lut_tensor_core.ECP5_K


def test_numbers_as_printed() -> None:
    assert printed("1.50") == (Fraction(149, 100) + Fraction(1, 200), Fraction(3, 2) + Fraction(1, 200))
    assert printed("312") == (Fraction(623, 2), Fraction(625, 2))
    assert within(lambda a, b: a / b, ["1.0", 3], 0.32) == (0.33, True)
    assert within(lambda a, b: a / b, ["1.0", 3], 0.31) == (0.33, False)


def units(**several: int) -> dict[str, Transistors]:
    return dict.fromkeys(lut_units.UNITS, Transistors(gates=0, flip_flops=0)) | {
        name.replace("_", "/"): Transistors(gates=gates, flip_flops=0) for name, gates in several.items()
    }


def test_products_and_widths() -> None:
    found = units(
        multiplier_1=400,
        multiplier_2=900,
        multiplier_3=900,
        adder_1=300,
        adder_2=400,
        adder_4=400,
        table_4=800,
    )
    assert lut_units.product(found, "multiplier", 2, 4) == 225
    assert lut_units.product(found, "adder", 3, 4) == 300
    assert lut_units.product(found, "lookup", 2, 4) == 100
    assert lut_units.widest(found, "adder", 4) == 2
    assert lut_units.widest(found, "adder", 4, rival_bits=2) == 2
    assert lut_units.widest(found, "multiplier", 4, rival="adder") == 0
    assert lut_units.smallest(found, 1, 4) == "conventional"


def test_every_unit_was_measured() -> None:
    assert list(lut_units.MEASURED) == list(lut_units.UNITS)


def test_the_command(gatemill, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    place = tmp_path / "lut.svg"
    status, out, err = gatemill("reproduce", "lut-tensor-core", "--picture", place)
    assert (status, err) == (1, f"wrote {place}\n")
    assert max(map(len, out.splitlines())) <= 90
    assert ElementTree.parse(place).getroot().tag.endswith("svg")
    status, out, err = gatemill("reproduce", "lut-tensor-core", "--json")
    document = json.loads(out)
    assert (status, err) == (1, "")
    assert document["claims"] == lut_tensor_core.claims(lut_units.MEASURED)
    assert document["figure_13"]["64"]["multiplier"][7] == 11696 / 4
    assert document["units"]["lookup/2"] == {"gates": 2112, "flip_flops": 24, "total": 2688}


def test_the_command_names_the_papers(gatemill) -> None:
    status, out, _ = gatemill("reproduce", "--help")
    assert status == 0
    assert "bitmod, lut-tensor-core" in out
