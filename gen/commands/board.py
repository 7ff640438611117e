"""``gatemill run``, ``selftest`` and ``virtual CONFIG``: a board, real or virtual, against the golden model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.commands import build, workloads
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
    transfer_bar,
)
from gen.errors import RequestError

if TYPE_CHECKING:
    from rich.console import RenderableType

UrlOption = Annotated[
    str, typer.Option("--url", metavar="URL", help="/dev/ttyUSB0, COM3, a pty, socket://host:port.")
]
BaudOption = Annotated[int, typer.Option("--baud", metavar="N", help="Bits a second of the link.")]
BAUD = 1_000_000


def run(
    config: ConfigArgument,
    *,
    url: UrlOption,
    baud: BaudOption = BAUD,
    gemm: workloads.GemmOption = None,
    model: workloads.ModelOption = None,
    layer: workloads.LayerOption = None,
    tokens: workloads.TokensOption = 8,
    prompt: workloads.PromptOption = None,
    mode: workloads.ModeOption = "raw",
    activations: ActivationsOption = None,
    weights: WeightsOption = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of random operands.")] = 0,
    timeout: Annotated[
        int, typer.Option("--timeout", metavar="S", help="Seconds for each program on the board.")
    ] = 60,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a GEMM or a layer on a board; compare it bit for bit with the golden model."""
    choice("--mode", mode, ("raw", "requantised"))
    integer("--baud", baud, 300, 20_000_000)
    integer("--seed", seed, 0, (1 << 32) - 1)
    integer("--timeout", timeout, 1, 24 * build.HOUR)
    workloads.check(gemm, model, layer)
    from fpga.host import runs
    from fpga.host.accelerator import Accelerator
    from gen import config as configuration

    loaded = configuration.load(config, overrides or [])
    family = loaded.instance
    load = workloads.make(
        gemm,
        model=model,
        layer=layer,
        tokens=tokens,
        prompt=prompt,
        mode=mode,
        seed=seed,
        formats=family.pairs[family.variant(activations, weights)],
        family=family,
    )
    with transfer_bar() as notice, Accelerator.open(url, config=loaded, baud=baud) as accelerator:
        document = runs.run(accelerator, load, notice, timeout=timeout)
    emit(document, as_json=as_json, render=lambda: _run_table(document))
    if not document["pass"]:
        raise typer.Exit(1)


def selftest(
    config: ConfigArgument,
    *,
    url: UrlOption,
    baud: BaudOption = BAUD,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Test the memory of a board and a small GEMM in every pair of formats."""
    integer("--baud", baud, 300, 20_000_000)
    from fpga.host import runs
    from fpga.host.accelerator import Accelerator
    from gen import config as configuration

    loaded = configuration.load(config, overrides or [])
    with transfer_bar() as notice, Accelerator.open(url, config=loaded, baud=baud) as accelerator:
        document = runs.selftest(accelerator, notice)
    emit(document, as_json=as_json, render=lambda: _checks_table(document))
    if not document["pass"]:
        raise typer.Exit(1)


def virtual(
    config: ConfigArgument,
    *,
    board: build.BoardOption,
    memory: build.MemoryOption = None,
    clock: build.ClockOption = None,
    baud: build.BaudOption = None,
    pty: Annotated[
        Path | None, typer.Option("--pty", metavar="NAME", help="A link to the pty, for the time being.")
    ] = None,
    tcp: Annotated[
        int | None, typer.Option("--tcp", metavar="PORT", help="A port of this machine instead; 0: any.")
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Be a board in simulation, at a pty or a TCP port, until interrupted."""
    if pty is not None and tcp is not None:
        raise RequestError("--pty, --tcp: at most one of them must be given")
    if tcp is not None:
        integer("--tcp", tcp, 0, 65535)
    from fpga.flow import design
    from fpga.host.virtual import VirtualBoard, check_free
    from fpga.soc.uart import divisor_of
    from fpga.soc.virtual import program

    loaded, known, hertz, rate = build.request(config, board, memory, clock, baud, overrides)
    check_free(port=tcp, name=pty)
    begun = time.monotonic()
    with build.explained(loaded, known):
        # The link of the simulation has no divisor; that of the board must be possible all the same.
        divisor_of(clock_hz=hertz, baud=rate)
        model_memory = design.memory(loaded, known, clock_hz=hertz, modelled=True)
    model = program(loaded, memory=model_memory, clock_hz=hertz, baud=rate, notify=note)
    with VirtualBoard(model, port=tcp, name=pty) as running:
        url = running.url if pty is None else str(pty)
        note(f"{known.name} with {loaded.name}: --url {url} (Ctrl-C ends it)")
        try:
            status = running.wait()
        except KeyboardInterrupt:
            status = 0
    document = {"pass": status == 0, "url": url, "seconds": round(time.monotonic() - begun, 3)}
    text = "ended by an interrupt" if status == 0 else f"the model ended with status {status}"
    emit(document, as_json=as_json, render=lambda: text)
    if status != 0:
        raise typer.Exit(1)


def _run_table(document: dict[str, Any]) -> RenderableType:
    from gen.report import difference, table

    wrong, cycles = document["mismatch"], document["cycles"]
    held = difference(wrong) if wrong else "equal to the golden model, every bit"
    if cycles["equal"] is None:
        predicted = f"none: {cycles['why']}"
    else:
        predicted = f"{cycles['predicted']:,}, " + (
            "equal" if cycles["equal"] else "which is not what was measured"
        )
    clock = document["board"]["clock_hz"]
    rows = [
        ("result", held),
        ("programs", str(document["programs"])),
        ("cycles", f"{cycles['measured']:,}"),
        ("predicted", predicted),
        (f"at {clock / 1e6:g} MHz", f"{1e3 * document['board_seconds']:.3f} ms, {document['gops']:.3f} GOPS"),
        ("with the link", f"{document['seconds']:.2f} s"),
    ]
    return table(
        ["what", "value"], rows, title=f"{document['configuration']}: {document['workload']['title']}"
    )


def _checks_table(document: dict[str, Any]) -> RenderableType:
    from gen.report import table

    rows = [(row["what"], "held" if row["held"] else "FAILED", row["detail"]) for row in document["checks"]]
    return table(["what", "held", "detail"], rows, title=f"{document['configuration']}: self-test")
