"""Where everything of a program lies in memory: buffers between guard bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from gen.compiler.tiling import DoesNotFit
from hw.control.isa import PROGRAM_ALIGNMENT
from hw.design import Design, ceil_div

GUARD = 0xA5
"""Value of every byte that belongs to no buffer: whoever writes one has gone astray."""
GUARD_BYTES = 64
ALIGNMENT = PROGRAM_ALIGNMENT
"""Every buffer starts at a multiple of this (a program must), plus what was asked for on purpose."""


@dataclass
class MemoryMap:
    """Buffers one after the other from ``base`` on, by name, with at least ``GUARD_BYTES`` before, between and after them."""

    base: int
    regions: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Address and bytes, in rising order."""

    def add(self, name: str, size: int, offset: int = 0) -> int:
        """Append a buffer, ``offset`` bytes past an aligned address; its address."""
        start = self.next + offset
        self.regions[name] = (start, size)
        return start

    @property
    def next(self) -> int:
        """Aligned address of the next buffer."""
        return ceil_div(self._after() + GUARD_BYTES, ALIGNMENT) * ALIGNMENT

    def _after(self) -> int:
        return max((start + size for start, size in self.regions.values()), default=self.base)

    @property
    def end(self) -> int:
        """One past the last guard byte; a multiple of the alignment."""
        return ceil_div(self._after() + GUARD_BYTES, ALIGNMENT) * ALIGNMENT

    def gaps(self) -> list[tuple[int, int]]:
        """First and one past the last address of every stretch of guard bytes."""
        edges = [
            self.base,
            *(e for start, size in self.regions.values() for e in (start, start + size)),
            self.end,
        ]
        return list(zip(edges[::2], edges[1::2], strict=True))

    def check(self, design: Design) -> None:
        """Raises ``DoesNotFit`` when an address needs more bits than the design has."""
        if self.end > 1 << design.address_width:
            need = (self.end - 1).bit_length()
            raise DoesNotFit(
                f"address_width must be at least {need} for this memory map, not {design.address_width}"
            )
