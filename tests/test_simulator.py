# amaranth: UnusedElaboratable=no
"""The test bench: exact memory timing, both simulators, both memories, faults that must show."""

import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache

import pytest
from axi_copy import CopyMachine

from gen.verilog import to_verilog
from hw.control.registers import STATUS_DONE, STATUS_ERROR
from sim import bare, simulate, tools, verilator
from sim.cycles.memory import MemoryTiming, ReadMemory, WriteMemory
from sim.simulate import Job, SimulationError, simulate_all

BYTES = 8
OPTIONS = {"top": "copy", "data_bytes": BYTES, "address_width": 32}
SIMULATORS = ["verilator", *(["icarus"] if tools.icarus() else [])]
SOURCE, TARGET = 0x1000, 0x4000


@cache
def copy_verilog(data_bytes: int = BYTES, address_width: int = 32) -> str:
    return to_verilog(CopyMachine(data_bytes=data_bytes, address_width=address_width), name="copy")


def copy_job(
    *, beats: int = 16, bursts: int = 4, seed: int = 1, source=SOURCE, target=TARGET, base=0, **more
) -> Job:
    registers = {"program_address": base + source, "window_first": base + target, "program_length": beats}
    image = random.Random(seed).randbytes(0x8000)
    return Job(image=image, base=base, seed=seed, registers=registers | {"watchdog": bursts}, **more)


def copied(job: Job, data_bytes: int = BYTES) -> bytes:
    """What the memory must hold in the end."""
    length = job.registers["program_length"] * job.registers["watchdog"] * data_bytes
    source, target = (job.registers[name] - job.base for name in ("program_address", "window_first"))
    image = bytearray(job.image)
    image[target : target + length] = job.image[source : source + length]
    return bytes(image)


def predicted(job: Job) -> int:
    """Cycles of the copy by the memory's law: all reads are asked for at once, then all writes."""
    beats, bursts = job.registers["program_length"], job.registers["watchdog"]
    reads, writes = ReadMemory(job.timing), WriteMemory(job.timing)
    cycle = last = 0
    for _ in range(bursts):
        cycle, _, last = reads.read(cycle + 1, beats)
    address = data = answer = last
    for _ in range(bursts):
        address = writes.address(address + 1)
        data, answer = writes.data(address, data + 1, beats)
    return answer + 1


def random_jobs(number: int) -> list[Job]:
    generator = random.Random(7)
    jobs = []
    for seed in range(number):
        timing = MemoryTiming(
            read_latency=generator.choice((1, 2, 3, 20, 100)),
            write_latency=generator.choice((1, 2, 3, 20, 100)),
            interval=generator.choice((1, 1, 2, 7)),
            outstanding=generator.choice((1, 2, 3, 8, 64)),
        )
        beats = generator.choice((1, 2, 3, 16, 64))
        jobs.append(copy_job(beats=beats, bursts=generator.randint(1, 8), seed=seed, timing=timing))
    return jobs


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_exact_memory_keeps_its_law(simulator):
    """One process, many jobs: cycle for cycle what the model of the memory says; a seed per job, in its number."""
    jobs = random_jobs(40)
    results = simulate_all(copy_verilog(), jobs, simulator=simulator, **OPTIONS)
    for job, result in zip(jobs, results, strict=True):
        assert result.cycles == predicted(job), job
        assert result.counters["cycles"] == predicted(job) - 1, job
        assert result.memory == copied(job), job
        beats = job.registers["program_length"] * job.registers["watchdog"]
        assert (result.read_beats, result.write_beats) == (beats, beats)
        assert result.ok, job


@pytest.mark.parametrize(("data_bytes", "address_width"), [(4, 32), (16, 40), (32, 33), (64, 64)])
def test_other_widths(data_bytes, address_width):
    simulator = SIMULATORS[-1]
    base = 0x8000_0000
    job = copy_job(
        beats=7, bursts=3, base=base, timing=MemoryTiming(read_latency=5), output=(TARGET + 3, 1001)
    )
    verilog = copy_verilog(data_bytes, address_width)
    options = {"top": "copy", "data_bytes": data_bytes, "address_width": address_width}
    result = simulate.simulate(verilog, job, simulator=simulator, **options)
    assert result.cycles == predicted(job)
    assert result.memory == copied(job, data_bytes)[TARGET + 3 :][:1001]


def test_independent_slave():
    """cocotbext-axi's memory: pauses change the cycles and nothing else; the same seed gives the same run."""
    stalls = (0.0, 0.5, 0.5, 0.5, 0.9)
    jobs = [copy_job(seed=seed, stall=stall) for seed, stall in zip((1, 2, 2, 3, 4), stalls, strict=True)]
    results = simulate_all(copy_verilog(), jobs, memory="cocotbext", **OPTIONS)
    for job, result in zip(jobs, results, strict=True):
        assert result.ok
        assert result.memory == copied(job)
    cycles = [result.cycles for result in results]
    assert cycles[1] == cycles[2]
    assert cycles[0] < cycles[1] != cycles[3] < cycles[4]


