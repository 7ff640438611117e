"""Evaluators of the sweep's tests: quick, slow, and in every way broken. ``GATEMILL_TEST_LOG`` names a file that each run is
written to, a line with its settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from gen.errors import RequestError
from sim import tools


def quick(point):
    """Figures of a rule that is easy to work out by hand."""
    _log(point)
    rows, columns = (point["configuration"]["array"][name] for name in ("rows", "columns"))
    return {"lut": 100 * rows * columns, "cycles": 10_000 // (rows * columns) + columns}


def slow(point):
    """The same, a while later."""
    time.sleep(1.2)
    return quick(point)


def measured(point):
    """With the figures of a GEMM."""
    return quick(point) | {"gmac_per_second": point["configuration"]["array"]["rows"]}


def broken(point):
    """Each row of the array fails in its own way; 16 rows do not."""
    _log(point)
    match point["configuration"]["array"]["rows"]:
        case 2:
            raise RequestError("what is asked for: must be something else")
        case 4:
            raise tools.ToolError("yosys failed (1):\nsome text")
        case 8:
            os.kill(os.getpid(), signal.SIGKILL)
        case 32:
            # A tool in the background and one in the foreground, neither of which would ever end.
            sleeper = [sys.executable, "-c", "import time; time.sleep(600)", os.environ["GATEMILL_TEST_MARK"]]
            subprocess.Popen(sleeper)
            tools.run(sleeper, folder=os.getcwd(), name="sleeper")
        case 64:
            raise ZeroDivisionError("nothing to divide by")
    return {"lut": 1, "cycles": 1}


def _log(point):
    if name := os.environ.get("GATEMILL_TEST_LOG"):
        with open(name, "a", encoding="utf-8") as file:
            file.write(f"{point['settings']} {point['target']}\n")
