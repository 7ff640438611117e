"""Figures of the boards: which designs, what they reach beside their parts, how they are kept, and shown."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import pytest

from fpga.board import LARGE_RAM, SDRAM, boards, load
from fpga.flow.steps import DoesNotFit
from fpga.host.accelerator import Accelerator
from fpga.soc.virtual import block_memory
from gen import board_figures, config
from gen.bench import __main__ as bench
from gen.bench import boards as figures

USE = {
    kind: {"used": used, "available": available, "percent": 100 * used / available}
    for kind, used, available in (("luts", 12000, 24000), ("block_rams", 56, 56), ("dsps", 7, 28))
}


def quiet(text):
    """Nobody listens."""


@cache
def work(rows):
    """Of the design that ``measured`` is of."""
    return figures.work(config.load("systolic-4x4"), load("ulx3s-25f"), figures.layer(rows))


@pytest.fixture
def built(monkeypatch):
    """Builds that are made up; ``lacks`` instead, if it is there."""
    made = SimpleNamespace(lacks=None, fmax_mhz=90.0)

    def build(wanted, *, timeout, name, notice):
        if made.lacks:
            raise DoesNotFit("LFE5U-25F", made.lacks)
        holds = made.fmax_mhz * 1e6 >= wanted.clock_hz
        return SimpleNamespace(holds=holds, fmax_mhz=made.fmax_mhz, figures={"utilisation": USE})

    plan = SimpleNamespace(seed=1, versions={"yosys": "0.70"}, clock_hz=80_000_000)
    monkeypatch.setattr(figures, "prepared", lambda board, loaded: plan)
    monkeypatch.setattr(figures, "build", build)
    monkeypatch.setattr(figures, "luts_per_mac", lambda *_: 240.0)
    once = {figures.layer(rows): work(rows) for rows in (figures.PROMPT, figures.TOKEN)}
    monkeypatch.setattr(figures, "work", lambda loaded, board, sizes, notify: once[sizes])
    return made


def measured():
    return figures.record(load("ulx3s-25f"), config.load("systolic-4x4"), quiet)


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        (("lut-up5k", "bitserial-up5k", "lut-m2n64k4"), ["lut-up5k", "lut-m2n64k4", "bitserial-up5k"]),
        (("systolic-ulx3s", "systolic-4x4", "systolic-8x8"), ["systolic-ulx3s"]),
    ],
)
def test_designs_are_the_first_and_the_largest_of_each_family(named, chosen):
    board = replace(load("icebreaker"), presets=named)
    assert [loaded.name for loaded in figures.designs(board)] == chosen


@pytest.mark.parametrize(
    ("preset", "formats"),
    [("systolic-4x4", ("int8", "int8")), ("lut-m2n64k4", ("int8", "bipolar1-s8"))],
)
def test_formats_are_those_in_which_the_array_multiplies_most(preset, formats):
    loaded = config.load(preset)
    variant = figures.busiest(loaded)
    model = loaded.instance.model()
    most = max(model.multiplications(other) for other in range(len(loaded.instance.pairs)))
    assert model.multiplications(variant) == most
    assert tuple(one.name for one in loaded.instance.pairs[variant]) == formats


def test_what_a_design_reaches(built):
    one = measured()
    assert (one["holds"], one["multiplications"], one["bus_bytes"]) == (True, 16, 4)
    many, token = one["work"]
    assert (many["M"], many["K"], many["N"], many["method"]) == (64, 576, 576, "cycle model")
    found = figures.reach(one)
    assert found.clock_mhz == 80
    assert found.peak == pytest.approx(2 * 16 * 0.08)
    assert found.sustained == pytest.approx(2 * 64 * 576 * 576 / many["cycles"] * 0.08)
    assert found.dsps == pytest.approx(2 * 28 * 0.09)
    assert found.tables == pytest.approx(2 * 24000 / 240 * 0.09)
    assert found.bandwidth == 4 * 80
    assert found.read == pytest.approx(100 * token["read_beats"] / token["cycles"])
    assert 576 * 576 / 4 <= token["read_beats"] < token["cycles"]
    # An SDRAM reads two bytes a cycle, however wide the port is.
    behind = figures.reach({**one, "memory": "SDRAM"})
    assert (behind.bandwidth, behind.read) == (2 * 80, pytest.approx(2 * found.read))


def test_a_missed_clock_counts_as_what_is_reached(built):
    built.fmax_mhz = 60.0
    one = measured()
    assert one["holds"] is False
    assert figures.reach(one).clock_mhz == 60
    row = figures._row(one)
    assert (row.held, row.values) == (False, one)
    assert "60 MHz; 12,000 LUT (50.0 %), 56 block RAM" in row.measured


def test_a_design_that_does_not_fit(built):
    built.lacks = {"luts": (30000, 24288), "block rams": (70, 56)}
    one = measured()
    assert "fmax_mhz" not in one
    assert figures._row(one).measured == "does not fit: 30,000 of 24,288 LUT, 70 of 56 block RAM"
    assert figures._row(one).held is False


def test_what_the_memory_must_hold():
    """Weights of the whole model, of one byte each."""
    one = config.load("systolic-8x8")
    parameters = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) + 576 * 49152
    assert figures.weights_mib(one) == parameters / (1 << 20)
    assert figures.token(one, load("ulx3s-85f")) is None
    assert figures.token(one, load("ulx3s-85f").memories[SDRAM]) is None


def test_cycles_on_sdram_are_the_virtual_boards(monkeypatch):
    board = load("ulx3s-85f").memories[SDRAM]

    def simulated(loaded, on, behind, load, notify):
        assert (on, behind.size, load.sizes) == (board, 32 << 20, (1, 64, 64))
        return 4321

    monkeypatch.setattr(figures, "_simulated", simulated)
    found = figures.work(config.load("lut-m2n64k4"), board, (1, 64, 64))
    assert (found.cycles, found.method) == (4321, figures.SIMULATION)


def test_a_token_where_the_memory_holds_the_model(monkeypatch):
    """Each size is worked out once, and counts as often as the model has it."""
    asked = []

    def known(loaded, board, sizes, notify):
        asked.append(sizes)
        return SimpleNamespace(cycles=1000 * sizes[1] + sizes[2], method=figures.SIMULATION)

    monkeypatch.setattr(figures, "work", known)
    found = figures.token(config.load("lut-m2n64k4"), load("ulx3s-85f").memories[SDRAM])
    assert sorted(asked) == [(1, 576, 192), (1, 576, 576), (1, 576, 1536), (1, 576, 49152), (1, 1536, 576)]
    block = 2 * 576_576 + 2 * 576_192 + 2 * 577_536 + 1_536_576
    assert found == figures.Token(cycles=30 * block + 576_000 + 49_152, method=figures.SIMULATION)


@pytest.mark.long
def test_the_bandwidth_of_the_port_bounds_a_token(monkeypatch):
    one, size = config.load("systolic-8x8"), 1 << 28
    monkeypatch.setattr(figures, "memory", lambda *_, **__: block_memory(one, memory_bytes=size))
    found = figures.token(one, SimpleNamespace(memory_bytes=size, usual_hz=lambda name: 80_000_000))
    assert found.method == figures.MODEL
    least = figures.weights_mib(one) * (1 << 20) / 8
    assert least < found.cycles < least / 0.95


@pytest.mark.long
def test_cycles_are_those_of_the_virtual_board(monkeypatch):
    """The model's where it knows the memory; where it does not, those of the board are taken."""
    board, one = load("ulx3s-25f"), config.load("systolic-4x4")
    predicted = figures.work(one, board, figures.layer(1))
    assert predicted.method == "cycle model"
    behind = block_memory(one, memory_bytes=board.memory_bytes)
    assert figures._simulated(one, board, behind, predicted.load, quiet) == predicted.cycles
    small = config.load("systolic-4x4", ["bus.data_width=32"])
    simulated = figures.work(small, load("icebreaker"), figures.layer(1))
    assert simulated.method == "simulation"
    assert simulated.cycles >= 576 * 576 / 4
    monkeypatch.setattr(Accelerator, "workload", lambda self, load, **_: (load.golden() + 1, []))
    with pytest.raises(ArithmeticError, match=r"results of .* must be the golden model's"):
        figures.work(small, load("icebreaker"), figures.layer(1))