ERRORS = {"read": (SOURCE + 200, SOURCE + 200), "write": (TARGET + 200, TARGET + 207)}


@pytest.mark.parametrize("errors", ERRORS.values(), ids=ERRORS)
def test_error_range(errors):
    result = simulate.simulate(copy_verilog(), copy_job(errors=[errors]), memory="cocotbext", **OPTIONS)
    assert result.interrupt
    assert result.status == 1 << STATUS_DONE | 1 << STATUS_ERROR
    assert not result.ok


@pytest.mark.parametrize("memory", ["exact", "cocotbext"])
@pytest.mark.parametrize("place", [{"source": 0x7F80}, {"target": 0x7F80}, {"source": -0x80, "base": 0x1000}])
def test_outside_of_the_memory(memory, place):
    """The part inside is written, the rest answers SLVERR, and the next job is not disturbed."""
    jobs = [copy_job(**place), copy_job()]
    bad, good = simulate_all(copy_verilog(), jobs, memory=memory, **OPTIONS)
    assert bad.status == 1 << STATUS_DONE | 1 << STATUS_ERROR
    assert good.ok
    assert good.memory == copied(jobs[1])


BREACHES = {
    "4 KiB": ({"source": 0x1FC0}, "a burst crossed 4 KiB"),
    "alignment": ({"source": 0x1004}, "an address was not aligned to the bus"),
}


@pytest.mark.parametrize("case", BREACHES)
def test_breach_of_the_protocol_shows(case):
    place, text = BREACHES[case]
    result = simulate.simulate(copy_verilog(), copy_job(beats=16, bursts=1, **place), **OPTIONS)
    assert result.breaches == (text,)
    assert not result.ok


@pytest.mark.parametrize(
    ("original", "fault", "text"),
    [
        ("m_axi_arburst = 2'h1", "m_axi_arburst = 2'h2", "a burst was not INCR of full width"),
        ("m_axi_awsize = 3'h3", "m_axi_awsize = 3'h2", "a burst was not INCR of full width"),
        (
            "m_axi_wstrb = 8'hff",
            "m_axi_wstrb = {8{m_axi_wready}}",
            "a valid was taken back or its payload changed before ready",
        ),
        ("m_axi_awlen = ", "m_axi_awlen = 1 + ", "WLAST was not at the end of its burst"),
        ("m_axi_awlock = 1'h0", "m_axi_awlock = 1'h1", "a lock or a foreign ID"),
    ],
)
def test_seeded_fault_shows(original, fault, text):
    assert original in copy_verilog()
    verilog = copy_verilog().replace(original, fault)
    job = copy_job(timing=MemoryTiming(interval=3))
    result = simulate.simulate(verilog, job, simulator=SIMULATORS[-1], **OPTIONS)
    assert result.breaches == (text,)


def test_independent_slave_protests():
    with pytest.raises(SimulationError, match="job 0: the test bench failed"):
        simulate.simulate(
            copy_verilog(), copy_job(beats=16, bursts=1, source=0x1FC0), memory="cocotbext", **OPTIONS
        )


def test_limit():
    job = copy_job(limit=50)
    stopped, whole = simulate_all(copy_verilog(), [job, replace(job, limit=10_000)], **OPTIONS)
    assert (stopped.interrupt, stopped.cycles, stopped.ok) == (False, 50, False)
    assert whole.ok


def test_second_start_without_reset():
    jobs = [copy_job(), copy_job(seed=2, reset=False), copy_job(seed=3, reset=False)]
    for job, result in zip(jobs, simulate_all(copy_verilog(), jobs, **OPTIONS), strict=True):
        assert result.ok
        assert result.cycles == predicted(job)
        assert result.memory == copied(job)


def test_refused_register():
    job = copy_job()
    with pytest.raises(
        SimulationError, match="job 1: BusError: write of 0x7 to register 0x0 was answered with 2"
    ):
        simulate_all(copy_verilog(), [job, replace(job, registers={"magic": 7})], **OPTIONS)


def test_bare_model_agrees():
    job = copy_job(beats=64, bursts=8, output=(TARGET, 4096))
    result = bare.run(copy_verilog(), job, **OPTIONS)
    assert result.cycles == predicted(job)
    assert result.memory == copied(job)[TARGET : TARGET + 4096]
    assert result.cycles_per_second > 0


