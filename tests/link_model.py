"""The link's protocol in Python, written from its description: what a board answers to any bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from fpga.soc import registers
from fpga.soc.registers import BY_NAME, REGISTERS

WRITE, READ, WRITE_FIXED, READ_FIXED, CHECK = 1, 2, 3, 4, 5


class Words:
    """Memory from 0 on; everything else is not there. ``accesses`` are all that were asked for."""

    def __init__(self, size: int):
        self.memory = bytearray(size)
        self.accesses: list[tuple[int, int | None]] = []
        self.unmapped = 0

    def read(self, word: int) -> int:
        """Value of a word."""
        self.accesses.append((word, None))
        if 4 * word < len(self.memory):
            return int.from_bytes(self.memory[4 * word :][:4], "little")
        return self.elsewhere(4 * word, None)

    def write(self, word: int, value: int) -> None:
        """Put a word."""
        self.accesses.append((word, value))
        if 4 * word < len(self.memory):
            self.memory[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
        else:
            self.elsewhere(4 * word, value)

    def elsewhere(self, address: int, value: int | None) -> int:
        """An access beyond the memory."""
        self.unmapped += 1
        return 0


class Board(Words):
    """The same with the board's registers; the accelerator must be left alone."""

    def __init__(self, size: int, **shown: int):
        super().__init__(size)
        self.registers = {
            "magic": registers.MAGIC,
            "version": registers.VERSION,
            "memory_bytes": size,
        } | shown
        self.errors = 0

    def elsewhere(self, address: int, value: int | None) -> int:
        if address >> registers.REGION_BITS == registers.ACCELERATOR_BASE >> registers.REGION_BITS:
            raise NotImplementedError("accelerator")
        found = [r for r in REGISTERS if registers.BOARD_BASE + r.offset == address]
        against = registers.Access.WO if value is None else registers.Access.RO
        if not found or found[0].access is against:
            self.errors |= 1
            return 0
        name = found[0].name
        if value is None:
            return self.errors if name == "link_errors" else self.registers.get(name, 0)
        if name == "link_errors":
            self.errors = 0
        return 0


class LinkModel:
    """Takes bytes, and None for a silence; ``sent`` are the answers. Addresses count on in ``counted`` bits."""

    def __init__(self, words: Words, *, counted: int = 30):
        self.words = words
        self._counted = counted
        self.sent = bytearray()
        self.unknown = self.forgotten = 0
        self._held = b""

    def take(self, data: Iterable[int | None]) -> bytes:
        """What ``data`` is answered with."""
        before = len(self.sent)
        for byte in data:
            if byte is None:
                self.forgotten += bool(self._held)
                self._held = b""
            elif not self._held and byte not in (WRITE, READ, WRITE_FIXED, READ_FIXED, CHECK):
                self.unknown += 1
                self._noted("unknown")
            else:
                self._byte(byte)
        return bytes(self.sent[before:])

    def _noted(self, name: str) -> None:
        if isinstance(self.words, Board):
            self.words.errors |= 1 << [error for error, _ in registers.LINK_ERRORS].index(name)

    def _byte(self, byte: int) -> None:
        """Words are read and written as their bytes come: half a command has done its half."""
        held = self._held = self._held + bytes([byte])
        if len(held) < 6:
            return
        code, count, first = held[0], held[1], int.from_bytes(held[2:6], "big")

        def place(number: int) -> int:
            block = first >> self._counted << self._counted
            return (
                block | (first + number) % (1 << self._counted) if code in (WRITE, READ, CHECK) else first
            ) % (1 << 30)

        asks = code in (READ, READ_FIXED, CHECK)
        if asks:
            read = [self.words.read(place(number)) for number in range(count)]
            if code == CHECK:
                read = [zlib.crc32(b"".join(word.to_bytes(4, "little") for word in read))]
            self.sent += b"".join(word.to_bytes(4, "big") for word in read)
        elif len(held) > 6 and len(held) % 4 == 2:
            self.words.write(place(len(held) // 4 - 2), int.from_bytes(held[-4:], "big"))
        if asks or len(held) == 6 + 4 * count:
            self._held = b""


def command(code: int, address: int, *, count: int = 1, words: Iterable[int] = ()) -> bytes:
    """Bytes of a command to byte address ``address``; ``words`` for a write, ``count`` for a read."""
    data = [word.to_bytes(4, "big") for word in words]
    return bytes([code, len(data) or count]) + (address // 4).to_bytes(4, "big") + b"".join(data)


__all__ = [
    "BY_NAME",
    "CHECK",
    "READ",
    "READ_FIXED",
    "WRITE",
    "WRITE_FIXED",
    "Board",
    "LinkModel",
    "Words",
    "command",
]
