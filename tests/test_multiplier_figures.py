"""The table of multipliers and the paper's claims: how they follow from what was measured, without measuring."""

import json
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from fpga.transistors import Plain, Transistors, levels
from gen.bench import multipliers
from gen.bench.multipliers import Found, Unit
from gen.reproduce import bit_weight
from sim import digits

UNIT = Unit(make=lambda: None, gates=100, flip_flops=10, levels=9, luts=50, carries=4, mhz=100.0)
FOUND = Found(gates=90, flip_flops=10, total=330, levels=9, luts=40, carries=5, best=45, mhz=120.0)


def test_sizes():
    """24 transistors for a flip-flop; a carry cell is two LUT4."""
    assert (UNIT.total, UNIT.cells, FOUND.cells) == (340, 58, 50)


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({}, []),
        ({"total": 341}, ["transistors"]),
        ({"levels": 10, "luts": 49}, ["levels", "LUT4 and carries"]),
        ({"mhz": 99.9}, ["MHz"]),
        ({"mhz": None}, []),
    ],
)
def test_what_is_worse(change, lost):
    found = Found(**{**vars(FOUND), **change})
    row = multipliers.row("some unit", UNIT, found)
    assert multipliers.worse(UNIT, found) == row.values["worse"] == lost
    assert row.held is (not lost)
    assert [line for line in row.measured.splitlines() if line.startswith("worse: ")] == [
        f"worse: {one}" for one in lost
    ]
    assert (
        row.peers
        == "published RTL: 340 transistors (100 and 10 flip-flops), 9 levels; 50 LUT4 and 4 CCU2C (58); 100.0 MHz"
    )


def test_what_was_not_published_binds_nothing():
    row = multipliers.row("tree", Unit(**{**vars(UNIT), "published": False}), FOUND)
    assert (row.held, row.must) == (None, "")
    assert row.peers.startswith("not the paper's: ")


def test_rows(monkeypatch):
    """Every unit once; the same unit beside two published ones is measured once, where a clock is wanted with it."""
    asked, told = [], []

    def measured(unit):
        asked.append(unit)
        return FOUND

    monkeypatch.setattr(multipliers, "measured", measured)
    rows = multipliers.rows(told.append)
    assert {row.values["unit"] for row in rows} == set(multipliers.UNITS)
    assert (
        len(asked)
        == len(told)
        == len({id(unit.make) for unit in multipliers.UNITS.values()})
        == len(rows) - 2
    )
    clocks = {row.values["unit"]: row.values["mhz"] for row in rows}
    assert {name for name, mhz in clocks.items() if mhz} == {
        n for n, unit in multipliers.UNITS.items() if unit.mhz
    }


def test_measured(monkeypatch):
    """Options of the published figures for cells, those that suit soft multipliers for the clock."""
    flows = []

    def synthesised(text, *, name, flow):
        flows.append(flow)
        return SimpleNamespace(count=lambda cell: {"LUT4": 40, "CCU2C": 5}[cell] - 2 * len(flows))

    monkeypatch.setattr(
        multipliers, "plain", lambda _: Plain(transistors=Transistors(gates=90, flip_flops=10), levels=9)
    )
    monkeypatch.setattr(multipliers, "to_rtlil", lambda *_, **__: "")
    monkeypatch.setattr(multipliers, "synthesise", synthesised)
    monkeypatch.setattr(multipliers, "place", lambda _: SimpleNamespace(median=120.0))
    found = multipliers.measured(UNIT)
    assert flows == [multipliers.FLOW, multipliers.BEST]
    assert (found.luts, found.carries, found.best, found.mhz, found.total) == (36, 1, 38, 120.0, 330)


def test_levels_of_a_netlist():
    """Registers start and end paths; an inverter is a level."""

    def gate(kind, output, **inputs):
        return {"type": kind, "connections": {"Y": [output], **{pin: [bit] for pin, bit in inputs.items()}}}

    register = {"type": "$_DFF_P_", "connections": {"C": [2], "D": [6], "Q": [3]}}
    cells = {
        "a": gate("$_NAND_", 4, A=3, B="1"),
        "b": gate("$_NOT_", 5, A=4),
        "c": gate("$_NOR_", 6, A=5, B=3),
        "register": register,
    }
    assert levels(cells) == 3
    assert levels({"register": register}) == 0
    assert levels({"c": gate("$_NOT_", 9, A=8), **cells}) == 3


def test_encoder_is_no_larger_than_the_published_one():
    """Synthesised in seconds: cells at equal options, transistors, levels."""
    unit = multipliers.UNITS["encoder of an operand"]
    found = multipliers.measured(unit)
    assert multipliers.worse(unit, found) == []
    assert (found.luts, found.carries, found.total, found.levels) == (18, 0, 692, 8)


def test_claims():
    rows = {row["claim"]: row for row in bit_weight.claims(bit_weight.MEASURED)}
    assert [row["claim"] for row in rows.values() if row["holds"] is False] == []
    assert (
        rows["share of int8 operands with three Booth digits or fewer that are not zero, per cent"]["ours"]
        == 68.4
    )
    gains = {what: rows[f"area efficiency gained: {what}"] for what, _ in bit_weight.GAINS}
    assert {row["holds"] for row in gains.values()} == {None}
    assert gains["two-dimensional array (FlexFlow)"]["ours"] is None
    slow = {**bit_weight.MEASURED, "carry-save, 32 bits": bit_weight._plain(4088, 77, 40)}
    assert sum(row["holds"] is False for row in bit_weight.claims(slow)) == 2


def test_delay_times_area():
    found = {"before": bit_weight._plain(1000, 0, 20), "after": bit_weight._plain(520, 20, 10)}
    assert bit_weight.delay_area(found, "before", "after") == 2.0


def test_the_command(gatemill, tmp_path):
    place = tmp_path / "digits.svg"
    status, out, err = gatemill("reproduce", "bit-weight", "--picture", place)
    assert (status, err) == (0, f"wrote {place}\n")
    assert "Digits of an int8 operand that are not zero" in out
    assert ElementTree.parse(place).getroot().tag.endswith("svg")
    document = json.loads(gatemill("reproduce", "bit-weight", "--json")[1])
    assert document["units"]["carry-save, 32 bits"] == bit_weight.MEASURED["carry-save, 32 bits"].as_dict()
    assert set(document["digits"]) == set(digits.CODES)
    assert document["digits"]["EN-T"][-1] == digits.average(digits.en_t)


def test_the_exit_status_is_that_of_the_claims(gatemill, monkeypatch):
    monkeypatch.setitem(bit_weight.MEASURED, "carry-save, 32 bits", bit_weight._plain(4088, 77, 99))
    assert gatemill("reproduce", "bit-weight", "--json")[0] == 1
