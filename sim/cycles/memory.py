"""Timing of the exact memory behind the AXI port, and of the read arbiter in front of it.

Stated timing, the same in ``tb/axi_memory.v``. All cycle numbers are those of handshakes (valid and ready high).

* AR is accepted while fewer than ``outstanding`` accepted reads still have beats to deliver (a slot is free again the
  cycle after the last beat). The first beat comes ``read_latency`` cycles after AR, or ``interval`` cycles after the
  last beat of the read before, whichever is later; beats follow every ``interval`` cycles. Reads answer in order.
* AW is accepted while fewer than ``outstanding`` accepted writes are unanswered (free the cycle after B). Data beats are
  accepted from the cycle after AW, every ``interval`` cycles at most. B comes ``write_latency`` cycles after the last beat,
  in order, at most one per cycle.

The masters of this design keep RREADY and BREADY high.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from sim.cycles.kernel import Kernel, Signal


@dataclass(frozen=True, kw_only=True)
class MemoryTiming:
    """Parameters of the exact memory, in clock cycles."""

    read_latency: int = 20
    write_latency: int = 20
    interval: int = 1
    """Cycles per beat."""
    outstanding: int = 8
    """Reads, and as many writes, that the memory takes before it answers."""


class Burst(NamedTuple):
    """A read: cycles of its grant by the arbiter, its AR handshake, its first and last beat on the bus."""

    grant: int
    accepted: int
    first: int
    last: int


class ReadMemory:
    """Read side of the memory; call in the order of AR handshakes."""

    def __init__(self, timing: MemoryTiming):
        self.timing = timing
        self._last: deque[int] = deque(maxlen=timing.outstanding)

    def read(self, valid: int, beats: int) -> tuple[int, int, int]:
        """AR is valid from cycle ``valid`` on: the cycles of AR, first beat and last beat."""
        t, done = self.timing, self._last
        accepted = valid
        if len(done) >= t.outstanding:
            accepted = max(accepted, done[0] + 1)
        first = accepted + t.read_latency
        if done:
            first = max(first, done[-1] + t.interval)
        last = first + (beats - 1) * t.interval
        done.append(last)
        return accepted, first, last


class WriteMemory:
    """Write side of the memory; call ``address`` and ``data`` in turn, burst by burst."""

    def __init__(self, timing: MemoryTiming):
        self.timing = timing
        self._answers: list[int] = []
        self._beat = -(1 << 60)

    def address(self, valid: int) -> int:
        """AW is valid from cycle ``valid`` on: the cycle of its handshake."""
        n = self.timing.outstanding
        return max(valid, self._answers[-n] + 1) if len(self._answers) >= n else valid

    def data(self, accepted: int, valid: int, beats: int) -> tuple[int, int]:
        """Data for the AW of cycle ``accepted`` is valid without a gap from cycle ``valid`` on: cycles of last beat and B."""
        first = max(accepted + 1, valid, self._beat + self.timing.interval)
        self._beat = first + (beats - 1) * self.timing.interval
        answer = self._beat + self.timing.write_latency
        if self._answers:
            answer = max(answer, self._answers[-1] + 1)
        self._answers.append(answer)
        return self._beat, answer


@dataclass
class ReadArbiter:
    """``hw.dma.read_arbiter``: one register in front of AR; client 0 (fetch) goes before client 1 (load).

    A client's request is granted (its handshake) in a cycle in which the register is empty; AR is then valid from the next
    cycle on, and the register is empty again the cycle after AR is accepted.
    """

    kernel: Kernel
    memory: ReadMemory
    _waiting: dict[int, tuple[int, Callable[[Burst], object]]] = field(default_factory=dict)
    _empty: int = 0

    def ask(self, client: int, beats: int, then: Callable[[Burst], object]) -> None:
        """Request in this cycle; ``then`` is called in the cycle after the grant."""
        self._waiting[client] = beats, then
        self.kernel.late(self._grant)

    def request(self, client: int, beats: int) -> Generator[int | Signal, None, Burst]:
        """Request in this cycle; goes on in the cycle after the grant."""
        granted, answers = Signal(self.kernel), list[Burst]()

        def then(burst: Burst) -> None:
            answers.append(burst)
            granted.notify(0)

        self.ask(client, beats, then)
        yield granted
        return answers[0]

    def _grant(self) -> None:
        waiting = self._waiting
        if not waiting:
            return
        kernel = self.kernel
        now = kernel.now
        if now < self._empty:
            kernel.late(self._grant, at=self._empty)
            return
        beats, then = waiting.pop(min(waiting))
        accepted, first, last = self.memory.read(now + 1, beats)
        self._empty = accepted + 1
        kernel.start(partial(then, Burst(now, accepted, first, last)), at=now + 1)
        if waiting:
            kernel.late(self._grant, at=self._empty)
