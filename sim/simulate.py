"""Runs programs on the generated Verilog: the accelerator, a memory behind it and cocotb, in Verilator or Icarus.

Many jobs may share one simulator process and one compiled model; the model depends on the Verilog, the widths and the
kind of memory alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from hw.control.registers import BY_NAME, COUNTERS, STATUS_DONE, STATUS_ERROR
from sim import tools, verilator
from sim.cycles.memory import MemoryTiming

BREACHES = (
    "a valid was taken back or its payload changed before ready",
    "a burst was not INCR of full width",
    "an address was not aligned to the bus",
    "a burst crossed 4 KiB",
    "WLAST was not at the end of its burst",
    "a lock or a foreign ID",
)
"""Meaning of the bits of the harness' ``breaches``."""

READ_BACK = ("status", "error", "error_instruction", *(name for name, _ in COUNTERS))
_DEPTH_BYTES = 1 << 22
BENCH = Path(__file__).resolve().parent.parent / "tb"
"""Folder of the test bench."""


class SimulationError(RuntimeError):
    """The simulation did not end as it must, whatever the accelerator computed."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One program run.

    Parameters
    ----------
    image : bytes
        The whole memory before the run; its length is a multiple of the bus's width. What lies outside answers SLVERR.
    base : int
        Address of its first byte.
    registers : mapping
        Values by name of the register map, written in this order, before the start. A name without ``_low`` and
        ``_high`` writes both.
    output : (int, int)
        Offset in the image and length of the bytes to bring back; by default all.
    timing : MemoryTiming
        For the exact memory.
    stall, seed : float, int
        For cocotbext-axi's memory: share of the cycles in which each of its channels pauses, and the pattern's seed.
    errors : sequence of (int, int)
        For cocotbext-axi's memory: first and last address of ranges that answer SLVERR.
    limit : int
        Cycles after which the run is given up.
    reset : bool
        Reset before the run; otherwise wait until the accelerator is not busy and clear STATUS.
    refused : mapping
        As ``registers``, written while the program runs: each must be refused.
    """

    image: bytes
    registers: Mapping[str, int]
    base: int = 0
    output: tuple[int, int] | None = None
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    stall: float = 0.0
    seed: int = 0
    errors: Sequence[tuple[int, int]] = ()
    limit: int = 10_000_000
    reset: bool = True
    refused: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came of a job."""

    memory: bytes
    """The bytes of ``Job.output`` after the run."""
    cycles: int
    """Cycles from the start's handshake to the interrupt, counted outside of the accelerator."""
    interrupt: bool
    """False: ``limit`` cycles went by without an interrupt."""
    status: int
    error: int
    """The ERROR register: ``hw.control.isa.Error`` in bits 7:0, ``Queue`` in bits 15:8; meaningless without error."""
    error_instruction: int
    counters: dict[str, int]
    read_beats: int
    write_beats: int
    """Beats counted on the bus."""
    idle: bool
    """The bus became idle after the run."""
    breaches: tuple[str, ...]
    """What the master did against the protocol."""
    seconds: float
    """Wall time of this job."""

    @property
    def ok(self) -> bool:
        """Done without error, bus idle, protocol kept."""
        done = self.status >> STATUS_DONE & 1 and not self.status >> STATUS_ERROR & 1
        return bool(self.interrupt and done and self.idle and not self.breaches)

    @property
    def cycles_per_second(self) -> float:
        """Simulated cycles in a second of wall time."""
        return self.cycles / self.seconds if self.seconds else 0.0


def register_writes(registers: Mapping[str, int]) -> list[tuple[int, int]]:
    """Register offsets and values in the order of writing."""
    writes: list[tuple[int, int]] = []
    for name, value in registers.items():
        if name + "_low" in BY_NAME:
            writes += [
                (BY_NAME[f"{name}_low"].offset, value & 0xFFFFFFFF),
                (BY_NAME[f"{name}_high"].offset, value >> 32),
            ]
        elif name in BY_NAME:
            writes.append((BY_NAME[name].offset, value))
        else:
            raise ValueError(f"a register must be one of the register map, not {name!r}")
    return writes


