"""A workload in parts that fit the memory of a board: of rows and features, never of K."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gen.compiler import DoesNotFit, Program, compile_gemm
from gen.config import Config
from gen.errors import RequestError
from gen.workload import Workload
from hw.control.isa import OutputMode
from hw.design import ceil_div
from hw.formats.operand import Span


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some rows and features of a workload, with their operands, and the program that computes them."""

    rows: Span
    features: Span
    load: Workload
    program: Program


def compiled(
    config: Config, sizes: tuple[int, int, int], mode: OutputMode, formats: tuple[str, str]
) -> Program:
    """The program of a GEMM on ``config``. Raises ``DoesNotFit`` when there is none."""
    return compile_gemm(config.design(), config.instance, *sizes, mode=mode, formats=formats)


def largest(config: Config, load: Workload, memory_bytes: int) -> tuple[int, int]:
    """Rows and features of the largest parts of ``load`` whose programs fit the memory.

    Raises
    ------
    RequestError
        Not even one row and one column tile fit, or no program can be made of the workload at all.
    """
    m, k, n = load.sizes
    columns = config.instance.geometry.columns
    while True:
        why = None
        try:
            program = compiled(config, (m, k, n), load.mode, load.formats)
        except DoesNotFit as error:
            why = error
        else:
            if program.memory.end <= memory_bytes:
                return m, n
        if n > columns:
            n = ceil_div(ceil_div(n, 2), columns) * columns
        elif m > 1:
            m = ceil_div(m, 2)
        else:
            raise why or RequestError(
                f"GEMM {load.sizes}: even a row of {n} features takes {program.memory.end} bytes of memory, and "
                f"the board has {memory_bytes}"
            )


def parts(config: Config, load: Workload, memory_bytes: int) -> Iterator[Part]:
    """The parts of ``load``, features outermost. Raises as :func:`largest`."""
    m, _, n = load.sizes
    rows, features = largest(config, load, memory_bytes)
    for n0 in range(0, n, features):
        for m0 in range(0, m, rows):
            spans = (m0, min(m, m0 + rows)), (n0, min(n, n0 + features))
            part = load.part(*spans)
            program = compiled(config, part.sizes, part.mode, part.formats)
            yield Part(rows=spans[0], features=spans[1], load=part, program=program)
