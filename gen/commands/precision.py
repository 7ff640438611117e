"""What ``search``, ``trace`` and ``eval`` share: options, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gen.commands.common import choice, integer, megahertz, model_path
from gen.errors import RequestError
from gen.progress import Progress

if TYPE_CHECKING:
    from gen.precision.cycles import Costs
    from gen.precision.linears import Linears
    from gen.precision.search import Choice
    from gen.precision.study import Study

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A fetched model's name (smollm2), or a GGUF file of a Llama.")
]
ConfigOption = Annotated[str, typer.Option("--config", metavar="CONFIG", help="A preset or a TOML file.")]
FormatsOption = Annotated[
    str | None, typer.Option(metavar="A,B", help="Formats of weights to choose from; all plain ones of the array.")
]  # fmt: skip
TextOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What the model reads; a page that comes with the program."),
]
TokensOption = Annotated[
    int, typer.Option(metavar="T", help="Tokens of the text that errors are measured on.")
]
FeaturesOption = Annotated[
    int, typer.Option(metavar="N", help="Of each layer at most so many features are measured, 0 for all.")
]
SensitivityOption = Annotated[
    str,
    typer.Option(
        metavar="KIND", help="How errors of layers are weighed: logits (each layer probed in the whole model) or none."
    ),
]  # fmt: skip
ClockOption = Annotated[float, typer.Option(metavar="MHZ", help="The accelerator's clock.")]
IntervalOption = Annotated[
    int, typer.Option(metavar="N", help="Cycles of the memory for each beat of the bus.")
]
CLOCK = 100.0
"""MHz for which times are told."""
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that say what is measured, and how."""

    model: str
    config: str
    overrides: Sequence[str]
    formats: str | None
    activations: str | None
    sensitivity: str
    text: Path | None
    tokens: int
    features: int
    interval: int
    clock: float

    def check(self) -> None:
        """Raises ``RequestError`` for what cannot be, before anything heavy."""
        megahertz(self.clock)
        choice("--sensitivity", self.sensitivity, ("logits", "none"))
        integer("--tokens", self.tokens, 2, 1 << 14)
        integer("--features", self.features, 0, 1 << 20)
        integer("--interval", self.interval, 1, 1 << 10)

    def prepare(self, given: str | None, progress: Progress) -> Prepared:
        """The layers in their formats; ``given`` is an assignment, whose formats are among those measured."""
        from gen import config as configuration
        from gen.models import assignment
        from gen.models.file import ModelFileError
        from gen.precision import linears
        from gen.precision.cycles import Costs
        from gen.precision.study import candidates, read_text, read_tokens, study
        from sim.cycles.memory import MemoryTiming

        costs = Costs(
            config=configuration.load(self.config, list(self.overrides)),
            activations=self.activations,
            timing=MemoryTiming(interval=self.interval),
        )
        formats = candidates(costs, self.formats)
        model = linears.load(model_path(self.model, "GGUF"))
        assigned = None
        if given is not None:
            named = assignment.parse("--format", given, model.names)
            assigned = {layer: costs.pair(name)[1].name for layer, name in named.items()}
            formats = list(dict.fromkeys([*formats, *assigned.values()]))
        try:
            tokens = read_tokens(model, read_text(self.text), self.tokens)
            found = study(
                model,
                costs,
                tokens,
                formats,
                features=self.features,
                probed=self.sensitivity == "logits",
                progress=progress,
            )
        except ModelFileError as error:
            raise RequestError(f"MODEL {self.model!r}: must be a Llama that can be read ({error})") from None
        return Prepared(model=model, costs=costs, study=found, assigned=assigned)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What came of it. ``assigned``: the array's names of the formats that were given, by layer."""

    model: Linears
    costs: Costs
    study: Study
    assigned: dict[str, str] | None


def summary(choice: Choice, clock: float) -> dict[str, Any]:
    """Of an assignment, as plain data."""
    return {
        "cycles": choice.cycles,
        "ms": choice.cycles / clock / 1e3,
        "tokens_per_second": clock * 1e6 / choice.cycles,
        "mib": choice.bytes / MIB,
        "error": choice.error,
    }


def rows(study: Study, choice: Choice) -> list[dict[str, Any]]:
    """Layer by layer, as plain data."""
    table, found = study.table, []
    for row, (layer, name) in enumerate(choice.formats.items()):
        place = table.formats.index(name)
        taken, error = table.taken[row][place], study.errors[layer][name]
        found.append(
            {
                "layer": layer,
                "format": name,
                "cycles": taken.cycles,
                "utilisation": {"array": taken.array, "bus": taken.bus},
                "bytes": taken.bytes,
                "bus_bytes": taken.bus_bytes,
                "largest_activation": study.largest[layer],
                "error": error,
                "sqnr_db": decibels(error),
                "divergence": float(table.errors[row, place]) if study.sensitivity is not None else None,
            }
        )
    return found


def decibels(error: float) -> float | None:
    """Signal to noise of a relative error of power; None when there is none."""
    return -10 * math.log10(error) if error > 0 else None
