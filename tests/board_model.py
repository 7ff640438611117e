"""A board in Python behind a pty, for tests of the host: link protocol, registers, memory; an accelerator that answers by rote.

It is written from the description of the protocol and can go wrong on purpose.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import tty
import zlib
from collections.abc import Callable

from fpga.soc import registers as board
from hw.control import registers

SILENCE = 0.1


class BoardModel:
    """Answers at ``url`` until closed.

    ``spoil(data)`` may change what comes in; ``hang_up_after`` bytes the line is gone; ``program(model)`` is run by a start;
    ``pace`` seconds are taken by each byte of an answer.
    """

    def __init__(
        self,
        *,
        digest: str,
        memory_bytes: int = 1 << 16,
        memory_timing: int = 0,
        magic: int = board.MAGIC,
        spoil: Callable[[bytes], bytes] = bytes,
        hang_up_after: int | None = None,
        program: Callable[[BoardModel], None] = lambda model: None,
        pace: float = 0,
    ):
        self.memory = bytearray(memory_bytes)
        self.resets = -1
        self._reset()
        self.board = {"magic": magic, "version": board.VERSION, "clock_hz": 25_000_000}
        self.board |= {"memory_bytes": memory_bytes, "baud": 1_000_000}
        self.board["memory_timing"] = memory_timing
        self.digest = [int(digest[i : i + 8], 16) for i in range(0, 64, 8)]
        self._spoil, self._hang_up_after, self._program = spoil, hang_up_after, program
        self._pace = pace
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        self.url = os.ttyname(self._far)
        self.commands: list[tuple[int, int, int]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> BoardModel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.hang_up()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _reset(self) -> None:
        self.resets += 1
        self.accelerator = {name: register.reset for name, register in registers.BY_NAME.items()}

    def hang_up(self) -> None:
        """The line is gone."""
        for descriptor in (self._far, self._near):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _serve(self) -> None:
        held, seen, last = b"", 0, time.monotonic()
        os.set_blocking(self._near, False)
        while True:
            try:
                data = os.read(self._near, 4096)
            except BlockingIOError:
                if held and time.monotonic() - last > SILENCE:
                    held = b""
                time.sleep(0.0005)
                continue
            except OSError:
                return
            last = time.monotonic()
            seen += len(data)
            held = self._take(held + self._spoil(data))
            if self._hang_up_after is not None and seen > self._hang_up_after:
                self.hang_up()
                return

    def _take(self, held: bytes) -> bytes:
        while len(held) >= 6:
            command, count = held[:2]
            size = 6 + 4 * count * (command == 1)
            if len(held) < size:
                break
            address = 4 * int.from_bytes(held[2:6], "big")
            self.commands.append((command, count, address))
            for i in range(count):
                if command == 1:
                    at = 6 + 4 * i
                    self._write(address + 4 * i, int.from_bytes(held[at : at + 4], "big"))
            if command == 5:
                data = self.memory[address : address + 4 * count]
                self._answer(zlib.crc32(data).to_bytes(4, "big"))
            if command == 2:
                self._answer(b"".join(self._read(address + 4 * i).to_bytes(4, "big") for i in range(count)))
            held = held[size:]
        return held

    def _answer(self, data: bytes) -> None:
        step = 64 if self._pace else len(data)
        with contextlib.suppress(OSError):
            for first in range(0, len(data), step):
                time.sleep(self._pace * step)
                os.write(self._near, data[first : first + step])

    def _read(self, address: int) -> int:
        if address < len(self.memory):
            return int.from_bytes(self.memory[address : address + 4], "little")
        if address >= board.ACCELERATOR_BASE:
            offset = address - board.ACCELERATOR_BASE
            return next(self.accelerator[r.name] for r in registers.REGISTERS if r.offset == offset)
        first = board.address("digest")
        if first <= address < first + 32:
            return self.digest[(address - first) // 4]
        return next(value for name, value in self.board.items() if board.address(name) == address)

    def _write(self, address: int, value: int) -> None:
        if address < len(self.memory):
            self.memory[address : address + 4] = value.to_bytes(4, "little")
        elif address >= board.ACCELERATOR_BASE:
            offset = address - board.ACCELERATOR_BASE
            name = next(r.name for r in registers.REGISTERS if r.offset == offset)
            if name != "status" and self.accelerator["status"] >> registers.STATUS_BUSY & 1:
                # As the real one refuses it.
                return
            self.accelerator[name] = value
            if name == "control" and value & 1:
                self.accelerator["status"] = 1 << registers.STATUS_DONE
                self._program(self)
        elif address == board.address("reset") and value & 1:
            self._reset()
