"""The compiled library: the exact memory's law, the same results as with the test bench, faults that must show."""

import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from test_simulator import OPTIONS, copied, copy_job, copy_verilog, predicted, random_jobs

from gen import cases, config
from gen.cases import Case
from gen.generate import generate
from hw.control.registers import STATUS_DONE, STATUS_ERROR
from sim import bare
from sim.cycles.memory import MemoryTiming
from sim.fast import Simulator, Stopped
from sim.simulate import SimulationError


@cache
def copier(traced: bool = False) -> Simulator:
    return Simulator(copy_verilog(), traced=traced, **OPTIONS)


def run(simulator, job, **options):
    image = np.frombuffer(job.image, np.uint8).copy()
    result = simulator.run(
        image,
        job.registers,
        base=job.base,
        timing=job.timing,
        limit=job.limit,
        reset=job.reset,
        **options,
    )
    return result, image.tobytes()


def test_memory_keeps_its_law():
    """Cycle for cycle what the model of the memory says, one run after the other, with and without a reset."""
    for number, job in enumerate(random_jobs(40)):
        result, memory = run(copier(), replace(job, reset=number % 3 == 0))
        assert result.cycles == predicted(job), job
        assert result.counters["cycles"] == predicted(job) - 1, job
        assert memory == copied(job), job
        beats = job.registers["program_length"] * job.registers["watchdog"]
        assert (result.read_beats, result.write_beats) == (beats, beats)
        assert result.ok, job


@pytest.mark.long
@pytest.mark.parametrize(("data_bytes", "address_width"), [(4, 17), (16, 40), (32, 33), (64, 64)])
def test_other_widths(data_bytes, address_width):
    base = 0x1_0000
    job = copy_job(beats=7, bursts=3, base=base, timing=MemoryTiming(read_latency=5))
    verilog = copy_verilog(data_bytes, address_width)
    with Simulator(verilog, top="copy", data_bytes=data_bytes, address_width=address_width) as simulator:
        result, memory = run(simulator, job)
    assert result.cycles == predicted(job)
    assert memory == copied(job, data_bytes)


@pytest.mark.parametrize("place", [{"source": 0x7F80}, {"target": 0x7F80}, {"source": -0x80, "base": 0x1000}])
def test_outside_of_the_memory(place):
    """The part inside is written, the rest answers SLVERR, and the next run is not disturbed."""
    bad, good = run(copier(), copy_job(**place)), run(copier(), copy_job())
    assert bad[0].status == 1 << STATUS_DONE | 1 << STATUS_ERROR
    assert good[0].ok
    assert good[1] == copied(copy_job())


def test_breach_of_the_protocol_shows():
    result, _ = run(copier(), copy_job(beats=16, bursts=1, source=0x1FC0))
    assert result.breaches == ("a burst crossed 4 KiB",)
    assert not result.ok


def test_limit():
    result, _ = run(copier(), copy_job(limit=50))
    assert (result.interrupt, result.cycles, result.ok) == (False, 50, False)
    assert run(copier(), copy_job())[0].ok


def test_stop_from_another_thread():
    """A run that would last for minutes ends at once; after ``resume`` the next one is as from reset."""
    slow = copy_job(beats=200, bursts=8, timing=MemoryTiming(interval=60_000), limit=1 << 40)
    timer = threading.Timer(0.2, copier().stop)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Stopped, match="stopped"):
        run(copier(), replace(slow, reset=False))
    assert time.monotonic() - started < 20
    timer.join()
    copier().resume()
    assert run(copier(), copy_job(reset=False))[0].cycles == predicted(copy_job())


@pytest.mark.long
def test_trace_of_a_window(tmp_path):
    file = tmp_path / "part.vcd"
    result, memory = run(copier(True), copy_job(), trace=file, window=(10, 19))
    assert result.cycles == predicted(copy_job())
    assert memory == copied(copy_job())
    times = [int(line[1:]) for line in file.read_text().splitlines() if line.startswith("#")]
    assert (times[0], times[-1]) == (100, 195)
    assert "rvalid" in file.read_text()


@pytest.mark.long
def test_trace_that_cannot_be_written(tmp_path):
    file = tmp_path / "part.vcd"
    file.mkdir()
    with pytest.raises(SimulationError, match="the trace must be a file that can be written"):
        run(copier(True), copy_job(), trace=file, window=(10, 19))
    assert run(copier(True), copy_job())[0].cycles == predicted(copy_job())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image": np.zeros(15, np.uint8)}, "image must be a multiple of 8 bytes long, not 15"),
        ({"image": np.zeros(16, np.int8)}, "image must be an array of uint8"),
        ({"image": np.zeros(32, np.uint8)[::2]}, "image must be contiguous"),
        ({"base": 4}, "base must be a multiple of 8, not 0x4"),
        ({"timing": MemoryTiming(outstanding=65)}, "outstanding must be 1 to 64, not 65"),
        ({"timing": MemoryTiming(interval=0)}, "interval must be 1 to 65535, not 0"),
        ({"trace": Path("x.vcd")}, "trace must be a .vcd of a simulator that is traced, not 'x.vcd'"),
        ({"registers": {"colour": 1}}, "a register must be one of the register map, not 'colour'"),
    ],
)
def test_refusals(change, text):
    given = {"image": np.zeros(16, np.uint8), "registers": {}} | change
    with pytest.raises((ValueError, TypeError), match=text):
        copier().run(**given)


def test_closed():
    with Simulator(copy_verilog(), **OPTIONS) as simulator:
        pass
    with pytest.raises(ValueError, match="the simulator must be open, not closed"):
        run(simulator, copy_job())


def test_layer_on_an_accelerator():
    """A program twice on one simulator: results, cycles of the model, no stray byte."""
    loaded = config.load("systolic-4x4", [])
    made, design = generate(loaded), loaded.design()
    prepared = cases.prepare(loaded, Case((5, 70, 9), timing=cases.memory(20)))
    options = {"top": made.top, "data_bytes": design.data_bytes, "address_width": design.address_width}
    with Simulator(made.verilog, **options) as simulator:
        for _ in range(2):
            image = prepared.image.copy()
            program = prepared.program
            result = simulator.run(image, program.registers, base=program.base, timing=prepared.timing)
            assert result.ok
            assert result.counters["cycles"] == cases.prediction(loaded, prepared).cycles
            assert np.array_equal(program.read_output(image), prepared.load.golden())
            assert program.damaged(image) is None


@pytest.mark.long
def test_bare_model_agrees():
    job = copy_job(beats=64, bursts=8)
    alone, (result, memory) = bare.run(copy_verilog(), job, **OPTIONS), run(copier(), job)
    assert alone.cycles == result.cycles
    assert alone.memory == memory
