"""A small discrete-event kernel: processes are generators, time is the number of a clock cycle.

A process acts *in* a cycle; what it changes is seen by other processes from the next cycle on, as with registers. It
yields either the cycle in which it goes on, or a ``Signal`` that wakes it. Only the few combinational decisions
(arbitration) are taken in the late phase of a cycle, when every process has acted.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from itertools import count

Process = Generator["int | Signal", None, None]


class Signal:
    """Something to wait for. ``notify`` wakes all who wait now, one cycle later unless told otherwise."""

    def __init__(self, kernel: Kernel):
        self._kernel = kernel
        self._waiting: list[Process] = []

    def wait(self, process: Process) -> None:
        """Used by the kernel: wake ``process`` at the next ``notify``."""
        self._waiting.append(process)

    def notify(self, delay: int = 1) -> None:
        """Wake everybody who waits, ``delay`` cycles from now."""
        waiting, self._waiting = self._waiting, []
        for process in waiting:
            self._kernel.start(process, at=self._kernel.now + delay)


class Kernel:
    """Runs processes in the order of their cycles.

    ``log`` takes the cycle of everything that happens, if it is given.
    """

    def __init__(self, log: list[int] | None = None) -> None:
        self.now = 0
        self._log = log
        self._order = count()
        self._agenda: list[tuple[int, int, int, Process | Callable[[], object]]] = []

    def start(self, process: Process | Callable[[], object], *, at: int | None = None) -> None:
        """Let ``process`` act (again) in cycle ``at``, by default this one; or call something that acts at once."""
        heapq.heappush(self._agenda, (self.now if at is None else at, 0, next(self._order), process))

    def late(self, action: Callable[[], object], *, at: int | None = None) -> None:
        """Call ``action`` at the end of cycle ``at``, after every process that acts in it."""
        heapq.heappush(self._agenda, (self.now if at is None else at, 1, next(self._order), action))

    def run(self) -> int:
        """Run until nothing is left to happen; the last cycle in which something did."""
        agenda, log, order = self._agenda, self._log, self._order
        pop, push = heapq.heappop, heapq.heappush
        while agenda:
            now, _, _, item = pop(agenda)
            self.now = now
            if log is not None:
                log.append(now)
            if callable(item):
                item()
                continue
            try:
                wanted = next(item)
            except StopIteration:
                continue
            if isinstance(wanted, Signal):
                wanted.wait(item)
            else:
                if wanted < now:
                    raise ValueError(f"a process must go on in cycle {now} or later, not {wanted}")
                push(agenda, (wanted, 0, next(order), item))
        return self.now
