"""When STORE does what: the law of ``hw.dma.store.StoreUnit``.

Two walks over the same beats meet in the beat FIFO. The walker takes a step per cycle and waits only at a step that
completes a beat, while ``STORE_FIFO`` beats are on their way. The splitter offers burst after burst; the writer takes one when
AW is free, and starts it when all its beats are there, the data of at most one other is under way, and fewer than ``outstanding``
are unanswered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Mapping
from dataclasses import dataclass

from hw.control.isa import OutputMode
from hw.design import PAGE_BYTES, Design, ceil_div
from hw.timing import (
    SPLIT,
    STORE_ANSWER,
    STORE_BURST,
    STORE_END,
    STORE_FIFO,
    STORE_FIRST_ROW,
    STORE_NEXT_ROW,
    STORE_POP,
    STORE_START,
)
from sim.cycles.kernel import Kernel, Signal
from sim.cycles.memory import WriteMemory


@dataclass(frozen=True)
class Stored:
    """A STORE: the cycle in which ``finished`` is high (the next may be taken in it), and its beats on the bus."""

    finished: int
    beats: int


def store(
    kernel: Kernel, design: Design, memory: WriteMemory, fields: Mapping[str, int]
) -> Generator[int | Signal, None, Stored]:
    """A STORE whose command handshake is in this cycle; goes on in the cycle in which ``finished`` is high.

    ``fields`` are those of the instruction. Use with ``yield from``; one at a time. No other unit can delay it.
    """
    result = timing(kernel.now, design, memory, fields)
    yield result.finished
    return result


def timing(start: int, design: Design, memory: WriteMemory, fields: Mapping[str, int]) -> Stored:
    """The same without a kernel: a STORE whose command handshake is in cycle ``start``."""
    size = design.data_bytes
    most = min(design.burst_beats, STORE_BURST)
    steps = _Steps(start, design, fields)
    writer = _Writer(start, design, memory)

    offered = start + STORE_FIRST_ROW
    total = 0
    for row in range(fields["rows"]):
        first_byte = fields["memory_address"] + row * fields["memory_stride"]
        address = first_byte - first_byte % size
        beats = steps.row(first_byte % size)
        # The row's turn at the splitter; the register in front of it is free for the next one after that.
        taken = max(offered, writer.taken)
        offered = taken + STORE_NEXT_ROW
        done = 0
        while done < beats:
            count = min(most, beats - done, (PAGE_BYTES - address % PAGE_BYTES) // size)
            done += count
            total += count
            there = steps.complete(done, total, writer) + design.geometry.store_pipeline
            writer.burst(taken + SPLIT, there, count)
            taken = writer.taken
            address += count * size
    return Stored(writer.answers[-1] + STORE_END, total)


class _Steps:
    """The walker: in which cycle the step is taken that completes a beat."""

    def __init__(self, start: int, design: Design, fields: Mapping[str, int]):
        each = design.geometry.result_bytes(OutputMode(fields["variant"]))
        self._size = design.data_bytes
        self._row_bytes = fields["columns"] * each
        self._group = design.output_lanes * each
        self._groups = ceil_div(fields["columns"], design.output_lanes)
        self._now = start + STORE_START - 1
        self._beats = self._place = self._done = self._taken = self._pause = 0

    def row(self, place: int) -> int:
        """The next row begins at byte ``place`` of a beat: its number of beats."""
        self._now += self._pause
        self._place, self._done, self._taken = place, 0, 0
        self._beats = ceil_div(place + self._row_bytes, self._size)
        # A row of a single step takes a second one, in which nothing happens.
        self._pause = self._steps(self._beats) == 1
        return self._beats

    def _steps(self, beats: int) -> int:
        """Steps of the row up to the one that completes its ``beats``-th beat."""
        if beats == self._beats:
            return self._groups + (beats > 1 and self._steps(beats - 1) == self._groups)
        return min(ceil_div(beats * self._size - self._place, self._group), self._groups)

    def complete(self, done: int, total: int, writer: _Writer) -> int:
        """The cycle of the step that completes the row's ``done``-th beat, which is the ``total``-th of the command."""
        steps = self._steps(self._done + 1) - self._taken
        if writer.popped(total - STORE_FIFO) + STORE_POP <= self._now + steps:
            self._now += self._steps(done) - self._taken
        else:
            for beat in range(self._done + 1, done + 1):
                steps = self._steps(beat)
                free = writer.popped(total - done + beat - STORE_FIFO) + STORE_POP
                self._now = max(self._now + steps - self._taken, free)
                self._taken = steps
        self._done, self._taken = done, self._steps(done)
        return self._now


class _Writer:
    """``hw.dma.writer.Writer``, burst by burst."""

    def __init__(self, start: int, design: Design, memory: WriteMemory):
        self._memory = memory
        self._interval = memory.timing.interval
        self._outstanding = design.outstanding
        self.answers: list[int] = []
        self.taken = start
        """The cycle in which the last burst was taken."""
        self._free = self._turn = start
        """The first cycle in which AW is empty, and in which no burst waits for its data's turn."""
        self._last_pop = self._last_beat = start
        self._ends: list[int] = []
        self._pops: list[tuple[int, int, int]] = []
        """For every burst: beats up to its end; its beats, the cycles in which the first leaves the FIFO and is accepted."""

    def burst(self, offered: int, there: int, beats: int) -> None:
        """A burst is offered from cycle ``offered`` on; its beats are there from cycle ``there`` on."""
        taken = max(offered, self._free)
        started = max(taken + 1, there, self._turn)
        if len(self.answers) >= self._outstanding:
            started = max(started, self.answers[-self._outstanding] + STORE_ANSWER)
        accepted = self._memory.address(started + 1)
        begun = max(started + 1, self._last_pop)
        pop = max(begun + 1, self._last_beat)
        self._last_beat, answer = self._memory.data(accepted, pop + 1, beats)
        first_beat = self._last_beat - (beats - 1) * self._interval

        self._ends.append(beats + (self._ends[-1] if self._ends else 0))
        self._pops.append((beats, pop, first_beat))
        self._last_pop = pop if beats == 1 else self._last_beat - self._interval
        self._free, self._turn = accepted + 1, begun + 1
        self.taken = taken
        self.answers.append(answer)

    def popped(self, beat: int) -> int:
        """The cycle in which the command's ``beat``-th beat leaves the FIFO."""
        if beat < 1:
            return -1
        burst = bisect_left(self._ends, beat)
        beats, pop, first_beat = self._pops[burst]
        behind_first = beat - 1 - (self._ends[burst] - beats)
        # A beat leaves when the one before it is accepted.
        return first_beat + (behind_first - 1) * self._interval if behind_first else pop
