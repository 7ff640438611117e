"""A compiled GEMM: instructions, memory map, memory image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gen.compiler.layout import GUARD, MemoryMap
from gen.compiler.tiling import Gemm, Span, Tiling
from gen.families.contract import Family
from hw.control.isa import INSTRUCTION_BYTES, PARAMETER_BYTES, Instruction, OutputMode, disassemble, names
from hw.formats import Format, Operand
from sim.golden import SCALE_BITS, short

BIASES = (2.0**-100, 2.0**100)
"""Magnitudes of a float32 bias: with it the sum obeys the law of ``hw.memory.float_add``."""
MULTIPLIERS = (2.0**-126, float(np.finfo(np.float32).max))
"""Magnitudes of a float32 multiplier: the normal numbers."""
UNWRITTEN = 0x5A
"""What the output holds in a fresh image."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What ``compile_gemm`` returns.

    Parameters
    ----------
    gemm : Gemm
        Shape (``M``, ``K``, ``N``), ``mode`` and ``variant``.
    binary : bytes
        The instructions as they lie in memory.
    memory : MemoryMap
    blocks : dict
        (column tiles, steps of K) of every weight block: its address and bytes.
    tiling : Tiling
        What was chosen, for reports.
    """

    gemm: Gemm
    family: Family
    binary: bytes
    memory: MemoryMap
    blocks: dict[tuple[Span, Span], tuple[int, int]]
    tiling: Tiling

    @property
    def base(self) -> int:
        """Address of the image's first byte."""
        return self.memory.base

    @property
    def regions(self) -> dict[str, tuple[int, int]]:
        """Address and bytes of every buffer.

        ``activations``, ``weights``, ``parameters`` (when requantised), ``output``, ``program``, in rising order.
        """
        return self.memory.regions

    @property
    def window(self) -> Span:
        """Lowest and highest byte address that the program may touch: the image with its guard bytes."""
        return self.memory.base, self.memory.end - 1

    @property
    def address(self) -> int:
        """Address of the first instruction."""
        return self.regions["program"][0]

    @property
    def length(self) -> int:
        """Number of instructions."""
        return len(self.binary) // INSTRUCTION_BYTES

    @property
    def registers(self) -> dict[str, int]:
        """What a host writes before it starts the program."""
        first, last = self.window
        return {
            "program_address": self.address,
            "program_length": self.length,
            "window_first": first,
            "window_last": last,
        }

    @property
    def instructions(self) -> list[Instruction]:
        """The instructions, decoded from ``binary``."""
        n = INSTRUCTION_BYTES
        return [disassemble(self.binary[i : i + n]) for i in range(0, len(self.binary), n)]

    def image(
        self,
        x: Operand,
        w: Operand,
        bias: np.ndarray | None = None,
        multiplier: np.ndarray | None = None,
        shift: np.ndarray | None = None,
    ) -> np.ndarray:
        """The memory (uint8) from ``base`` on, ready to run: ``x`` [M, K] and ``w`` [K, N] in its formats.

        Requantised programs take ``bias`` (int32), ``multiplier`` (uint32) and ``shift`` (0 to 63), [N] each; where sums are
        float32, ``bias`` and ``multiplier`` (float32) alone: a bias 0 or of a magnitude from 2**-100 to 2**100, a multiplier 0
        or a normal number, its significand of 18 bits at most (``sim.golden.short``).

        Raises
        ------
        TypeError, ValueError
            When an array is of another type or shape, or missing, or not wanted.
        """
        gemm = self.gemm
        activations, weights = self.family.pairs[gemm.variant]
        _operand("x", x, activations, (gemm.M, gemm.K), 1)
        _operand("w", w, weights, (gemm.K, gemm.N), 0)
        memory = np.full(self.memory.end - self.base, GUARD, np.uint8)
        self._put(memory, "program", np.frombuffer(self.binary, np.uint8))
        self._put(memory, "activations", self.family.pack_activations(x, gemm.variant).reshape(-1))
        self._put(memory, "output", np.full(self.regions["output"][1], UNWRITTEN, np.uint8))
        columns = self.family.geometry.columns
        for ((c0, c1), (k0, k1)), (address, size) in self.blocks.items():
            part = w.part((k0, k1), (c0 * columns, c1 * columns))
            words = self.family.pack_weights(part, gemm.variant)
            block = memory[address - self.base :][:size]
            block[: words.size] = words
            block[words.size :] = 0
        given = {"bias": bias, "multiplier": multiplier, "shift": shift}
        if gemm.mode is OutputMode.RAW:
            if any(value is not None for value in given.values()):
                raise ValueError("bias, multiplier and shift must be left out in raw mode")
            return memory
        make = _parameters if self.family.geometry.sums == "int32" else _float_parameters
        self._put(memory, "parameters", make(gemm.N, given).reshape(-1))
        return memory

    def _put(self, memory: np.ndarray, name: str, data: np.ndarray) -> None:
        start = self.regions[name][0] - self.base
        memory[start : start + data.size] = data

    def read_output(self, memory: np.ndarray) -> np.ndarray:
        """Y [M, N] as it lies in ``memory``: int32, or int8 when requantised; float32 or fp16 where sums are float32."""
        start, size = self.regions["output"]
        data = memory[start - self.base :][:size].tobytes()
        raw, requantised = ("<i4", "i1") if self.family.geometry.sums == "int32" else ("<f4", "<f2")
        dtype = np.dtype(raw if self.gemm.mode is OutputMode.RAW else requantised)
        return np.frombuffer(data, dtype).reshape(self.gemm.M, self.gemm.N).copy()

    def guards(self) -> list[Span]:
        """First and one past the last address of every stretch of guard bytes; all hold ``GUARD``, before and after a run."""
        return self.memory.gaps()

    def damaged(self, memory: np.ndarray) -> int | None:
        """Address of the first guard byte that has another value than ``GUARD``, if any."""
        for first, end in self.guards():
            wrong = np.flatnonzero(memory[first - self.base : end - self.base] != GUARD)
            if wrong.size:
                return first + int(wrong[0])
        return None

    def listing(self) -> str:
        """The program as text: memory map, then an instruction per line."""
        g = self.gemm
        lines = [f"; Y[{g.M},{g.N}] = X[{g.M},{g.K}] · W[{g.K},{g.N}], {g.mode.name.lower()}"]
        lines += [f"; {name:<12}{start:#012x} {size} bytes" for name, (start, size) in self.regions.items()]
        return "\n".join(lines + [f"{i:5}  {line(one)}" for i, one in enumerate(self.instructions)]) + "\n"


