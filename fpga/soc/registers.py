"""The host's address map of a board and its registers: one table for hardware, host and documentation. No Amaranth here.

Addresses are those of bytes, all accesses are whole words of 32 bits. From 0 on lies the memory, as the accelerator's AXI4
master sees it; the accelerator's own registers (``hw.control.registers``) lie from ``ACCELERATOR_BASE`` on. A read of anything
else gives 0 and a write there does nothing; both are noted in ``link_errors``, as is a write to what is read only.
"""

from __future__ import annotations

from hw.control.registers import Access, Register
from sim.cycles.memory import MemoryTiming

BOARD_BASE, ACCELERATOR_BASE = 0xF000_0000, 0xF001_0000
REGION_BITS = 16
"""Bits of an address within the board's or the accelerator's registers."""

MAGIC = 0x44424D47  # "GMBD" in memory order
VERSION = 2
"""Of this map and of the link."""

DIGEST_WORDS = 8
ADDRESS_WIDTH = 6
"""Bits of the offset of a board register."""

LINK_ERRORS = (
    ("unmapped", "an access to an address without memory or register, or against what its table says"),
    ("refused", "the accelerator answered a register access with SLVERR"),
    ("unknown", "a byte that begins no command was dropped"),
    ("forgotten", "half a command was forgotten after a silence"),
    ("framing", "a byte without a stop bit was dropped"),
    ("overrun", "a byte found the receive buffer full and was lost"),
)
"""Name and meaning of the bits of ``link_errors``."""

RESET_START = 0
"""Bit position in ``reset``."""
TIMING_PARTS = ("read_latency", "write_latency", "interval", "outstanding")
"""Parts of ``MemoryTiming`` in the bytes of ``memory_timing``, the lowest first."""
SINGLE_PORT = 31
"""Bit position in ``memory_timing``."""

_RO, _RW, _WO = Access.RO, Access.RW, Access.WO
_TABLE = (
    ("magic", _RO, "GMBD"),
    ("version", _RO, "of this register map"),
    *(
        (f"digest{i}", _RO, f"SHA-256 of the configuration, hexadecimal digits {8 * i} to {8 * i + 7}")
        for i in range(DIGEST_WORDS)
    ),
    ("clock_hz", _RO, "the system's clock in Hz"),
    ("memory_bytes", _RO, "size of the memory"),
    ("baud", _RO, "bits per second of the link"),
    ("link_errors", _RW, "what went wrong on the link since the last write, which clears it"),
    ("reset", _WO, "write 1: reset accelerator and memory port; memory contents stay"),
    (
        "memory_timing",
        _RO,
        "of the memory's port, a byte each from the lowest: read latency, write latency, interval, outstanding, and bit 31 if it "
        "does not read and write at the same time; 0 if cycles are not fixed",
    ),
)

REGISTERS = tuple(
    Register(name=name, offset=4 * i, access=access, doc=doc) for i, (name, access, doc) in enumerate(_TABLE)
)
BY_NAME = {register.name: register for register in REGISTERS}


def address(name: str) -> int:
    """Byte address of a board register; of ``digest`` the first word's."""
    return BOARD_BASE + BY_NAME["digest0" if name == "digest" else name].offset


def digest_words(digest: str) -> tuple[int, ...]:
    """The words of the ``digest`` registers of a configuration's digest.

    Raises ``ValueError`` unless it is as many hexadecimal digits as they hold.
    """
    try:
        value = int(digest, 16) if len(digest) == 8 * DIGEST_WORDS else -1
    except ValueError:
        value = -1
    if value < 0:
        raise ValueError(f"digest must be {8 * DIGEST_WORDS} hexadecimal digits, not {digest!r}")
    return tuple(int(digest[8 * i : 8 * i + 8], 16) for i in range(DIGEST_WORDS))


def timing_word(timing: MemoryTiming | None, *, single_port: bool = False) -> int:
    """What ``memory_timing`` shows; None: cycles are not fixed.

    Raises ``ValueError`` unless each part fits its place.
    """
    if timing is None:
        return 0
    word = int(single_port) << SINGLE_PORT
    for place, name in enumerate(TIMING_PARTS):
        value, most = getattr(timing, name), 0x7F if name == "outstanding" else 0xFF
        if not 1 <= value <= most:
            raise ValueError(f"{name} must be 1 to {most}, not {value!r}")
        word |= value << 8 * place
    return word


def timing_of(word: int) -> tuple[MemoryTiming | None, bool]:
    """What ``timing_word`` was given."""
    single_port, word = bool(word >> SINGLE_PORT & 1), word & (1 << SINGLE_PORT) - 1
    if not word:
        return None, single_port
    parts = {name: word >> 8 * place & 0xFF for place, name in enumerate(TIMING_PARTS)}
    return MemoryTiming(**parts), single_port
