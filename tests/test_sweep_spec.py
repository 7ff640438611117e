"""Specifications of sweeps: what is taken, what is refused and how, constraints as a language of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen import config
from gen.errors import RequestError
from gen.families import FAMILIES
from gen.sweep import points, spec
from gen.sweep.constraint import LONGEST, Constraint

ROOT = Path(__file__).resolve().parent.parent
LEAST = {"base": "systolic-4x4", "targets": ["ecp5-25k"]}


def loaded(**more):
    return spec.check(LEAST | more, "s.toml")


def test_the_grid_is_in_order_and_the_last_parameter_is_the_fastest():
    found = loaded(vary={"array.rows": [4, 2], "array.columns": {"from": 4, "to": 16, "times": 2}})
    assert found.spec.size == 6
    assert [tuple(one.values()) for one in found.grid()] == [
        (rows, columns, "ecp5-25k") for rows in (4, 2) for columns in (4, 8, 16)
    ]


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"from": 1, "to": 4}, [1, 2, 3, 4]),
        ({"from": 0, "to": 10, "step": 4}, [0, 4, 8]),
        ({"from": 3, "to": 50, "times": 3}, [3, 9, 27]),
        ([8, 8, 4], [8, 4]),
        ([1, True], [1, True]),
    ],
)
def test_values(given, values):
    found = loaded(vary={"array.rows": given}).spec.parameters["array.rows"]
    assert list(map(repr, found)) == list(map(repr, values))


def test_constraints_leave_points_out_and_may_name_what_the_base_has():
    found = loaded(
        vary={"array.rows": [2, 4, 8], "weights": ["int8"]},
        constraints=[
            "array.rows * array.columns <= bus.data_width / 2",
            "target == 'ecp5-25k'",
            "weights in ['int8']",
        ],
    )
    assert [one["array.rows"] for one in found.grid()] == [2, 4]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"base": "nothing"}, "configuration 'nothing': must be a TOML file or one of"),
        ({"targets": ["zz"]}, 'targets = ["zz"]: target must be one of ecp5-25k,'),
        ({"targets": ["liberty:"]}, "cmos, liberty:FILE, not 'liberty:'"),
        (
            {"targets": ["cmos"], "objectives": ["cycles", "lut"]},
            "objectives must be figures of cmos, not 'lut'",
        ),
        (
            {"targets": ["cmos"], "objectives": ["cycles"], "place_and_route": True},
            "place_and_route must be false unless all targets are parts of FPGAs",
        ),
        (
            {"targets": ["liberty:none.lib"], "objectives": ["cycles"]},
            "target 'liberty:none.lib': must name a file that is there",
        ),
        ({"targets": []}, "targets = []: must be a list with one value or more"),
        ({"zz": 1}, "zz = 1: unknown key; allowed are activations, base"),
        ({"workload": "gemm:0x1x1"}, "workload 'gemm:0x1x1': must be gemm:MxKxN with M from 1 to 131072"),
        ({"workload": "smollm2:prefill:99"}, "must be gemm:MxKxN, NAME:decode, NAME:decode=CONTEXT"),
        ({"workload": "none.toml"}, "workload 'none.toml': must be gemm:MxKxN"),
        ({"objectives": ["speed"]}, "objectives must be of lut, ff,"),
        ({"objectives": ["lut", "-lut"]}, "objectives must differ"),
        ({"objectives": ["-fmax_mhz"]}, "place_and_route must be true for the objective '-fmax_mhz'"),
        ({"objectives": ["-tokens_per_second"]}, "workload must be a model's, or a file, for the objective"),
        ({"vary": {"array.rows": []}}, "must have 1 to 1000 values of array.rows, not 0"),
        ({"vary": {"__class__": [1]}}, "must have keys such as array.rows, not '__class__'"),
        ({"vary": {"array.rows": {"from": 4, "to": 2}}}, "must have a from that is at most to"),
        (
            {"vary": {"array.rows": {"from": 0, "to": 2, "times": 2}}},
            "must have a from of at least 1 with times",
        ),
        ({"vary": {"array.rows": {"from": 0, "to": 1 << 30}}}, "must have at most 1000 values"),
        ({"constraints": ["import os"]}, "constraint must be a comparison of parameters, not 'import os'"),
        ({"clock_mhz": -1.0}, "clock_mhz = -1.0: must be"),
        ({"vary": {"activations": "all"}}, "must have all for weights alone, not for 'activations'"),
        ({"vary": {"base": [4]}}, "must have texts for base, not [4]"),
        (
            {"vary": {"array.rows": [2, float("nan")]}},
            "must have numbers up to 2**53 for array.rows, not nan",
        ),
        ({"vary": {"array.rows": [2, -(1 << 60)]}}, f"numbers up to 2**53 for array.rows, not {-(1 << 60)}"),
        (
            {"vary": {"array.x": ["\x1b[2J"]}},
            "must have texts that can be printed for array.x, not '\\x1b[2J'",
        ),
        ({"method": "fitted"}, 'targets ecp5-85k alone with method = "fitted"'),
    ],
)
def test_mistakes_say_what_is_allowed(more, line):
    with pytest.raises(RequestError) as error:
        loaded(**more)
    assert line in str(error.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(RequestError) as error:
        loaded(targets=["a"], seed=-1, workload="zz")
    assert error.value.lines[0] == "specification s.toml has 3 mistakes:"


def test_a_grid_beyond_bounds_is_refused_before_it_is_gone_through():
    wide = {f"array.key{i}": list(range(100)) for i in range(4)}
    with pytest.raises(RequestError, match="must make at most 1000000 points, not 100000000"):
        list(loaded(vary=wide).grid())


def test_a_constraint_of_unknown_names_is_refused():
    with pytest.raises(
        RequestError, match="a constraint's names must be of target or in systolic-4x4, not 'zz'"
    ):
        list(loaded(constraints=["zz > 1"]).grid())


def test_a_liberty_file_is_found_beside_the_specification_and_its_content_counts(tmp_path):
    for name in ("a.lib", "b.lib"):
        (tmp_path / name).write_text("library(a) {}")
    data = LEAST | {"targets": ["liberty:a.lib", "liberty:b.lib"], "objectives": ["cycles", "area_um2"]}
    found = spec.check(data, "s.toml", folder=tmp_path)
    assert found.spec.targets == [f"liberty:{tmp_path}/{name}" for name in ("a.lib", "b.lib")]
    keys = [one.key("e") for one in points.grid(found)]
    assert keys[0] == keys[1]
    (tmp_path / "b.lib").write_text("library(b) {}")
    assert next(points.grid(found)).key("e") == keys[0]
    assert [one.key("e") for one in points.grid(found)][1] != keys[0]


def test_a_base_beside_the_specification_is_found(tmp_path):
    (tmp_path / "mine.toml").write_text("name = 'mine'\n[array]\nrows = 4\ncolumns = 4\n")
    (tmp_path / "s.toml").write_text("base = 'mine.toml'\ntargets = ['ecp5-25k']\n")
    assert spec.load(tmp_path / "s.toml").base["name"] == "mine"


VALUES = {"a": 6, "b.c": 4, "word": "os", "flag": True}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a > b.c", True),
        ("1 < b.c < a <= 6", True),
        ("a % b.c == 2 and a // b.c == 1 and a / b.c == 1.5", True),
        ("-a + 2 * b.c == 2", True),
        ("not flag or a in [1, 2]", False),
        ("word == 'os' and flag == true", True),
        ("word not in ('os', 'ws')", False),
        ("flag == 1 or flag in [1, 'true'] or not flag != true", True),
        ("flag == 1 or flag in [1, 'true']", False),
    ],
)
def test_constraints_hold(text, holds):
    assert Constraint(text).holds(VALUES) is holds


@pytest.mark.parametrize(
    "text",
    [
        "", "a = 1", "open('x')", "a.__class__()", "[x for x in a]", "lambda: 1", "a ** 9 > 1", "a << 9 > 1", "a if b else c",
        "f'{a}' == 1", "a[0] == 1", "(a := 1) == 1", "a is b", "b'x' == 1", "...", "1j == 1", "1e999 > a", f"{1 << 65} > a",
        "a" * (LONGEST + 1), "(" * 200 + "a" + ")" * 200, "+".join("a" * 150) + " > 1", "a in b", "not " * 99 + "a",
    ],
)  # fmt: skip
def test_what_is_no_constraint_is_refused(text):
    with pytest.raises(ValueError, match="constraint must"):
        Constraint(text)


@pytest.mark.parametrize(
    "text", ["a / 0 > 1", "word > 1", "a + 1", "flag + 1 > 1", "word * 9 == 'x'", "a and flag"]
)
def test_a_constraint_without_a_value_is_told(text):
    with pytest.raises(ValueError, match="must"):
        Constraint(text).holds(VALUES)


def test_numbers_cannot_grow_beyond_bounds():
    with pytest.raises(ValueError, match="numbers must be at most"):
        Constraint("a * 9999999999 * 9999999999 > 1").holds(VALUES)


@given(st.text(alphabet="ab.c0123456789 ()[]'+-*/%<>=!andornotif,:_", max_size=60))
def test_no_text_ends_otherwise_than_in_an_answer_or_a_refusal(text):
    try:
        Constraint(text).holds(dict.fromkeys(Constraint(text).names, 3))
    except ValueError:
        return


def test_several_bases_and_all_formats_of_each(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nfamily = "lookup"\n[array]\nrows = 2\nweights = ["int2-s8", "binary"]\n'
    )
    found = spec.check(
        LEAST
        | {
            "vary": {"base": ["systolic-4x4", "mine.toml"], "weights": "all"},
            "constraints": ["array.rows != 3"],
        },
        "s.toml",
        folder=tmp_path,
    )
    made = list(points.grid(found))
    file = str(tmp_path / "mine.toml")
    assert [(one.base, one.options["weights"]) for one in made] == [
        ("systolic-4x4", "int8"), (file, "int2-s8"), (file, "binary"),
    ]  # fmt: skip
    assert [one.config.family for one in made] == ["systolic", "lookup", "lookup"]
    assert made[1].overrides() == []
    assert made[1].key("e") != made[2].key("e")


def test_the_example_is_every_family_and_format():
    found = spec.load(ROOT / "gen/sweep/examples/formats.toml")
    assert {one.config.family for one in points.grid(found)} == set(FAMILIES)
    rows = [one for one in points.grid(found) if one.settings["array.columns"] != 8]
    for name in {one.base for one in rows}:
        taken = {weights.name for _, weights in config.load(name).instance.pairs}
        assert {one.options["weights"] for one in rows if one.base == name} == taken
    assert not [one.refusal for one in points.grid(found) if one.refusal]
