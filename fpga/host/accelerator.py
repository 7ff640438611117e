"""An accelerator on a board, as NumPy sees it: write, run, read, multiply. A virtual board is no different.

>>> with Accelerator.open("/dev/ttyUSB0", config=load("systolic-8x8")) as device:        # doctest: +SKIP
...     y = device.gemm(x, w)
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fpga.host.link import Link
from fpga.soc import registers as board
from gen.compiler import DoesNotFit, Program, compile_gemm
from gen.config import Config
from gen.errors import RequestError
from gen.workload import Workload, of_operands
from hw.control import registers
from hw.control.isa import FETCH_SOURCE, Error, OutputMode, Queue
from hw.control.registers import COUNTERS, STATUS_BUSY, STATUS_DONE, STATUS_ERROR
from hw.design import ceil_div
from hw.formats import Operand

UPLOADS = 3
"""Times that a part of the memory is written before it is given up."""
CHECKED = 1 << 16
"""Bytes that are written before their checksum is compared."""

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


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of a program."""

    counters: Mapping[str, int]
    """By the names of ``hw.control.registers.COUNTERS``."""
    seconds: float
    """From the start to the end as the host sees it."""


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
            if zlib.crc32(data.tobytes()) == self._checksum(address, size):
                return data
        raise DeviceError(f"download of {size} bytes at {address:#x}: checksum wrong {UPLOADS} times")

    def run(self, settings: Mapping[str, int], *, timeout: float = 60.0) -> Run:
        """Start the program that ``settings`` (``Program.registers``) describe, wait for its end.

        Raises
        ------
        DeviceError
            It ended in an error, which is named, or not at all.
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
                raise DeviceError(f"program: must end within {timeout:g} s; status is {status:#x}")
        seconds = time.monotonic() - begun
        if status >> STATUS_ERROR & 1:
            raise DeviceError(self._error())
        return Run(counters={name: self._get(name) for name, _ in COUNTERS}, seconds=seconds)

    def execute(
        self, program: Program, image: np.ndarray, notice: Notice = _no_notice
    ) -> tuple[np.ndarray, Run]:
        """Upload ``image``, run ``program``; Y [M, N] and what came of the run."""
        self._fits(program)
        self.write(program.base, image, notice)
        run = self.run(program.registers)
        start, size = program.regions["output"]
        first = start // 4 * 4
        end = ceil_div(start + size, 4) * 4
        memory = np.zeros(program.memory.end - program.base, np.uint8)
        memory[first - program.base : end - program.base] = self.read(first, end - first, notice)
        return program.read_output(memory), run

    def workload(self, load: Workload, notice: Notice = _no_notice) -> tuple[np.ndarray, list[Run]]:
        """Y [M, N] of a workload, in as many programs as the memory of the board makes necessary, and each one's run."""
        m, _, n = load.sizes
        rows, features = self.parts(load)
        y = np.zeros((m, n), load.result_type)
        runs = []
        for n0 in range(0, n, features):
            for m0 in range(0, m, rows):
                part = load.part((m0, min(m, m0 + rows)), (n0, min(n, n0 + features)))
                program = self._compile(part.sizes, part.mode, part.formats)
                got, run = self.execute(program, program.image(part.x, part.w, *part.scaling), notice)
                y[m0 : m0 + got.shape[0], n0 : n0 + got.shape[1]] = got
                runs.append(run)
        return y, runs

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

    def parts(self, load: Workload) -> tuple[int, int]:
        """Rows and features of the largest parts of ``load`` whose programs fit the memory of the board.

        Raises
        ------
        RequestError
            Not even one row and one column tile fit, or no program can be made of the workload at all.
        """
        m, k, n = load.sizes
        columns = self.config.instance.geometry.columns
        while True:
            why = None
            try:
                program = self._compile((m, k, n), load.mode, load.formats)
            except DoesNotFit as error:
                why = error
            else:
                if program.memory.end <= self.identity.memory_bytes:
                    return m, n
            if n > columns:
                n = ceil_div(ceil_div(n, 2), columns) * columns
            elif m > 1:
                m = ceil_div(m, 2)
            else:
                raise why or RequestError(
                    f"GEMM {load.sizes}: even a row of {n} features takes {program.memory.end} bytes of memory, and "
                    f"the board has {self.identity.memory_bytes}"
                )

    def _compile(self, sizes: tuple[int, int, int], mode: OutputMode, formats: tuple[str, str]) -> Program:
        return compile_gemm(self.config.design(), self.config.instance, *sizes, mode=mode, formats=formats)

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
        return Identity(
            digest="".join(f"{int(word):08x}" for word in words),
            clock_hz=self._link.read_word(board.address("clock_hz")),
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
        wanted = zlib.crc32(part)
        for _ in range(UPLOADS):
            self._link.write(address, words, lambda sent, _: notice("upload", done + sent, total))
            try:
                if self._checksum(address, len(part)) == wanted:
                    return
            except DeviceError:
                pass
            self._link.resynchronise()
        raise DeviceError(
            f"upload of {len(part)} bytes to {address:#x}: the board's checksum was wrong {UPLOADS} times: "
            "check the cable, or take a lower rate"
        )

    def _checksum(self, address: int, size: int, timeout: float = 10.0) -> int:
        """CRC-32 of the memory, worked out by the device."""
        self._link.write_word(board.address("crc_address"), address)
        self._link.write_word(board.address("crc_length"), size)
        self._link.write_word(board.address("crc_control"), 1)
        begun = time.monotonic()
        while self._link.read_word(board.address("crc_status")) & 1:
            if time.monotonic() - begun > timeout:
                raise DeviceError(f"checksum of {size} bytes at {address:#x}: must come within {timeout:g} s")
        return self._link.read_word(board.address("crc_value"))

    def _put(self, name: str, value: int) -> None:
        self._link.write_word(board.ACCELERATOR_BASE + registers.BY_NAME[name].offset, value)

    def _get(self, name: str) -> int:
        return self._link.read_word(board.ACCELERATOR_BASE + registers.BY_NAME[name].offset)

    def _error(self) -> str:
        value = self._get("error")
        code, source = Error(value & 0xFF), value >> 8 & 0xFF
        queue = "fetch" if source == FETCH_SOURCE else Queue(source).name.lower()
        return f"program ended in error {code.name.lower()} in {queue}, instruction {self._get('error_instruction')}"