def test_what_is_measured_takes_the_place_of_what_was(built, tmp_path):
    file = tmp_path / "boards.json"
    row = figures._row(measured())
    figures.save([row], file)
    other = {**row.values, "board": "icebreaker", "memory": LARGE_RAM, "preset": "lut-up5k"}
    gone = {**other, "preset": "systolic-4x4"}
    file.write_text(json.dumps([other, gone, {**row.values, "fmax_mhz": 1.0}]))
    figures.save([row], file)
    assert figures.kept(file) == [other, row.values]


def test_each_memory_has_its_rows(built, tmp_path):
    """A build with another than the usual memory is a row of its own, behind the others of its board."""
    file, usual = tmp_path / "boards.json", figures._row(measured())
    other = figures._row(
        figures.record(load("ulx3s-25f").memories[SDRAM], config.load("systolic-4x4"), quiet)
    )
    assert other.what == "systolic-4x4 on ulx3s-25f --memory sdram"
    assert other.values["command"] == "gatemill build systolic-4x4 --board ulx3s-25f --memory sdram -o DIR"
    assert (other.values["memory"], other.values["memory_bytes"]) == (SDRAM, 32 << 20)
    figures.save([other], file)
    figures.save([usual], file)
    assert figures.kept(file) == [usual.values, other.values]
    assert figures.rows(quiet, ["icebreaker"], SDRAM) == []
    found = figures.rows(quiet, ["ulx3s-25f"], SDRAM, ["systolic-4x4"])
    assert [row.what for row in found] == [other.what]


