"""``compile_gemm``: the compiler's front door."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass

from gen.compiler.layout import ALIGNMENT, MemoryMap
from gen.compiler.order import give_tokens, interleave
from gen.compiler.program import Program
from gen.compiler.schedule import Scheduler, Step
from gen.compiler.tiling import DoesNotFit, Gemm, Span, Tiler, Tiling
from gen.families.contract import Family
from hw.control.isa import INDEX_BITS, INSTRUCTION_BYTES, PARAMETER_BYTES, OutputMode, assemble
from hw.design import Design, ceil_div

MOST_INSTRUCTIONS = 1 << INDEX_BITS
MOST_SIZE = (1 << 30) - 1
"""A row of results is a stride of 32 bits at most."""
SHIFTABLE = ("activations", "parameters", "output")


def compile_gemm(
    design: Design,
    family: Family,
    M: int,
    K: int,
    N: int,
    *,
    mode: OutputMode = OutputMode.RAW,
    formats: tuple[str | None, str | None] = (None, None),
    base: int = 0,
    alignment: Mapping[str, int] | None = None,
) -> Program:
    """Compile Y[M, N] = X[M, K] · W[K, N] for ``design``, whose array is ``family``.

    Parameters
    ----------
    M, K, N : int
        At least 1.
    mode : OutputMode
        What is written of each result.
    formats : tuple of str
        Names of the formats of X and W, out of those that the array was generated for; None for any.
    base : int
        First address of the memory image, a multiple of 128.
    alignment : mapping
        Bytes (0 to 127) by which the buffers ``activations``, ``parameters``, ``output`` start after an aligned address. All are
        aligned by default; the hardware takes any.

    Raises
    ------
    RequestError
        When the array was not generated for these formats.
    DoesNotFit
        When a size of the design is too small: a line for each says which, by how much.
    TypeError, ValueError
        For other mistakes of the arguments.
    """
    gemm = make_gemm(M, K, N, mode, family.variant(*formats))
    plan = make_plan(design, family, gemm, base=base, alignment=alignment)
    steps = plan.steps()
    plan.add_program(len(steps))
    binary = b"".join(assemble(step.opcode, **step.fields) for step in steps)
    return Program(
        gemm=gemm, family=family, binary=binary, memory=plan.memory, blocks=plan.blocks, tiling=plan.tiling
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A GEMM cut to fit, and where its data lie: all but its instructions."""

    design: Design
    family: Family
    gemm: Gemm
    tiling: Tiling
    memory: MemoryMap
    blocks: dict[tuple[Span, Span], tuple[int, int]]
    """(column tiles, steps of K) of every weight block: its address and bytes."""

    def steps(self, tiling: Tiling | None = None) -> list[Step]:
        """The instructions in order; of ``tiling``, if it is given, which is that of the plan with parts left out."""
        scheduler = Scheduler(
            self.design, self.family, self.gemm, tiling or self.tiling, self.memory, self.blocks
        )
        steps = interleave(scheduler.build(), self.design.queue_depth)
        give_tokens(steps)
        return steps

    def add_program(self, length: int) -> None:
        """Gives the program of so many instructions its place.

        Raises ``DoesNotFit`` when it is too long, or something lies beyond the addresses of the design.
        """
        too_long(length)
        # Last in memory, since only now its length is known; up to whole fetches, so that these stay in the window, too.
        self.memory.add("program", ceil_div(length * INSTRUCTION_BYTES, ALIGNMENT) * ALIGNMENT)
        self.memory.check(self.design)


def make_plan(
    design: Design,
    family: Family,
    gemm: Gemm,
    *,
    base: int = 0,
    alignment: Mapping[str, int] | None = None,
) -> Plan:
    """The plan of a GEMM; arguments and errors are those of ``compile_gemm``."""
    offsets = _offsets(base, alignment)
    if design.geometry != family.geometry:
        raise ValueError(f"design must be of the geometry {family.geometry}, not {design.geometry}")
    tiling = Tiler(design, family, gemm).choose()
    memory = MemoryMap(base=operator.index(base))
    memory.add(
        "activations", gemm.M * family.model().activation_bytes(gemm.variant, gemm.K), offsets["activations"]
    )
    blocks = _weight_blocks(design, family, gemm, tiling, memory)
    if gemm.mode is OutputMode.REQUANTISED:
        memory.add("parameters", gemm.N * PARAMETER_BYTES, offsets["parameters"])
    memory.add("output", gemm.M * gemm.N * design.geometry.result_bytes(gemm.mode), offsets["output"])
    return Plan(design=design, family=family, gemm=gemm, tiling=tiling, memory=memory, blocks=blocks)


def too_long(length: int) -> None:
    """Raises ``DoesNotFit`` when a program of so many instructions cannot be run."""
    if length >= MOST_INSTRUCTIONS:
        raise DoesNotFit(
            f"the program must be shorter than {MOST_INSTRUCTIONS} instructions, not {length}: larger "
            "memory.activations, memory.weights and memory.accumulators make it shorter"
        )


def make_gemm(M: int, K: int, N: int, mode: OutputMode, variant: int) -> Gemm:
    """A GEMM whose sizes and mode are checked."""
    if not isinstance(mode, OutputMode):
        raise TypeError(f"mode must be an OutputMode, not {mode!r}")
    sizes = {name: operator.index(value) for name, value in (("M", M), ("K", K), ("N", N))}
    for name, value in sizes.items():
        if not 1 <= value <= MOST_SIZE:
            raise ValueError(f"{name} must be 1 to {MOST_SIZE}, not {value}")
    return Gemm(**sizes, mode=mode, variant=variant)


def _offsets(base: int, alignment: Mapping[str, int] | None) -> dict[str, int]:
    if operator.index(base) < 0 or base % ALIGNMENT:
        raise ValueError(f"base must be a multiple of {ALIGNMENT} and at least 0, not {base!r}")
    offsets = dict.fromkeys(SHIFTABLE, 0)
    for name, value in (alignment or {}).items():
        if name not in SHIFTABLE:
            raise ValueError(f"alignment must be given for {', '.join(SHIFTABLE)}, not {name!r}")
        if not 0 <= operator.index(value) < ALIGNMENT:
            raise ValueError(f"alignment of {name} must be 0 to {ALIGNMENT - 1}, not {value!r}")
        offsets[name] = operator.index(value)
    return offsets


def _weight_blocks(
    design: Design, family: Family, gemm: Gemm, tiling: Tiling, memory: MemoryMap
) -> dict[tuple[Span, Span], tuple[int, int]]:
    """Address and bytes of every weight block, one after the other in the order in which they are taken."""
    g, model, start, place = design.geometry, family.model(), memory.next, 0
    blocks: dict[tuple[Span, Span], tuple[int, int]] = {}
    beat = design.data_bytes
    chunks = [
        [
            (part, model.weight_words(gemm.variant, ceil_div(part[1] - part[0], g.tile_depth)))
            for part in chunk
        ]
        for chunk in tiling.chunks
    ]
    for group in tiling.groups:
        for chunk in chunks:
            for columns in group.blocks:
                for part, words in chunk:
                    # Whole bus beats, so that every block starts on one.
                    size = -((columns[0] - columns[1]) * words * g.weight_bytes // beat) * beat
                    blocks[columns, part] = (start + place, size)
                    place += size
    memory.add("weights", place)
    return blocks
