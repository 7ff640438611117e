"""The page of a sweep: what is in it, and what a browser without a network makes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import browser
import pytest
from test_sweep import SPEC

from gen.sweep import page, points, results, spec
from gen.sweep import sweep as sweeps
from gen.sweep.engine import Progress
from gen.sweep.store import Row

NASTY = "</script><script>document.title='broken'</script><b>&amp;"
PLAN = {
    "rows": ["AAB.", ".AB.", "...."],
    "modules": {"A": {"name": "core", "cells": 9}, "B": {"name": "load", "cells": 2}},
}


def swept(rows=(2, 4, 8, 16), columns=(4, 8, 16)):
    """A sweep that was never run; larger arrays are faster and larger, and those of 16 columns fail."""
    more = {
        "vary": {"array.rows": list(rows), "array.columns": list(columns)},
        "objectives": ["lut", "-gmac_per_second"],
    }
    loaded = spec.check(SPEC | more, f"{NASTY}.toml")
    made = []
    for number, point in enumerate(points.grid(loaded)):
        width = point.settings["array.columns"]
        size = point.settings["array.rows"] * width
        common = {"key": f"{number:04x}" * 16, "point": point, "seconds": 1.5, "peak_bytes": 100 << 20}
        if width == 16:
            made.append(Row(**common, status="failed", kind="crash", reason=NASTY, log=NASTY))
        else:
            figures = {
                "lut": 100 * size + 3000 * (width == 8),
                "gmac_per_second": size / 10,
                "cycles": 10**6 // size,
            }
            made.append(Row(**common, status="done", figures=figures, floorplan=PLAN))
    progress = Progress(total=len(made), finished=len(made), ran=len(made))
    return sweeps.Sweep(loaded=loaded, rows=made, progress=progress, seconds=1.0, store=Path("s.sqlite"))


class Parts(HTMLParser):
    """Elements, and what is in scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self._in = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._in = tag == "script"
        if self._in:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in = False

    def handle_data(self, data):
        if self._in:
            self.scripts[-1] += data


def test_everything_is_in_the_page_and_texts_stay_texts():
    made = swept()
    text = page.page(made)
    parts = Parts(text)
    assert len(parts.scripts) == 2
    assert not [
        one
        for one, has in parts.elements
        if one in ("link", "iframe", "img") or "src" in has or "href" in has
    ]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    data = json.loads(parts.scripts[0])
    assert [row["key"] for row in data["rows"]] == [row.key for row in made.rows]
    assert [row["pareto"] for row in data["rows"]].count(True) == len(made.pareto)
    failed = data["rows"][2]
    assert (failed["reason"], failed["log"], failed["floorplan"]) == (NASTY, NASTY, None)
    assert data["rows"][0]["floorplan"] == PLAN
    assert data["rows"][0]["rebuild"].startswith(
        "gatemill generate systolic-8x8 --set array.rows=2 --set array.columns=4"
    )


def test_a_picture_of_two_objectives():
    made = swept()
    picture = results.picture(made).decode()
    assert picture.startswith("<?xml")
    assert picture == results.picture(made).decode()
    assert results.picture(swept(columns=(16,))) is None
    single = dataclasses.replace(made, loaded=spec.check(SPEC | {"objectives": ["lut"]}, "s.toml"))
    assert results.picture(single) is None


def test_the_least_of_pages():
    empty = swept(rows=(2,), columns=(16,))
    assert json.loads(Parts(page.page(empty)).scripts[0])["rows"][0]["status"] == "failed"


if browser.installed():

    def test_in_a_browser(tmp_path):
        made, file = swept(), tmp_path / "sweep.html"
        file.write_text(page.page(made))
        with browser.page(file) as opened:
            assert opened.value("document.title") == "Sweep of systolic-8x8"
            assert opened.value("document.querySelectorAll('circle.point').length") == 8
            assert opened.value("document.querySelectorAll('circle.point.front').length") == len(made.pareto)
            assert opened.value("document.querySelectorAll('path.wire').length") == 8
            assert opened.value("document.querySelectorAll('#table tbody tr').length") == 12
            row = made.rows[4]
            circle = f"circle[data-key='{row.key}']"
            opened.move(circle)
            tip = opened.value(
                "document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText"
            )
            assert "rows\t4" in tip
            assert "columns\t8" in tip
            assert opened.value(
                f"document.querySelector('path.wire[data-key=\"{row.key}\"]').classList.contains('hot')"
            )
            opened.click(circle)
            commands = opened.value(
                "[...document.querySelectorAll('pre.command')].map(one => one.textContent)"
            )
            assert commands == [made.again(row), made.rebuild(row)]
            assert opened.value("document.querySelectorAll('svg.floorplan path').length") == 2
            opened.call("Runtime.evaluate", expression="window.scrollTo(0, 0)")
            shot = opened.screenshot()
            opened.click("#table th:nth-child(5)")
            assert opened.value("document.querySelector('#table tbody tr').cells[4].textContent") == "800"
            opened.value("choose(rows[2])")
            assert NASTY in opened.value("document.getElementById('details').textContent")
            assert opened.requests == [file.resolve().as_uri()]
            assert opened.errors == []
            assert opened.value("document.title") == "Sweep of systolic-8x8"
        assert shot.startswith(b"\x89PNG")
        (tmp_path / "sweep.png").write_bytes(shot)

    @pytest.mark.parametrize("first", range(26, 32))
    def test_in_a_browser_whatever_files_are_open(tmp_path, first):
        """The pipes to it may have any numbers."""
        file = tmp_path / "page.html"
        file.write_text("<title>open</title>")
        with contextlib.ExitStack() as held:
            while held.enter_context(open(os.devnull)).fileno() < first - 1:
                pass
            with browser.page(file) as opened:
                assert opened.value("document.title") == "open"
