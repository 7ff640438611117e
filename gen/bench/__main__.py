"""``python -m gen.bench``: measures the figures, prints one table; exit status 1 when one misses what it must be."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from gen.bench.figures import Row, table
from gen.commands.common import note, output_folder, write_files
from gen.errors import RequestError

Notify = Callable[[str], None]


def _cycles(notify: Notify) -> list[Row]:
    from gen.bench import simulation

    return [simulation.cycle_error(notify)]


def _utilisation(notify: Notify) -> list[Row]:
    from gen.bench import simulation

    return [
        simulation.utilisation(notify),
        simulation.term_rate(simulation.BIT_SERIAL, simulation.SIMULATED, notify),
        simulation.term_rate(simulation.BIT_SERIAL_FLOAT, (), notify),
        *(simulation.term_rate(simulation.LOOKUP, (), notify, sizes) for sizes in simulation.LOOKUP_LAYERS),
        *(simulation.product_rate(preset) for preset in simulation.DECODED),
    ]


def _bus(notify: Notify) -> list[Row]:
    from gen.bench import simulation

    return [
        simulation.bus(notify),
        simulation.bus_rate(simulation.BIT_SERIAL, simulation.SIMULATED, notify),
        simulation.bus_rate(simulation.LOOKUP, simulation.LOOKUP_SIMULATED, notify),
    ]


def _mac(notify: Notify) -> list[Row]:
    from gen.bench import throughput

    del notify
    return [throughput.row()]


def _skip(notify: Notify) -> list[Row]:
    from gen.bench import skipping

    return [skipping.row(notify)]


def _speed(notify: Notify) -> list[Row]:
    from gen.bench import simulation

    return [simulation.speed(notify)]


def _workload(notify: Notify) -> list[Row]:
    from gen.bench import workload

    return workload.rows(notify)


def _generate(notify: Notify) -> list[Row]:
    from gen.bench import generation

    return generation.rows(notify)


def _quantise(notify: Notify) -> list[Row]:
    from gen.bench import quantisation

    return [quantisation.row(notify)]


def _clock(notify: Notify) -> list[Row]:
    from gen.bench import implementation

    return implementation.rows(notify)


def _elements(notify: Notify) -> list[Row]:
    from gen.bench import elements

    return elements.rows(notify)


def _fp16_element(notify: Notify) -> list[Row]:
    from gen.bench import fp16_element

    return fp16_element.rows(notify)


def _lookup(notify: Notify) -> list[Row]:
    from gen.bench import lookup

    return lookup.rows(notify)


def _lookup_array(notify: Notify) -> list[Row]:
    from gen.bench import lookup_array

    return lookup_array.rows(notify)


def _lookup_sweep(notify: Notify) -> list[Row]:
    from gen.bench import lookup_sweep

    return [lookup_sweep.row(notify)]


def _lookup_cmos(notify: Notify) -> list[Row]:
    from gen.bench import lookup_cmos

    return lookup_cmos.rows(notify)


def _multipliers(notify: Notify) -> list[Row]:
    from gen.bench import multipliers

    return multipliers.rows(notify)


def _systolic_multipliers(notify: Notify) -> list[Row]:
    from gen.bench import systolic_multipliers

    return systolic_multipliers.rows(notify)


def _digits(notify: Notify) -> list[Row]:
    from gen.bench import digit_array

    return digit_array.rows(notify)


def _decoders(notify: Notify) -> list[Row]:
    from gen.bench import decoders

    return decoders.rows(notify)


def _exponent_integer(notify: Notify) -> list[Row]:
    from gen.bench import exponent_integer

    return exponent_integer.rows(notify)


def _decoded_array(notify: Notify) -> list[Row]:
    from gen.bench import decoded_array

    return decoded_array.rows(notify)


def _decoded_clock(notify: Notify) -> list[Row]:
    from gen.bench import decoded_array

    return decoded_array.placed_rows(notify)


def _decoded_layers(notify: Notify) -> list[Row]:
    from gen.bench import decoded_layers

    return decoded_layers.rows(notify)


def _boards(
    notify: Notify,
    names: Sequence[str] = (),
    *,
    memory: str | None = None,
    presets: Sequence[str] = (),
    save: bool = False,
) -> list[Row]:
    """Of these boards, or of all, with their usual memory or this one; of all their designs, or of these presets.

    Kept board by board, so that what fails late loses nothing.
    """
    from fpga.board import boards as known
    from gen.bench import boards

    found: list[Row] = []
    for name in names or known():
        rows = boards.rows(notify, [name], memory, presets)
        if save:
            boards.save(rows)
            notify(f"kept in {boards.FILE}: python -m gen.documentation shows it")
        found += rows
    return found


def _of_boards(
    names: Sequence[str], memory: str | None, presets: Sequence[str], *, save: bool
) -> Callable[[Notify], list[Row]]:
    """Those of these boards, or of all. Raises ``RequestError`` when there is no such board, memory or design."""
    from fpga.board import MEMORIES, boards, load
    from gen.bench.boards import designs

    kinds = {kind.lower().replace(" ", "-"): kind for kind in MEMORIES}
    if memory is not None and memory not in kinds:
        raise RequestError(f"--memory {memory!r}: must be one of {', '.join(kinds)}")
    those = [load(name) for name in names] or boards().values()
    known = {loaded.name for board in those for loaded in designs(board)} if presets else set()
    for name in presets:
        if name not in known:
            raise RequestError(f"--preset {name!r}: must be one of {', '.join(sorted(known))}")
    kind = None if memory is None else kinds[memory]
    return partial(_boards, names=names, memory=kind, presets=presets, save=save)


def _chat(notify: Notify, names: Sequence[str] = (), *, save: bool = False) -> list[Row]:
    from gen.bench import chat

    return chat.rows(notify, names, keep=save)


def _perplexity(notify: Notify, names: Sequence[str] = (), *, save: bool = False) -> list[Row]:
    from gen.bench import perplexity

    return perplexity.rows(notify, names, keep=save)


def _of_cases(key: str, names: Sequence[str], *, save: bool) -> Callable[[Notify], list[Row]]:
    """Those of these cases of ``key``, or of all. Raises ``RequestError`` when there is no such case."""
    if names:
        from gen.bench import chat, perplexity

        {CHAT: chat, PERPLEXITY: perplexity}[key].chosen(names)
    return partial(CASES[key], names=names, save=save)


def _up5k(notify: Notify) -> list[Row]:
    from gen.bench import small_part

    return small_part.rows(notify)


def _sweep(notify: Notify) -> list[Row]:
    from gen.bench import sweep

    return [sweep.row(notify)]


def _sweep_rates(notify: Notify) -> list[Row]:
    from gen.bench import sweep

    return sweep.rates(notify)


def _fit(notify: Notify) -> list[Row]:
    from gen.bench import fit

    return fit.rows(notify)


BOARDS, CHAT, PERPLEXITY = KEPT = ("boards", "chat", "perplexity")
"""The figures that can be kept."""
CASES = {CHAT: _chat, PERPLEXITY: _perplexity}
"""Those that are measured case by case."""
FIGURES: dict[str, Callable[[Notify], list[Row]]] = {
    "cycles": _cycles,
    "utilisation": _utilisation,
    "bus": _bus,
    "mac": _mac,
    "skip": _skip,
    "workload": _workload,
    "generate": _generate,
    "speed": _speed,
    "quantise": _quantise,
    "sweep": _sweep,
    "sweep-rates": _sweep_rates,
    "fit": _fit,
    "clock": _clock,
    "elements": _elements,
    "fp16-element": _fp16_element,
    "lookup": _lookup,
    "lookup-array": _lookup_array,
    "lookup-sweep": _lookup_sweep,
    "lookup-cmos": _lookup_cmos,
    "decoders": _decoders,
    "exponent-integer": _exponent_integer,
    "decoded-array": _decoded_array,
    "decoded-clock": _decoded_clock,
    "decoded-layers": _decoded_layers,
    "multipliers": _multipliers,
    "systolic-multipliers": _systolic_multipliers,
    "digits": _digits,
    "up5k": _up5k,
    BOARDS: _boards,
    **CASES,
}
SLOW = (
    "clock", "elements", "fp16-element", "lookup", "lookup-array", "lookup-sweep", "lookup-cmos", "decoders", "exponent-integer",
    "decoded-array", "decoded-clock", "multipliers", "systolic-multipliers", "digits", "up5k", "sweep-rates",
    *KEPT,
)  # fmt: skip
"""Place and route, or a model's text: minutes each, and more."""


