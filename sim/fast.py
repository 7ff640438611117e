"""Whole programs on the generated Verilog, compiled into a library: memory is the caller's array, C++ does the rest.

Same Verilog, same harness, same timing of memory as ``sim.simulate`` with its exact memory; no process, no test bench in Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from hw.control.registers import BY_NAME, STATUS_DONE, STATUS_ERROR
from sim import simulate, verilator
from sim.cycles.memory import MemoryTiming
from sim.simulate import RunResult, SimulationError

OUTSTANDING = 64
"""Most reads, and writes, that the memory keeps."""
LATENCY = 65_535

_OUTCOMES = {
    1: "the accelerator refused an access to a register",
    3: "the accelerator did not come to rest before the run",
    4: "the trace must be a file that can be written",
}
_STOPPED = 2


class Stopped(RuntimeError):
    """A run was given up because ``Simulator.stop`` was called."""


class _Job(ctypes.Structure):
    _fields_ = [
        ("image", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("base", "beats", "limit")),
        *((n, ctypes.c_uint64) for n in ("read_latency", "write_latency", "interval", "outstanding")),
        *((name, ctypes.c_void_p) for name in ("writes", "reads", "values")),
        *((n, ctypes.c_uint64) for n in ("writes_count", "reads_count", "reset", "status")),
        ("trace", ctypes.c_char_p),
        ("trace_first", ctypes.c_uint64),
        ("trace_last", ctypes.c_uint64),
        ("stop", ctypes.POINTER(ctypes.c_int32)),
    ]


class _Result(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_uint64) for n in ("outcome", "cycles", "interrupt", "idle", "breaches")),
        *((name, ctypes.c_uint64) for name in ("read_beats", "write_beats")),
        ("seconds", ctypes.c_double),
    ]


class Simulator:
    """An accelerator in simulation, with the state it has between programs.

    A call runs without Python's lock: several simulators run at the same time in as many threads. One simulator is for one thread
    at a time.

    Parameters
    ----------
    verilog, top : str
        Text with the accelerator, and the name of its module.
    data_bytes, address_width : int
        Widths of its AXI4 port: bytes of a beat, bits of an address.
    traced : bool
        Whether it can write traces; it is another model then, no slower until it does.
    notify : callable, optional
        Told what is going on when something takes seconds.

    Raises
    ------
    sim.tools.ToolError
        A tool is missing or failed.
    """

    def __init__(
        self,
        verilog: str,
        *,
        top: str,
        data_bytes: int,
        address_width: int,
        traced: bool = False,
        notify: verilator.Notify | None = None,
    ):
        table = simulate.parameters([], data_bytes=data_bytes, address_width=address_width, external=True)
        path = verilator.build(
            simulate.bench_sources(verilog, external=True)
            | {"fast.v": (simulate.BENCH / "fast.v").read_text()},
            top="fast",
            main=simulate.BENCH / "fast.cpp",
            defines={"DUT": top, "EXTERNAL_MEMORY": "1"},
            parameters=table,
            vpi=False,
            trace="vcd" if traced else None,
            shared=True,
            notify=notify,
        )
        self._library = ctypes.CDLL(str(path))
        self._library.fast_open.restype = ctypes.c_void_p
        self._library.fast_close.argtypes = [ctypes.c_void_p]
        self._library.fast_run.argtypes = [ctypes.c_void_p] * 3
        self._library.fast_close.restype = self._library.fast_run.restype = None
        self._data_bytes, self._traced = data_bytes, traced
        self._stop = ctypes.c_int32(0)
        self._fresh = False
        self._machine: int | None = self._library.fast_open()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the simulator's memory back; nothing runs on it any more."""
        if self._machine is not None:
            self._library.fast_close(self._machine)
            self._machine = None

    def stop(self) -> None:
        """Have the run under way, if any, and all that are begun later end in ``Stopped``: for another thread."""
        self._stop.value = 1

    def resume(self) -> None:
        """Runs are carried out again."""
        self._stop.value = 0

    def run(
        self,
        image: np.ndarray,
        registers: Mapping[str, int],
        *,
        base: int = 0,
        timing: MemoryTiming | None = None,
        limit: int = 10_000_000,
        reset: bool = False,
        trace: Path | None = None,
        window: tuple[int, int] = (0, (1 << 64) - 1),
    ) -> RunResult:
        """Run a program on ``image``, the memory from ``base`` on, in which the accelerator reads and writes.

        Parameters
        ----------
        image : array of uint8
            Contiguous, whole beats. What lies outside answers SLVERR.
        registers, timing, limit
            As in ``sim.simulate.Job``.
        reset : bool
            Reset before; the first run of a simulator is reset in any case.
        trace : Path, optional
            A file for a trace (``.vcd``) of the cycles in ``window``, first and last, as the result counts them.

        Returns
        -------
        RunResult
            Its ``memory`` is empty: see ``image``.

        Raises
        ------
        Stopped
            After ``stop``. The next run, after ``resume``, is reset.
        sim.simulate.SimulationError
            A register access was refused, or the trace could not be opened.
        """
        if self._machine is None:
            raise ValueError("the simulator must be open, not closed")
        timing = timing or MemoryTiming()
        self._check(image, base, timing, trace)
        acknowledge = [(BY_NAME["status"].offset, 1 << STATUS_DONE | 1 << STATUS_ERROR)]
        listed = [*acknowledge, *simulate.register_writes(registers), (BY_NAME["control"].offset, 1)]
        writes = np.array(listed, np.uint32)
        reads = np.array([BY_NAME[name].offset for name in simulate.READ_BACK], np.uint32)
        values = np.zeros(len(reads), np.uint32)
        job = _Job(
            image=image.ctypes.data,
            base=base,
            beats=image.size // self._data_bytes,
            limit=limit,
            read_latency=timing.read_latency,
            write_latency=timing.write_latency,
            interval=timing.interval,
            outstanding=timing.outstanding,
            writes=writes.ctypes.data,
            reads=reads.ctypes.data,
            values=values.ctypes.data,
            writes_count=len(writes),
            reads_count=len(reads),
            reset=reset or not self._fresh,
            status=BY_NAME["status"].offset,
            trace=None if trace is None else str(trace).encode(),
            trace_first=window[0],
            trace_last=window[1],
            stop=ctypes.pointer(self._stop),
        )
        result = _Result()
        self._fresh = False
        self._library.fast_run(self._machine, ctypes.byref(job), ctypes.byref(result))
        if result.outcome == _STOPPED:
            raise Stopped("the simulation was stopped")
        if result.outcome:
            raise SimulationError(_OUTCOMES[result.outcome])
        self._fresh = True
        found = dict(zip(simulate.READ_BACK, values.tolist(), strict=True))
        return RunResult(
            memory=b"",
            cycles=result.cycles,
            interrupt=bool(result.interrupt),
            status=found.pop("status"),
            error=found.pop("error"),
            error_instruction=found.pop("error_instruction"),
            counters=found,
            read_beats=result.read_beats,
            write_beats=result.write_beats,
            idle=bool(result.idle),
            breaches=tuple(t for bit, t in enumerate(simulate.BREACHES) if result.breaches >> bit & 1),
            seconds=result.seconds,
        )

    def _check(self, image: np.ndarray, base: int, timing: MemoryTiming, trace: Path | None) -> None:
        size = self._data_bytes
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 1:
            raise TypeError(f"image must be an array of uint8 with 1 dimension, not {type(image).__name__}")
        if not image.flags.c_contiguous or not image.flags.writeable:
            raise ValueError("image must be contiguous and writeable, not a view that is neither")
        if not image.size or image.size % size:
            raise ValueError(f"image must be a multiple of {size} bytes long, not {image.size}")
        if base < 0 or base % size:
            raise ValueError(f"base must be a multiple of {size}, not {base:#x}")
        if not 1 <= timing.outstanding <= OUTSTANDING:
            raise ValueError(f"outstanding must be 1 to {OUTSTANDING}, not {timing.outstanding}")
        for name, least in (("read_latency", 1), ("write_latency", 1), ("interval", 1)):
            if not least <= getattr(timing, name) <= LATENCY:
                raise ValueError(f"{name} must be {least} to {LATENCY}, not {getattr(timing, name)}")
        if trace is not None and (not self._traced or trace.suffix != ".vcd"):
            raise ValueError(f"trace must be a .vcd of a simulator that is traced, not {str(trace)!r}")
