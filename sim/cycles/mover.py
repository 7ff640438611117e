"""When the mover of an in-order design does what: the law of ``hw.in_order.mover.Mover``.

LOAD asks for a burst when the one before has come in; each row follows the one before it. STORE takes results one by one, and
waits with each complete beat until its address and data have been taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hw.control.isa import OutputMode
from hw.design import Design, ceil_div
from hw.timing import (
    MOVER_BEAT,
    MOVER_END,
    MOVER_NEXT_BURST,
    MOVER_READ,
    MOVER_REQUANTISE,
    MOVER_ROW,
    MOVER_WRITTEN,
)
from sim.cycles.memory import ReadMemory, WriteMemory


@dataclass(frozen=True)
class Moved:
    """A LOAD or STORE: the cycle of ``ended``, and its beats on the bus."""

    ended: int
    beats: int


def load(
    start: int, design: Design, memory: ReadMemory, fields: Mapping[str, int], *, returned: int = 0
) -> Moved:
    """A LOAD that is started in cycle ``start``; a beat on the bus is at the mover ``returned`` cycles later."""
    now, total = start, 0
    for row in range(fields["rows"]):
        asked = now + MOVER_ROW
        place = fields["memory_address"] + row * fields["memory_stride"]
        for beats in bursts(design, place, fields["row_bytes"]):
            _, _, last = memory.read(asked, beats)
            asked = now = last + returned + MOVER_NEXT_BURST
            total += beats
    return Moved(now + MOVER_END, total)


def bursts(design: Design, place: int, count: int) -> Iterator[int]:
    """Beats of each burst that reads ``count`` bytes from ``place`` on: none goes beyond a multiple of ``Design.block_beats``."""
    beat, end = place // design.data_bytes, ceil_div(place + count, design.data_bytes)
    block = design.block_beats
    while beat < end:
        following = min(end, (beat // block + 1) * block)
        yield following - beat
        beat = following


def store(start: int, design: Design, memory: WriteMemory, fields: Mapping[str, int]) -> Moved:
    """A STORE that is started in cycle ``start``."""
    size = design.data_bytes
    raw = fields["variant"] == OutputMode.RAW
    count = fields["columns"] * design.geometry.result_bytes(OutputMode(fields["variant"]))
    answers: list[int] = []
    free = start
    for row in range(fields["rows"]):
        # ``free``: the first cycle in which a byte of the next beat may be taken, and if there is none, the row's last.
        there = free + MOVER_ROW + _byte(0, raw=raw)
        place = (fields["memory_address"] + row * fields["memory_stride"]) % size
        done = 0
        while done < count:
            beat = min(size - place, count - done)
            begun, last = _byte(done, raw=raw), _byte(done + beat - 1, raw=raw)
            complete = max(there, free) + last - begun
            free, answer = _write(complete, design, memory, answers)
            answers.append(answer)
            done += beat
            place = 0
            there = complete + _byte(done, raw=raw) - last
    return Moved(max(free, answers[-1]) + MOVER_END, len(answers))


def _byte(number: int, *, raw: bool) -> int:
    """First cycle of a row to its byte ``number``, if none has to wait."""
    if raw:
        # A byte a cycle, and before those of each result what it takes to read it.
        return number + (number // 4 + 1) * MOVER_READ
    return MOVER_READ + (number + 1) * MOVER_REQUANTISE


def _write(complete: int, design: Design, memory: WriteMemory, answers: list[int]) -> tuple[int, int]:
    """A beat is complete in cycle ``complete``: the first cycle in which another byte is taken, and that of its B."""
    offered = complete + MOVER_BEAT
    if len(answers) >= design.outstanding:
        offered = max(offered, answers[-design.outstanding] + MOVER_BEAT)
    accepted = memory.address(offered)
    taken, answer = memory.data(accepted, offered, 1)
    return taken + MOVER_WRITTEN, answer
