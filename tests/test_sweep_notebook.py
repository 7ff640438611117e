"""What notebooks show, and the one in docs/notebooks, executed."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path

import nbformat
import pytest
from test_sweep_page import NASTY, swept

from gen import config

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "notebooks" / "sweep.ipynb"
QUICK = """
import functools, sys
sys.path.append({tests!r})
from gen.sweep import sweep as sweeps
sweeps.Options = functools.partial(sweeps.Options, evaluator="sweep_evaluators:measured")
"""


def test_configurations_points_and_sweeps_show_themselves():
    shown = config.load("systolic-8x8")._repr_html_()
    assert shown.startswith("<table>")
    assert "<td style='text-align:left'>array.rows</td><td style='text-align:left'>8</td>" in shown
    made = swept()
    assert "gmac_per_second" in made.rows[0]._repr_html_()
    failed = made.rows[2]._repr_html_()
    assert NASTY not in failed
    assert "&lt;/script&gt;" in failed
    text = made._repr_html_()
    assert text.count("<tr>") == 1 + len(made.pareto)
    assert 'sandbox="allow-scripts"' in text
    assert NASTY not in text


def executed(tmp_path, monkeypatch, *, quick):
    from nbclient import NotebookClient

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if quick:
        first = QUICK.format(tests=str(Path(__file__).resolve().parent))
        notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    with warnings.catch_warnings():
        # Of the notebook's machinery, not of ours.
        warnings.simplefilter("ignore")
        asyncio.run(NotebookClient(notebook, timeout=1500, kernel_name="python3").async_execute())
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"][quick:]
    return [one["data"] for cell in cells for one in cell.outputs if "data" in one]


@pytest.mark.long
@pytest.mark.parametrize("quick", [True, False])
def test_the_notebook_runs(tmp_path, monkeypatch, quick):
    shown = executed(tmp_path, monkeypatch, quick=quick)
    assert "Configuration systolic-4x4" in shown[0]["text/html"]
    assert shown[1]["text/plain"].count("array.rows") == 5
    assert "5 points; 5 run now; 0 failed" in shown[2]["text/html"]
    assert "gmac_per_second" in shown[4]["text/html"]