def _range(job: Job, data_bytes: int) -> tuple[int, int]:
    """First and last beat that hold ``job.output``."""
    first, length = job.output or (0, len(job.image))
    if length < 1 or first < 0 or first + length > len(job.image):
        raise ValueError(f"output must lie in the image's {len(job.image)} bytes, not {job.output!r}")
    return first // data_bytes, (first + length - 1) // data_bytes


def describe(job: Job, data_bytes: int) -> dict:
    """The job as ``tb.bench`` reads it."""
    if not job.image or len(job.image) % data_bytes:
        raise ValueError(f"the image must be a multiple of {data_bytes} bytes long, not {len(job.image)}")
    if job.base % data_bytes:
        raise ValueError(f"base must be a multiple of {data_bytes}, not {job.base:#x}")
    acknowledge = [] if job.reset else [(BY_NAME["status"].offset, 1 << STATUS_DONE | 1 << STATUS_ERROR)]
    return {
        "timing": asdict(job.timing),
        "base": job.base,
        "beats": len(job.image) // data_bytes,
        "dump": _range(job, data_bytes),
        "limit": job.limit,
        "writes": [*acknowledge, *register_writes(job.registers), (BY_NAME["control"].offset, 1)],
        "refused": register_writes(job.refused),
        "status": BY_NAME["status"].offset,
        "reads": [BY_NAME[name].offset for name in READ_BACK],
        "reset": job.reset,
        "stall": job.stall,
        "seed": job.seed,
        "errors": list(job.errors),
    }


def to_hex(data: bytes, data_bytes: int) -> str:
    """``data`` as a file for ``$readmemh``: a beat per line, its first byte at the right."""
    return (
        np.frombuffer(data, np.uint8).reshape(-1, data_bytes)[:, ::-1].tobytes().hex("\n", data_bytes) + "\n"
    )


def from_hex(text: str, data_bytes: int) -> bytes:
    """The bytes of a file written by ``$writememh``; raises ``SimulationError`` at unknown bits."""
    digits = "".join(line for line in text.splitlines() if not line.startswith(("//", "@")))
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        raise SimulationError("the accelerator wrote unknown bits to memory") from None
    return np.frombuffer(data, np.uint8).reshape(-1, data_bytes)[:, ::-1].tobytes()


def bench_sources(verilog: str, *, external: bool) -> dict[str, str]:
    """Verilog of the accelerator and of the test bench around it, by file name."""
    names = ("axi_monitor.v", "harness.v") if external else ("axi_memory.v", "axi_monitor.v", "harness.v")
    return {"design.v": verilog} | {name: (BENCH / name).read_text() for name in names}


