"""``gatemill simulate CONFIG``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen.commands import workloads
from gen.commands.common import (
    ActivationsOption,
    ConfigArgument,
    JsonOption,
    SetOption,
    WeightsOption,
    choice,
    emit,
    integer,
    note,
    progress_bar,
)
from gen.errors import RequestError

if TYPE_CHECKING:
    from gen.options import Options


def simulate(
    config: ConfigArgument,
    *,
    gemm: workloads.GemmOption = None,
    model: workloads.ModelOption = None,
    layer: workloads.LayerOption = None,
    tokens: workloads.TokensOption = 8,
    prompt: workloads.PromptOption = None,
    mode: workloads.ModeOption = "raw",
    activations: ActivationsOption = None,
    weights: WeightsOption = None,
    simulator: Annotated[str, typer.Option(metavar="NAME", help="verilator or icarus.")] = "verilator",
    memory: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="exact (stated timing) or cocotbext (independent slave)."),
    ] = None,
    latency: Annotated[int, typer.Option(metavar="N", help="Cycles of the exact memory's latency.")] = 20,
    stall: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of the cycles in which the memory pauses (cocotbext)."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of operands and pauses.")] = 0,
    waves: Annotated[Path | None, typer.Option(metavar="FILE", help="A trace: FILE.fst or FILE.vcd.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a GEMM on the generated Verilog; compare it bit for bit with the golden model."""
    options = _options(
        simulator=simulator, memory=memory, latency=latency, stall=stall, seed=seed, waves=waves
    )
    choice("--mode", mode, ("raw", "requantised"))
    workloads.check(gemm, model, layer)
    from gen import config as configuration
    from gen import report

    loaded = configuration.load(config, overrides or [])
    family = loaded.instance
    formats = family.pairs[family.variant(activations, weights)]
    workload = workloads.make(
        gemm,
        model=model,
        layer=layer,
        tokens=tokens,
        prompt=prompt,
        mode=mode,
        seed=seed,
        formats=formats,
        family=family,
    )
    from gen import run

    with progress_bar() as progress:
        document = run.run(loaded, [workload], options, progress=progress, notify=note)[0]
    emit(document, as_json=as_json, render=lambda: report.simulation(document))
    if not document["pass"]:
        raise typer.Exit(1)


def _options(
    *, simulator: str, memory: str | None, latency: int, stall: float, seed: int, waves: Path | None
) -> Options:
    choice("--simulator", simulator, ("verilator", "icarus"))
    if simulator == "icarus":
        from sim.tools import require_icarus

        require_icarus()
    kind = choice("--memory", memory or ("cocotbext" if stall else "exact"), ("exact", "cocotbext"))
    if not 0 <= stall <= 0.95:
        raise RequestError(f"--stall {stall}: must be a number from 0 to 0.95")
    if stall and kind == "exact":
        raise RequestError(f"--stall {stall}: must be 0 with --memory exact, whose timing is stated")
    if waves is not None:
        choice("--waves", waves.suffix, (".fst", ".vcd"))
        if not waves.parent.is_dir():
            raise RequestError(f"--waves {str(waves)!r}: must lie in a folder that is there")
    from gen.options import Options

    return Options(
        simulator=simulator,
        memory=kind,
        latency=integer("--latency", latency, 1, 10_000),
        stall=stall,
        seed=integer("--seed", seed, 0, (1 << 32) - 1),
        waves=waves,
    )
