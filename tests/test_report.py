"""The account of a run's cycles, its table and its picture."""

from __future__ import annotations

import re
from io import StringIO
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from gen import report
from hw.control.registers import COUNTERS

SHARES = [name for name, _, _ in report.SHARES]


def counters(*values):
    rest = {name: 0 for name, _ in COUNTERS}
    return rest | dict(zip(SHARES, values, strict=True)) | {"cycles": sum(values)}


def run(*values, title="blk.0.attn_q, 8 x 576 x 576", bus=0.5):
    return report.Run(title=title, counters=counters(*values), array_utilisation=0.9, bus_utilisation=bus)


def text(renderable) -> str:
    out = StringIO()
    Console(file=out, width=120).print(renderable)
    return out.getvalue()


def test_the_shares_are_the_counters_of_the_register_map_that_add_up_to_the_cycles():
    assert [name for name, _ in COUNTERS if name == "array_steps" or name.startswith("execute_")] == SHARES


@given(st.lists(st.integers(0, 1 << 32), min_size=len(SHARES), max_size=len(SHARES)))
def test_breakdown_accounts_for_every_cycle(values):
    rows = report.breakdown(counters(*values))
    assert [row["cycles"] for row in rows] == values
    assert sum(row["share"] for row in rows) == pytest.approx(1 if any(values) else 0)


def test_counters_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match="must add up to 7 cycles, not 6"):
        report.breakdown(counters(1, 1, 1, 1, 1, 1) | {"cycles": 7})


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 10**6)] * len(SHARES), st.floats(0, 1)), min_size=1, max_size=5
    )
)  # fmt: skip
def test_the_picture_is_svg_whose_bars_fill_their_room(runs):
    title = "a <b> & c"
    drawn = report.picture(title, [run(*values, bus=bus) for *values, bus in runs])
    root = ElementTree.fromstring(drawn)
    assert title in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    bars = [r for r in root.iter("{http://www.w3.org/2000/svg}rect") if len(r)]
    assert len(bars) == len(SHARES) * len(runs)
    for place, (*values, _) in enumerate(runs):
        mine = bars[place * len(SHARES) :][: len(SHARES)]
        widths = [float(bar.get("width")) for bar in mine]
        assert sum(widths) == pytest.approx(690 if any(values) else 0, abs=0.05)
    height = float(root.get("height"))
    assert all(
        float(r.get("y", "0")) + float(r.get("height")) <= height
        for r in root.iter()
        if r.tag.endswith("rect")
    )


def test_the_picture_depends_on_its_runs_only():
    assert report.picture("a", [run(1, 2, 3, 4, 5, 6)]) == report.picture("a", [run(1, 2, 3, 4, 5, 6)])


def document(**changes):
    base = {
        "pass": True,
        "configuration": "systolic-8x8",
        "workload": {
            "title": "blk.0.attn_q, 8 x 576 x 576",
            "layer": "blk.0.attn_q",
            "M": 8,
            "K": 576,
            "N": 576,
        },
        "cycles": {"measured": 21, "predicted": 21},
        "utilisation": {"array": 0.5, "bus": 0.25},
        "mismatch": None,
        "stray_write": None,
        "error": None,
        "breaches": [],
        "simulator": "verilator",
        "seed": 0,
        "counters": counters(1, 2, 3, 4, 5, 6),
        "breakdown": report.breakdown(counters(1, 2, 3, 4, 5, 6)),
    }
    return base | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "equal to the golden model, bit for bit"),
        (
            {"mismatch": {"index": [1, 2], "got": 3, "wanted": 4, "count": 5}},
            "differs at (1, 2): got 3, wanted 4; 5",
        ),
        ({"stray_write": 0x80}, "a byte outside of the output was written, at 0x80"),
        ({"error": {"code": "window", "instruction": 3}}, "ended with code window, instruction 3"),
        ({"breaches": ["a burst crossed 4 KiB"]}, "the bus protocol was broken: a burst crossed 4 KiB"),
        ({"cycles": {"measured": 21, "predicted": None}}, "cycles predicted"),
    ],
)
def test_the_table_of_a_run_says_what_came_out(changes, words):
    shown = text(report.simulation(document(**changes) | {"pass": not changes}))
    assert words in re.sub(r" +", " ", shown)
    assert ("FAIL" in shown) == bool(changes)
    assert all(words in shown for _, words, _ in report.SHARES)


def test_the_table_of_the_demo_has_a_row_for_every_layer():
    shown = text(
        report.demonstration([document(), document(mismatch={"index": [0, 0], "got": 1, "wanted": 2})])
    )
    assert shown.count("blk.0.attn_q") == 2
    assert shown.count("NO") == 1
    assert "8 x 576 x 576" in shown
    assert "50.0%" in shown


def test_where_only_cycles_are_counted_there_is_no_breakdown():
    assert report.breakdown({"cycles": 7}) == []
