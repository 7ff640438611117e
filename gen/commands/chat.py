"""``gatemill chat MODEL --config CONFIG``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.commands.common import (
    ActivationsOption,
    JsonOption,
    SetOption,
    WeightsOption,
    choice,
    emit,
    integer,
    megahertz,
    model_path,
    note,
    output_folder,
    progress_bar,
)
from gen.errors import RequestError

if TYPE_CHECKING:
    from gen.chat.session import Session

MOST_TRACED = 10_000_000
"""Cycles of a trace: some 10 kB each of a large array."""
INTERRUPTED = 130
"""Exit status after an interrupt; what was said until then is told."""


def chat(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A fetched model's name (smollm2), or a GGUF file."),
    ],
    *,
    config: Annotated[
        str, typer.Option("--config", metavar="CONFIG", help="A preset's name or a TOML file.")
    ] = "lut-m2n64k4",
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What the model goes on from.")],
    tokens: Annotated[int, typer.Option(metavar="N", help="At most so many new tokens.")] = 24,
    conversation: Annotated[
        bool, typer.Option("--chat", help="The prompt is a user's turn, in the model's own template.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare every sum of every layer with the golden model.")
    ] = False,
    activations: ActivationsOption = None,
    weights: WeightsOption = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="TEXT",
            help="Formats of weights by layer: attn=int4-s8,ffn=int3-s8,head=int8; blk.0.*=...; FILE.toml of `search`.",
        ),
    ] = "",
    parallel: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Simulators at the same time, each a process core; 2 by default where there are as many.",
        ),
    ] = None,
    chunk: Annotated[int, typer.Option(metavar="N", help="Tokens of the prompt that are read at once.")] = 1,
    attention: Annotated[
        str,
        typer.Option(
            metavar="WHERE",
            help="host, or accelerator: products with keys and values, of int8, are the array's, too.",
        ),
    ] = "host",
    golden: Annotated[
        bool, typer.Option("--golden", help="The golden model alone: the same text, nothing simulated.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for traces (.vcd) of programs, one after the other."),
    ] = None,
    trace_window: Annotated[
        str | None,
        typer.Option(
            metavar="A:B",
            help="Cycles to be traced, of all programs together, A to B; the first 10,000 otherwise.",
        ),
    ] = None,
    clock: Annotated[
        float, typer.Option(metavar="MHZ", help="Clock for which tokens a second are told.")
    ] = 100.0,
    latency: Annotated[int, typer.Option(metavar="N", help="Cycles of the memory's latency.")] = 20,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a language model speak, every linear layer of every token computed by the generated Verilog in simulation."""
    integer("--tokens", tokens, 1, 4096)
    integer("--chunk", chunk, 1, 256)
    integer("--latency", latency, 1, 10_000)
    choice("--attention", attention, ("host", "accelerator"))
    cores = min(2, os.cpu_count() or 1)
    parallel = cores if parallel is None else integer("--parallel", parallel, 1, 16)
    megahertz(clock)
    if golden and check:
        raise RequestError("--check: must be left out with --golden, which has nothing to compare")
    if trace is None and trace_window is not None:
        raise RequestError("--trace-window: must have a folder for traces (--trace DIR)")
    first, last = _window(trace_window or "1:10000")
    if trace is not None and golden:
        raise RequestError("--trace: must be left out with --golden, which simulates nothing")
    path = model_path(model, "GGUF")
    from gen import config as configuration
    from gen.chat.device import Window
    from gen.chat.session import Request, Session
    from gen.options import Options

    request = Request(
        path=path,
        config=configuration.load(config, overrides or []),
        prompt=prompt,
        tokens=tokens,
        conversation=conversation,
        activations=activations,
        weights=weights,
        formats=formats,
        parallel=parallel,
        chunk=chunk,
        attention=attention == "accelerator",
        simulated=not golden,
        check=check,
        window=None
        if trace is None
        else Window(folder=output_folder(trace, "--trace"), first=first, last=last),
        clock=clock,
        timing=Options(latency=latency).timing,
    )
    with progress_bar() as progress:
        session = Session(request, notify=note, progress=progress)
    with session:
        try:
            _speak(session, as_json=as_json)
            status = 0
        except KeyboardInterrupt:
            status = INTERRUPTED
        document = session.document()
    emit(document, as_json=as_json, render=lambda: _report(document))
    if document["equal"] is False or document["cycle_error"]:
        status = status or 1
    if status:
        raise typer.Exit(status)


def _window(text: str) -> tuple[int, int]:
    """First and last cycle."""
    match = re.fullmatch(r"(\d{1,15}):(\d{1,15})", text)
    first, last = map(int, match.groups()) if match else (0, 0)
    if not 1 <= first <= last < first + MOST_TRACED:
        raise RequestError(
            f"--trace-window {text!r}: must be A:B, cycles from 1 on of which A is not above B, {MOST_TRACED} at most"
        )
    return first, last


def _speak(session: Session, *, as_json: bool) -> None:
    """The text as it comes; beside a JSON document it goes, with what each token took, to standard error."""
    stream = sys.stderr if as_json else sys.stdout
    print(session.request.prompt, end="", file=stream, flush=True)
    told, clock = 0, session.request.clock
    for word in session.words():
        print(word, end="", file=stream, flush=True)
        if not sys.stdout.isatty() or as_json:
            for step in session.steps[told:]:
                if step.seconds:
                    note(
                        f"  [{step.cycles:,} cycles, {step.seconds:.1f} s, {step.cycles / step.seconds:,.0f} cycles/s, "
                        f"{1 / step.seconds:.3g} tokens/s; {clock * 1e6 / step.cycles:.2f} tokens/s at {clock:g} MHz]"
                    )
        told = len(session.steps)
    print(file=stream, flush=True)


def _attention(found: dict[str, Any]) -> list[str]:
    if found["on"] == "host":
        return []
    return [f"of these {found['cycles_per_token']:,} in {found['programs_per_token']} programs for attention"]


def _report(document: dict[str, Any]) -> str:
    """What it took, in lines."""
    lines = [f"\n{len(document['tokens'])} tokens after {document['prompt_tokens']} of the prompt"]
    if document["cycles_per_token"]:
        bus = document["bus"]
        lines += [
            f"{document['cycles_per_token']:,} cycles a token in {document['programs_per_token']} programs: "
            f"{document['board_tokens_per_second']:.2f} tokens/s at {document['clock_mhz']:g} MHz; "
            f"bus {bus['loads']:.2%} loads, {bus['all']:.2%} with instructions and results",
            *_attention(document["attention"]),
            f"simulation: {document['seconds_per_token']:.1f} s a token, "
            f"{document['cycles_per_second']:,} cycles/s of {document['simulators']} simulators",
        ]
    if document["cycle_error"] is not None:
        lines.append(f"cycles off the cycle model: {document['cycle_error']}")
    if document["equal"] is not None:
        wrong = document["mismatch"]
        lines.append(
            "every sum of every layer equal to the golden model"
            if document["equal"]
            else f"{wrong['layer']} differs at {wrong['index']}: got {wrong['got']}, wanted {wrong['wanted']}"
        )
    return "\n".join(lines)
