"""The instruction table: encoding, decoding, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.control.isa import (
    FIELDS,
    INSTRUCTION_BITS,
    INSTRUCTION_BYTES,
    Opcode,
    Queue,
    Token,
    assemble,
    describe,
    disassemble,
    names,
    offsets,
)


@st.composite
def instructions(draw: st.DrawFn) -> tuple[Opcode, dict[str, int]]:
    opcode = draw(st.sampled_from(Opcode))
    fields = [f for f in FIELDS[opcode] if f.name not in ("opcode", "reserved")]
    return opcode, {f.name: draw(st.integers(0, (1 << f.bits) - 1)) for f in fields}


@settings(max_examples=200)
@given(instructions())
def test_disassemble_undoes_assemble(one: tuple[Opcode, dict[str, int]]) -> None:
    opcode, values = one
    data = assemble(opcode, **values)
    assert len(data) == INSTRUCTION_BYTES
    back = disassemble(data)
    assert back.opcode is opcode
    assert {name: back.values[name] for name in values} == values
    assert all(getattr(back, name) == value for name, value in values.items())


@pytest.mark.parametrize("opcode", Opcode)
def test_fields_follow_one_another_and_fit(opcode: Opcode) -> None:
    place = 0
    for name, (first, bits) in offsets(opcode).items():
        assert first == place, name
        place += bits
    assert place <= INSTRUCTION_BITS
    header = [field.name for field in FIELDS[opcode][:4]]
    assert header == ["opcode", "wait", "post", "variant"]


def test_encoding_of_a_load_by_hand() -> None:
    data = assemble(
        Opcode.LOAD, wait=1, post=8, variant=2, memory_address=0x1122334455667788, row_bytes=0xABCDEF, rows=3
    )
    expected = bytes([1, 1, 8, 2]) + bytes.fromhex("8877665544332211") + bytes(4) + bytes.fromhex("efcdab00")
    assert data == expected + bytes([3, 0]) + bytes(10)


def test_encoding_of_a_configure_by_hand() -> None:
    data = assemble(Opcode.CONFIGURE, wait=8, post=64, setting=0x0123, value=0x89ABCDEF)
    assert data == bytes([4, 8, 64, 0]) + bytes.fromhex("2301efcdab89") + bytes(22)


@pytest.mark.parametrize("opcode", Opcode)
def test_every_value_too_large_is_refused(opcode: Opcode) -> None:
    for field in FIELDS[opcode]:
        if field.name != "opcode":
            with pytest.raises(ValueError, match=f"field {field.name} must be 0 to"):
                assemble(opcode, **{field.name: 1 << field.bits})


def test_names_of_other_opcodes_are_refused() -> None:
    with pytest.raises(TypeError, match="STORE has no field row_bytes"):
        assemble(Opcode.STORE, row_bytes=1)


def test_malformed_words_are_refused() -> None:
    good = assemble(Opcode.STORE, rows=1, columns=1)
    with pytest.raises(ValueError, match="must be 32 bytes, not 31"):
        disassemble(good[:-1])
    with pytest.raises(ValueError, match="opcode must be one of"):
        disassemble(bytes(INSTRUCTION_BYTES))
    with pytest.raises(ValueError, match="reserved bits of STORE"):
        disassemble(good[:-1] + b"\x80")
    execute = int.from_bytes(assemble(Opcode.EXECUTE, row_tiles=1), "little")
    first, _ = offsets(Opcode.EXECUTE)["reserved"]
    with pytest.raises(ValueError, match="reserved bits of EXECUTE"):
        disassemble((execute | 1 << first).to_bytes(INSTRUCTION_BYTES, "little"))


def test_a_missing_field_is_an_attribute_error() -> None:
    one = disassemble(assemble(Opcode.LOAD, rows=1))
    with pytest.raises(AttributeError):
        getattr(one, "depth" + "_tiles")


def test_each_token_has_one_waiter() -> None:
    assert {token.waiter for token in Token} == set(Queue)
    assert [opcode.queue for opcode in Opcode] == [Queue.LOAD, Queue.EXECUTE, Queue.STORE, Queue.EXECUTE]
    assert names(0b1001) == ["activations_free", "activations_ready"]


def test_description_holds_the_whole_table() -> None:
    table = describe()
    assert [row["name"] for row in table] == [opcode.name for opcode in Opcode]
    for opcode, row in zip(Opcode, table, strict=True):
        assert [f["name"] for f in row["fields"]] == [f.name for f in FIELDS[opcode]]
