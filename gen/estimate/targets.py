"""What an accelerator can be estimated for, by name: parts of FPGAs, CMOS gates, the cells of a Liberty file."""

from __future__ import annotations

from pathlib import Path

from fpga.parts import PARTS, Part

_PARTS = {
    "ecp5-25k": "LFE5U-25F", "ecp5-45k": "LFE5U-45F", "ecp5-85k": "LFE5U-85F",
    "ice40-up5k": "iCE40UP5K", "ice40-hx8k": "iCE40HX8K", "gowin-9k": "GW1NR-9",
}  # fmt: skip
PART_OF: dict[str, Part] = {target: PARTS[name] for target, name in _PARTS.items()}
"""Parts by target."""
CMOS, LIBERTY = "cmos", "liberty:"
"""Gates of any process, and the beginning of targets that name a Liberty file."""
NAMES = (*PART_OF, CMOS, f"{LIBERTY}FILE")
"""As messages have them."""


def check(target: str) -> str:
    """``target`` if it is one.

    Raises ``ValueError`` when it is none.
    """
    if target in PART_OF or target == CMOS or (target.startswith(LIBERTY) and target != LIBERTY):
        return target
    raise ValueError(f"target must be one of {', '.join(NAMES)}, not {target!r}")


def is_part(target: str) -> bool:
    """Whether it is a part of an FPGA, which can be placed and routed."""
    return target in PART_OF


def liberty_file(target: str) -> Path | None:
    """The Liberty file of a target that names one."""
    return Path(target.removeprefix(LIBERTY)) if target.startswith(LIBERTY) else None
