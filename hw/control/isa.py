"""The instruction set: one table from which decoder, assembler, disassembler, JSON and documentation come.

An instruction is 256 bits (32 bytes), little endian in memory: field 0 starts at bit 0, fields follow one another
without gaps, and what is left over is reserved and must be zero. This module imports no Amaranth.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

INSTRUCTION_BYTES = 32
INSTRUCTION_BITS = 8 * INSTRUCTION_BYTES


FETCH_BATCH = 4
"""Instructions fetched in one burst; the program is aligned to it (128 bytes), so the burst cannot cross 4 KiB."""
FETCH_BUFFER = 16
"""Instructions that are asked for and not yet handed to the queues, at most."""
PROGRAM_ALIGNMENT = FETCH_BATCH * INSTRUCTION_BYTES
"""A program's address is a multiple of this, so that no fetch crosses a page."""
INDEX_BITS = 20
"""Bits of an instruction's index in its program."""


class Queue(enum.IntEnum):
    """The three in-order queues that run at the same time."""

    LOAD = 0
    EXECUTE = 1
    STORE = 2


class Token(enum.IntEnum):
    """Counting tokens, by bit position in the ``wait`` and ``post`` masks. Each has one queue that may wait on it."""

    ACTIVATIONS_FREE = 0
    WEIGHTS_FREE = 1
    PARAMETERS_FREE = 2
    ACTIVATIONS_READY = 3
    WEIGHTS_READY = 4
    ACCUMULATORS_FREE = 5
    RESULTS_READY = 6
    PARAMETERS_READY = 7

    @property
    def waiter(self) -> Queue:
        """The only queue whose instructions may wait on this token."""
        return _WAITERS[self]


_WAITERS = {
    Token.ACTIVATIONS_FREE: Queue.LOAD,
    Token.WEIGHTS_FREE: Queue.LOAD,
    Token.PARAMETERS_FREE: Queue.LOAD,
    Token.ACTIVATIONS_READY: Queue.EXECUTE,
    Token.WEIGHTS_READY: Queue.EXECUTE,
    Token.ACCUMULATORS_FREE: Queue.EXECUTE,
    Token.RESULTS_READY: Queue.STORE,
    Token.PARAMETERS_READY: Queue.STORE,
}

FETCH_SOURCE = 3
"""What the ERROR register names as the queue when fetch or decode is at fault."""

TOKEN_MAXIMUM = 15
"""A counter past this value is an error (``TOKEN_OVERFLOW``), never a wrap."""


class Opcode(enum.IntEnum):
    """Operation of an instruction; 0 is deliberately none, so that zeroed memory is refused."""

    LOAD = 1
    EXECUTE = 2
    STORE = 3
    CONFIGURE = 4
    """Changes a setting of the array; only where it has any (``Geometry.settings``)."""

    @property
    def queue(self) -> Queue:
        """The queue that carries this operation out."""
        return _QUEUES[self]


_QUEUES = {
    Opcode.LOAD: Queue.LOAD,
    Opcode.EXECUTE: Queue.EXECUTE,
    Opcode.STORE: Queue.STORE,
    Opcode.CONFIGURE: Queue.EXECUTE,
}


class Destination(enum.IntEnum):
    """``variant`` of LOAD: the scratchpad that is filled."""

    ACTIVATIONS = 0
    WEIGHTS = 1
    PARAMETERS = 2


class OutputMode(enum.IntEnum):
    """``variant`` of STORE: what is written for each result."""

    RAW = 0
    """int32, four bytes, little endian; float32 where sums are (``Geometry.sums``)."""
    REQUANTISED = 1
    """int8 after bias, dyadic scaling, round half up, saturation; fp16 after bias and scaling where sums are float32."""


