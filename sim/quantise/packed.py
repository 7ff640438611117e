"""A quantised matrix as bytes and back: nothing is rounded, so what comes back has the same values bit for bit.

There are five streams. In each of them row follows upon row, and each row starts at a byte; bits are counted from the lowest of
the first byte on, numbers are little endian, and what is left of a row's last byte is zero. A row of the matrix has::

    stream     bytes of a row                    what
    codes      row_bytes(format, K)              in the order of format.packing (hw.formats.packing)
    scales     blocks * bits of the type / 8     codes of format.scale (hw.formats.scales)
    selectors  ceil(blocks * selector_bits / 8)  dense, selector_bits each; with selector_in_scale none, but the scales' signs
    offsets    ceil(blocks * bits / 8)           zero points: dense, the format's bits each, however elements are packed
               blocks * 2                        minima: fp16
    outer      bits of the type / 8              a code of format.outer

"blocks" is ceil(K / block), or 1 when blocks are not what shares a scale. What the tensor shares is one row. A stream that the
format has no use for is empty. When K is a multiple of the block, and the bits of a row's selectors and of its zero points are
whole bytes, all streams but ``outer`` have ``rows * K * format.bits_per_weight / 8`` bytes together.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import numpy as np

from hw.design import ceil_div
from hw.formats import Format, packing
from hw.formats.format import SCALES
from hw.formats.scales import decode, encode
from sim.quantise.quantised import Quantised

MINIMUM = "fp16"
"""Type of minima (see ``hw.formats.format.OFFSETS``)."""

E4M3_MOST = 0x7E
"""Code of the largest scale of that type: none is negative."""

SIGN = 7
"""Bit of a scale's last byte that is its sign."""

