"""What the layout of an iCE40 (``.asc``) says of its registers: nextpnr's report counts cells, of a table, a register or both."""

from __future__ import annotations

from collections.abc import Iterator

_LOGIC = ".logic_tile"
_ROWS, _USED = 16, 45
"""Lines of bits of a tile of logic, two for each cell; where the first has whether the cell's register is used.

Reference: Project IceStorm, "Logic Tile": ``LC_i`` has 20 bits, columns 36 to 45 of rows 2i and 2i + 1; DffEnable is the tenth.
"""


def flip_flops(layout: bytes) -> int:
    """Registers of its cells of logic."""
    return sum(bits[_USED] == "1" for tile in _logic(layout.decode()) for bits in tile[::2])


def _logic(text: str) -> Iterator[list[str]]:
    """Lines of bits of each tile of logic."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith(_LOGIC):
            yield lines[number : number + _ROWS]
