"""The command line.

Exit status: 0 all held, 1 something did not hold, 2 the request cannot be taken, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import typer
from typer.exceptions import TyperException

from gen.commands import (
    board,
    build,
    chat,
    cluster,
    demo,
    estimate,
    eval,
    formats,
    generate,
    models,
    presets,
    quantize,
    reproduce,
    search,
    show,
    simulate,
    sweep,
    trace,
)
from gen.errors import RequestError

app = typer.Typer(
    name="gatemill",
    help="Low-bit LLM accelerators from a configuration: Verilog, golden model, cycle model, simulation.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("presets")(presets.presets)
app.command("show")(show.show)
app.command("generate")(generate.generate)
app.command("simulate")(simulate.simulate)
app.command("formats")(formats.formats)
app.command("quantize")(quantize.quantize)
app.command("eval")(eval.evaluate)
app.command("search")(search.search)
app.command("trace")(trace.trace)
app.command("reproduce")(reproduce.reproduce)
app.add_typer(models.app, name="models")
app.command("boards")(build.boards)
app.command("build")(build.build)
app.command("flash")(build.flash)
app.command("run")(board.run)
app.command("selftest")(board.selftest)
app.command("virtual")(board.virtual)
app.command("estimate")(estimate.estimate)
app.command("sweep")(sweep.sweep)
app.command("compare")(sweep.compare)
app.command("cluster")(cluster.cluster)
app.command("chat")(chat.chat)
app.command("demo")(demo.demo)


INTERRUPTED = 130
"""Exit status after an interrupt, as a shell has it; Typer's, too."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit status."""
    sys.unraisablehook = _interrupt_again
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, _end)
    status = run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone: keep Python from complaining of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run the command line; its exit status. What a user can mend ends in plain lines on standard error."""
    try:
        status = app(arguments, standalone_mode=False, prog_name="gatemill")
    except TyperException as error:
        return _refuse(error)
    except RequestError as error:
        print(f"gatemill: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        return _fail(error)
    if status == INTERRUPTED:
        print("gatemill: interrupted", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _end(number: int, _: Any) -> None:
    """Ended from outside: programs that were started end with us, and what is half written goes, as after an interrupt."""
    raise SystemExit(128 + number)


def _interrupt_again(unraisable: Any) -> None:
    """An interrupt that fell into a ``__del__``, where Python can only ignore it, comes again right after."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)


def _fail(error: RuntimeError) -> int:
    """A tool is missing or failed, or a simulation did not end well; anything else is a defect of ours."""
    from fpga.flash import FlashError
    from fpga.flow.steps import DoesNotFit
    from fpga.host.accelerator import DeviceError
    from fpga.host.link import LinkError
    from fpga.synthesis import FigureError
    from sim.simulate import SimulationError
    from sim.tools import ToolError

    if not isinstance(
        error, DoesNotFit | FigureError | ToolError | SimulationError | DeviceError | LinkError | FlashError
    ):
        raise error
    print(f"gatemill: {error}", file=sys.stderr)
    return 2 if isinstance(error, ToolError) else 1


def _refuse(error: TyperException) -> int:
    """A wrong flag or argument, in one line; no message means that help was asked for by giving nothing."""
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    if not text.strip() or type(error).__name__ == "NoArgsIsHelpError":
        return 2
    where = f" (see {context.command_path} -h)" if context is not None else ""
    print(f"gatemill: {' '.join(text.split())}{where}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
