"""The register map of the AXI4-Lite port: one table for hardware, host, JSON and documentation. No Amaranth here.

Every register is 32 bits wide at a byte offset that is a multiple of 4. A write to a read-only or unmapped register,
any write but to STATUS while the accelerator is busy, and a read of an unmapped address are answered with SLVERR and
change nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hw.control.isa import PROGRAM_ALIGNMENT

MAGIC = 0x4C494D47  # "GMIL" in memory order
VERSION = 1


class Access(enum.Enum):
    """Who may write a register."""

    RO = "read only"
    RW = "read, write"
    WO = "write only, reads 0"


@dataclass(frozen=True, kw_only=True)
class Register:
    """One 32-bit register."""

    name: str
    offset: int
    access: Access
    doc: str
    reset: int = 0


STATUS_BUSY, STATUS_DONE, STATUS_ERROR = 0, 1, 2
"""Bit positions in STATUS. DONE and ERROR drive the interrupt pin and are cleared by any write to STATUS or a start."""

COUNTERS = (
    ("cycles", "cycles from the start to the end of the program"),
    ("array_steps", "cycles in which the array took an operand step"),
    (
        "execute_other",
        "cycles in which an EXECUTE was under way but the array took none: fill, drain, tile edges",
    ),
    (
        "execute_wait_activations",
        "cycles without EXECUTE under way, the next one waiting for activations_ready",
    ),
    ("execute_wait_weights", "the same, waiting for weights_ready"),
    ("execute_wait_accumulators", "the same, waiting for accumulators_free"),
    ("execute_wait_instruction", "cycles without EXECUTE under way and none in its queue"),
    ("load_busy", "cycles in which a LOAD was under way"),
    ("load_wait_token", "cycles in which the next LOAD waited for a token"),
    ("load_beats", "bus beats read by LOADs"),
    ("fetch_beats", "bus beats read for instructions"),
    ("store_busy", "cycles in which a STORE was under way"),
    ("store_wait_token", "cycles in which the next STORE waited for a token"),
    ("store_beats", "bus beats written"),
)
"""Name and meaning of the counters; array_steps + execute_* add up to cycles."""

_FIXED = (
    Register(name="magic", offset=0x00, access=Access.RO, doc="GMIL", reset=MAGIC),
    Register(name="version", offset=0x04, access=Access.RO, doc="of this register map", reset=VERSION),
    Register(
        name="configuration", offset=0x08, access=Access.RO, doc="first 32 bits of the configuration's hash"
    ),
    Register(name="control", offset=0x0C, access=Access.WO, doc="write 1: start"),
    Register(
        name="status",
        offset=0x10,
        access=Access.RW,
        doc="bit 0 busy, 1 done, 2 error; a write clears done, error",
    ),
    Register(
        name="error",
        offset=0x14,
        access=Access.RO,
        doc="bits 7:0 error code, 15:8 queue (3: fetch or decode), valid when error is set",
    ),
    Register(
        name="error_instruction",
        offset=0x18,
        access=Access.RO,
        doc="index in the program of the instruction at fault",
    ),
    Register(
        name="program_address_low",
        offset=0x20,
        access=Access.RW,
        doc=f"byte address of the program, a multiple of {PROGRAM_ALIGNMENT}",
    ),
    Register(name="program_address_high", offset=0x24, access=Access.RW, doc="its upper half"),
    Register(
        name="program_length", offset=0x28, access=Access.RW, doc="instructions in the program, at least 1"
    ),
    Register(
        name="window_first_low", offset=0x30, access=Access.RW, doc="lowest byte address that may be touched"
    ),
    Register(name="window_first_high", offset=0x34, access=Access.RW, doc="its upper half"),
    Register(
        name="window_last_low", offset=0x38, access=Access.RW, doc="highest byte address that may be touched"
    ),
    Register(name="window_last_high", offset=0x3C, access=Access.RW, doc="its upper half"),
    Register(
        name="watchdog",
        offset=0x40,
        access=Access.RW,
        doc="cycles without any progress that end a run; 0: never",
        reset=1 << 20,
    ),
)

REGISTERS = _FIXED + tuple(
    Register(name=name, offset=0x80 + 4 * i, access=Access.RO, doc=doc)
    for i, (name, doc) in enumerate(COUNTERS)
)
BY_NAME = {register.name: register for register in REGISTERS}
ADDRESS_WIDTH = 8
"""Bits of the AXI4-Lite byte address."""


def describe() -> list[dict[str, object]]:
    """The whole map as plain data, for JSON and documentation."""
    return [
        {"name": r.name, "offset": r.offset, "access": r.access.value, "reset": r.reset, "doc": r.doc}
        for r in REGISTERS
    ]
