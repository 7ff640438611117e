"""What an evaluation says of a point: names and meanings of its figures, and the objectives made of them."""

from __future__ import annotations

from dataclasses import dataclass

from gen.estimate.targets import CMOS, is_part

FIGURES = {
    "lut": "tables of four inputs (a carry cell counts as two); on an iCE40 logic cells",
    "ff": "registers; on an iCE40 they are in the logic cells, too",
    "dsp": "multiplier blocks",
    "bram": "block RAMs",
    "fmax_mhz": "MHz after place and route",
    "nand2": "in CMOS, NAND gates with as many transistors as all gates and registers; larger memories are left out",
    "transistors": "in CMOS, those of all gates and registers",
    "levels": "in CMOS, gates on the longest path",
    "area_um2": "area of all cells of a Liberty file, in its unit, µm² by custom; larger memories do not count",
    "delay_ns": "ns of the longest path through cells of a Liberty file, without wires and registers",
    "memory_bits": "in CMOS and with a Liberty file, bits of the memories of more than 64 words",
    "clock_mhz": "MHz that speeds are worked out with: fmax_mhz, or the specification's clock_mhz",
    "cycles": "cycles of the workload by the cycle model; a token's for a model's decode",
    "array_utilisation": "share of the array's multiplications that the workload needs, 0 to 1",
    "seconds_per_run": "seconds of the workload",
    "tokens_per_second": "tokens of the workload in a second: a model's, or as many as a file says",
    "gmac_per_second": "10**9 multiplications of the workload in a second",
}
"""By name; all of them are numbers, or missing."""

PLACED = ("fmax_mhz",)
"""Those that place and route alone gives."""
OF_PARTS, OF_CMOS, OF_LIBERTY = (
    ("lut", "ff", "dsp", "bram", "fmax_mhz"), ("ff", "nand2", "transistors", "levels", "memory_bits"),
    ("ff", "area_um2", "delay_ns", "memory_bits"),
)  # fmt: skip
"""Those that parts of FPGAs, CMOS gates, and the cells of a Liberty file have."""


def of_target(target: str) -> frozenset[str]:
    """Figures that a point on ``target`` may have."""
    own = OF_PARTS if is_part(target) else OF_CMOS if target == CMOS else OF_LIBERTY
    return frozenset(FIGURES) - {*OF_PARTS, *OF_CMOS, *OF_LIBERTY} | frozenset(own)


OF_TOKENS = ("tokens_per_second",)
"""Those that a workload of tokens alone has: a model's, or a file."""


@dataclass(frozen=True)
class Objective:
    """A figure that is to be small, or large: then its text begins with a minus."""

    figure: str
    largest: bool

    @classmethod
    def of(cls, text: str) -> Objective:
        """From ``lut`` or ``-tokens_per_second``."""
        return cls(text.removeprefix("-"), text.startswith("-"))

    @property
    def text(self) -> str:
        """As in a specification."""
        return "-" * self.largest + self.figure

    def loss(self, figures: dict[str, float]) -> float:
        """What is to be small."""
        value = figures[self.figure]
        return -value if self.largest else value
