"""``gatemill formats``: what fits 80 columns, who takes what, ranges, lines of levels, and names that are refused."""

from __future__ import annotations

import json

import pytest

from gen.commands.formats import describe
from hw.formats import FORMATS, find


@pytest.fixture
def formats(gatemill, monkeypatch):
    """Run ``gatemill formats`` on a terminal of 80 columns: exit status, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: gatemill("formats", *arguments)


def row(out: str, name: str) -> list[str]:
    """The cells of the line that begins with ``name``."""
    cells = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in out.splitlines()]
    return next(each for each in cells if each[0] == name)


def test_all_columns_can_be_read(formats) -> None:
    _, out, _ = formats()
    head = next(line for line in out.splitlines() if "name" in line)
    assert [cell.strip() for cell in head.strip("┃").split("┃")] == [
        "name",
        "families",
        "bits",
        "range",
        "scale",
    ]
    assert row(out, "int8") == ["int8", "bit-serial", "8", "-127 to 127", "fp16/row"]
    assert row(out, "int4-asym") == ["int4-asym", "lookup", "4.156", "0 to 15", "fp16/128"]
    assert [row(out, name)[0] for name in FORMATS] == list(FORMATS)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("int8", "bit-serial, decoded, lookup, systolic"), ("int8:g64", "none yet"), ("fp6-e3m2", "decoded"),
        ("int4", "bit-serial, decoded, lookup, systolic"),
        ("fp4-mixed", "bit-serial (as fp4-mixed-s8)"), ("fp4-mixed-s8", "bit-serial"), ("fp4-mixed:g64", "none yet"),
    ],
)  # fmt: skip
def test_who_takes_a_format(formats, name, families) -> None:
    assert row(formats(name)[1], "families") == ["families", families]


@pytest.mark.parametrize("name", ["int8:g64", "int8:row", "int8:tensor"])
def test_a_family_takes_formats_as_they_are(name) -> None:
    assert describe(find("int8"))["families"] == ["bit-serial", "decoded", "lookup", "systolic"]
    assert describe(find(name))["families"] == []


def test_a_family_takes_formats_by_other_names(formats) -> None:
    document = describe(find("fp3-er"))
    assert (document["families"], document["taken_as"]) == ([], {"bit-serial": "fp3-er-s8"})
    assert row(formats()[1], "fp3-er")[1] == "bit-serial"
    assert describe(find("int8"))["taken_as"] == {}


@pytest.mark.parametrize(
    ("name", "per_weight", "per_row"),
    [
        ("int8", 8, 16), ("int8:tensor", 8, 0), ("int4:g64", 4.25, 0), ("int4-asym:row", 4, 20), ("fp4-mixed:row", 4, 18),
        ("kivi2:row", 2, 32), ("if4", 4.5, 0), ("if4:row", 4, 8), ("fp4-er-s8", 4.0703, 32), ("int6-s8", 6.0625, 32),
        ("nvfp4", 4.5, 0), ("fp16", 16, 0),
    ],
)  # fmt: skip
def test_bits_of_weights_and_rows(name, per_weight, per_row) -> None:
    document = describe(find(name))
    assert (document["bits_per_weight"], document["bits_per_row"]) == (per_weight, per_row)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("int8", -127, 127), ("int4", -7, 7), ("int2:g8", -1, 1), ("int5-s8", -15, 15),
        ("mxint8", -127 / 64, 127 / 64), ("mxint2", -1, 1),
        ("nvint4", -7, 7), ("q8_0", -127, 127), ("q4_0", -8, 7), ("if4", -6, 6), ("ovp4-int4", -96, 96), ("fp4-ea", -8, 8),
    ],
)  # fmt: skip
def test_ranges_are_what_rules_reach(name, low, high) -> None:
    assert describe(find(name))["range"] == [low, high]


def test_a_code_that_is_never_written_is_told(formats) -> None:
    _, out, _ = formats("int4")
    assert row(out, "range") == ["range", "-7 to 7"]
    assert row(out, "1000") == ["1000", "-8 (never written)"]
    assert row(out, "1001") == ["1001", "-7"]
    assert out.count("never") == 1


def test_if4_is_shown_in_the_unit_of_e2m1(formats) -> None:
    codes = json.loads(formats("if4", "--json")[1])["codes"]
    assert [each["values"][0] for each in codes[:8]] == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert [each["values"][1] for each in codes[:8]] == [value * 6 / 7 for value in range(8)]


@pytest.mark.parametrize(
    ("name", "labels", "ends"),
    [
        ("if4", ["selector 0", "selector 1"], ["-6", "6"]),
        ("fp3-mixed", [f"selector {number}" for number in range(4)], ["-6", "6"]),
        ("ovp4-int4", ["levels", "outliers"], ["-96", "96"]),
        ("int4", ["levels"], ["-7", "7"]),
    ],
)
def test_lines_of_levels_share_an_axis(formats, name, labels, ends) -> None:
    lines = formats(name)[1].splitlines()[-len(labels) - 1 :]
    start = max(map(len, labels)) + 1
    assert [line[:start].strip() for line in lines] == [*labels, ""]
    assert lines[-1].split() == ends
    assert all(len(line) <= len(lines[-1]) <= 80 for line in lines)
    low, high = describe(FORMATS[name])["range"]
    tables = [[v for v in column if v is not None and v >= low] for column in _columns(name)]
    for line, values in zip(lines, tables, strict=False):
        places = {round((value - low) / (high - low) * 63) for value in values}
        assert {place for place, mark in enumerate(line[start:]) if mark == "|"} == places


def _columns(name: str) -> list[list[float | None]]:
    format = FORMATS[name]
    columns = [*format.tables, *([format.outliers] if hasattr(format, "outliers") else [])]
    return [[None if v is None else format.element(v) for v in column] for column in columns]


@pytest.mark.parametrize(("name", "codes"), [("int8", 256), ("fp16", 65536), ("int7", 128)])
def test_many_codes_are_not_printed(formats, name, codes) -> None:
    assert f"\n{codes} codes: see --json\n" in formats(name)[1]
    assert "see --json" not in formats("int6")[1]


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("nvpf4", "not 'nvpf4'; did you mean nvfp4?\n"),
        ("in8:g64", "not 'in8:g64'; did you mean int8 or mxint8 or int8-s8?\n"),
        ("zzzz", "not 'zzzz'\n"),
        ("int4:x", "not 'int4:x'\n"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(formats, name, end) -> None:
    status, out, err = formats(name)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "format must be one of those that `gatemill formats` lists" in err
    assert err.endswith(end)


def test_senseless_suffixes_are_refused(formats) -> None:
    status, out, err = formats("fp16:g32")
    assert (status, out) == (2, "")
    assert "format fp16 must be named alone, having no scale to share, not 'fp16:g32'" in err


def test_a_picture_without_a_suffix_is_refused_by_its_path(formats) -> None:
    status, _, err = formats("int8", "-o", "a")
    assert status == 2
    assert "--output 'a': must end in .svg" in err