_DENSE, _DENSE_BACK, _DENSE_BYTES = packing.PACKINGS["dense"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """The streams that the module describes, each uint8 [bytes]; empty where the format has none."""

    codes: np.ndarray = field(repr=False)
    scales: np.ndarray = field(repr=False)
    selectors: np.ndarray = field(repr=False)
    offsets: np.ndarray = field(repr=False)
    outer: np.ndarray = field(repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of all streams."""
        return sum(s.size for s in (self.codes, self.scales, self.selectors, self.offsets, self.outer))


def pack(quantised: Quantised) -> Packed:
    """``quantised`` as bytes.

    Raises
    ------
    ValueError
        What the format cannot hold, lacks, or has no use for. So it is with minima that are no half-precision numbers: those that
        KIVI's rule finds with scales of fp32.
    """
    format = quantised.format
    streams = _streams(format, quantised.shape)
    data = {name: stream.pack(getattr(quantised, name)) for name, stream in streams.items()}
    if format.selector_in_scale:
        if np.signbit(quantised.scales).any():
            raise ValueError(f"scales of {format.name} must be positive or 0, not {_range(quantised.scales)}")
        signs = streams["selectors"].unpack(data["selectors"])
        data["scales"] = data["scales"].copy()
        _tops(format, data["scales"])[:] |= signs.astype(np.uint8).reshape(-1) << SIGN
        data["selectors"] = np.empty(0, np.uint8)
    return Packed(codes=packing.pack(format, quantised.codes).reshape(-1), **data)


def unpack(format: Format, packed: Packed, shape: tuple[int, int]) -> Quantised:
    """The matrix [rows, K] of that ``shape`` out of what ``pack`` gave.

    Raises ``ValueError``, which names the stream, for one that is too long or too short, or holds what is no finite number or no
    selector of the format.
    """
    rows, depth = (operator.index(size) for size in shape)
    if rows < 1 or depth < 1:
        raise ValueError(f"shape must be 1 or more rows and columns, not {shape!r}")
    width = packing.row_bytes(format, depth)
    codes = _checked(f"codes of {format.name}", packed.codes, rows, width)
    streams = _streams(format, (rows, depth))
    data = {name: getattr(packed, name) for name in streams}
    if format.selector_in_scale:
        scales, selectors = streams["scales"], streams["selectors"]
        _checked(selectors.what, data["selectors"], selectors.rows, 0)
        data["scales"] = (
            _checked(scales.what, data["scales"], scales.rows, scales.row_bytes).reshape(-1).copy()
        )
        tops = _tops(format, data["scales"])
        data["selectors"] = selectors.pack((tops >> SIGN).reshape(selectors.rows, selectors.count))
        tops &= (1 << SIGN) - 1
    each = {name: stream.unpack(data[name]) for name, stream in streams.items()}
    given = {name: each[name] if stream.row_bytes else None for name, stream in streams.items()}
    selected = given["selectors"]
    return Quantised(
        format=format,
        codes=packing.unpack(format, codes, depth),
        scales=each["scales"],
        selectors=None if selected is None else selected.astype(np.uint8),
        offsets=given["offsets"],
        outer=given["outer"],
    )


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """Numbers [rows, count]: codes of a ``type`` out of ``SCALES``, or ``bits`` bits each, or nothing if there is neither.

    ``limit`` is one past the largest integer, ``neutral`` the number that stands where there is nothing.
    """

    what: str
    rows: int
    count: int
    type: str = ""
    bits: int = 0
    limit: int = 0
    neutral: int

    @property
    def row_bytes(self) -> int:
        return self.count * SCALES[self.type] // 8 if self.type else _DENSE_BYTES(self.bits, self.count)

    def pack(self, numbers: np.ndarray | None) -> np.ndarray:
        if not self.row_bytes:
            if numbers is not None and (numbers != self.neutral).any():
                raise ValueError(f"{self.what} must be {self.neutral}, not {_range(numbers)}")
            return np.empty(0, np.uint8)
        if numbers is None:
            raise ValueError(f"{self.what} must be an array, not None")
        if numbers.shape not in ((1, self.count), (self.rows, self.count)):
            raise ValueError(f"{self.what} must be of shape {(self.rows, self.count)}, not {numbers.shape}")
        numbers = np.broadcast_to(numbers, (self.rows, self.count))
        if self.type:
            codes = self._encoded(numbers)
            return np.frombuffer(codes.astype(codes.dtype.newbyteorder("<")).tobytes(), np.uint8)
        if not ((numbers >= 0) & (numbers < self.limit) & (numbers == np.rint(numbers))).all():
            raise ValueError(
                f"{self.what} must be whole numbers from 0 to {self.limit - 1}, not {_range(numbers)}"
            )
        return _DENSE(self.bits, numbers.astype(np.uint16)).reshape(-1)

    def _encoded(self, numbers: np.ndarray) -> np.ndarray:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                codes = encode(self.type, numbers)
        except ValueError as error:
            raise ValueError(f"{self.what} must be numbers of {self.type}, not {_range(numbers)}") from error
        if not np.isfinite(numbers).all():
            raise ValueError(f"{self.what} must be finite, not {_range(numbers)}")
        if (np.signbit(decode(self.type, codes)) != np.signbit(numbers)).any():
            raise ValueError(f"{self.what} must be numbers without a sign, not {_range(numbers)}")
        return codes

    def unpack(self, data: np.ndarray) -> np.ndarray:
        data = _checked(self.what, data, self.rows, self.row_bytes)
        if not self.row_bytes:
            return np.full((self.rows, self.count), float(self.neutral))
        if not self.type:
            integers = _DENSE_BACK(self.bits, data, self.count)
            if (integers >= self.limit).any():
                raise ValueError(f"{self.what} must be 0 to {self.limit - 1}, not {integers.max()}")
            return integers.astype(np.float64)
        codes = np.frombuffer(data.tobytes(), f"<u{SCALES[self.type] // 8}").reshape(self.rows, self.count)
        if self.type == "e4m3" and codes.max() > E4M3_MOST:
            raise ValueError(f"{self.what} must be codes 0 to {E4M3_MOST}, not {codes.max()}")
        numbers = decode(self.type, codes)
        if not np.isfinite(numbers).all():
            raise ValueError(f"{self.what} must be finite, not code {codes[~np.isfinite(numbers)][0]:#x}")
        return numbers


def _streams(format: Format, shape: tuple[int, int]) -> dict[str, _Stream]:
    """All but the codes, by their names in ``Quantised`` and ``Packed``."""
    rows, depth = shape
    tensor = format.shared == "tensor"
    shared_rows = 1 if tensor else rows
    outer_rows = 1 if tensor or format.outer_shared == "tensor" else rows
    blocks = ceil_div(depth, format.block) if format.block else 1
    zero = format.bits if format.offset == "zero" else 0
    return {
        "scales": _Stream(
            what=f"scales of {format.name}", rows=shared_rows, count=blocks, neutral=1, type=format.scale
        ),
        "selectors": _Stream(
            what=f"selectors of {format.name}", rows=shared_rows, count=blocks, neutral=0,
            bits=format.selector_bits, limit=len(format.tables),
        ),
        "offsets": _Stream(
            what=f"offsets of {format.name}", rows=shared_rows, count=blocks, neutral=0,
            bits=zero, limit=1 << zero, type=MINIMUM if format.offset == "minimum" else "",
        ),
        "outer": _Stream(
            what=f"outer of {format.name}", rows=outer_rows, count=1, neutral=1, type=format.outer
        ),
    }  # fmt: skip


def _tops(format: Format, scales: np.ndarray) -> np.ndarray:
    """The last byte of each scale in the stream, to be read and written."""
    return scales[SCALES[format.scale] // 8 - 1 :: SCALES[format.scale] // 8]


def _checked(what: str, data: np.ndarray, rows: int, width: int) -> np.ndarray:
    """``data`` as [rows, width] if it is a stream of as many bytes."""
    if data.dtype != np.uint8 or data.shape != (rows * width,):
        raise ValueError(f"{what} must be uint8 of shape {(rows * width,)}, not {data.dtype} of {data.shape}")
    return data.reshape(rows, width)


def _range(numbers: np.ndarray) -> str:
    return f"{numbers.min()} to {numbers.max()}"
