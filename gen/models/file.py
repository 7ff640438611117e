"""Model files in the GGUF format, every count, length, offset and size checked against the file.

The header is read here and not by ``gguf.GGUFReader``, which hangs on malformed files; ``gguf`` gives the
block sizes of the tensor types and their dequantisation. Tensors are mapped: only those asked for are read.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import gguf
import numpy as np

from hw.formats import Format
from hw.formats.ggml import BLOCK

VERSIONS = (2, 3)
"""GGUF versions with this layout."""
DEFAULT_ALIGNMENT = 32
LONGEST_NAME = 64
"""Bytes of a tensor's name, by the format's specification."""
LONGEST_KEY = 65_535
MOST_DIMENSIONS = 4

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SMALLEST_VALUE, _SMALLEST_TENSOR = 8 + 4 + 1, 8 + 4 + 8 + 4 + 8
"""Least bytes of a metadata value (empty key, one byte) and of a tensor's entry (no name, one dimension)."""

type_of = gguf.GGMLQuantizationType
Value = int | float | bool | str | list


class ModelFileError(ValueError):
    """The file is not a model that can be read; the text says where and why."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Where one tensor lies. ``shape`` is NumPy's: the last axis is contiguous."""

    name: str
    shape: tuple[int, ...]
    type: gguf.GGMLQuantizationType
    offset: int
    bytes: int


class _Header:
    """A reading position that never passes the end of the file."""

    def __init__(self, data: mmap.mmap | bytes):
        self._data = data
        self.position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.position

    def bytes(self, count: int, what: str) -> bytes:
        if count > self.left:
            raise ModelFileError(
                f"{what} at byte {self.position} must be at most {self.left} bytes long, not {count}"
            )
        self.position += count
        return self._data[self.position - count : self.position]

    def numbers(self, code: str, count: int, what: str) -> tuple:
        form = f"<{count}{code}"
        return struct.unpack(form, self.bytes(struct.calcsize(f"<{code}") * count, what))

    def number(self, code: str, what: str):
        return self.numbers(code, 1, what)[0]

    def string(self, what: str, most: int | None = None) -> str:
        length = self.number("Q", what)
        if most is not None and length > most:
            raise ModelFileError(
                f"{what} at byte {self.position} must be at most {most} bytes long, not {length}"
            )
        try:
            return self.bytes(length, what).decode()
        except UnicodeDecodeError:
            raise ModelFileError(f"{what} before byte {self.position} must be UTF-8") from None

    def value(self, code: int, what: str) -> Value:
        if code == _STRING:
            return self.string(what)
        if code == _ARRAY:
            inner, count = self.number("I", what), self.number("Q", what)
            if inner == _STRING:
                if count > self.left // 8:
                    raise ModelFileError(f"{what} must have at most {self.left // 8} strings, not {count}")
                return [self.string(what) for _ in range(count)]
            if inner not in _SCALARS:
                raise ModelFileError(f"{what} must be an array of numbers or strings, not of type {inner}")
            if count > self.left:
                raise ModelFileError(f"{what} must have at most {self.left} items, not {count}")
            return list(self.numbers(_SCALARS[inner], count, what))
        if code not in _SCALARS:
            raise ModelFileError(f"{what} must be of type 0 to 12, not {code}")
        return self.number(_SCALARS[code], what)


class ModelFile:
    """An open model file.

    Parameters
    ----------
    path : Path
        The file.

    Members
    -------
    values : dict
        Metadata by key.
    tensors : dict
        ``Tensor`` by name.

    Raises
    ------
    ModelFileError
        When anything in the header does not agree with the rest or with the file's length. Nothing is
        allocated by a count or size that has not been checked.
    """

    def __init__(self, path: Path):
        with path.open("rb") as file:
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:
                raise ModelFileError("the file is empty") from None
        header = _Header(self._map)
        tensors, values = _counts(header)
        self.values = _values(header, values)
        self.tensors = _tensors(header, tensors, _alignment(self.values), len(self._map))

    def read(self, name: str) -> np.ndarray:
        """The tensor ``name`` as float32; what it has that is not finite stays so."""
        tensor = self._tensor(name)
        raw = np.frombuffer(self._map, np.uint8, count=tensor.bytes, offset=tensor.offset)
        try:
            with np.errstate(invalid="ignore", over="ignore"):
                values = gguf.quants.dequantize(raw, tensor.type)
            return values.reshape(tensor.shape).astype(np.float32, copy=False)
        except NotImplementedError:
            raise ModelFileError(
                f"tensor {name} is of type {tensor.type.name}, which cannot be dequantised"
            ) from None

    def raw(self, name: str) -> bytes:
        """The bytes of the tensor ``name`` as the file has them."""
        tensor = self._tensor(name)
        return self._map[tensor.offset : tensor.offset + tensor.bytes]

    def stores(self, name: str, format: Format) -> bool:
        """Whether the tensor ``name`` is a matrix of GGUF blocks that are those of ``format``."""
        tensor = self._tensor(name)
        same = format.rule == "ggml" and format.block == BLOCK
        return same and len(tensor.shape) == 2 and tensor.type.name.lower() == format.name.partition(":")[0]

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise ModelFileError(f"the model must have a tensor {name}")
        return self.tensors[name]

    def close(self) -> None:
        """Give the mapping back; arrays that were read stay valid."""
        self._map.close()


