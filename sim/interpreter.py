"""The second golden model: carries out a binary program on a memory image, instruction by instruction.

Written from docs/architecture.md and the instruction table; it shares no code with the compiler, so that a fault there
cannot hide here. Instructions take effect one after the other in program order, which every correct program allows:
the three queues may only change when something happens, never what. Each run is the first after a reset: all settings are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hw.control.isa import (
    FIELDS,
    INSTRUCTION_BYTES,
    PARAMETER_BYTES,
    PROGRAM_ALIGNMENT,
    TOKEN_MAXIMUM,
    Destination,
    Error,
    Instruction,
    Opcode,
    OutputMode,
    Range,
    Token,
)
from hw.design import Design
from sim.families.contract import ArrayModel
from sim.requantise import requantise
from sim.rescale import rescale

UNTOUCHED = 0xC3
"""What scratchpads hold before anything was loaded: a program that depends on it computes something else than hardware."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``instruction`` is the index of the one at fault; of the program's length when all went well."""

    error: Error
    instruction: int

    @property
    def passed(self) -> bool:
        """No error."""
        return self.error is Error.NONE


class _Fault(Exception):
    def __init__(self, error: Error):
        super().__init__(error.name)
        self.error = error


def run(
    design: Design,
    model: ArrayModel,
    memory: np.ndarray,
    program_address: int,
    program_length: int,
    window: tuple[int, int],
    *,
    base: int = 0,
) -> Outcome:
    """Run the program of ``program_length`` instructions at ``program_address``.

    Parameters
    ----------
    memory : writable uint8 array, the byte at address ``base`` first; STORE writes into it
    window : lowest and highest byte address that may be touched; must lie within ``memory``

    Raises
    ------
    ValueError
        When the window is not within ``memory``.
    """
    first, last = window
    if not base <= first <= last < base + memory.size:
        raise ValueError(
            f"window must lie in the memory from {base:#x} to {base + memory.size - 1:#x}, not {first:#x} to {last:#x}"
        )
    machine = _Machine(design, model, memory, window, base)
    end = program_address + program_length * INSTRUCTION_BYTES
    if program_length < 1 or program_address % PROGRAM_ALIGNMENT or program_address < first or end - 1 > last:
        return Outcome(Error.PROGRAM, 0)
    for index in range(program_length):
        start = program_address + index * INSTRUCTION_BYTES - base
        try:
            machine.step(memory[start : start + INSTRUCTION_BYTES].tobytes())
        except _Fault as fault:
            return Outcome(fault.error, index)
    return Outcome(Error.NONE, program_length)


