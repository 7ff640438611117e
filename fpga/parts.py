"""What there is on a part, by its name: tables, registers, memories and multipliers.

Reference: Lattice FPGA-DS-02012 (ECP5), FPGA-DS-02008 (iCE40 UltraPlus), FPGA-DS-02029 (iCE40 LP/HX); Gowin DS117 (GW1NR).
Tiles: Project Trellis, ``devices.json``; Project IceStorm, ``chipdb``; Project Apicula.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

ECP5, ICE40, GOWIN = "ecp5", "ice40", "gowin"
FAMILIES = (ECP5, ICE40, GOWIN)
"""Parts that Yosys and nextpnr know from their wheels."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Resources of a part.

    Parameters
    ----------
    name : str
        The maker's, without package and speed.
    family : str
        One of ``FAMILIES``.
    device : str
        The name by which nextpnr is told it.
    luts, flip_flops : int
        Tables of four inputs, registers.
    block_rams, block_ram_bits : int
        How many, and bits of each, parity included.
    large_rams, large_ram_bits : int
        Single-port memories of an UltraPlus.
    dsps : int
        Multipliers of 18 x 18 bits, of an UltraPlus 16 x 16.
    columns, rows : int
        Of its tiles, as nextpnr counts them, with those of pins at the edges.
    """

    name: str
    family: str
    device: str
    luts: int
    flip_flops: int
    block_rams: int
    block_ram_bits: int
    dsps: int
    columns: int
    rows: int
    large_rams: int = 0
    large_ram_bits: int = 0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {self.family!r}")

    @property
    def block_ram_bytes(self) -> int:
        """Of all block RAMs, parity not counted."""
        return self.block_rams * (1 << self.block_ram_bits.bit_length() - 1) // 8

    @property
    def large_ram_bytes(self) -> int:
        """Of all large memories."""
        return self.large_rams * self.large_ram_bits // 8

    def as_dict(self) -> dict[str, str | int]:
        """Plain data, for JSON."""
        return asdict(self)


def _ecp5(name: str, device: str, luts: int, block_rams: int, dsps: int, tiles: tuple[int, int]) -> Part:
    return Part(
        name=name, family=ECP5, device=device, luts=luts, flip_flops=luts, block_rams=block_rams,
        block_ram_bits=18432, dsps=dsps, columns=tiles[0], rows=tiles[1],
    )  # fmt: skip


PARTS = {
    part.name: part
    for part in (
        _ecp5("LFE5U-25F", "25k", 24288, 56, 28, (73, 51)),
        _ecp5("LFE5U-45F", "45k", 43848, 108, 72, (91, 72)),
        _ecp5("LFE5U-85F", "85k", 83640, 208, 156, (127, 96)),
        Part(
            name="iCE40UP5K", family=ICE40, device="up5k", luts=5280, flip_flops=5280, block_rams=30,
            block_ram_bits=4096, dsps=8, columns=26, rows=32, large_rams=4, large_ram_bits=1 << 18,
        ),
        Part(
            name="iCE40HX8K", family=ICE40, device="hx8k", luts=7680, flip_flops=7680, block_rams=32,
            block_ram_bits=4096, dsps=0, columns=34, rows=34,
        ),
        Part(
            name="GW1NR-9", family=GOWIN, device="GW1N-9C", luts=8640, flip_flops=6480, block_rams=26,
            block_ram_bits=18432, dsps=20, columns=47, rows=29,
        ),
    )
}  # fmt: skip
"""By name."""


def devices(family: str) -> dict[str, str]:
    """Names of the parts of a family by nextpnr's."""
    return {part.device: part.name for part in PARTS.values() if part.family == family}
