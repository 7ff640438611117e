"""The process of one point: ``python -m gen.sweep.worker MODULE:FUNCTION``; started by ``gen.sweep.runner`` alone.

The point comes as a line of JSON on standard input, the answer leaves as one on what was standard output; whatever else is
printed goes to standard error. Standard input stays open as long as whoever started this lives: when it ends, the whole process
group does.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import threading
import traceback
from typing import Any


def main() -> None:
    """Evaluate one point and end."""
    answers = os.dup(1)
    os.dup2(2, 1)
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer = json.dumps(_answer(sys.argv[1], json.loads(line)) | {"peak_bytes": _peak_bytes()}).encode()
    while answer:
        answer = answer[os.write(answers, answer) :]
    sys.stderr.flush()
    # What is left, threads of tools included, has nothing more to say.
    os._exit(0)


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def _peak_bytes() -> int | None:
    """Most memory of this process or one of its tools; None where the system does not say.

    What the system says to the parent counts the parent's own memory, too, as that of the moment before the program began.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            own = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
    return 1024 * max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def _answer(evaluator: str, point: dict[str, Any]) -> dict[str, Any]:
    module, _, function = evaluator.partition(":")
    try:
        figures = getattr(importlib.import_module(module), function)(point)
    except Exception as error:
        traceback.print_exc()
        return {
            "kind": getattr(error, "kind", None),
            "error": type(error).__name__,
            "reason": str(error) or type(error).__name__,
            "figures": getattr(error, "figures", {}),
        }
    return {"figures": {name: value for name, value in figures.items() if name != "floorplan"},
            "floorplan": figures.get("floorplan")}  # fmt: skip


if __name__ == "__main__":
    main()
