"""The checker of programs finds what it is there for."""

from __future__ import annotations

import pytest

from gen.compiler import Program, compile_gemm
from gen.compiler.check import problems
from hw.control.isa import INSTRUCTION_BYTES, Opcode, Token, assemble
from tests.reference_array import design
from tests.test_compiler import REQUANTISED, STANDARD, TINY


def mutated(program: Program, index: int, **changes: int) -> bytes:
    one = program.instructions[index]
    fields = {name: value for name, value in one.values.items() if name != "opcode"} | changes
    word = assemble(one.opcode, **fields)
    return (
        program.binary[: index * INSTRUCTION_BYTES] + word + program.binary[(index + 1) * INSTRUCTION_BYTES :]
    )


def test_the_checker_finds_every_missing_token() -> None:
    """Seeded faults: a wait left out, a post left out, one after the other through a whole program."""
    chip = design(STANDARD, **TINY)
    program = compile_gemm(chip, STANDARD, 20, 100, 24, mode=REQUANTISED)
    tried = 0
    for index, one in enumerate(program.instructions):
        for field in ("wait", "post"):
            for token in Token:
                if getattr(one, field) >> token & 1:
                    faulty = mutated(program, index, **{field: getattr(one, field) & ~(1 << token)})
                    assert problems(chip, STANDARD.model(), faulty), (index, field, token.name)
                    tried += 1
    assert tried > 100


@pytest.mark.parametrize(
    ("opcode", "changes", "complaint"),
    [
        (Opcode.LOAD, {"local_address": 64}, "past the end of activations"),
        (Opcode.EXECUTE, {"accumulators_address": 9}, "crosses the end of its half"),
        (Opcode.EXECUTE, {"activations_address": 60}, "reads past the end of activations"),
        (Opcode.EXECUTE, {"accumulate": 1}, "adds to accumulators that nothing has written"),
        (Opcode.STORE, {"accumulators_address": 8}, "stores accumulators that nothing has written"),
    ],
)
def test_the_checker_finds_wrong_addresses(opcode: Opcode, changes: dict[str, int], complaint: str) -> None:
    chip = design(STANDARD, **TINY)
    program = compile_gemm(chip, STANDARD, 16, 32, 8)
    index = next(i for i, one in enumerate(program.instructions) if one.opcode is opcode)
    assert any(
        complaint in line for line in problems(chip, STANDARD.model(), mutated(program, index, **changes))
    )


def test_the_checker_finds_a_token_that_may_overflow() -> None:
    chip = design(STANDARD)
    ready = 1 << Token.WEIGHTS_READY
    loads = [
        assemble(Opcode.LOAD, variant=1, local_address=i, row_bytes=8, rows=1, post=ready) for i in range(16)
    ]
    executes = [
        assemble(Opcode.EXECUTE, wait=ready, weights_address=i, row_tiles=1, column_tiles=1, depth_tiles=1)
        for i in range(16)
    ]

    def found(order: list[bytes]) -> list[str]:
        return problems(chip, STANDARD.model(), b"".join(order))

    assert found(loads[:15] + executes[:15]) == []
    assert any("more than 15 times" in line for line in found(loads + executes))
    # In program order each is taken at once, but nothing keeps the LOADs from running ahead.
    assert any(
        "more than 15 times" in line
        for line in found([one for pair in zip(loads, executes, strict=True) for one in pair])
    )


def test_the_checker_finds_waits_before_posts() -> None:
    chip = design(STANDARD)
    execute = assemble(
        Opcode.EXECUTE, wait=1 << Token.WEIGHTS_READY, row_tiles=1, column_tiles=1, depth_tiles=1
    )
    load = assemble(Opcode.LOAD, variant=1, row_bytes=8, rows=1, post=1 << Token.WEIGHTS_READY)
    assert problems(chip, STANDARD.model(), load + execute) == []
    assert any(
        "no instruction before it" in line for line in problems(chip, STANDARD.model(), execute + load)
    )
    assert any("left at the end" in line for line in problems(chip, STANDARD.model(), load))
