"""When everything in a program happens: the units of the accelerator, composed.

Derived from the timing that the hardware documents: ``hw.control.fetch``, ``decode``, ``queue``, ``run``; LOAD and STORE have
their own modules here, EXECUTE has the cycle law of its family. Holds for programs that end without an error.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cache, partial
from typing import cast

import numpy as np

from hw.control.isa import (
    INSTRUCTION_BYTES,
    Instruction,
    Opcode,
    Queue,
    Token,
)
from hw.design import Design
from hw.timing import (
    DECODE,
    FETCH_NEXT,
    PROGRAM_CHECK,
    QUEUE_CHECK,
    QUEUE_HEAD,
    READ_RETURN,
    RUN_END,
    TOKEN,
)
from sim.cycles import in_order, store
from sim.cycles.kernel import Kernel, Process, Signal
from sim.cycles.load import Load, LoadUnit
from sim.cycles.memory import MemoryTiming, ReadArbiter, ReadMemory, WriteMemory
from sim.cycles.prediction import Prediction, Trace, WeightsNeeded
from sim.cycles.weights import LoadedWeights
from sim.families.contract import CycleLaw, SettingsLaw


def predict(
    design: Design,
    law: CycleLaw,
    program: Sequence[Instruction],
    timing: MemoryTiming | None = None,
    *,
    image: np.ndarray | None = None,
    base: int = 0,
    traced: bool = False,
) -> Prediction:
    """Cycles of ``program`` on ``design`` with its code and data in a memory of ``timing``.

    Parameters
    ----------
    law
        The cycle law of the array family, fresh (``model.law()``).
    image : array of uint8, optional
        Memory at the start, the byte at address ``base`` first. Needed only where cycles depend on the weights.
    traced : bool
        Tell ``trace``, too.

    Raises
    ------
    ValueError
        When the program locks up; as ``WeightsNeeded`` when ``image`` is needed and not there.
    """
    weights = None if image is None else LoadedWeights(design, program, image, base)
    if design.in_order:
        return in_order.Machine(design, law, program, timing or MemoryTiming(), weights, traced=traced).run()
    return _Machine(design, law, program, timing or MemoryTiming(), weights, traced=traced).run()


@cache
def _tokens(mask: int) -> tuple[Token, ...]:
    """Those of ``wait`` or ``post``."""
    return tuple(token for token in Token if mask >> token & 1)


class _Machine:
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
        self.weights = weights
        self.design, self.law, self.program = design, law, list(program)
        self.trace = Trace(looked=[0] * len(self.program), steps=[0] * len(self.program))
        self.kernel = kernel = Kernel(self.trace.events if traced else None)
        self.arbiter = ReadArbiter(kernel, ReadMemory(timing))
        self.load = LoadUnit(kernel, self.arbiter, design)
        self.loading: Load | None = None
        self.writes = WriteMemory(timing)
        self.stored = 0
        self.tokens = dict.fromkeys(Token, 0)
        self.given = {token: Signal(kernel) for token in Token}
        self.result = Prediction(0, finished=[0] * len(self.program), trace=self.trace if traced else None)
        # Cycles in which fetch handed over an instruction, and news of it; arrival of each fetched beat at the buffer.
        self.handovers = self.trace.handed
        self.handing = Signal(kernel)
        self.arrivals: list[int] = []
        self.arriving = Signal(kernel)
        # Per queue: indices of the instructions in it with the first cycle in which each can be the head.
        self.queues: dict[Queue, list[tuple[int, int]]] = {queue: [] for queue in Queue}
        self.filled = {queue: Signal(kernel) for queue in Queue}
        self.left = {queue: Signal(kernel) for queue in Queue}
        self.occupied = dict.fromkeys(Queue, False)  # the register between a queue and its unit
        self.emptied = {queue: Signal(kernel) for queue in Queue}
        self.end = 0

    def run(self) -> Prediction:
        kernel = self.kernel
        kernel.start(self._fetch(), at=PROGRAM_CHECK)
        kernel.start(self._dispatch(), at=PROGRAM_CHECK)
        for queue in Queue:
            kernel.start(self._issue(queue), at=PROGRAM_CHECK)
        kernel.run()
        if not all(self.result.finished):
            stuck = self.result.finished.index(0)
            raise ValueError(
                f"instruction {stuck} of the program never ends: it waits for a token that nobody gives"
            )
        # The first cycle in which all is drained is still one of the run, and so is the one in which control sees it.
        self.result.cycles = self.end + RUN_END
        return self.result

    def _fetch(self) -> Process:
        asked = 0
        beats_each = INSTRUCTION_BYTES / self.design.data_bytes
        interval = self.arbiter.memory.timing.interval
        while asked < len(self.program):
            batch = min(self.design.fetch_batch, len(self.program) - asked)
            beats = -int(-batch * beats_each // 1)
            burst = yield from self.arbiter.request(0, beats)
            self.result.fetch_beats += beats
            self.arrivals += [burst.first + k * interval + READ_RETURN for k in range(beats)]
            self.arriving.notify(0)
            asked += batch
            # There must be room for a batch; a hand-over in cycle t has made room in t + 2; the request is made in t + 3.
            needed = asked + self.design.fetch_batch - self.design.prefetch
            again = self.kernel.now + FETCH_NEXT - 2
            if asked == len(self.program):
                return
            while needed > len(self.handovers):
                yield self.handing
            room = self.handovers[needed - 1] + 2 if needed > 0 else 0
            yield max(again, room) + 1

    def _dispatch(self) -> Process:
        """Words from beats, decoder, and the way into the queues."""
        wide = self.design.data_bytes > INSTRUCTION_BYTES
        each = 1 if wide else INSTRUCTION_BYTES // self.design.data_bytes
        queued = -1  # cycle in which the previous instruction was put into its queue
        for index, instruction in enumerate(self.program):
            beat = index // 2 if wide else (index + 1) * each - 1
            while beat >= len(self.arrivals):
                yield self.arriving
            handed = max(self.arrivals[beat] + 1, queued + 1)
            if handed > self.kernel.now:
                yield handed
            in_place = (
                self.design.prefetch == 1
            )  # the word stays in fetch's register until its queue takes it
            if not in_place:
                self._handed(handed)
            queue = instruction.opcode.queue
            yield handed + DECODE
            waiting = self.queues[queue]
            while len(waiting) > self.design.queue_depth:
                yield self.left[queue]
            queued = self.kernel.now
            if in_place:
                self._handed(queued)
            waiting.append((index, queued + QUEUE_HEAD))
            self.filled[queue].notify()

    def _handed(self, cycle: int) -> None:
        """Fetch has handed over a word."""
        self.handovers.append(cycle)
        self.handing.notify()

    def _issue(self, queue: Queue) -> Process:
        """One queue's head: waits for tokens, then for the command register, from which the unit takes it."""
        kernel, waiting = self.kernel, self.queues[queue]
        while True:
            while not waiting:
                yield self.filled[queue]
            index, visible = waiting[0]
            if visible > kernel.now:
                yield visible
            values = self.program[index].values
            self.trace.looked[index] = kernel.now
            waits = _tokens(values["wait"])
            for token in waits:
                while not self.tokens[token]:
                    yield self.given[token]
            yield kernel.now + QUEUE_CHECK
            while self.occupied[queue]:
                yield self.emptied[queue]
            for token in waits:
                self.tokens[token] -= 1
            self.occupied[queue] = True
            kernel.start(self._hand_over(queue, index, values), at=kernel.now + 1)
            if not self.design.queue_depth:  # it leaves when its unit takes it
                while self.occupied[queue]:
                    yield self.emptied[queue]
                continue
            kernel.late(partial(self._leave, queue))
            yield kernel.now + QUEUE_HEAD

    def _hand_over(self, queue: Queue, index: int, values: dict[str, int]) -> Process:
        """The command is valid from this cycle on, until its unit takes it."""
        yield from self._taken(queue, index, values)
        self.kernel.late(partial(self._empty, queue))
        if not self.design.queue_depth:
            self.kernel.late(partial(self._leave, queue))

    # What frees a place does so, and tells, at the end of the cycle: nobody can look before and begin to wait after.
    def _leave(self, queue: Queue) -> None:
        """The head's place in the queue can be filled from the next cycle on."""
        self.queues[queue].pop(0)
        self.left[queue].notify()

    def _empty(self, queue: Queue) -> None:
        """The command register can be filled from the next cycle on."""
        self.occupied[queue] = False
        self.emptied[queue].notify()

    def _taken(self, queue: Queue, index: int, values: dict[str, int]) -> Generator[int | Signal, None, None]:
        """Goes on in the cycle in which the unit takes the command."""
        kernel = self.kernel
        if queue is Queue.EXECUTE:
            if self.program[index].opcode is Opcode.CONFIGURE:
                times = cast(SettingsLaw, self.law).configure(kernel.now, values)
            else:
                times = self.law.execute(kernel.now, values, partial(self._weights, index))
            self.result.array_steps += times.steps
            self.trace.steps[index] = times.steps
            kernel.late(lambda: self._finish(index), at=times.finished)
            yield times.taken
            return
        if queue is Queue.LOAD:
            if self.loading is not None:
                yield from self.loading.until_ready()
            names = ("memory_address", "memory_stride", "row_bytes", "rows")
            self.loading = self.load.take(**{name: values[name] for name in names})
            kernel.start(self._load_ended(index, self.loading))
        else:
            if self.stored > kernel.now:
                yield self.stored
            result = store.timing(kernel.now, self.design, self.writes, values)
            self.result.store_beats += result.beats
            self.stored = result.finished
            kernel.late(lambda: self._finish(index), at=result.finished)

    def _weights(self, index: int) -> np.ndarray:
        if self.weights is None:
            raise WeightsNeeded("image must be given: how long the array takes depends on its weights")
        return self.weights.before(index)

    def _load_ended(self, index: int, load: Load) -> Process:
        yield from load.until_finished()
        self.result.load_beats += load.beats
        self._finish(index)

    def _finish(self, index: int) -> None:
        """The instruction ends in this cycle."""
        now = self.kernel.now
        self.result.finished[index] = now
        # STORE is at rest in the cycle in which it says that it has finished, the others in the one after.
        self.end = max(self.end, now + (self.program[index].opcode is not Opcode.STORE))
        for token in _tokens(self.program[index].values["post"]):
            self.kernel.late(partial(self._give, token), at=now + TOKEN - 1)

    def _give(self, token: Token) -> None:
        """The token can be taken from the next cycle on."""
        self.tokens[token] += 1
        self.given[token].notify()