def _counts(header: _Header) -> tuple[int, int]:
    """Tensors and metadata values that the file says it has."""
    magic = header.bytes(4, "magic")
    if magic != b"GGUF":
        raise ModelFileError(f"the file must begin with b'GGUF', not {magic!r}")
    version = header.number("I", "version")
    if version not in VERSIONS:
        raise ModelFileError(f"GGUF version must be one of {', '.join(map(str, VERSIONS))}, not {version}")
    tensors, count = header.numbers("Q", 2, "counts")
    for what, number, least in (
        ("tensors", tensors, _SMALLEST_TENSOR),
        ("metadata values", count, _SMALLEST_VALUE),
    ):
        if number > header.left // least:
            raise ModelFileError(f"the file has room for {header.left // least} {what}, not {number}")
    return tensors, count


def _values(header: _Header, count: int) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for _ in range(count):
        key = header.string("metadata key", LONGEST_KEY)
        if key in values:
            raise ModelFileError(f"metadata key {key!r} must occur once")
        values[key] = header.value(header.number("I", f"type of {key!r}"), f"value of {key!r}")
    return values


def _alignment(values: dict[str, Value]) -> int:
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= 1 << 16 or alignment & alignment - 1:
        raise ModelFileError(f"general.alignment must be a power of two from 1 to 65536, not {alignment!r}")
    return alignment


def _tensors(header: _Header, count: int, alignment: int, length: int) -> dict[str, Tensor]:
    entries = [_entry(header) for _ in range(count)]
    start = -(-header.position // alignment) * alignment
    tensors: dict[str, Tensor] = {}
    for name, dimensions, code, offset in entries:
        if name in tensors:
            raise ModelFileError(f"tensor {name!r} must occur once")
        if code not in gguf.GGML_QUANT_SIZES:
            raise ModelFileError(f"tensor {name!r} must be of a type that GGUF defines, not {code}")
        block, block_bytes = gguf.GGML_QUANT_SIZES[type_of(code)]
        if dimensions[0] % block:
            raise ModelFileError(
                f"tensor {name!r} must have rows of a multiple of {block} elements, not {dimensions[0]}"
            )
        size = prod(dimensions) // block * block_bytes
        if offset % alignment:
            raise ModelFileError(f"tensor {name!r} must lie at a multiple of {alignment}, not at {offset}")
        end = start + offset + size
        if end > length:
            raise ModelFileError(
                f"tensor {name!r} must end within the file's {length} bytes, not at byte {end}"
            )
        tensors[name] = Tensor(
            name=name, shape=dimensions[::-1], type=type_of(code), offset=start + offset, bytes=size
        )
    placed = sorted(tensors.values(), key=lambda tensor: tensor.offset)
    for before, after in pairwise(placed):
        if before.offset + before.bytes > after.offset:
            raise ModelFileError(f"tensors {before.name!r} and {after.name!r} must not overlap")
    return tensors


def _entry(header: _Header) -> tuple[str, tuple[int, ...], int, int]:
    name = header.string("tensor name", LONGEST_NAME)
    rank = header.number("I", f"dimensions of {name!r}")
    if not 1 <= rank <= MOST_DIMENSIONS:
        raise ModelFileError(f"tensor {name!r} must have 1 to {MOST_DIMENSIONS} dimensions, not {rank}")
    dimensions = header.numbers("Q", rank, f"dimensions of {name!r}")
    if 0 in dimensions:
        raise ModelFileError(f"tensor {name!r} must have dimensions of at least 1, not {list(dimensions)}")
    return (
        name,
        dimensions,
        header.number("I", f"type of {name!r}"),
        header.number("Q", f"offset of {name!r}"),
    )