def test_what_is_kept_is_of_designs_that_boards_name():
    known = {
        (board.name, kind, one.name)
        for board in boards().values()
        for one in figures.designs(board)
        for kind in board.memories
    }
    assert {(one["board"], one["memory"], one["preset"]) for one in figures.kept()} <= known


def test_documents(built, monkeypatch):
    one = measured()
    lacks = {
        **one,
        "board": "icebreaker",
        "memory": LARGE_RAM,
        "preset": "lut-up5k",
        "lacking": {"luts": [9000, 5280]},
        "digest": "",
    }
    monkeypatch.setattr(board_figures, "kept", lambda: [one, lacks])
    taken = board_figures._taken()
    assert (
        "| `ulx3s-25f` | `systolic-4x4`, int8 × int8 | 90 (80 held) | 12,000 (50 %) | - | 56 (100 %) |"
        in taken
    )
    assert "`lut-up5k`, int8 × int8 (since changed) | does not fit: 9,000 of 5,280 LUT |" in taken
    assert "| `ulx3s-25f` | `systolic-4x4` | 2.56 |" in board_figures._reached()
    assert "| 128.2 MiB |" in board_figures._reached()
    held = {
        **one,
        "memory": SDRAM,
        "weights_mib": 17.1,
        "tokens_per_second": 9.5,
        "tokens_method": "simulation",
    }
    monkeypatch.setattr(board_figures, "kept", lambda: [held])
    assert "| `systolic-4x4` with SDRAM, int8 × int8 |" in board_figures._taken()
    assert "| 17.1 MiB: 9.5 tokens/s (simulation) |" in board_figures._reached()
    monkeypatch.setattr(board_figures, "kept", lambda: [one, lacks])
    assert "lut-up5k" not in board_figures._reached()
    assert "| 51 %, 14 % |" in board_figures._summary()
    for name, words in (("ulx3s-25f", "2.56 GOPS"), ("icebreaker", "does not fit: 9,000 of 5,280 LUT")):
        texts = [text.text for text in ET.fromstring(board_figures.board_picture(name)).iter()]
        assert words in texts
    assert (
        "![What designs take of icebreaker and what they reach](board_icebreaker.svg)"
        in board_figures._pictures()
    )


def test_command(built, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(figures, "FILE", tmp_path / "boards.json")
    monkeypatch.setattr(figures, "save", lambda rows: saved.extend(row.values["board"] for row in rows))
    saved: list[str] = []
    wanted = ["--only", "boards", "--board", "ulx3s-25f", "--preset", "systolic-4x4"]
    assert bench.main([*wanted, "--save", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["values"]["preset"] == "systolic-4x4"
    assert saved == ["ulx3s-25f"]
    assert bench.main(["--only", "boards", "--board", "nothing"]) == 2
    assert "--board 'nothing': must be a Python file or one of" in capsys.readouterr().err
    assert bench.main(["--only", "boards", "--board", "ulx3s-25f", "--memory", "flash"]) == 2
    assert "--memory 'flash': must be one of block-ram, spram, sdram" in capsys.readouterr().err
    assert bench.main(["--only", "boards", "--board", "ulx3s-25f", "--preset", "lut-up5k"]) == 2
    assert "--preset 'lut-up5k': must be one of systolic-" in capsys.readouterr().err
    assert bench.main(["--only", "mac", "--save"]) == 2
    assert (
        "--save: boards or chat or perplexity must be one of the figures, not mac" in capsys.readouterr().err
    )
