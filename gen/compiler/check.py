"""Finds in a binary program what could go wrong in some timing of the queues: an independent reader of the compiler's work.

The queues run side by side, so the only orders to rely on are these: the instructions of a queue start in order and
end in order; an instruction with a wait starts after the end of the one that gave its token. From them follows, for
every instruction, which of each queue's have started and which have ended for certain when it starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hw.control.isa import (
    INSTRUCTION_BYTES,
    PARAMETER_BYTES,
    TOKEN_MAXIMUM,
    Destination,
    Instruction,
    Opcode,
    OutputMode,
    Queue,
    Token,
    disassemble,
)
from hw.design import Design, ceil_div
from sim.families.contract import ArrayModel


@dataclass
class _Knowledge:
    """How many instructions of each queue have started and ended for certain when an instruction starts."""

    started: np.ndarray
    ended: np.ndarray


@dataclass
class _Memory:
    """Per place of an on-chip memory: the last instruction that wrote it, and the last that read it; -1 for none."""

    size: int
    writer: np.ndarray = field(init=False)
    reader: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.writer = np.full(self.size, -1)
        self.reader = np.full(self.size, -1)


class _Checker:
    def __init__(self, design: Design, model: ArrayModel):
        g = design.geometry
        self._design, self._model = design, model
        self._pads = {
            Destination.ACTIVATIONS: _Memory(design.activation_words * g.activation_bytes),
            Destination.WEIGHTS: _Memory(design.weight_words * g.weight_bytes),
            Destination.PARAMETERS: _Memory(design.parameter_entries * PARAMETER_BYTES),
        }
        self._accumulators = _Memory(design.accumulator_rows)
        self._queues: dict[Queue, list[_Knowledge]] = {queue: [] for queue in Queue}
        self._posts: dict[Token, list[tuple[Queue, int]]] = {token: [] for token in Token}
        self._waits: dict[Token, list[int]] = {token: [] for token in Token}
        self._halves: dict[tuple[Queue, int], int] = {}
        self.found: list[str] = []

    def take(self, index: int, one: Instruction) -> None:
        """The next instruction of the program."""
        queue, place = one.opcode.queue, len(self._queues[one.opcode.queue])
        known = self._start(index, one, queue, place)
        self._queues[queue].append(known)
        action = {
            Opcode.LOAD: self._load,
            Opcode.EXECUTE: self._execute,
            Opcode.STORE: self._store,
            Opcode.CONFIGURE: self._configure,
        }
        for complaint in action[one.opcode](one, place, known.ended):
            self.found.append(f"instruction {index}: {complaint}")
        for token in Token:
            if one.post >> token & 1:
                self._post(index, token, queue, place, known)

    def _start(self, index: int, one: Instruction, queue: Queue, place: int) -> _Knowledge:
        """What is known at its start: all that was at the start of the one before in its queue, and what tokens tell."""
        known = _Knowledge(np.zeros(len(Queue), int), np.zeros(len(Queue), int))
        if place:
            before = self._queues[queue][-1]
            known.started[:], known.ended[:] = before.started, before.ended
        known.started[queue] = place + 1
        for token in Token:
            if not one.wait >> token & 1:
                continue
            if token.waiter is not queue:
                self.found.append(f"instruction {index}: waits on {token.name}, which is not of its queue")
            number = len(self._waits[token])
            self._waits[token].append(place)
            if number >= len(self._posts[token]):
                self.found.append(f"instruction {index}: no instruction before it gives its {token.name}")
                continue
            giver, at = self._posts[token][number]
            told = self._queues[giver][at]
            known.started = np.maximum(known.started, told.started)
            known.ended = np.maximum(known.ended, told.ended)
            known.ended[giver] = max(known.ended[giver], at + 1)
        return known

    def _post(self, index: int, token: Token, queue: Queue, place: int, known: _Knowledge) -> None:
        posts = self._posts[token]
        if posts and posts[-1][0] is not queue:
            self.found.append(f"instruction {index}: {token.name} is given by two queues")
        posts.append((queue, place))
        # The token TOKEN_MAXIMUM before this one must have been taken by now.
        old = len(posts) - 1 - TOKEN_MAXIMUM
        if old >= 0:
            taken = old < len(self._waits[token]) and self._waits[token][old] < known.started[token.waiter]
            if not taken:
                self.found.append(
                    f"instruction {index}: {token.name} may be given more than {TOKEN_MAXIMUM} times over"
                )

    def _load(self, one: Instruction, place: int, ended: np.ndarray) -> list[str]:
        destination = Destination(one.variant)
        pad, beat = self._pads[destination], self._design.data_bytes
        user = Queue.STORE if destination is Destination.PARAMETERS else Queue.EXECUTE
        bad = []
        for row in range(one.rows):
            start = (one.local_address + row * one.local_stride) * beat
            bytes_ = slice(start, start + ceil_div(one.row_bytes, beat) * beat)
            if bytes_.stop > pad.size:
                bad.append(f"goes past the end of {destination.name.lower()}")
                break
            if pad.reader[bytes_].max() >= ended[user]:
                bad.append(f"overwrites {destination.name.lower()} that may still be in use")
                break
            pad.writer[bytes_] = place
        return bad

    def _execute(self, one: Instruction, place: int, ended: np.ndarray) -> list[str]:
        g, d = self._design.geometry, self._design
        rows, bad = one.row_tiles * g.tile_rows, []
        taken = self._model.activation_bytes(one.variant, one.depth_tiles * g.tile_depth)
        length = ceil_div(taken, g.activation_bytes) * g.activation_bytes
        reads = [
            (
                Destination.ACTIVATIONS,
                (one.activations_address + m * one.activations_stride) * g.activation_bytes,
                length,
            )
            for m in range(rows if one.activations_stride else 1)
        ]
        size = one.column_tiles * self._model.weight_words(one.variant, one.depth_tiles) * g.weight_bytes
        reads.append((Destination.WEIGHTS, one.weights_address * g.weight_bytes, size))
        for destination, start, count in reads:
            bad += self._read(destination, start, count, place, ended, Queue.LOAD)
        first = one.accumulators_address
        last = first + one.column_tiles * g.spread * rows
        half = first // (d.accumulator_rows // 2)
        if last > (half + 1) * (d.accumulator_rows // 2):
            bad.append("crosses the end of its half of the accumulators")
        if self._halves.get((Queue.STORE, half), -1) >= ended[Queue.STORE]:
            bad.append("uses a half of the accumulators that may still be stored")
        self._halves[Queue.EXECUTE, half] = place
        if one.accumulate and (self._accumulators.writer[first:last] < 0).any():
            bad.append("adds to accumulators that nothing has written")
        self._accumulators.writer[first:last] = place
        return bad

    def _configure(self, one: Instruction, place: int, ended: np.ndarray) -> list[str]:
        settings = self._design.geometry.settings
        return [] if one.setting < settings else [f"sets setting {one.setting} of an array with {settings}"]

    def _store(self, one: Instruction, place: int, ended: np.ndarray) -> list[str]:
        g, d, bad = self._design.geometry, self._design, []
        tiles = ceil_div(one.columns, g.banks)
        halves = set()
        for n in range(tiles):
            first = one.accumulators_address + n * one.accumulators_stride
            writer = self._accumulators.writer[first : first + one.rows]
            halves |= {
                first // (d.accumulator_rows // 2),
                (first + one.rows - 1) // (d.accumulator_rows // 2),
            }
            if writer.size < one.rows or writer.min() < 0:
                bad.append("stores accumulators that nothing has written")
            elif writer.max() >= ended[Queue.EXECUTE]:
                bad.append("stores results that may not be there")
        for half in halves:
            if self._halves.get((Queue.EXECUTE, half), -1) >= ended[Queue.EXECUTE]:
                bad.append("uses a half of the accumulators that an EXECUTE may still use")
            self._halves[Queue.STORE, half] = place
        if one.variant == OutputMode.REQUANTISED:
            if one.parameters_address % d.output_lanes:
                bad.append("takes parameters from the middle of a group of lanes")
            start, count = one.parameters_address * PARAMETER_BYTES, one.columns * PARAMETER_BYTES
            bad += self._read(Destination.PARAMETERS, start, count, place, ended, Queue.LOAD)
        return bad

    def _read(
        self, destination: Destination, start: int, count: int, place: int, ended: np.ndarray, writer: Queue
    ) -> list[str]:
        pad, bytes_ = self._pads[destination], slice(start, start + count)
        pad.reader[bytes_] = place
        if start + count > pad.size:
            return [f"reads past the end of {destination.name.lower()}"]
        if pad.writer[bytes_].max() >= ended[writer]:
            return [f"reads {destination.name.lower()} that may not be loaded"]
        return []

    def leftovers(self) -> list[str]:
        """Tokens that nobody takes."""
        counts = {token: len(self._posts[token]) - len(self._waits[token]) for token in Token}
        return [f"{count} {token.name} left at the end" for token, count in counts.items() if count > 0]


def problems(design: Design, model: ArrayModel, binary: bytes) -> list[str]:
    """What could go wrong in some timing, one line each; an empty list for a sound program.

    Parameters
    ----------
    model : ArrayModel
        Of the family: what operands take of the scratchpads.
    binary : bytes
        The program.
    """
    checker = _Checker(design, model)
    for index, start in enumerate(range(0, len(binary), INSTRUCTION_BYTES)):
        checker.take(index, disassemble(binary[start : start + INSTRUCTION_BYTES]))
    return checker.found + checker.leftovers()
