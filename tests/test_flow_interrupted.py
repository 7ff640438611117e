"""A build that is ended from outside: its programs end with it, and nothing half done is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("array.rows=2", "array.columns=2", "memory.activations_kib=1", "memory.weights_kib=1")


def gone(process):
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, ["gatemill: interrupted"]), (signal.SIGTERM, 143, [])],
    ids=lambda value: getattr(value, "name", ""),
)
def test_nothing_is_left(tmp_path, number, status, said):
    cache, output, started = tmp_path / "cache", tmp_path / "out", tmp_path / "started"
    yosys = tmp_path / "yosys"
    yosys.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 600\n")
    yosys.chmod(0o755)
    environment = {**os.environ, "YOSYS": str(yosys), "XDG_CACHE_HOME": str(cache), "TMPDIR": str(tmp_path)}
    sets = [part for one in SMALL for part in ("--set", one)]
    command = [sys.executable, "-m", "gen.cli", "build", "systolic-4x4", *sets, "--board", "ulx3s-25f"]
    process = subprocess.Popen(
        [*command, "-o", str(output)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not started.exists() or not started.read_text().strip():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out) == (status, "")
    assert err.splitlines()[-1:] == (said or ["synthesis"])
    assert "Traceback" not in err
    assert gone(int(started.read_text()))
    assert list((cache / "gatemill" / "builds").iterdir()) == []
    assert list(output.iterdir()) == []
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("gatemill-")] == []