class Error(enum.IntEnum):
    """Error codes of the ERROR register. The first error of a run is kept."""

    NONE = 0
    OPCODE = 1
    """Unknown opcode or variant."""
    FIELD = 2
    """A reserved bit set, a value out of the range that this design implements, a count of zero, a foreign wait."""
    WINDOW = 3
    """A memory address outside the configured window, or one that wraps."""
    LOCAL = 4
    """A scratchpad, accumulator or parameter address past the end; parameters that begin within a group of output_lanes."""
    READ = 5
    """The bus answered a read with an error."""
    WRITE = 6
    """The bus answered a write with an error."""
    WATCHDOG = 7
    """Nothing moved for as many cycles as the watchdog register says: a token that never comes, a dead bus."""
    TOKEN_OVERFLOW = 8
    """A token was posted more often than it can be counted."""
    PROGRAM = 9
    """The program is empty, misaligned, or outside the window."""
    CONFLICT = 10
    """EXECUTE and STORE used the same half of the accumulators at the same time."""


class Range(enum.Enum):
    """What a field's value is measured in; fixes how many of its bits a design implements."""

    OPCODE = "operation"
    TOKENS = "token mask"
    VARIANT = "variant"
    MEMORY = "byte address in memory"
    STRIDE = "byte distance in memory"
    COUNT = "count, at least 1"
    SMALL = "unsigned"
    SETTING = "number of a setting"
    FLAG = "0 or 1"


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field: ``bits`` wide in the instruction word, ``range`` says what it measures."""

    name: str
    bits: int
    range: Range
    doc: str


_HEADER = (
    Field(name="opcode", bits=8, range=Range.OPCODE, doc="what is done; names the queue"),
    Field(name="wait", bits=8, range=Range.TOKENS, doc="tokens taken before the instruction starts"),
    Field(name="post", bits=8, range=Range.TOKENS, doc="tokens given when the instruction has ended"),
    Field(
        name="variant",
        bits=8,
        range=Range.VARIANT,
        doc="LOAD: destination; EXECUTE: format; STORE: output mode; CONFIGURE: 0",
    ),
)

FIELDS: dict[Opcode, tuple[Field, ...]] = {
    Opcode.LOAD: (
        *_HEADER,
        Field(name="memory_address", bits=64, range=Range.MEMORY, doc="first byte of row 0"),
        Field(name="memory_stride", bits=32, range=Range.STRIDE, doc="bytes from a row to the next"),
        Field(name="row_bytes", bits=32, range=Range.COUNT, doc="bytes of a row"),
        Field(name="rows", bits=16, range=Range.COUNT, doc="rows"),
        Field(
            name="local_stride",
            bits=16,
            range=Range.SMALL,
            doc="bus beats from a row to the next in the scratchpad",
        ),
        Field(
            name="local_address",
            bits=32,
            range=Range.SMALL,
            doc="bus beat of the scratchpad at which row 0 starts",
        ),
    ),
    Opcode.EXECUTE: (
        *_HEADER,
        Field(name="activations_address", bits=32, range=Range.SMALL, doc="first activation word"),
        Field(name="weights_address", bits=32, range=Range.SMALL, doc="first weight word"),
        Field(
            name="accumulators_address",
            bits=32,
            range=Range.SMALL,
            doc="first accumulator row; its top bit picks the half",
        ),
        Field(
            name="activations_stride",
            bits=16,
            range=Range.SMALL,
            doc="activation words from a row to the next",
        ),
        Field(name="row_tiles", bits=16, range=Range.COUNT, doc="tiles along M, of tile_rows rows each"),
        Field(name="column_tiles", bits=16, range=Range.COUNT, doc="tiles along N, of columns features each"),
        Field(
            name="accumulate", bits=8, range=Range.FLAG, doc="1: add to the accumulators; 0: overwrite them"
        ),
        Field(name="reserved", bits=8, range=Range.SMALL, doc="zero"),
        Field(name="depth_tiles", bits=32, range=Range.COUNT, doc="length along K, in units of tile_depth"),
    ),
    Opcode.STORE: (
        *_HEADER,
        Field(name="memory_address", bits=64, range=Range.MEMORY, doc="first byte of row 0"),
        Field(name="memory_stride", bits=32, range=Range.STRIDE, doc="bytes from a row to the next"),
        Field(
            name="accumulators_address",
            bits=32,
            range=Range.SMALL,
            doc="accumulator row of output row 0, feature 0",
        ),
        Field(
            name="accumulators_stride",
            bits=16,
            range=Range.SMALL,
            doc="accumulator rows from a feature to the next of its bank",
        ),
        Field(name="rows", bits=16, range=Range.COUNT, doc="output rows"),
        Field(name="columns", bits=16, range=Range.COUNT, doc="output features in a row"),
        Field(
            name="parameters_address",
            bits=16,
            range=Range.SMALL,
            doc="parameter entry of the first feature (REQUANTISED), a multiple of output_lanes",
        ),
    ),
    Opcode.CONFIGURE: (
        *_HEADER,
        Field(name="setting", bits=16, range=Range.SETTING, doc="which setting of the array"),
        Field(name="value", bits=32, range=Range.SMALL, doc="what it is from the next EXECUTE on"),
    ),
}

PARAMETER_BYTES = 16
"""One output feature's parameters in memory and scratchpad: int32 bias, uint32 multiplier, uint8 shift, 7 zero bytes; where sums
are float32: float32 bias, float32 multiplier, 8 zero bytes."""


def offsets(opcode: Opcode) -> dict[str, tuple[int, int]]:
    """First bit and width of every field of ``opcode``, by name."""
    place, table = 0, {}
    for field in FIELDS[opcode]:
        table[field.name] = (place, field.bits)
        place += field.bits
    return table


@dataclass(frozen=True)
class Instruction:
    """An instruction as named values; every field of its opcode is present in ``values``."""

    opcode: Opcode
    values: dict[str, int]

    def __getattr__(self, name: str) -> int:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None


def assemble(opcode: Opcode, **values: int) -> bytes:
    """Encode one instruction; fields not given are zero.

    Raises ``ValueError`` for a value that its field cannot hold, ``TypeError`` for a name that the opcode lacks.
    """
    place = offsets(opcode)
    unknown = set(values) - set(place) | ({"opcode"} & set(values))
    if unknown:
        raise TypeError(f"{opcode.name} has no field {', '.join(sorted(unknown))}")
    word = int(opcode)
    for name, value in values.items():
        first, bits = place[name]
        if not 0 <= int(value) < 1 << bits:
            raise ValueError(f"{opcode.name} field {name} must be 0 to {(1 << bits) - 1}, not {value}")
        word |= int(value) << first
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def disassemble(data: bytes) -> Instruction:
    """Decode one instruction.

    Raises ``ValueError`` when it is not 32 bytes long, its opcode is unknown or a reserved bit is set.
    """
    if len(data) != INSTRUCTION_BYTES:
        raise ValueError(f"an instruction must be {INSTRUCTION_BYTES} bytes, not {len(data)}")
    word = int.from_bytes(data, "little")
    try:
        opcode = Opcode(word & 0xFF)
    except ValueError:
        raise ValueError(f"opcode must be one of {[int(o) for o in Opcode]}, not {word & 0xFF}") from None
    values = {name: word >> first & (1 << bits) - 1 for name, (first, bits) in offsets(opcode).items()}
    last = max(first + bits for first, bits in offsets(opcode).values())
    if word >> last or values.get("reserved"):
        raise ValueError(f"reserved bits of {opcode.name} must be zero, not {word >> last:#x}")
    return Instruction(opcode, values)


def names(mask: int) -> list[str]:
    """Token names in ``mask``, for listings."""
    return [token.name.lower() for token in Token if mask >> token & 1]


def describe() -> list[dict[str, object]]:
    """The whole table as plain data, for JSON and documentation."""
    rows: list[dict[str, object]] = []
    for opcode, fields in FIELDS.items():
        place = offsets(opcode)
        rows.append(
            {
                "opcode": int(opcode),
                "name": opcode.name,
                "queue": opcode.queue.name.lower(),
                "fields": [
                    {
                        "name": f.name,
                        "first_bit": place[f.name][0],
                        "bits": f.bits,
                        "unit": f.range.value,
                        "doc": f.doc,
                    }
                    for f in fields
                ],
            }
        )
    return rows
