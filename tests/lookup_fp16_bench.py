"""Groups of fp16 activations for table-lookup arrays: their words, when these come, and the results that are due."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from lookup_bench import FORMATS, Group, Plan, by_place

from hw.array.lookup.geometry import HALF_BITS, LookupArray, LookupFormat, Offset
from sim import lookup


def array_for(*formats: int | str, **sizes) -> LookupArray:
    """A small array of fp16 activations, and weights of formats by name, or bipolar of so many bits."""
    values = {
        "rows": 2,
        "columns": 16,
        "k": 4,
        "groups_per_lane": 1,
        "outputs": 8,
        "group": 32,
        "data_bytes": 8,
    }
    return LookupArray(
        **(values | sizes),
        variants=tuple(FORMATS[f"none{one}" if isinstance(one, int) else one] for one in formats),
        scales="fp16",
        activations="fp16",
    )


@dataclass(frozen=True)
class FloatGroup(Group):
    """Activations float16 [rows, K], scales of any 16 bits [columns]."""

    @property
    def points(self) -> np.ndarray | None:
        """Codes of zero points [columns]."""
        if self.format.offset is Offset.ZERO:
            return self.zeros
        return np.full_like(self.zeros, self.format.middle) if self.format.doubled else None

    def results(self, array: LookupArray) -> np.ndarray:
        """uint32 [1, rows, columns]: patterns of float32."""
        bits, doubled = self.format.bits, self.format.doubled
        sums = lookup.half_group_sums(self.activations, self.codes.T, bits=bits, zeros=self.points)
        scales = lookup.half(self.scales)
        return lookup.half_float_results(sums, scales, doubled=doubled).view(np.uint32)[None]


def random_group(
    random, array: LookupArray, format: LookupFormat, *, chunks: int, special=False, **more
) -> FloatGroup:
    """Of that many chunks; ``special``: of any patterns, infinities and NaN among them, and scales of any, too."""
    size, columns = chunks * array.chunk, array.columns
    codes = random.integers(1 << format.bits, size=(columns, size))
    if special:
        greatest = random.choice([0x7C00, 0x8000, 0x1000])
        x = (
            random.integers(greatest, size=(array.rows, size))
            | random.integers(2, size=(array.rows, size)) << 15
        )
        odd = random.random(x.shape) < random.choice([0, 0.02])
        x = np.where(odd, random.choice([0x7C00, 0xFC00, 0x7E01, 0, 0x8000, 1, 0x7BFF], x.shape), x)
        scales = random.integers(1 << HALF_BITS, size=columns)
    else:
        x = random.standard_normal((array.rows, size)).astype(np.float16).view(np.uint16)
        scales = random.standard_normal(columns).astype(np.float16).view(np.uint16)
    x = x.astype(np.uint16).view(np.float16)
    zeros = random.integers(1 << format.bits, size=columns)
    return FloatGroup(format, x, codes, scales.astype(np.int64), zeros, np.zeros(columns), **more)


class FloatPlan(Plan):
    """Inputs of a ``LookupMatrix`` by cycle, and its results by cycle and column."""

    def add(self, group: Group) -> None:
        """As soon as the one before it allows, and what the group waits beyond that."""
        array, format = self.array, group.format
        outputs, banks, chunks = array.outputs, array.banks, len(group.codes[0]) // array.chunk
        words = chunks * array.lookups(format) + array.total_words(format) + array.scale_words
        least = max(array.scale_cycles(format), array.keep)
        self.cycle += max(0, least - words) * (self._format is not None) + group.wait
        self._format = format
        entry, negative = lookup.recoded(lookup.indices(group.codes, bits=format.bits, k=array.k), array.k)
        index = (entry | negative.astype(np.int64) << array.k - 1).reshape(
            format.bits, outputs, banks, chunks
        )
        if group.points is not None:
            # All plus, or all minus.
            point = by_place(group.points, array).T >> np.arange(format.bits)[:, None, None] & 1
            index = np.concatenate([index, (7 + 8 * point)[..., None]], axis=-1)
            chunks += 1
        for chunk in range(chunks):
            self.cycle += group.gaps[chunk % len(group.gaps)] if group.gaps else 0
            self._tables(group, chunk)
            for plane in range(format.bits):
                for place in range(outputs):
                    ends = chunk == chunks - 1 and plane == format.bits - 1
                    if ends and not place:
                        self._results(group)
                    self._word(
                        index[plane, place, :, chunk].tolist(), code=1, bank=self._chunks % 2, plane=plane, place=place,
                        first=int(not chunk and not plane), last=int(ends), top=int(plane == format.bits - 1),
                        offset=format.offset,
                    )  # fmt: skip
            self._chunks += 1
        bits = by_place(group.scales, array)[:, :, None] >> np.arange(HALF_BITS) & 1
        self._streams("scale", bits.reshape(banks, -1), array.scale_words)

    def _tables(self, group: Group, chunk: int) -> None:
        array = self.array
        start, total = self.cycle - array.build, chunk * array.chunk == len(group.codes[0])
        self.inputs.setdefault(start, {})["build"] = {
            "start": 1, "bank": self._chunks % 2, "total": total, "first": not chunk,
        }  # fmt: skip
        if total:
            return
        for row, x in enumerate(group.activations[:, chunk * array.chunk : (chunk + 1) * array.chunk]):
            self.slices[start + row, row] = int.from_bytes(x.astype("<f2").tobytes(), "little")
