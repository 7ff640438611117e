"""Groups for table-lookup arrays that quantise their tables: their words, when these come, and the results that are due."""

from __future__ import annotations

from dataclasses import dataclass

import lookup_bench
import numpy as np
from lookup_bench import Group, Plan, halves

from hw.array.lookup.geometry import LookupArray, LookupFormat, Offset
from hw.array.lookup.quantised import GROUPS_KEPT
from sim import lookup


def array_for(*formats: str, **sizes) -> LookupArray:
    """A small array of formats by name."""
    values = {
        "columns": 32,
        "groups_per_lane": 4,
        "outputs": 16,
        "group": 64,
        "scales": "fp16",
        "activations": "fp16",
        "tables": "int8",
    }
    return lookup_bench.array_for(*formats, **(values | sizes))


@dataclass(frozen=True)
class QuantisedGroup(Group):
    """Its activations are fp16 patterns, and so are scales and minimums."""

    def results(self, array: LookupArray) -> np.ndarray:
        """float32 [passes, rows, columns] as integers, a table at a time."""
        bits, offset = self.format.bits, self.format.offset
        zeros = {Offset.NONE: None, Offset.TWOS: 1 << bits - 1, Offset.PLAIN: 0}
        found = np.empty((self.format.passes, array.rows, array.columns), np.float32)
        for row, patterns in enumerate(self.activations):
            x = lookup.half(patterns)
            tables, (scale,) = lookup.quantised_tables(x, tables_per_scale=len(x) // 4)
            total = tables[:, 15].sum(dtype=np.int64)
            for column, codes in enumerate(self.codes):
                planes = lookup.indices(codes, bits=bits, k=4)
                sum_ = sum(
                    int(tables[i, index[i]]) << p
                    for p, index in enumerate(planes)
                    for i in range(len(tables))
                )
                zero = zeros.get(offset, int(self.zeros[column]))
                if zero is not None:
                    sum_ = (sum_ - int(total) * int(lookup.reinterpreted(np.array(zero), bits))) / 2
                for place, one in enumerate((sum_, total)[: self.format.passes]):
                    factor = lookup.half((self.scales, self.minimums)[place].view(np.uint16)[column])
                    value = np.float32(float(one) * float(scale))
                    found[place, row, column] = np.float32(float(value) * float(factor) + 0.0)
        return found.view(np.uint32)


def random_group(
    random, array: LookupArray, format: LookupFormat, *, chunks: int, special=False, **more
) -> QuantisedGroup:
    """Of that many chunks; ``special``: of any patterns, and all scales there are."""
    size, columns, most = chunks * array.chunk, array.columns, 1 << format.bits
    codes, zeros = random.integers(most, size=(columns, size)), random.integers(most, size=columns)
    if special:
        greatest = random.choice([1, 3, 0x400, 0x7C00, 0x8000])
        x = (
            random.integers(greatest, size=(array.rows, size))
            | random.integers(2, size=(array.rows, size)) << 15
        )
        if random.random() < 0.3:
            # The greatest sums: signs as one weight has them.
            x = np.where(codes[0] & most >> 1, 0x7BFF, 0xFBFF)[None].repeat(array.rows, 0)
        scales, minimums = (random.integers(1 << 16, size=columns) for _ in range(2))
    else:
        x = random.standard_normal((array.rows, size)).astype(np.float16).view(np.uint16)
        scales, minimums = (halves(random, columns).view(np.uint16) for _ in range(2))
    scales, minimums = (one.astype(np.uint16) for one in (scales, minimums))
    return QuantisedGroup(format, x.astype(np.uint16), codes, scales, zeros, minimums, **more)


class QuantisedPlan(Plan):
    """Inputs of a ``LookupMatrix`` by cycle, and its results by cycle and column."""

    _tag = 0

    def _pause(self, format: LookupFormat, chunks: int) -> int:
        if self._format is None:
            return 0
        return self.array.pause(format, chunks // self.array.slices, fresh=format != self._format)

    def _begin(self, group: Group) -> None:
        """Activations from the first word on."""
        array, count = self.array, group.activations.shape[1]
        self._tag = (self._tag + 1) % GROUPS_KEPT
        start = self.cycle - array.wait - array.build
        for place in range(count):
            self.inputs.setdefault(start + place, {})["take"] = {
                "write": 1, "first": int(not place), "last": int(place >= count - 4), "tag": self._tag
            }  # fmt: skip
            for row in range(array.rows):
                self.slices[start + place + row, row] = int(group.activations[row, place])

    def _word(self, parts, **steering) -> None:
        super()._word(parts, **steering, tag=self._tag)

    def _tables(self, group: Group, chunk: int) -> None:
        start = self.cycle - self.array.build
        self.inputs.setdefault(start, {})["build"] = {
            "start": 1, "bank": self._chunks % 2, "total": int(group.format.doubled), "first": int(not chunk), "tag": self._tag,
        }  # fmt: skip
