"""Workloads and a self-test on a board, compared with the golden model: one document of plain data for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from fpga.host.accelerator import PATIENCE, Accelerator, DeviceError, Notice
from gen import workload
from gen.compiler import DoesNotFit
from gen.report import difference
from gen.run import mismatch
from gen.workload import Workload

SELFTEST_SEED = 1


def describe(accelerator: Accelerator) -> dict[str, Any]:
    """The board, as it tells of itself."""
    identity = accelerator.identity
    return {
        "digest": identity.digest,
        "clock_hz": identity.clock_hz,
        "memory_bytes": identity.memory_bytes,
        "memory_timing": asdict(identity.timing) if identity.timing else None,
        "baud": identity.baud,
    }


def run(
    accelerator: Accelerator, load: Workload, notice: Notice, *, timeout: float = PATIENCE
) -> dict[str, Any]:
    """Compute ``load`` on the board, in parts if need be, and compare every bit, and the cycles with the cycle model.

    Each part may take ``timeout`` s.
    """
    begun = time.monotonic()
    got, runs = accelerator.workload(load, notice, predict=True, timeout=timeout)
    seconds = time.monotonic() - begun
    wrong = mismatch(got, load.golden())
    cycles = sum(one.counters["cycles"] for one in runs)
    why = accelerator.unpredictable
    differing = 0 if why else sum(one.counters["cycles"] != one.predicted for one in runs)
    m, k, n = load.sizes
    on_board = cycles / accelerator.identity.clock_hz
    return {
        "pass": wrong is None and not differing,
        "configuration": accelerator.config.name,
        "workload": load.describe(),
        "board": describe(accelerator),
        "programs": len(runs),
        "cycles": {
            "measured": cycles,
            "predicted": None if why else sum(one.predicted or 0 for one in runs),
            "equal": None if why else not differing,
            "why": why,
        },
        "board_seconds": on_board,
        "gops": 2 * m * k * n / on_board / 1e9 if cycles else 0.0,
        "mismatch": wrong,
        "seconds": round(seconds, 3),
    }


def selftest(accelerator: Accelerator, notice: Notice) -> dict[str, Any]:
    """Memory, checksums, registers and a GEMM in each pair of formats: rows of what, held and detail."""
    begun = time.monotonic()
    checks: list[tuple[str, Callable[[], str]]] = [
        ("memory, random bytes", partial(_memory, accelerator, notice, 0)),
        ("memory, the same inverted", partial(_memory, accelerator, notice, 0xFF)),
        ("memory, lines of the addresses", partial(_addresses, accelerator)),
    ]
    for x, w in accelerator.config.instance.pairs:
        checks.append((f"GEMM, {x.name} by {w.name}", partial(_gemm, accelerator, x, w, notice)))
    rows = []
    for what, check in checks:
        try:
            rows.append({"what": what, "held": True, "detail": check()})
        except (DeviceError, DoesNotFit) as error:
            rows.append({"what": what, "held": False, "detail": str(error)})
    return {
        "pass": all(row["held"] for row in rows),
        "configuration": accelerator.config.name,
        "board": describe(accelerator),
        "checks": rows,
        "seconds": round(time.monotonic() - begun, 3),
    }


def _memory(accelerator: Accelerator, notice: Notice, mask: int) -> str:
    """The memory is written, and read back: as much of it as the link carries in about ten seconds."""
    size = min(accelerator.identity.memory_bytes, accelerator.identity.baud // 4 * 4)
    data = np.random.default_rng(SELFTEST_SEED).integers(0, 256, size, dtype=np.uint8) ^ np.uint8(mask)
    begun = time.monotonic()
    accelerator.write(0, data, notice)
    written = time.monotonic()
    got = accelerator.read(0, size, notice)
    read = time.monotonic()
    wrong = np.flatnonzero(got != data)
    if wrong.size:
        raise DeviceError(f"byte {wrong[0]:#x} must be {data[wrong[0]]:#x}, not {got[wrong[0]]:#x}")
    rates = [size / max(seconds, 1e-9) / 1e3 for seconds in (written - begun, read - written)]
    return f"{size} bytes, {rates[0]:.0f} kB/s there, {rates[1]:.0f} kB/s back"


def _addresses(accelerator: Accelerator) -> str:
    """A word at each address of a single bit, and at 0: a line that is stuck puts one of them over another."""
    places = [0, *(1 << bit for bit in range(2, (accelerator.identity.memory_bytes - 1).bit_length()))]
    words = np.random.default_rng(SELFTEST_SEED).integers(0, 256, (len(places), 4), dtype=np.uint8)
    for place, word in zip(places, words, strict=True):
        accelerator.write(place, word)
    for place, word in zip(places, words, strict=True):
        got = accelerator.read(place, 4)
        if got.tobytes() != word.tobytes():
            told = (f"{int(one.view('<u4')[0]):#010x}" for one in (word, got))
            raise DeviceError("word at {:#x} must be {}, not {}".format(place, *told))
    return f"{len(places)} words"


def _gemm(accelerator: Accelerator, x: Any, w: Any, notice: Notice) -> str:
    geometry = accelerator.config.instance.geometry
    family = accelerator.config.instance
    sizes = (min(geometry.tile_rows + 1, 9), 32, geometry.columns + 1)
    load = workload.random(sizes, "raw", SELFTEST_SEED, (x, w), family)
    document = run(accelerator, load, notice)
    if not document["pass"]:
        wrong = document["mismatch"]
        raise DeviceError(f"{load.title}: {difference(wrong) if wrong else cycles_text(document['cycles'])}")
    return cycles_text(document["cycles"])


def cycles_text(cycles: dict[str, Any]) -> str:
    """Measured and predicted, in words."""
    measured, predicted = f"{cycles['measured']:,}", cycles["predicted"]
    if cycles["equal"] is None:
        return f"{measured} cycles; not predicted: {cycles['why']}"
    return f"{measured} cycles, " + ("as predicted" if cycles["equal"] else f"not {predicted:,} as predicted")
