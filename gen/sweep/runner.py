"""Runs one point in a process of its own, with a time limit: what an executor is given, here or on another machine.

The process leads a process group in which all programs that it starts stay. The group is ended with it in any case: at its end,
its time limit, an interrupt, and by itself when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gen.sweep.points import environment
from gen.sweep.store import CRASH, LOST, REFUSED, TIMEOUT, TOOL, UNFIT
from sim import tools

LOG_LINES = 30
GRACE = 5.0
"""Seconds between a process' answer and its end."""
_KINDS = {"RequestError": REFUSED, "DoesNotFit": UNFIT, "ToolError": TOOL}
"""What an exception's name stands for, unless it has a ``kind`` of its own."""

_groups: set[int] = set()
_lock = threading.Lock()


def run_point(evaluator: str, point: dict[str, Any], seconds: float, versions: str) -> dict[str, Any]:
    """Evaluate ``point`` by the function ``evaluator`` (``module:function``) in a process, for at most ``seconds``.

    Returns the fields of a ``store.Row`` besides its key and point; never raises for what happens in that process. ``versions``
    is the caller's ``environment()``: with another one here the point is refused, as its key would not be true.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}"
    if environment() != versions:
        return _failed(
            LOST, "the worker must have the driver's versions of Gatemill and its tools", worker=worker
        )
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gatemill-point-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log.txt"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gen.sweep.worker", evaluator],
                cwd=folder,
                env=tools.environment(TMPDIR=folder, **{tools.ONE_GROUP: "1"}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        with _lock:
            _groups.add(process.pid)
        try:
            answer, late = _converse(process, json.dumps(point).encode() + b"\n", start + seconds)
        finally:
            peak = _end(process)
        text = log.read_text(errors="replace")
    outcome = _outcome(process.returncode, answer, late, seconds, text)
    return {
        **outcome,
        "seconds": round(time.monotonic() - start, 3), "peak_bytes": outcome.get("peak_bytes") or peak,
        "seconds_allowed": seconds, "worker": worker,
    }  # fmt: skip


def end_all() -> None:
    """End all points that run in this process, with everything that they have started."""
    with _lock:
        for group in _groups:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


def _converse(process: subprocess.Popen[bytes], line: bytes, end: float) -> tuple[bytes, bool]:
    """What the process answers to ``line``, and whether its time was over before."""
    assert process.stdin
    assert process.stdout
    with suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()
    answer = b""
    poll = select.poll()
    poll.register(process.stdout)
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return answer, True
        if poll.poll(1000 * min(left, 3600)):
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                return answer, False
            answer += part


def _end(process: subprocess.Popen[bytes]) -> int:
    """End what is left of a point and its group; the most memory that one of its processes had, bytes."""
    assert process.stdin
    assert process.stdout
    patience = time.monotonic() + (GRACE if _has_closed(process) else 0.0)
    while not _waitable(process.pid) and time.monotonic() < patience:
        time.sleep(0.001)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with _lock:
        _groups.discard(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for stream in (process.stdin, process.stdout):
        with suppress(BrokenPipeError):
            stream.close()
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _has_closed(process: subprocess.Popen[bytes]) -> bool:
    """Nothing more will come of it."""
    assert process.stdout
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def _waitable(pid: int) -> bool:
    """It has ended; its identity stays taken until it is waited for, so that nobody else can be killed in its stead."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _outcome(status: int, answer: bytes, late: bool, seconds: float, log: str) -> dict[str, Any]:
    last = "\n".join(log.strip().splitlines()[-LOG_LINES:])
    if late:
        return _failed(TIMEOUT, f"took longer than {seconds:g} s and was ended", log=last)
    if status or not answer:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return _failed(CRASH, f"its process ended with {how}", log=last)
    found = json.loads(answer)
    peak = {"peak_bytes": found["peak_bytes"]}
    if "reason" not in found:
        return {"status": "done", "figures": found["figures"], "floorplan": found["floorplan"], **peak}
    kind = found["kind"] or _KINDS.get(found["error"], CRASH)
    reason = found["reason"] if kind != CRASH else f"{found['error']}: {found['reason']}"
    return _failed(kind, reason, log=last, figures=found["figures"], **peak)


def _failed(kind: str, reason: str, **more: Any) -> dict[str, Any]:
    return {"status": "failed", "kind": kind, "reason": reason, **more}