def line(instruction: Instruction) -> str:
    """One instruction as text: operation, fields, tokens taken and given."""
    values = instruction.values
    text = [f"{instruction.opcode.name.lower():<8}"]
    for name, value in values.items():
        if name in ("opcode", "wait", "post", "reserved"):
            continue
        address = name == "memory_address"
        text.append(f"{name}={value:#x}" if address else f"{name}={value}")
    for name in ("wait", "post"):
        if values[name]:
            text.append(f"{name}({','.join(names(values[name]))})")
    return " ".join(text)


def _operand(name: str, operand: Operand, format: Format, shape: tuple[int, int], axis: int) -> None:
    if not isinstance(operand, Operand) or operand.format != format or operand.depth_axis != axis:
        what = operand.format.name if isinstance(operand, Operand) else type(operand).__name__
        raise TypeError(f"{name} must be an Operand of {format.name} with K along axis {axis}, not {what}")
    if operand.shape != shape:
        raise ValueError(f"{name} must be of shape {shape}, not {operand.shape}")


def _check(name: str, array: np.ndarray | None, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise TypeError(
            f"{name} must be an array of {np.dtype(dtype).name}, not {getattr(array, 'dtype', array)!r}"
        )
    if array.shape != shape:
        raise ValueError(f"{name} must be of shape {shape}, not {array.shape}")
    return array


def _parameters(features: int, given: dict[str, np.ndarray | None]) -> np.ndarray:
    """The parameter entries, [features, 16] bytes."""
    entries = np.zeros((features, PARAMETER_BYTES), np.uint8)
    bias = _check("bias", given["bias"], np.int32, (features,))
    multiplier = _check("multiplier", given["multiplier"], np.uint32, (features,))
    shift = _check("shift", given["shift"], np.uint8, (features,))
    if int(shift.max()) > 63:
        raise ValueError(f"shift must be 0 to 63, not {int(shift.max())}")
    entries[:, 0:4] = bias.astype("<i4").view(np.uint8).reshape(-1, 4)
    entries[:, 4:8] = multiplier.astype("<u4").view(np.uint8).reshape(-1, 4)
    entries[:, 8] = shift
    return entries


def _float_parameters(features: int, given: dict[str, np.ndarray | None]) -> np.ndarray:
    """The same where sums are float32."""
    entries = np.zeros((features, PARAMETER_BYTES), np.uint8)
    bias = _check("bias", given["bias"], np.float32, (features,))
    multiplier = _check("multiplier", given["multiplier"], np.float32, (features,))
    if given["shift"] is not None:
        raise ValueError("shift must be left out where sums are float32")
    for name, values, (least, most) in (("bias", bias, BIASES), ("multiplier", multiplier, MULTIPLIERS)):
        sizes = np.abs(values)
        wrong = ~((sizes == 0) | ((sizes >= least) & (sizes <= most)))
        if wrong.any():
            raise ValueError(f"{name} must be 0 or {least} to {most} in magnitude, not {values[wrong][0]!r}")
    if not np.array_equal(multiplier, short(multiplier)):
        raise ValueError(f"multiplier must have significands of {SCALE_BITS} bits at most")
    entries[:, 0:4] = bias.astype("<f4").view(np.uint8).reshape(-1, 4)
    entries[:, 4:8] = multiplier.astype("<f4").view(np.uint8).reshape(-1, 4)
    return entries