class _Machine:
    """Scratchpads and tokens, and what each instruction does to them."""

    def __init__(
        self, design: Design, model: ArrayModel, memory: np.ndarray, window: tuple[int, int], base: int
    ):
        g = design.geometry
        self._design, self._model, self._memory, self._base = design, model, memory, base
        self._first, self._last = window
        self._scratchpads = {
            Destination.ACTIVATIONS: np.full(
                design.activation_words * g.activation_bytes, UNTOUCHED, np.uint8
            ),
            Destination.WEIGHTS: np.full(design.weight_words * g.weight_bytes, UNTOUCHED, np.uint8),
            Destination.PARAMETERS: np.full(design.parameter_entries * PARAMETER_BYTES, UNTOUCHED, np.uint8),
        }
        kind = np.dtype(g.sums)
        self._accumulators = np.full((design.accumulator_rows, g.banks), UNTOUCHED, np.int32).view(kind)
        self._settings = [0] * g.settings
        self._tokens = [0] * len(Token)
        self._limits = _implemented_bits(design)

    def step(self, instruction: bytes) -> None:
        """One instruction: decode, take tokens, act, give tokens."""
        f = self._decode(int.from_bytes(instruction, "little"))
        for token in Token:
            if f.wait >> token & 1:
                if self._tokens[token] == 0:
                    raise _Fault(Error.WATCHDOG)
                self._tokens[token] -= 1
        action: dict[Opcode, Callable[[Instruction], None]] = {
            Opcode.LOAD: self._load,
            Opcode.EXECUTE: self._execute,
            Opcode.STORE: self._store,
            Opcode.CONFIGURE: self._configure,
        }
        action[f.opcode](f)
        for token in Token:
            if f.post >> token & 1:
                self._tokens[token] += 1
                if self._tokens[token] > TOKEN_MAXIMUM:
                    raise _Fault(Error.TOKEN_OVERFLOW)

    def _decode(self, word: int) -> Instruction:
        if word & 0xFF not in list(Opcode):
            raise _Fault(Error.OPCODE)
        opcode, settings = Opcode(word & 0xFF), self._design.geometry.settings
        if opcode is Opcode.CONFIGURE and not settings:
            raise _Fault(Error.OPCODE)
        values: dict[str, int] = {}
        place, malformed = 0, False
        for field in FIELDS[opcode]:
            value = word >> place & (1 << field.bits) - 1
            place += field.bits
            values[field.name] = value
            malformed |= field.range is Range.COUNT and value == 0
            malformed |= field.range is Range.SETTING and value >= settings
            malformed |= value >> self._limits.get((opcode, field.name), field.bits) != 0
        variants = {Opcode.LOAD: len(Destination), Opcode.STORE: len(OutputMode), Opcode.CONFIGURE: 1}
        if values["variant"] >= variants.get(opcode, self._design.geometry.variants):
            raise _Fault(Error.OPCODE)
        foreign = any(values["wait"] >> t & 1 for t in Token if t.waiter is not opcode.queue)
        if malformed or foreign or word >> place:
            raise _Fault(Error.FIELD)
        return Instruction(opcode, values)

    def _place(self, address: int, count: int) -> int:
        """Offset in the image of ``count`` bytes at ``address``, all of which must lie in the window."""
        if address < self._first or address + count - 1 > self._last:
            raise _Fault(Error.WINDOW)
        return address - self._base

    def _load(self, f: Instruction) -> None:
        beat = self._design.data_bytes
        target = self._scratchpads[Destination(f.variant)]
        for row in range(f.rows):
            source = self._place(f.memory_address + row * f.memory_stride, f.row_bytes)
            local = (f.local_address + row * f.local_stride) * beat
            if local + -(-f.row_bytes // beat) * beat > target.size:
                raise _Fault(Error.LOCAL)
            target[local : local + f.row_bytes] = self._memory[source : source + f.row_bytes]

    def _execute(self, f: Instruction) -> None:
        g, d = self._design.geometry, self._design
        rows = f.row_tiles * g.tile_rows
        half = d.accumulator_rows // 2
        row_bytes = self._model.activation_bytes(f.variant, f.depth_tiles * g.tile_depth)
        row_words = -(-row_bytes // g.activation_bytes)
        last_activation = f.activations_address + (rows - 1) * f.activations_stride + row_words - 1
        last_weight = (
            f.weights_address + f.column_tiles * self._model.weight_words(f.variant, f.depth_tiles) - 1
        )
        last_row = f.accumulators_address + f.column_tiles * g.spread * rows - 1
        if (
            last_activation >= d.activation_words
            or last_weight >= d.weight_words
            or last_row >= d.accumulator_rows
        ):
            raise _Fault(Error.LOCAL)
        if f.accumulators_address // half != last_row // half:
            raise _Fault(Error.LOCAL)
        results = self._model.execute(
            f.values,
            self._scratchpads[Destination.ACTIVATIONS],
            self._scratchpads[Destination.WEIGHTS],
            self._settings,
        ).reshape(-1, rows, f.column_tiles * g.columns)
        # As if a tile were ``spread`` tiles of ``banks`` features.
        for n in range(f.column_tiles * g.spread):
            start = f.accumulators_address + n * rows
            accumulators = self._accumulators[start : start + rows]
            accumulate = f.accumulate
            for result in results[:, :, n * g.banks : (n + 1) * g.banks]:
                # int32 wraps, float32 is rounded after every addition.
                accumulators[:] = accumulators + result if accumulate else result
                accumulate = 1

    def _configure(self, f: Instruction) -> None:
        self._settings[f.setting] = f.value

    def _store(self, f: Instruction) -> None:
        g, d = self._design.geometry, self._design
        features = np.arange(f.columns)
        tiles = features // g.banks
        if f.accumulators_address + int(tiles[-1]) * f.accumulators_stride + f.rows > d.accumulator_rows:
            raise _Fault(Error.LOCAL)
        requantised = f.variant == OutputMode.REQUANTISED
        past = f.parameters_address + f.columns > d.parameter_entries
        if requantised and (past or f.parameters_address % d.output_lanes):
            raise _Fault(Error.LOCAL)
        for row in range(f.rows):
            bank_rows = f.accumulators_address + tiles * f.accumulators_stride + row
            values = self._accumulators[bank_rows, features % g.banks]
            if requantised:
                data = self._scaled(values, f.parameters_address).view(np.uint8)
            else:
                data = values.astype(values.dtype.newbyteorder("<")).view(np.uint8)
            place = self._place(f.memory_address + row * f.memory_stride, data.size)
            self._memory[place : place + data.size] = data

    def _scaled(self, values: np.ndarray, first: int) -> np.ndarray:
        """The results of a row as they are written: of a feature each, whose parameters stand from entry ``first`` on."""
        entries = self._scratchpads[Destination.PARAMETERS].reshape(-1, PARAMETER_BYTES)[
            first : first + values.size
        ]
        bias, multiplier = entries[:, 0:4].copy(), entries[:, 4:8].copy()
        if self._design.geometry.sums == "float32":
            return rescale(values, bias.view("<f4")[:, 0], multiplier.view("<f4")[:, 0])
        return requantise(values, bias.view("<i4")[:, 0], multiplier.view("<u4")[:, 0], entries[:, 8] & 63)


def _implemented_bits(design: Design) -> dict[tuple[Opcode, str], int]:
    """How many bits a design implements of the fields of which it does not implement all; the rest must be zero."""

    def bits(values: int) -> int:
        return (values - 1).bit_length()

    return {
        **{(Opcode.LOAD, name): width for name, width in design.load_fields.items()},
        (Opcode.EXECUTE, "activations_address"): bits(design.activation_words),
        (Opcode.EXECUTE, "weights_address"): bits(design.weight_words),
        (Opcode.EXECUTE, "accumulators_address"): bits(design.accumulator_rows),
        (Opcode.EXECUTE, "accumulate"): 1,
        (Opcode.EXECUTE, "reserved"): 0,
        **{(Opcode.EXECUTE, name): width for name, width in design.execute_fields.items()},
        **{(Opcode.STORE, name): width for name, width in design.store_fields.items()},
    }