def figures(
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help=f"Only this figure; may be repeated: {', '.join(FIGURES)}."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"All but what takes minutes: {', '.join(SLOW)}.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Draw what can be drawn: DIR/KEY.svg."),
    ] = None,
    board: Annotated[
        list[str] | None, typer.Option(metavar="BOARD", help="Of `boards` only this one; may be repeated.")
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(metavar="PRESET", help="Of `boards` only this design; may be repeated."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="Of `boards` with this memory, where they have it; their usual one."
        ),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="CASE", help="Of `chat` or `perplexity` only this case; may be repeated."),
    ] = None,
    save: Annotated[
        bool,
        typer.Option("--save", help=f"Keep the figures of {', '.join(KEPT)}, for the documents."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Measure the figures and print them beside what they must be."""
    for key in only or ():
        if key not in FIGURES:
            raise RequestError(f"--only {key!r}: must be one of {', '.join(FIGURES)}")
    chosen = [key for key in FIGURES if (not only or key in only) and not (quick and key in SLOW)]
    if not chosen:
        raise RequestError("--only, --quick: at least one figure must be left")
    for given, options, keys in (
        (board or preset or memory, "--board, --preset, --memory", (BOARDS,)),
        (case, "--case", tuple(CASES)),
        (save, "--save", KEPT),
    ):
        if given and not set(keys) & set(chosen):
            raise RequestError(
                f"{options}: {' or '.join(keys)} must be one of the figures, not {', '.join(chosen)}"
            )
    measures = {
        **FIGURES,
        BOARDS: _of_boards(board or [], memory, preset or [], save=save),
        **{key: _of_cases(key, case or [], save=save) for key in CASES if key in chosen},
    }
    if output is not None:
        output_folder(output)
    rows: list[Row] = []
    for place, key in enumerate(chosen, start=1):
        note(f"[{place}/{len(chosen)}] {key}")
        rows += measures[key](lambda text: note(f"      {text}"))
    if output is not None:
        drawn = {f"{row.key}.svg": row.picture() for row in rows if row.picture is not None}
        for file in write_files(output, drawn):
            note(f"wrote {file}")
    passed = all(row.held is not False for row in rows)
    if as_json:
        print(json.dumps({"pass": passed, "rows": [row.document() for row in rows]}, indent=2))
    else:
        from rich.console import Console

        # What is not a terminal gets room for the columns.
        Console(highlight=False, width=None if sys.stdout.isatty() else 150).print(table(rows))
    if not passed:
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Exit status of the command line; what the user can mend ends in one line on standard error."""
    # Before NumPy is imported: products of the golden model are small, threads of BLAS that wait for a busy core take
    # many times longer than one that does not.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from sim.simulate import SimulationError
    from sim.tools import ToolError

    application = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
    application.command()(figures)
    try:
        status = application(arguments, standalone_mode=False, prog_name="python -m gen.bench")
    except TyperException as error:
        print(f"bench: {error.format_message()}", file=sys.stderr)
        return 2
    except RequestError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except (ToolError, SimulationError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2 if isinstance(error, ToolError) else 1
    return status if isinstance(status, int) else 0


if __name__ == "__main__":
    sys.exit(main())