def test_progress_and_notices():
    seen: list[tuple[int, int]] = []
    job = copy_job(beats=64, bursts=8, timing=MemoryTiming(interval=2000), limit=3_000_000)
    result = simulate.simulate(copy_verilog(), job, progress=lambda n, c: seen.append((n, c)), **OPTIONS)
    assert result.cycles == predicted(job)
    assert seen
    assert [cycles for _, cycles in seen] == sorted(cycles for _, cycles in seen)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_waves(simulator, tmp_path):
    file = tmp_path / "run.vcd"
    assert simulate.simulate(copy_verilog(), copy_job(), simulator=simulator, waves=file, **OPTIONS).ok
    assert "s_axil_awaddr" in file.read_text()


def test_fst_trace_names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(verilator, "SYSTEM", (tmp_path,))
    with pytest.raises(
        tools.ToolError, match=r"an \.fst trace needs zlib\.h, .* apt-get install zlib1g-dev liblz4-dev"
    ):
        verilator.fst_files(tmp_path)
    needed = (
        "include/zlib.h",
        "include/x86_64-linux-gnu/zconf.h",
        "include/lz4.h",
        "lib/libz.so",
        "lib64/liblz4.so",
    )
    for name in needed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    folder = tmp_path / "model"
    folder.mkdir()
    assert verilator.fst_files(folder) == [tmp_path / "lib/libz.so", tmp_path / "lib64/liblz4.so"]
    assert {file.name for file in folder.iterdir()} == {"zlib.h", "zconf.h", "lz4.h"}


WRONG = {
    "simulator must be one of verilator, icarus, not 'x'": {"simulator": "x"},
    "memory must be one of exact, cocotbext, not 'x'": {"memory": "x"},
    "suffix of the trace must be one of .vcd, .fst, not '.txt'": {"waves": "a.txt"},
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_options(text):
    with pytest.raises(ValueError, match=text):
        simulate_all("", [copy_job()], **OPTIONS, **WRONG[text])


WRONG_JOBS = {
    "the image must be a multiple of 8 bytes long, not 7": {"image": bytes(7)},
    "base must be a multiple of 8, not 0x4": {"base": 4},
    "output must lie in the image's 32768 bytes, not \\(32768, 1\\)": {"output": (32768, 1)},
    "a register must be one of the register map, not 'foo'": {"registers": {"foo": 1}},
}


@pytest.mark.parametrize("text", WRONG_JOBS)
def test_wrong_jobs(text):
    with pytest.raises(ValueError, match=text):
        simulate_all("", [replace(copy_job(), **WRONG_JOBS[text])], **OPTIONS)


@pytest.mark.parametrize("data_bytes", [4, 8, 64])
def test_hex_files(data_bytes):
    data = random.Random(3).randbytes(64 * 5)
    text = simulate.to_hex(data, data_bytes)
    assert bytes.fromhex(text.splitlines()[0])[::-1] == data[:data_bytes]
    assert simulate.from_hex("// 0x00000000\n" + text, data_bytes) == data
    with pytest.raises(SimulationError, match="unknown bits"):
        simulate.from_hex("xx" + text[2:], data_bytes)


def test_second_builder_of_a_model_keeps_the_first(tmp_path):
    final = tmp_path / "model"
    for text in ("first", "second"):
        temporary = tmp_path / text
        temporary.mkdir()
        (temporary / "model").write_text(text)
        verilator.keep(temporary, final)
        assert not temporary.exists()
    assert (final / "model").read_text() == "first"


def test_models_that_another_process_removes_are_no_trouble(tmp_path, monkeypatch):
    monkeypatch.setattr(verilator, "KEPT", 2)
    for age, name in enumerate(["newest", "newer", "old"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    verilator._prune(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["gone", "newer", "newest"]


def test_missing_package_says_how_to_get_it():
    with pytest.raises(
        tools.ToolError, match=r"no_such is not installed; get it with: .* -m pip install no-such"
    ):
        tools.package_folder("no_such", wheel="no-such")


def test_failing_tool_shows_its_last_words(tmp_path):
    program = "print('line'); raise SystemExit('what was wrong')"
    with pytest.raises(tools.ToolError, match=r"tool failed \(1\):\nline\nwhat was wrong"):
        tools.run([sys.executable, "-c", program], folder=tmp_path, name="tool")
    with pytest.raises(tools.ToolError, match="tool cannot be started"):
        tools.run([tmp_path / "none"], folder=tmp_path, name="tool")


def test_time_limit_ends_the_whole_group(tmp_path):
    """A child of the tool is gone too."""
    program = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('child').write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(tools.ToolError, match="tool took longer than 2 s and was ended"):
        tools.run([sys.executable, "-c", program], folder=tmp_path, name="tool", timeout=2)
    child = (tmp_path / "child").read_text()
    for _ in range(50):
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", child], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not state or state.startswith("Z"):
            break
        time.sleep(0.1)
    assert not state or state.startswith("Z")
