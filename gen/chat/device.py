"""Who computes the sums of linear layers: the golden model, or the generated Verilog in simulation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from gen import run
from gen.chat.network import Loaded, Part, Task
from gen.compiler.program import UNWRITTEN
from gen.config import Config
from gen.generate import generate
from hw.control.isa import INSTRUCTION_BYTES
from hw.design import ceil_div
from hw.formats import Operand
from sim.cycles.memory import MemoryTiming
from sim.fast import Simulator
from sim.simulate import RunResult, SimulationError


@dataclass
class Account:
    """What programs took so far."""

    programs: int = 0
    cycles: int = 0
    errors: int = 0
    """Cycles, measured against predicted, program by program, without their signs."""
    load_beats: int = 0
    beats: int = 0
    """Those of LOADs, and all of them: instructions and results, too."""
    cached_programs: int = 0
    cached_cycles: int = 0
    """Those of products with keys or values, out of all."""
    seconds: float = 0.0
    """Wall time in which programs ran."""

    def since(self, before: Account) -> Account:
        """What came after ``before``."""
        return Account(
            *(now - then for now, then in zip(vars(self).values(), vars(before).values(), strict=True))
        )


@dataclass(frozen=True, kw_only=True)
class Window:
    """Cycles of which there is to be a trace: ``first`` to ``last``, counted from 1 over all programs, one after the other.

    ``folder`` gets a ``.vcd`` for each program that has some of them, from the program's first cycle on its own count.
    """

    folder: Path
    first: int
    last: int

    def of(self, number: int, name: str, begins: int, cycles: int) -> Trace | None:
        """The file of program ``number``, which takes ``cycles`` from ``begins`` on, with its first and last; None of others."""
        first, last = max(self.first - begins, 1), min(self.last - begins, cycles)
        if first > cycles or last < 1:
            return None
        return self.folder / f"{number:06}-{name.translate(_PLAIN)}.vcd", (first, last)


Trace = tuple[Path, tuple[int, int]]
_PLAIN = str.maketrans({"[": "-", "]": None, ":": "-", ",": None})


class Device(Protocol):
    """Computes sums."""

    account: Account

    def sums(self, tasks: Sequence[Task]) -> list[np.ndarray]:
        """Of each part with what enters it, [M, N]. The order is that of the tasks; none needs another's result."""


class Golden:
    """The mathematical model."""

    def __init__(self) -> None:
        self.account = Account()

    def sums(self, tasks: Sequence[Task]) -> list[np.ndarray]:
        """See ``Device``."""
        return [part.golden(x) for part, x in tasks]


class Accelerator:
    """Simulators of one accelerator's Verilog, each in a thread of its own.

    Parameters
    ----------
    config : Config
    parallel : int
        Simulators, which run programs that do not depend on each other at the same time. The accelerator would run them one after
        the other: their cycles are added.
    check : bool
        Compare all sums with the golden model's, bit for bit.
    window : Window, optional
        What is traced.

    Members
    -------
    mismatch : dict or None
        The first difference: layer, index, got, wanted.
    """

    def __init__(
        self,
        config: Config,
        *,
        parallel: int,
        timing: MemoryTiming,
        check: bool,
        window: Window | None = None,
        notify: Callable[[str], None] = lambda _: None,
    ):
        made, design = generate(config, notify=notify), config.design()
        self.account, self._check, self._timing = Account(), check, timing
        self.mismatch: dict[str, Any] | None = None
        self._window = window
        self._all = [
            Simulator(
                made.verilog,
                top=made.top,
                data_bytes=design.data_bytes,
                address_width=design.address_width,
                traced=window is not None,
                notify=notify,
            )
            for _ in range(parallel)
        ]
        self._idle: SimpleQueue[Simulator] = SimpleQueue()
        for simulator in self._all:
            self._idle.put(simulator)
        self._pool = ThreadPoolExecutor(parallel)

    def close(self) -> None:
        """Stop what runs, and give everything back."""
        for simulator in self._all:
            simulator.stop()
        self._pool.shutdown(cancel_futures=True)
        for simulator in self._all:
            simulator.close()

    def sums(self, tasks: Sequence[Task]) -> list[np.ndarray]:
        """See ``Device``.

        Raises ``SimulationError`` when a program does not end as it must.
        """
        started = time.perf_counter()
        # The longest first, so that the simulators end at about the same time.
        order = sorted(range(len(tasks)), key=lambda number: -tasks[number][0].w.codes.size)
        traces = self._traces(tasks)
        futures: dict[int, Future[tuple[np.ndarray, RunResult, Loaded]]] = {
            number: self._pool.submit(self._run, *tasks[number], traces[number]) for number in order
        }
        results = [futures[number].result() for number in range(len(tasks))]
        account = self.account
        account.seconds += time.perf_counter() - started
        for (part, x), (sums, result, loaded) in zip(tasks, results, strict=True):
            fetched = ceil_div(loaded.program.length * INSTRUCTION_BYTES, part.target.design.data_bytes)
            measured = result.counters["cycles"]
            account.programs += 1
            account.cycles += measured
            account.cached_programs += part.cached
            account.cached_cycles += measured * part.cached
            account.errors += abs(measured - loaded.predicted)
            account.beats += result.read_beats + result.write_beats
            account.load_beats += result.read_beats - fetched
            if self._check and self.mismatch is None and (wrong := run.mismatch(sums, part.golden(x))):
                self.mismatch = {"layer": part.name, **wrong}
        return [sums for sums, _, _ in results]

    def _traces(self, tasks: Sequence[Task]) -> list[Trace | None]:
        """What is to be traced of each program."""
        if self._window is None or self.account.cycles >= self._window.last:
            return [None] * len(tasks)
        found, begins = [], self.account.cycles
        for number, (part, x) in enumerate(tasks, self.account.programs):
            cycles = part.loaded(len(x.codes)).predicted
            found.append(self._window.of(number, part.name, begins, cycles))
            begins += cycles
        return found

    def _run(self, part: Part, x: Operand, trace: Trace | None) -> tuple[np.ndarray, RunResult, Loaded]:
        loaded = part.loaded(len(x.codes))
        program, image = loaded.program, loaded.image
        packed = program.family.pack_activations(x, part.variant).reshape(-1)
        start = program.regions["activations"][0] - program.base
        image[start : start + packed.size] = packed
        start, size = program.regions["output"]
        image[start - program.base :][:size] = UNWRITTEN
        simulator = self._idle.get()
        try:
            result = simulator.run(
                image,
                program.registers,
                base=program.base,
                timing=self._timing,
                limit=8 * loaded.predicted + 100_000,
                trace=trace[0] if trace else None,
                window=trace[1] if trace else (0, 0),
            )
        finally:
            self._idle.put(simulator)
        if not result.ok or program.damaged(image) is not None:
            raise SimulationError(
                f"{part.name}: the program must end without an error, not with status {result.status:#x}, error "
                f"{result.error:#x} at instruction {result.error_instruction} after {result.cycles} cycles"
            )
        return program.read_output(image), result, loaded
