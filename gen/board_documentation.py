"""The generated parts of the document of boards, and its picture."""

from __future__ import annotations

from collections.abc import Callable

from fpga.soc import registers
from fpga.soc.memory import memory_timing
from fpga.soc.registers import ACCELERATOR_BASE, BOARD_BASE, LINK_ERRORS, REGISTERS
from gen.drawing import Drawing
from gen.markdown import table
from hw.control.registers import ADDRESS_WIDTH


def _addresses() -> str:
    rows = (
        ("`0x0000_0000`", "`memory_bytes`", "the memory, at the addresses of the accelerator's AXI4 master"),
        (_address(BOARD_BASE), 4 * len(REGISTERS), "registers of the board"),
        (_address(ACCELERATOR_BASE), 1 << ADDRESS_WIDTH, "registers of the accelerator"),
    )
    return table(("from", "bytes", "what"), rows)


def _address(value: int) -> str:
    return f"`0x{value >> 16:04X}_{value & 0xFFFF:04X}`"


def _board_registers() -> str:
    rows = ((f"`{r.offset:#04x}`", f"`{r.name}`", r.access.value, r.doc) for r in REGISTERS)
    return table(("offset", "register", "access", "meaning"), rows)


def _link_errors() -> str:
    return table(
        ("bit", "name", "meaning"), ((i, f"`{name}`", doc) for i, (name, doc) in enumerate(LINK_ERRORS))
    )


def _board_timing() -> str:
    timing = memory_timing()
    rows = (
        ("`read_latency`", timing.read_latency, "AR to the first beat"),
        ("`write_latency`", timing.write_latency, "last beat to B"),
        ("`interval`", timing.interval, "cycles per beat, within a burst and from burst to burst"),
        ("`outstanding`", timing.outstanding, "reads, and as many writes, taken before they are answered"),
    )
    return table(("of `MemoryTiming`", "cycles", "meaning"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "addresses": _addresses,
    "board_registers": _board_registers,
    "link_errors": _link_errors,
    "board_timing": _board_timing,
}
"""By name in the document."""


def board_system() -> str:
    """From the line to the accelerator."""
    drawing = Drawing(1000, 330, "The system on a board around an accelerator")
    drawing.text(46, 106, "host")
    drawing.wire((20, 120), (78, 120))
    drawing.wire((78, 150), (20, 150))
    drawing.box(80, 95, 110, 80, "mover", ("UART", "8N1"))
    drawing.wire((190, 120), (238, 120))
    drawing.wire((238, 150), (190, 150))
    drawing.text(214, 106, "bytes")
    drawing.box(240, 95, 120, 80, "control", ("link", "commands", "CRC-32"))
    drawing.wire((360, 135), (418, 135))
    drawing.text(389, 121, "words")
    drawing.box(420, 40, 110, 250, "control", ("decoder", "by address"))
    drawing.wire((530, 75), (588, 75))
    drawing.box(590, 45, 150, 60, "control", ("AXI4-Lite", f"{ACCELERATOR_BASE:#x}"))
    drawing.wire((740, 75), (798, 75))
    drawing.wire((530, 165), (588, 165))
    drawing.box(590, 135, 150, 60, "control", ("board registers", f"{registers.BOARD_BASE:#x}"))
    drawing.wire((665, 195), (665, 223))
    drawing.wire((530, 258), (798, 258))
    drawing.box(800, 225, 170, 65, "memory", ("memory", "from address 0"))
    drawing.box(800, 45, 170, 110, "array", ("accelerator",))
    drawing.wire((885, 155), (885, 223))
    drawing.text(915, 194, "AXI4")
    return drawing.svg()


PICTURES = {"board.svg": board_system}
"""By file in the documents."""
