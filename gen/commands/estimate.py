"""``gatemill estimate CONFIG --target T``."""

from __future__ import annotations

from typing import Annotated

import typer

from gen.commands.common import (
    ActivationsOption,
    ConfigArgument,
    JsonOption,
    SetOption,
    WeightsOption,
    emit,
    integer,
    megahertz,
    note,
)
from gen.errors import RequestError

MOST_SEEDS, MOST_DEPTH = 100, 9


def estimate(
    config: ConfigArgument,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="T",
            help="ecp5-25k, ecp5-45k, ecp5-85k, ice40-up5k, ice40-hx8k, gowin-9k, cmos or liberty:FILE.",
        ),
    ],
    *,
    workload: Annotated[
        str | None,
        typer.Option(
            "--workload", metavar="W", help="What cycles are of: smollm2:decode, gemm:MxKxN, FILE.toml."
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option("--seeds", metavar="N", help="Place and route out of context with so many seeds: MHz."),
    ] = 0,
    fitted: Annotated[
        bool,
        typer.Option(
            "--fitted", help="At once, from a model fitted to measured points; says how far off it may be."
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Synthesise each module once, not across them: a few per cent more LUTs."
        ),
    ] = False,
    variants: Annotated[
        bool, typer.Option("--variants", help="Also with and without DSP blocks and wide LUTs.")
    ] = False,
    depth: Annotated[int, typer.Option("--depth", metavar="N", help="Of the modules in the table.")] = 1,
    clock: Annotated[
        float | None,
        typer.Option("--clock", metavar="MHZ", help="Of the workload; otherwise what is reached."),
    ] = None,
    toggles: Annotated[
        str | None,
        typer.Option(
            "--toggles",
            metavar="MxKxN",
            help="Simulate a random GEMM of these sizes; count how often signals change.",
        ),
    ] = None,
    overrides: SetOption = None,
    activations: ActivationsOption = None,
    weights: WeightsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Area and clock on a part, or gates: of the whole and of each module; and the cycles of a workload."""
    integer("--seeds", seeds, 0, MOST_SEEDS)
    integer("--depth", depth, 1, MOST_DEPTH)
    if clock is not None:
        megahertz(clock)
    from gen import config as configuration
    from gen.estimate import page
    from gen.estimate import toggles as changes
    from gen.estimate.fpga import Effort
    from gen.estimate.request import FITTED, MEASURED, Request
    from gen.estimate.request import estimate as make
    from gen.models import work

    loaded = configuration.load(config, overrides or [])
    loaded.instance.variant(activations, weights)
    if fitted and quick:
        raise RequestError("--quick: must be left out with --fitted, which synthesises nothing")
    asked = Request(
        config=loaded, target=target, work=None if workload is None else work.parse(workload), every_way=variants,
        effort=Effort(seeds=tuple(range(1, seeds + 1)), flatten=not quick, depth=depth), clock_mhz=clock,
        activations=activations, weights=weights, method=FITTED if fitted else MEASURED,
        toggles=None if toggles is None else changes.parse(toggles),
    )  # fmt: skip
    if not fitted:
        note(f"synthesis for {target}" + (f", place and route with {seeds} seeds" if seeds else ""))
    made = make(asked, note)
    emit(made.document, as_json=as_json, render=lambda: page.terminal(made.document))
