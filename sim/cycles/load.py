"""Cycle law of LOAD: ``hw.dma.load.LoadUnit`` behind ``hw.dma.read_arbiter.ReadArbiter``.

Holds for commands that stay inside window and scratchpad, without read errors and without ``halt``. The cost
is one request to the arbiter per burst; no beat and no cycle is simulated by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import lru_cache, partial

from hw.design import PAGE_BYTES, Design, ceil_div
from hw.timing import (
    LOAD_FIRST_BURST,
    LOAD_FIRST_ROW,
    LOAD_NEXT_BURST,
    LOAD_NEXT_COMMAND,
    LOAD_NEXT_ROW,
    LOAD_RETURN,
    LOAD_ROWS,
    LOAD_TAIL,
)
from sim.cycles.kernel import Kernel, Process, Signal
from sim.cycles.memory import Burst, ReadArbiter


def bursts(address: int, count: int, *, data_bytes: int, burst_beats: int) -> list[int]:
    """Beats of each burst that reads ``count`` bytes from ``address`` on."""
    page = PAGE_BYTES // data_bytes
    place = address // data_bytes
    left = ceil_div(address + count, data_bytes) - place
    result = []
    while left:
        result.append(min(left, burst_beats, page - place % page))
        place += result[-1]
        left -= result[-1]
    return result


@lru_cache(maxsize=4096)
def _bursts(place: int, count: int, data_bytes: int, burst_beats: int) -> tuple[int, ...]:
    """The same of a place in a page, kept: commands are much alike."""
    return tuple(bursts(place, count, data_bytes=data_bytes, burst_beats=burst_beats))


@dataclass
class Load:
    """A command under way. ``ready`` and ``finished`` are cycles, known only from that time on."""

    kernel: Kernel
    beats: int = 0
    """Beats asked for so far; all of them once ``finished`` is known."""
    ready: int | None = None
    """Cycle in which ``command.ready`` is high again."""
    finished: int | None = None
    """Cycle in which ``finished`` is high."""
    _ready: Signal = field(init=False)
    _finished: Signal = field(init=False)

    def __post_init__(self) -> None:
        self._ready = Signal(self.kernel)
        self._finished = Signal(self.kernel)

    def until_ready(self) -> Generator[int | Signal, None, None]:
        """Go on in the cycle ``ready``; at once if that has passed."""
        yield from self._until("ready", self._ready)

    def until_finished(self) -> Generator[int | Signal, None, None]:
        """Go on in the cycle ``finished``; at once if that has passed."""
        yield from self._until("finished", self._finished)

    def _until(self, name: str, signal: Signal) -> Generator[int | Signal, None, None]:
        if getattr(self, name) is None:
            yield signal
        elif getattr(self, name) > self.kernel.now:
            yield getattr(self, name)

    def is_ready(self, cycle: int) -> None:
        """Used by ``LoadUnit``."""
        self.ready = cycle
        self._ready.notify(cycle - self.kernel.now)

    def is_finished(self, cycle: int) -> None:
        """Used by ``LoadUnit``."""
        self.finished = cycle
        self._finished.notify(cycle - self.kernel.now)


@dataclass
class LoadUnit:
    """The unit between commands.

    Call ``take`` in the cycle of a command's handshake, which is one in which the unit is ready: any after
    reset, after that the previous command's ``ready`` or later.
    """

    kernel: Kernel
    arbiter: ReadArbiter
    design: Design
    _rows: deque[int] = field(default_factory=lambda: deque(maxlen=LOAD_ROWS))
    """Last beats on the bus of the newest rows: places in the row FIFO."""
    _bursts: deque[int] = field(init=False)
    """Last beats on the bus of the newest bursts: those that may be under way."""
    _splitting: bool = False
    _split: Signal = field(init=False)
    _asking: bool = False
    """The newest burst is not granted yet."""
    _grant: int = -(1 << 60)
    """The cycle of the newest grant."""
    _granted: Signal = field(init=False)

    def __post_init__(self) -> None:
        self._bursts = deque(maxlen=self.design.outstanding)
        self._split = Signal(self.kernel)
        self._granted = Signal(self.kernel)

    def take(self, *, memory_address: int, memory_stride: int, row_bytes: int, rows: int) -> Load:
        """The command's handshake is in this cycle."""
        load = Load(self.kernel)
        places = (memory_address + i * memory_stride for i in range(rows))
        design = self.design
        work = [
            _bursts(place % PAGE_BYTES, row_bytes, design.data_bytes, design.burst_beats) for place in places
        ]
        self.kernel.start(self._issue(load, work), at=self.kernel.now + LOAD_FIRST_ROW)
        return load

    def _issue(self, load: Load, rows: list[tuple[int, ...]]) -> Process:
        kernel = self.kernel
        while self._splitting:
            yield self._split
        self._splitting = True
        offered = kernel.now
        for number, row in enumerate(rows):
            # The splitter is free in this cycle; what is missing is the row itself, or its place.
            # The row before is not on the list while its last burst waits for the grant.
            places = LOAD_ROWS - self._asking
            free = self._rows[-places] + LOAD_RETURN if len(self._rows) >= places else 0
            start = max(kernel.now, offered, free)
            if start > kernel.now:
                yield start
            offered = kernel.now + LOAD_NEXT_ROW
            end = number + 1 == len(rows)
            if end:
                load.is_ready(kernel.now + LOAD_NEXT_COMMAND)
            asked = kernel.now + LOAD_FIRST_BURST
            for place, beats in enumerate(row, 1):
                while self._asking:
                    yield self._granted
                asked = max(asked, self._next())
                if asked > kernel.now:
                    yield asked
                self._asking = True
                last = place == len(row)
                self.arbiter.ask(1, beats, partial(self._asked, load, beats, last, end and last))
        self._splitting = False
        self._split.notify(0)

    def _asked(self, load: Load, beats: int, last: bool, end: bool, burst: Burst) -> None:
        """A burst is granted: the ``last`` of its row, the ``end`` of its command."""
        load.beats += beats
        self._grant = burst.grant
        self._bursts.append(burst.last)
        if last:
            self._rows.append(burst.last)
        if end:
            load.is_finished(burst.last + LOAD_TAIL)
        self._asking = False
        # Whoever waits for that asks next, and not before then.
        self._granted.notify(max(0, self._next() - self.kernel.now))

    def _next(self) -> int:
        """First cycle in which the next burst can be asked for: fewer than ``outstanding`` are seen to be under way."""
        room = self._bursts[0] + LOAD_RETURN if len(self._bursts) == self.design.outstanding else 0
        return max(self._grant, room) + LOAD_NEXT_BURST