def parameters(
    jobs: Sequence[Job],
    *,
    data_bytes: int,
    address_width: int,
    external: bool = False,
    least: int = _DEPTH_BYTES,
) -> dict[str, int]:
    """Verilog parameters of the harness; the exact memory holds ``least`` bytes and every image."""
    table = {
        "DATA_WIDTH": 8 * data_bytes,
        "ADDRESS_WIDTH": address_width,
        "CONTROL": BY_NAME["control"].offset,
    }
    if not external:
        size = max(least, *(len(job.image) for job in jobs))
        table["DEPTH_BITS"] = max(1, (size // data_bytes - 1).bit_length())
    return table


def cut(data: bytes, job: Job, data_bytes: int) -> bytes:
    """``job.output`` out of the beats that hold it."""
    first, length = job.output or (0, len(job.image))
    return data[first % data_bytes :][:length]


def _cocotb_environment(simulator: str) -> dict[str, str]:
    """What cocotb's own runner would set, and no more."""
    import find_libpython
    from cocotb_tools import config

    library = find_libpython.find_libpython()
    if library is None:
        raise tools.ToolError(
            "this Python has no shared library, which cocotb needs; use one built with --enable-shared"
        )
    return tools.environment(
        GPI_USERS=f"{library};{config.pygpi_entry_point()}",
        PYGPI_PYTHON_BIN=sys.executable,
        PYTHONPATH=str(BENCH.parent) + ":" + ":".join(filter(None, sys.path)),
        COCOTB_TOPLEVEL="harness",
        COCOTB_TEST_MODULES="tb.bench",
        COCOTB_RESULTS_FILE="results.xml",
        COCOTB_LOG_LEVEL="WARNING",
        GPI_LOG_LEVEL="WARNING",
        COCOTB_RANDOM_SEED="1",
        COCOTB_TRUST_INERTIAL_WRITES="1" if simulator == "verilator" else "0",
        TOPLEVEL_LANG="verilog",
        NO_COLOR="1",
    )


def _verilator_command(
    sources: dict[str, str],
    defines: dict[str, str],
    parameters: dict[str, int],
    waves: Path | None,
    notify: verilator.Notify | None,
) -> list[str | Path]:
    from cocotb_tools import config

    visible = BENCH / ("harness_external.vlt" if "EXTERNAL_MEMORY" in defines else "harness.vlt")
    trace = waves.suffix[1:] if waves else None
    program = verilator.build(
        sources | {visible.name: visible.read_text()},
        top="harness",
        main=Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp",
        defines=defines,
        parameters=parameters,
        libraries=[config.lib_name_path("vpi", "verilator"), Path(config.libs_dir) / "libgpi.so"],
        trace=trace,
        notify=notify,
    )
    return [program, *(("--trace", "--trace-file", waves) if waves else ())]


def _icarus_command(
    folder: Path,
    sources: dict[str, str],
    defines: dict[str, str],
    parameters: dict[str, int],
    waves: Path | None,
) -> list[str | Path]:
    from cocotb_tools import config

    programs = tools.require_icarus()
    if waves:
        text = (
            f'module waves; initial begin $dumpfile("{waves.name}"); $dumpvars(0, harness); end endmodule\n'
        )
        sources = sources | {"waves.v": text}
    for name, text in sources.items():
        (folder / name).write_text(text)
    # -g2012, which cocotb's runner always gives, leaves outputs of Amaranth's designs unknown.
    command = [
        programs["iverilog"],
        "-g2005",
        "-o",
        "sim.vvp",
        "-s",
        "harness",
        *(["-s", "waves"] if waves else []),
    ]
    command += [f"-D{name}={value}" for name, value in defines.items()]
    command += [f"-Pharness.{name}={value}" for name, value in parameters.items()]
    tools.run([*command, *sources], folder=folder, name="iverilog", timeout=600)
    fst = ["-fst"] if waves and waves.suffix == ".fst" else []
    return [programs["vvp"], "-m", config.lib_entry("vpi", "icarus"), "sim.vvp", *fst]


def _check_choice(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")


def simulate_all(
    verilog: str,
    jobs: Sequence[Job],
    *,
    top: str,
    data_bytes: int,
    address_width: int,
    simulator: str = "verilator",
    memory: str = "exact",
    waves: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    notify: verilator.Notify | None = None,
    timeout: float | None = None,
) -> list[RunResult]:
    """Run ``jobs`` one after the other in one simulator process.

    Parameters
    ----------
    verilog, top
        Text with the accelerator, and the name of its module.
    data_bytes, address_width
        Widths of its AXI4 port: bytes of a beat, bits of an address.
    simulator
        ``"verilator"`` or ``"icarus"``.
    memory
        ``"exact"``: the memory with stated timing; ``"cocotbext"``: cocotbext-axi's slave.
    waves
        File for a trace, ``.vcd`` or ``.fst``.
    progress
        Called now and then with the number of the job and its cycles so far.
    notify
        Told what is going on when something takes seconds.
    timeout
        Seconds of wall time for the simulation.

    Raises
    ------
    SimulationError
        The bench failed: a register access refused, the independent slave protesting, unknown bits.
    sim.tools.ToolError
        A tool is missing or failed.
    """
    _check_choice("simulator", simulator, ("verilator", "icarus"))
    _check_choice("memory", memory, ("exact", "cocotbext"))
    waves = Path(waves).absolute() if waves else None
    if waves:
        _check_choice("suffix of the trace", waves.suffix, (".vcd", ".fst"))
    if not jobs:
        return []
    external = memory == "cocotbext"
    sources = bench_sources(verilog, external=external)
    defines = {"DUT": top} | ({"EXTERNAL_MEMORY": "1"} if external else {})
    table = parameters(
        jobs,
        data_bytes=data_bytes,
        address_width=address_width,
        external=external,
        least=_DEPTH_BYTES if simulator == "verilator" else 0,
    )
    with tools.working_folder("run") as folder:
        work = {
            "external": external,
            "data_bytes": data_bytes,
            "jobs": [describe(job, data_bytes) for job in jobs],
        }
        (folder / "jobs.json").write_text(json.dumps(work))
        for number, job in enumerate(jobs):
            if external:
                (folder / f"image{number}.bin").write_bytes(job.image)
            else:
                (folder / f"image{number}.hex").write_text(to_hex(job.image, data_bytes))
        if simulator == "verilator":
            command = _verilator_command(sources, defines, table, waves, notify)
        else:
            command = _icarus_command(folder, sources, defines, table, waves)
        log = tools.run(
            command,
            folder=folder,
            env=_cocotb_environment(simulator),
            name=simulator,
            timeout=timeout,
            poll=_Progress(folder / "progress.txt", progress) if progress else None,
        )
        if waves and simulator == "icarus":
            (folder / waves.name).replace(waves)
        return _results(folder, jobs, data_bytes, external, log)


def simulate(verilog: str, job: Job, **options) -> RunResult:
    """Run one job: see :func:`simulate_all`."""
    return simulate_all(verilog, [job], **options)[0]


class _Progress:
    """Reads what the bench says of its progress."""

    def __init__(self, path: Path, tell: Callable[[int, int], None]):
        self._path, self._tell, self._place = path, tell, 0

    def __call__(self) -> None:
        if not self._path.exists():
            return
        with self._path.open() as file:
            file.seek(self._place)
            lines = [line for line in file.read().splitlines(keepends=True) if line.endswith("\n")]
        self._place += sum(map(len, lines))
        if lines:
            number, cycles = lines[-1].split()
            self._tell(int(number), int(cycles))


def _results(folder: Path, jobs: Sequence[Job], data_bytes: int, external: bool, log: str) -> list[RunResult]:
    path = folder / "results.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    errors = [row["error"] for row in rows if row["error"]]
    report = folder / "results.xml"
    failed = not report.exists() or bool(ElementTree.parse(report).findall(".//failure"))
    if errors or failed or len(rows) < len(jobs):
        reason = (
            errors[0] if errors else "the test bench failed:\n" + "\n".join(log.strip().splitlines()[-30:])
        )
        raise SimulationError(f"job {len(rows) - (1 if errors else 0)}: {reason}")
    results = []
    for number, (job, row) in enumerate(zip(jobs, rows, strict=True)):
        if external:
            data = (folder / f"dump{number}.bin").read_bytes()
        else:
            data = from_hex((folder / f"dump{number}.hex").read_text(), data_bytes)
        registers = {name: row["registers"][str(BY_NAME[name].offset)] for name in READ_BACK}
        results.append(
            RunResult(
                memory=cut(data, job, data_bytes),
                status=registers.pop("status"),
                error=registers.pop("error"),
                error_instruction=registers.pop("error_instruction"),
                counters=registers,
                breaches=tuple(text for bit, text in enumerate(BREACHES) if row["breaches"] >> bit & 1),
                **{
                    key: row[key]
                    for key in ("cycles", "interrupt", "read_beats", "write_beats", "idle", "seconds")
                },
            )
        )
    return results
