"""What a format makes of a model, as a row of plain data: perplexity, bits, cycles; and which formats break it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gen.chat.device import Accelerator, Golden
from gen.chat.network import Linear
from gen.precision import perplexity
from gen.precision.linears import Linears
from gen.precision.perplexity import BROKEN, FLOAT, Setup
from gen.progress import Progress

MIB = 1 << 20
THROUGHPUT = "throughput only"
"""What is said of a format with which the model does not speak any more."""


def topics() -> str:
    """The text that Python itself has (``pydoc_data.topics``); it differs from version to version."""
    from pydoc_data import topics

    return "\n".join(topics.topics.values())


def row(
    model: Linears,
    chosen: Setup | None,
    layers: Mapping[str, Linear],
    windows: Sequence[Sequence[int]],
    *,
    clock: float,
    simulate: int = 0,
    progress: Progress = lambda *_: None,
    notify: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Of a setup with its ``layers``, or of the model as its file has it, on windows of tokens that each begin anew.

    Parameters
    ----------
    clock : float
        MHz, for tokens a second.
    simulate : int
        Tokens that the generated Verilog reads, too.
    """
    if chosen is None:
        names = (
            "configuration",
            "weights",
            "activations",
            "bits",
            "mib",
            "cycles",
            "tokens_per_second",
            "simulated",
        )
        found = perplexity.of_float(model, windows, progress)
        return dict.fromkeys(names) | {"name": FLOAT, "cache": "float", "perplexity": found, "note": ""}
    found = perplexity.perplexity(model, layers, chosen, Golden(), windows, progress)
    taken = perplexity.sums(model, chosen)
    pairs = chosen.pairs().values()
    return {
        "name": chosen.name,
        "configuration": chosen.costs.config.name,
        "weights": sorted({weights.name for _, weights in pairs}),
        "activations": sorted({activations.name for activations, _ in pairs}),
        "cache": chosen.kind.name,
        "bits": taken.bits,
        "mib": taken.bytes / MIB,
        "perplexity": found,
        "cycles": taken.cycles,
        "tokens_per_second": clock * 1e6 / taken.cycles,
        "note": "",
        "simulated": _simulated(model, layers, chosen, windows[0][:simulate], progress, notify)
        if simulate
        else None,
    }


def _simulated(
    model: Linears,
    layers: Mapping[str, Linear],
    chosen: Setup,
    tokens: Sequence[int],
    progress: Progress,
    notify: Callable[[str], None],
) -> dict[str, Any]:
    """That the accelerator's Verilog gives the same logits, and in how many cycles."""
    device = Accelerator(
        chosen.costs.config, parallel=1, timing=chosen.costs.timing, check=True, notify=notify
    )
    try:
        equal = perplexity.compare(model, layers, chosen, Golden(), device, tokens, progress)
    finally:
        device.close()
    account = device.account
    return {
        "tokens": len(tokens),
        "equal": equal and device.mismatch is None,
        "mismatch": device.mismatch,
        "cycles": account.cycles,
        "cycle_error": account.errors,
        "seconds": round(account.seconds, 3),
    }


def judge(rows: Sequence[dict[str, Any]]) -> None:
    """A note at each format with which the model is broken, beside float32 or, without it, the best."""
    whole = [row["perplexity"] for row in rows if row["name"] == FLOAT] or [row["perplexity"] for row in rows]
    for row in rows:
        if not row["perplexity"] <= BROKEN * min(whole):
            row["note"] = THROUGHPUT
