"""The cocotb test: carries out the jobs of ``jobs.json`` one after the other, a line of ``results.jsonl`` for each.

A job resets the accelerator (or waits until it is not busy), fills the memory, writes its registers, starts, waits for the
interrupt or the limit, reads registers and dumps memory. All files are in the current folder. ``sim.simulate`` writes the
jobs and reads the results; it says what the fields mean.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer

from hw.control.registers import STATUS_BUSY
from tb.lite import BusError, LiteMaster
from tb.slave import ExternalMemory

PERIOD = 10
"""Time steps of a clock cycle."""
PROGRESS = 20_000
"""Cycles between two lines of ``progress.txt``."""
SETTLE = 2_000
"""Cycles after the interrupt in which the bus may still become idle."""


async def _pulse(dut, pin, cycles: int = 1) -> None:
    pin.value = 1
    for _ in range(cycles):
        await RisingEdge(dut.clk)
    pin.value = 0
    await RisingEdge(dut.clk)


async def _fill(dut, number: int, job: dict) -> None:
    for name in ("read_latency", "write_latency", "interval", "outstanding"):
        getattr(dut, name).value = job["timing"][name]
    dut.base.value = job["base"]
    dut.size.value = job["beats"]
    dut.job.value = number
    dut.dump_first.value, dut.dump_last.value = job["dump"]
    await _pulse(dut, dut.load)


async def _wait(dut, number: int) -> None:
    """Until the interrupt or the limit, telling how far it is."""
    done = RisingEdge(dut.done)
    with Path("progress.txt").open("a") as progress:
        while not int(dut.done.value):
            await First(done, Timer(PROGRESS * PERIOD, "step"))
            progress.write(f"{number} {int(dut.cycles.value)}\n")
            progress.flush()


async def _idle(dut) -> bool:
    """Whether the bus has become idle."""
    for _ in range(SETTLE):
        if int(dut.idle.value):
            return True
        await RisingEdge(dut.clk)
    return False


async def _rest(dut, lite: LiteMaster, status: int) -> None:
    """Until the accelerator is not busy; whoever writes to it before that is refused."""
    for _ in range(SETTLE):
        if not await lite.read(status) >> STATUS_BUSY & 1:
            return
        await RisingEdge(dut.clk)


async def _intrude(lite: LiteMaster, writes: list[tuple[int, int]]) -> None:
    """Writes that must be refused."""
    for address, value in writes:
        try:
            await lite.write(address, value)
        except BusError:
            continue
        raise BusError(f"write of {value:#x} to register {address:#x} was not refused")


async def _run(dut, lite: LiteMaster, memory: ExternalMemory | None, number: int, job: dict) -> dict:
    await _pulse(dut, dut.rst, 4) if job["reset"] else None
    dut.limit.value = job["limit"]
    if memory is None:
        await _fill(dut, number, job)
    else:
        memory.fill(number, job)
    result: dict = {"error": None}
    started = time.perf_counter()
    try:
        if not job["reset"]:
            await _rest(dut, lite, job["status"])
        for address, value in job["writes"]:
            await lite.write(address, value)
        await _intrude(lite, job["refused"])
        await _wait(dut, number)
        result |= {
            "interrupt": bool(int(dut.interrupt.value)),
            "cycles": int(dut.cycles.value),
            "read_beats": int(dut.read_beats.value),
            "write_beats": int(dut.write_beats.value),
            "idle": await _idle(dut),
            "breaches": int(dut.breaches.value),
        }
        result["seconds"] = time.perf_counter() - started
        result["registers"] = {str(address): await lite.read(address) for address in job["reads"]}
    except (BusError, ValueError) as error:
        result["error"] = f"{type(error).__name__}: {error}"
    if memory is None:
        await _pulse(dut, dut.dump)
    else:
        memory.dump(number, job)
    return result


@cocotb.test()
async def jobs(dut) -> None:
    """Every job of ``jobs.json``."""
    work = json.loads(Path("jobs.json").read_text())
    for name in ("rst", "limit", *(("load", "dump") if not work["external"] else ())):
        getattr(dut, name).value = 0
    lite = LiteMaster(dut, dut.clk, "s_axil")
    Clock(dut.clk, PERIOD, "step", impl="gpi").start()
    await _pulse(dut, dut.rst, 4)
    memory = ExternalMemory(dut, work["data_bytes"]) if work["external"] else None
    with Path("results.jsonl").open("w") as results:
        for number, job in enumerate(work["jobs"]):
            results.write(json.dumps(await _run(dut, lite, memory, number, job)) + "\n")
            results.flush()
