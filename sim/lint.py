"""Checks of generated Verilog by three independent readers: Verilator's lint, Yosys' checks, Icarus' Verilog-2005."""

from __future__ import annotations

import re

from sim import tools, verilator

WAIVED = {
    "CASEINCOMPLETE": "Yosys writes a default assignment before each case instead of a default branch",
    "CMPCONST": "a limit that follows from the parameters may be all that its signal can hold",
    "DECLFILENAME": "all modules stand in one file",
    "PROCASSINIT": "registers have initial values and are assigned in processes, as FPGAs have it",
    "SYMRSVDWORD": "the port interrupt is a word of C++; Verilator renames it in its own output",
    "UNUSEDSIGNAL": "sums are cut to the width of their register; the names of the source are kept for traces",
    "WIDTHEXPAND": "Amaranth's operands have just the bits they need; the widths are exact by its rules",
    "WIDTHTRUNC": "the same where a sum is cut to its register",
}
"""Verilator's warnings that do not count, and why. All others are errors, LATCH, UNOPTFLAT and MULTIDRIVEN among them."""

_WARNING = re.compile(r"^%(?:Warning|Error)(?:-(\w+))?:.*$", re.MULTILINE)


def verilator_lint(verilog: str, *, top: str) -> list[str]:
    """What ``verilator --lint-only -Wall`` has to say beyond the waivers."""
    with tools.working_folder("lint") as folder:
        (folder / "design.v").write_text(verilog)
        command = [
            *verilator.verilator(),
            "--lint-only",
            "-Wall",
            "-Wno-fatal",
            "--top-module",
            top,
            "design.v",
        ]
        try:
            text = tools.run(
                command, folder=folder, env=verilator.verilator_environment(), name="verilator", timeout=600
            )
        except tools.ToolError as error:
            return [str(error)]
    return [found[0] for found in _WARNING.finditer(text) if found[1] not in WAIVED]


def yosys_check(verilog: str, *, top: str) -> list[str]:
    """What Yosys finds: loops, several drivers, undriven wires (``check -assert``), latches, missing modules."""
    script = (
        f"read_verilog design.v\nhierarchy -check -top {top}\nproc\nflatten\nopt_clean\ncheck -assert\n"
        "select -assert-none t:$dlatch t:$dlatchsr t:$adlatch\n"
    )
    with tools.working_folder("check") as folder:
        (folder / "design.v").write_text(verilog)
        (folder / "script.ys").write_text(script)
        try:
            tools.run(
                [*tools.yowasp("yosys"), "-q", "-s", "script.ys"], folder=folder, name="yosys", timeout=600
            )
        except tools.ToolError as error:
            return [str(error)]
    return []


def icarus_read(verilog: str, *, top: str) -> list[str]:
    """What ``iverilog -g2005`` has to say; raises ``ToolError`` when it is not installed."""
    programs = tools.require_icarus()
    with tools.working_folder("icarus") as folder:
        (folder / "design.v").write_text(verilog)
        command = [programs["iverilog"], "-g2005", "-Wall", "-Wno-timescale", "-tnull", "-s", top, "design.v"]
        try:
            text = tools.run(command, folder=folder, name="iverilog", timeout=600)
        except tools.ToolError as error:
            return [str(error)]
    return [line for line in text.splitlines() if line.startswith("design.v")]


def lint(verilog: str, *, top: str) -> list[str]:
    """Everything the installed readers find; empty for clean Verilog."""
    findings = verilator_lint(verilog, top=top) + yosys_check(verilog, top=top)
    return findings + (icarus_read(verilog, top=top) if tools.icarus() else [])
