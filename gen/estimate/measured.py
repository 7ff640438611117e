"""An accelerator on a target, measured by the tools: the one way in which sweeps and estimates do it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fpga.flow.report import Use
from fpga.flow.steps import DoesNotFit
from gen.config import Config
from gen.estimate import asic, fpga
from gen.estimate.fpga import Effort
from gen.estimate.targets import PART_OF, check, is_part, liberty_file
from gen.generate import accelerator
from gen.rtlil import to_rtlil

RESOURCES = {"lut": "luts", "ff": "flip_flops", "dsp": "dsps", "bram": "block_rams"}
"""Names in documents of what parts have."""
NONE = Use(used=0, available=0)
"""Of what a part has none of."""
VARIANTS: dict[str, dict[str, Any]] = {
    "DSP blocks": {},
    "DSP blocks, wide LUTs": {"wide_luts": True},
    "no DSP blocks": {"dsp": False},
    "no DSP blocks, wide LUTs": {"dsp": False, "wide_luts": True},
}
"""Ways to synthesise, besides the effort's own settings."""

Measured = fpga.Measured | asic.Gates


def measure(config: Config, target: str, effort: Effort) -> Measured:
    """The accelerator of ``config`` on ``target``.

    Raises
    ------
    RequestError
        The target's file cannot be read.
    ValueError
        There is no such target.
    fpga.flow.steps.DoesNotFit
        The part has too little.
    fpga.synthesis.FigureError
        A figure is missing.
    sim.tools.ToolError
        A program is missing, failed or took too long.
    """
    rtlil = to_rtlil(accelerator(config), name="top")
    if is_part(check(target)):
        return fpga.measure(rtlil, target, effort)
    return asic.measure(rtlil, liberty_file(target), depth=effort.depth, timeout=effort.timeout)


def variants(
    config: Config, target: str, effort: Effort, found: fpga.Measured
) -> dict[str, fpga.Measured | DoesNotFit]:
    """The same on a part, synthesised and packed in each way that it has: with and without DSP blocks and wide LUTs.

    ``found`` is what was measured as the effort says. A way in which it does not fit has that as its answer; otherwise
    raises as :func:`measure`.
    """
    rtlil, part = to_rtlil(accelerator(config), name="top"), PART_OF[target]
    chosen = {
        name: replace(effort, seeds=(), **how)
        for name, how in VARIANTS.items()
        if (part.dsps or "dsp" in how) and (part.family != fpga.ICE40 or "wide_luts" not in how)
    }
    same = replace(effort, seeds=())

    def way(one: Effort) -> fpga.Measured | DoesNotFit:
        try:
            return found if one == same else fpga.measure(rtlil, target, one)
        except DoesNotFit as error:
            return error

    return {name: way(one) for name, one in chosen.items()}


def figures(found: Measured) -> dict[str, Any]:
    """Its figures by the names of ``gen.sweep.figures.FIGURES``: those that there are."""
    if isinstance(found, fpga.Measured):
        area = {name: found.use.get(kind, NONE).used for name, kind in RESOURCES.items()}
        return area | ({} if found.fmax_mhz is None else {"fmax_mhz": found.fmax_mhz})
    named: dict[str, Any] = {
        "ff": found.flip_flops, "memory_bits": found.memory_bits,
        "transistors": None if found.transistors is None else found.transistors.total,
        "nand2": found.nand2, "levels": found.levels, "area_um2": found.area_um2, "delay_ns": found.delay_ns,
    }  # fmt: skip
    return {name: value for name, value in named.items() if value is not None}


def modules(found: Measured) -> list[dict[str, Any]]:
    """What each module takes; together they are the whole."""
    if isinstance(found, fpga.Measured):
        return [
            {"module": path or "top", **{name: _whole(one.get(kind, 0)) for name, kind in RESOURCES.items()}}
            for path, one in found.modules.items()
        ]
    size = "area_um2" if found.area_um2 is not None else "nand2"
    return [
        {"module": path or "top", size: one["gates"], "ff": one["ff"]} for path, one in found.modules.items()
    ]


def _whole(number: float) -> float:
    """An integer where it is one: half a multiplier of a Gowin's is none."""
    return int(number) if number == int(number) else number
