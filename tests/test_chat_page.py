"""Figures of texts and of formats in the documents: rows, the picture, and what is said of broken formats."""

import xml.etree.ElementTree as ET

import pytest

from gen import chat_figures, config
from gen.bench import chat, perplexity, records

SAID = {
    "case": "systolic-8x8/gravity",
    "command": "gatemill chat smollm2 --config systolic-8x8 --set array.rows=1 --set array.columns=32 --check",
    "preset": "systolic-8x8",
    "formats": {"attn_q": "int8 x int8", "head": "int8 x int8"},
    "attention": {"on": "accelerator"},
    "prompt": "Gravity is",
    "text": " a *fundamental*\n\nconcept ",
    "tokens": [1, 2, 3],
    "equal": True,
    "cycle_error": 0,
    "cycles_per_token": 4354068,
    "programs_per_token": 272,
    "bus": {"all": 0.98512},
    "wall_seconds_per_token": 7.49,
    "cycles_per_second": 629632,
}


def format_row(name, bits, value, rate):
    preset = "lut-m2n64k4"
    return {
        "case": name, "name": name, "configuration": preset, "digest": config.load(preset).digest,
        "activations": ["int8"], "cache": "float", "bits": bits, "mib": 16 * bits, "cycles": int(1e8 / rate),
        "tokens_per_second": rate, "perplexity": value, "note": "",
    }  # fmt: skip


FLOAT = dict.fromkeys(format_row("", 1.0, 1.0, 1.0)) | {
    "case": "fp32", "name": "fp32", "cache": "float", "perplexity": 15.2443, "note": "",
}  # fmt: skip
ROWS = [
    FLOAT,
    *(format_row(f"near{n}", 5.0, 16.0 + n / 100, 18.5) for n in range(5)),
    *(format_row(f"four{n}", 4.1, 21.0 + n / 10, 22.5) for n in range(6)),
    format_row("ternary-s8", 2.06, 123456.0, 43.8),
]


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(records, "kept", lambda file: ROWS if file == perplexity.FILE else [SAID])


def test_texts(kept):
    (row,) = chat_figures._texts().splitlines()[2:]
    assert row == (
        "| `systolic-8x8` with `array.rows=1`, `array.columns=32`, attention, too | int8 x int8 "
        "| Gravity is *a fundamental concept* | 3 | equal | 0 | 4,354,068 (272) | 98.5 % | 7.5 | 629,632 |"
    )
    assert chat_figures._commands() == f"```sh\n{SAID['command']}\n```\n"


def test_what_was_kept_holds():
    """Sums, cycles, lengths, and what some presets must reach; and the picture and tables are of known cases."""
    texts, rows = records.kept(chat.FILE), records.kept(perplexity.FILE)
    assert texts
    assert rows
    assert [one["case"] for one in texts if not chat.held(one)] == []
    assert {one["case"] for one in texts} <= set(chat.CASES)
    assert {one["case"] for one in rows} <= set(perplexity.CASES)


def test_perplexities(kept, monkeypatch):
    lines = chat_figures._perplexities().splitlines()
    assert lines[2] == "| 1 | `fp32` | - | `fp32` | float | - | - | - | - | 15.24 |  |"
    assert lines[3].endswith("| float | 5.00 | 80.0 | 5,405,405 | 18.5 | 16.00 |  |")
    assert lines[-1].endswith("| 1.2e+05 | *throughput only* |")
    boards = chat_figures._on_boards().splitlines()
    assert len(boards) == 2 + 3  # formats of one size are one row
    port = chat_figures._ports()[-1]
    assert boards[2].endswith(f"| {port.bandwidth / (80 << 20):.2f} |")
    monkeypatch.setitem(ROWS[-1], "digest", "another")
    assert "`ternary-s8` (since changed)" in chat_figures._perplexities()


def test_picture(kept):
    """A number for every format with bits, none on another; what breaks the model lies in the stripe."""
    svg = "{http://www.w3.org/2000/svg}"
    root = ET.fromstring(chat_figures.perplexity_picture())
    texts = [(one.text, int(one.get("x", 0)), int(one.get("y", 0))) for one in root.iter(f"{svg}text")]
    numbers = {text: (x, y) for text, x, y in texts if text in {str(n) for n in range(10, 14)}}
    assert set(numbers) == {"10", "11", "12", "13"}
    places = list(numbers.values())
    assert all(
        abs(a[0] - b[0]) > 16 or abs(a[1] - b[1]) > 12 for i, a in enumerate(places) for b in places[:i]
    )
    top = chat_figures.TOP
    dots = [(int(one.get("cx", 0)), int(one.get("cy", 0))) for one in root.iter(f"{svg}circle")]
    assert sum(y < top + chat_figures.STRIPE for _, y in dots) == len(dots) // (len(ROWS) - 1)
    assert "its array at 100 MHz" in [text for text, _, _ in texts]


def test_nothing_kept_yet(monkeypatch):
    monkeypatch.setattr(records, "kept", lambda file: [])
    assert len(chat_figures._perplexities().splitlines()) == 2
    assert "perplexity" in chat_figures.perplexity_picture()
