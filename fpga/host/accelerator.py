"""An accelerator on a board, as NumPy sees it: write, run, read, multiply. A virtual board is no different.

>>> with Accelerator.open("/dev/ttyUSB0", config=load("systolic-8x8")) as device:        # doctest: +SKIP
...     y = device.gemm(x, w)
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from fpga.host.link import BURST, Link
from fpga.host.parts import parts
from fpga.soc import registers as board
from gen.compiler import Program
from gen.config import Config
from gen.errors import RequestError
from gen.workload import Workload, of_operands
from hw.control import registers
from hw.control.isa import FETCH_SOURCE, Error, Queue
from hw.control.registers import COUNTERS, STATUS_BUSY, STATUS_DONE, STATUS_ERROR
from hw.design import Design, ceil_div
from hw.formats import Operand
from sim.cycles.memory import MemoryTiming
from sim.cycles.program import predict as predict_cycles

UPLOADS = 3
"""Times that a part of the memory is written before it is given up."""
CHECKED = 1 << 16
"""Bytes that are written before their checksums are compared."""
PATIENCE = 60.0
"""Seconds that a program may take unless the user says otherwise."""

Notice = Callable[[str, int, int], None]
"""Told what is being done, bytes done and in all."""


def _no_notice(what: str, done: int, total: int) -> None:
    """Of transfers that nobody watches."""


class DeviceError(RuntimeError):
    """The device answers, but not as it must: another configuration, a damaged upload, a program that ended in an error."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a board says of itself."""

    digest: str
    """Of the configuration that its bitstream was made from."""
    clock_hz: int
    memory_bytes: int
    baud: int
    timing: MemoryTiming | None = None
    """Of its memory, for the cycle model; None if that is not fixed."""
    single_port: bool = False
    """A beat that is written keeps another from being read, which the cycle model does not know."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of a program."""

    counters: Mapping[str, int]
    """By the names of ``hw.control.registers.COUNTERS``."""
    seconds: float
    """From the start to the end as the host sees it."""
    predicted: int | None = None
    """Cycles by the cycle model, if it was asked and knows the board's memory."""


def unpredictable(design: Design, timing: MemoryTiming | None, *, single_port: bool) -> str | None:
    """Why the cycle model cannot say what a program of ``design`` takes with such a memory; None if it can."""
    if timing is None:
        return "an SDRAM's open rows and refreshes decide, which the cycle model does not know"
    if single_port and design.issue == "queues":
        return "the memory has one port, and what is written delays what is read, which the cycle model does not know"
    return None


