"""When everything in a program happens where instructions are issued in order: ``hw.in_order``.

Control does one thing after the other, so cycles are added up; only an EXECUTE goes on beside what follows it. LOAD and STORE
have their own module here (``mover``), EXECUTE has the cycle law of its family. Holds for programs that end without an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from hw.control.isa import INSTRUCTION_BYTES, Instruction, Opcode, Queue, Token
from hw.design import Design
from hw.timing import IN_ORDER_START, TOKEN_PASS
from sim.cycles import mover
from sim.cycles.memory import MemoryTiming, ReadMemory, WriteMemory
from sim.cycles.prediction import Prediction, Trace, WeightsNeeded
from sim.cycles.weights import LoadedWeights
from sim.families.contract import CycleLaw, SettingsLaw


class Machine:
    """A run; ``weights`` only where cycles depend on them."""

    def __init__(
        self,
        design: Design,
        law: CycleLaw,
        program: Sequence[Instruction],
        timing: MemoryTiming,
        weights: LoadedWeights | None,
        *,
        traced: bool = False,
    ):
        self._design, self._law, self._program, self._weights = design, law, list(program), weights
        self._reads, self._writes = ReadMemory(timing), WriteMemory(timing)
        self._tokens = dict.fromkeys(Token, 0)
        self._executing: int | None = None
        """The EXECUTE or CONFIGURE whose tokens are not given yet."""
        self._trace = Trace(looked=[0] * len(self._program), steps=[0] * len(self._program))
        self._taken: list[int] = []
        """Cycles in which the core took something."""
        self._result = Prediction(0, finished=[0] * len(self._program), trace=self._trace if traced else None)

    def run(self) -> Prediction:
        """All of it; ``ValueError`` when the program locks up."""
        now = IN_ORDER_START
        for index, instruction in enumerate(self._program):
            now = self._decided(index, now)
            for_core = instruction.opcode.queue is Queue.EXECUTE
            now = (self._execute(index, now) if for_core else self._move(index, now)) + 1
        if self._executing is not None:
            now, _ = self._pass(now, 0)
        # The cycle in which control sees that all is done is one of the run.
        self._result.cycles = now + 1
        if self._result.trace:
            self._trace.events = self._taken
        return self._result

    def _decided(self, index: int, ask: int) -> int:
        """The instruction is asked for in cycle ``ask``; the cycle in which it starts, its tokens taken."""
        values = self._program[index].values
        self._trace.looked[index] = ask
        beats = INSTRUCTION_BYTES // self._design.data_bytes
        _, first, last = self._reads.read(ask, beats)
        self._result.fetch_beats += beats
        after, wait = self._pass(first, values["wait"], at_once=True)
        now = max(after, last + 1)
        for_core = self._program[index].opcode.queue is Queue.EXECUTE
        while wait or (for_core and self._executing is not None):
            if self._executing is None:
                raise ValueError(
                    f"instruction {index} of the program never ends: it waits for a token that nobody gives"
                )
            now, wait = self._pass(now, wait)
        self._trace.handed.append(now)
        return now

    def _pass(self, begin: int, wait: int, *, at_once: bool = False) -> tuple[int, int]:
        """All counters come by from cycle ``begin`` on, if not ``at_once`` when the EXECUTE under way has ended.

        Gives the first cycle in which they do not, and what is left of ``wait``.
        """
        executing = self._executing
        if executing is not None:
            ended = self._result.finished[executing]
            if not at_once:
                begin = max(begin, ended + 1)
            if ended < begin:
                self._give(executing)
                self._executing = None
        if wait:
            for token in Token:
                if wait >> token & 1 and self._tokens[token]:
                    self._tokens[token] -= 1
                    wait &= ~(1 << token)
        return begin + TOKEN_PASS + 1, wait

    def _give(self, index: int) -> None:
        if post := self._program[index].values["post"]:
            for token in Token:
                self._tokens[token] += post >> token & 1

    def _execute(self, index: int, decided: int) -> int:
        """The cycle in which the core takes it."""
        values, visible = self._program[index].values, decided + 1
        if self._program[index].opcode is Opcode.CONFIGURE:
            times = cast(SettingsLaw, self._law).configure(visible, values)
        else:
            times = self._law.execute(visible, values, lambda: self._content(index))
        self._result.array_steps += times.steps
        self._trace.steps[index] = times.steps
        self._result.finished[index] = times.finished
        self._executing = index
        self._taken.append(times.taken)
        return times.taken

    def _content(self, index: int) -> np.ndarray:
        if self._weights is None:
            raise WeightsNeeded("image must be given: how long the array takes depends on its weights")
        return self._weights.before(index)

    def _move(self, index: int, start: int) -> int:
        """A LOAD or STORE that starts in cycle ``start``: the cycle in which it has ended, and its tokens are given."""
        instruction, result = self._program[index], self._result
        if instruction.opcode is Opcode.LOAD:
            moved = mover.load(start, self._design, self._reads, instruction.values)
            result.load_beats += moved.beats
        else:
            moved = mover.store(start, self._design, self._writes, instruction.values)
            result.store_beats += moved.beats
        result.finished[index] = moved.ended
        self._give(index)
        return max(moved.ended, start + TOKEN_PASS + 1)
