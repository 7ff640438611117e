"""What to multiply: the options of ``simulate`` and ``run``, and the workload that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gen.errors import RequestError

if TYPE_CHECKING:
    from gen.families import Family
    from gen.workload import Workload
    from hw.formats import Format

GemmOption = Annotated[str | None, typer.Option(metavar="MxKxN", help="A random GEMM of these sizes.")]
ModelOption = Annotated[str | None, typer.Option(metavar="MODEL", help="A fetched model; wants --layer.")]
LayerOption = Annotated[str | None, typer.Option(metavar="LAYER", help="One of its layers: blk.0.attn_q.")]
TokensOption = Annotated[
    int, typer.Option(metavar="T", help="The last T tokens of the prompt: rows of the GEMM.")
]
PromptOption = Annotated[str | None, typer.Option(metavar="TEXT", help="What the model reads.")]
ModeOption = Annotated[
    str, typer.Option(metavar="MODE", help="raw (int32, float32) or requantised (int8, fp16).")
]


def check(gemm: str | None, model: str | None, layer: str | None) -> None:
    """That a GEMM or a layer is asked for, and only one of them."""
    if (gemm is None) == (model is None):
        raise RequestError("--gemm, --model: exactly one of them must be given")
    if (model is None) != (layer is None):
        raise RequestError("--layer: must be given with --model, and only then")


def make(
    gemm: str | None,
    *,
    model: str | None,
    layer: str | None,
    tokens: int,
    prompt: str | None,
    mode: str,
    seed: int,
    formats: tuple[Format, Format],
    family: Family,
) -> Workload:
    """The workload of these options."""
    from gen import workload

    if gemm is not None:
        return workload.random(workload.parse_gemm(gemm), mode, seed, formats, family)
    return workload.of_layer(
        model or "", layer or "", tokens, mode, prompt or workload.PROMPT, formats, family
    )