class Accelerator:
    """A board that runs programs of one configuration.

    Parameters
    ----------
    link : Link
    config : Config
        What the host compiles for.

    Raises
    ------
    DeviceError
        What answers is no board of ours, or its bitstream was made from another configuration.
    LinkError
        Nothing answers.
    """

    def __init__(self, link: Link, config: Config) -> None:
        self._link = link
        self.config = config
        self.identity = self._identify()
        if self.identity.digest != config.digest:
            raise DeviceError(
                f"configuration must be {config.digest[:16]} ({config.name}), but the bitstream on the board has "
                f"{self.identity.digest[:16]}: build and flash it, or name the configuration that it was made from"
            )
        if self._get("status") >> STATUS_BUSY & 1:
            # Of a host that was interrupted: it would refuse every program, and may still write into the memory.
            self._reset()

    @classmethod
    def open(cls, url: str, *, config: Config, baud: int = 1_000_000, timeout: float = 2.0) -> Accelerator:
        """The accelerator at ``url`` (``fpga.host.link.Link.open``)."""
        link = Link.open(url, baud=baud, timeout=timeout)
        try:
            return cls(link, config)
        except BaseException:
            link.close()
            raise

    def close(self) -> None:
        """Give the port back."""
        self._link.close()

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write(self, address: int, data: bytes | np.ndarray, notice: Notice = _no_notice) -> None:
        """Write bytes into the memory, whole words; the device's own checksum of what it then holds must be that of ``data``.

        Raises
        ------
        ValueError
            They are not whole words, or lie outside the memory.
        DeviceError
            The checksum was wrong ``UPLOADS`` times.
        """
        data = bytes(data)
        self._inside(address, len(data))
        for first in range(0, len(data), CHECKED):
            part = data[first : first + CHECKED]
            self._write_checked(address + first, part, first, len(data), notice)

    def read(self, address: int, size: int, notice: Notice = _no_notice) -> np.ndarray:
        """``size`` bytes (uint8) of the memory; twice if the device's checksum says so."""
        self._inside(address, size)
        for _ in range(UPLOADS):
            words = self._link.read(address, size // 4, lambda done, total: notice("download", done, total))
            data = words.astype("<u4").view(np.uint8)
            if self._agrees(address, data.tobytes()):
                return data
        raise DeviceError(f"download of {size} bytes at {address:#x}: checksum wrong {UPLOADS} times")

    def run(self, settings: Mapping[str, int], *, timeout: float = PATIENCE) -> Run:
        """Start the program that ``settings`` (``Program.registers``) describe, wait for its end.

        Raises
        ------
        DeviceError
            It ended in an error, which is named, or not at all; then the accelerator has been reset.
        """
        for name, value in settings.items():
            if name in registers.BY_NAME:
                self._put(name, value)
            else:
                self._put(f"{name}_low", value & 0xFFFFFFFF)
                self._put(f"{name}_high", value >> 32)
        self._put("status", 0)
        begun = time.monotonic()
        self._put("control", 1)
        while True:
            status = self._get("status")
            if not status >> STATUS_BUSY & 1 and status >> STATUS_DONE & 1 | status >> STATUS_ERROR & 1:
                break
            if time.monotonic() - begun > timeout:
                self._reset()
                raise DeviceError(f"program: must end within {timeout:g} s; status is {status:#x}")
        seconds = time.monotonic() - begun
        if status >> STATUS_ERROR & 1:
            raise DeviceError(self._error())
        return Run(counters={name: self._get(name) for name, _ in COUNTERS}, seconds=seconds)

    def execute(
        self,
        program: Program,
        image: np.ndarray,
        notice: Notice = _no_notice,
        *,
        timeout: float = PATIENCE,
    ) -> tuple[np.ndarray, Run]:
        """Upload ``image``, run ``program`` for at most ``timeout`` s; Y [M, N] and what came of the run."""
        self._fits(program)
        self.write(program.base, image, notice)
        run = self.run(program.registers, timeout=timeout)
        start, size = program.regions["output"]
        first = start // 4 * 4
        end = ceil_div(start + size, 4) * 4
        memory = np.zeros(program.memory.end - program.base, np.uint8)
        memory[first - program.base : end - program.base] = self.read(first, end - first, notice)
        return program.read_output(memory), run

    def workload(
        self,
        load: Workload,
        notice: Notice = _no_notice,
        *,
        predict: bool = False,
        timeout: float = PATIENCE,
    ) -> tuple[np.ndarray, list[Run]]:
        """Y [M, N] of a workload, in as many programs as the memory of the board makes necessary, and each one's run.

        With ``predict`` the cycle model says of each what it must take; see ``unpredictable``. Each may take ``timeout`` s.
        """
        foreseen = predict and self.unpredictable is None
        y = np.zeros((load.sizes[0], load.sizes[2]), load.result_type)
        runs = []
        for part in parts(self.config, load, self.identity.memory_bytes):
            program, own = part.program, part.load
            image = program.image(own.x, own.w, *own.scaling)
            got, run = self.execute(program, image, notice, timeout=timeout)
            if foreseen:
                run = replace(run, predicted=self.predicted(program, image))
            y[slice(*part.rows), slice(*part.features)] = got
            runs.append(run)
        return y, runs

    @property
    def unpredictable(self) -> str | None:
        """Why the cycle model cannot say what a program takes on this board; None if it can."""
        timing, single_port = self.identity.timing, self.identity.single_port
        return unpredictable(self.config.design(), timing, single_port=single_port)

    def predicted(self, program: Program, image: np.ndarray) -> int:
        """Cycles of ``program`` by the cycle model, with the memory that the board says it has.

        Raises ``ValueError`` when that is ``unpredictable``.
        """
        if self.unpredictable:
            raise ValueError(f"memory must have a timing that the cycle model knows: {self.unpredictable}")
        design, law = self.config.design(), self.config.instance.model().law()
        timing = self.identity.timing
        return predict_cycles(
            design, law, program.instructions, timing, image=image, base=program.base
        ).cycles

    def gemm(
        self, x: Operand | np.ndarray, w: Operand | np.ndarray, notice: Notice = _no_notice
    ) -> np.ndarray:
        """X [M, K] · W [K, N] as int32, or float32 where the array has such sums.

        ``x`` and ``w`` are operands, or integers (any integer type) where the format that the array takes has no blocks: then
        they must be numbers that it has.
        """
        activations, weights = self.config.instance.pairs[0]
        x = x if isinstance(x, Operand) else Operand.activations(activations, x)
        w = w if isinstance(w, Operand) else Operand.weights(weights, w)
        return self.workload(of_operands(x, w, self.config.instance), notice)[0]

    def _identify(self) -> Identity:
        magic = self._link.read_word(board.address("magic"))
        if magic != board.MAGIC:
            raise DeviceError(
                f"board must say {board.MAGIC:#010x} at {board.address('magic'):#010x}, not {magic:#010x}: no bitstream of ours, "
                "or the rate of the link is wrong"
            )
        version = self._link.read_word(board.address("version"))
        if version != board.VERSION:
            raise DeviceError(f"register map of the board must be version {board.VERSION}, not {version}")
        words = self._link.read(board.address("digest"), 8)
        timing, single_port = board.timing_of(self._link.read_word(board.address("memory_timing")))
        try:
            board.timing_word(timing, single_port=single_port)
        except ValueError as error:
            raise DeviceError(
                f"memory_timing of the board: {error}: try again, or take a lower rate"
            ) from None
        clock_hz = self._link.read_word(board.address("clock_hz"))
        if not clock_hz:
            raise DeviceError(
                "clock_hz of the board must be 1 or more, not 0: try again, or take a lower rate"
            )
        return Identity(
            timing=timing,
            single_port=single_port,
            digest="".join(f"{int(word):08x}" for word in words),
            clock_hz=clock_hz,
            memory_bytes=self._link.read_word(board.address("memory_bytes")),
            baud=self._link.read_word(board.address("baud")),
        )

    def _inside(self, address: int, size: int) -> None:
        if address % 4 or size % 4:
            raise ValueError(f"address and size must be multiples of 4, not {address!r} and {size!r}")
        if not 0 <= address <= self.identity.memory_bytes - size:
            raise ValueError(
                f"{size} bytes at {address:#x} must lie in the {self.identity.memory_bytes} bytes of the board's memory"
            )

    def _fits(self, program: Program) -> None:
        if program.memory.end > self.identity.memory_bytes:
            raise RequestError(
                f"program: needs {program.memory.end} bytes of memory, and the board has {self.identity.memory_bytes}"
            )

    def _write_checked(self, address: int, part: bytes, done: int, total: int, notice: Notice) -> None:
        words = np.frombuffer(part, "<u4")
        for _ in range(UPLOADS):
            self._link.write(address, words, lambda sent, _: notice("upload", done + sent, total))
            if self._agrees(address, part):
                return
            self._link.resynchronise()
        raise DeviceError(
            f"upload of {len(part)} bytes to {address:#x}: the board's checksum was wrong {UPLOADS} times: "
            "check the cable, or take a lower rate"
        )

    def _agrees(self, address: int, data: bytes) -> bool:
        """Whether the memory has ``data``, by the checksums that the device works out."""
        step = 4 * BURST
        wanted = [zlib.crc32(data[first : first + step]) for first in range(0, len(data), step)]
        return bool(self._link.checksums(address, len(data) // 4).tolist() == wanted)

    def _reset(self) -> None:
        """End the program that runs; the memory keeps what it has."""
        self._link.write_word(board.address("reset"), 1 << board.RESET_START)

    def _put(self, name: str, value: int) -> None:
        self._link.write_word(board.ACCELERATOR_BASE + registers.BY_NAME[name].offset, value)

    def _get(self, name: str) -> int:
        return self._link.read_word(board.ACCELERATOR_BASE + registers.BY_NAME[name].offset)

    def _error(self) -> str:
        value = self._get("error")
        code, source = value & 0xFF, value >> 8 & 0xFF
        queue = "fetch" if source == FETCH_SOURCE else _name(Queue, source)
        return f"program ended in error {_name(Error, code)} in {queue}, instruction {self._get('error_instruction')}"


def _name(kind: type[IntEnum], value: int) -> str:
    """Of ``value`` in ``kind``; the number where that has none, as a board can say anything."""
    try:
        return kind(value).name.lower()
    except ValueError:
        return str(value)
