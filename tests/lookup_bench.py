"""Groups for table-lookup arrays: their words, when these come, and the results that are due."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from hw.array.lookup.array import LookupMatrix
from hw.array.lookup.geometry import HALF_BITS, LookupArray, LookupFormat, Offset
from hw.pe.element_times import SCALE_BITS
from sim import lookup

FORMATS = {
    f"{offset.name.lower()}{bits}": LookupFormat(bits=bits, offset=offset)
    for offset in Offset
    for bits in (1, 2, 3, 4)
}
WHOLE = sorted(name for name, one in FORMATS.items() if one.offset is not Offset.PLAIN)
"""Of arrays whose scales are whole numbers."""
FORMATS |= {
    f"{offset.name.lower()}{bits}m": LookupFormat(bits=bits, offset=offset, minimum=True)
    for offset in (Offset.TWOS, Offset.ZERO, Offset.PLAIN)
    for bits in (1, 2, 3, 4)
}


def array_for(*formats: str, **sizes) -> LookupArray:
    """A small array of formats by name."""
    values = {
        "rows": 2,
        "columns": 16,
        "k": 4,
        "groups_per_lane": 2,
        "outputs": 8,
        "group": 32,
        "data_bytes": 8,
    }
    return LookupArray(**(values | sizes), variants=tuple(FORMATS[name] for name in formats))


@dataclass(frozen=True)
class Group:
    """Weights [columns, K] that share scales [columns] and minimums, as codes, and their activations [rows, K]."""

    format: LookupFormat
    activations: np.ndarray
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    minimums: np.ndarray
    wait: int = 0
    """Cycles beyond those that it must wait."""
    gaps: tuple[int, ...] = ()
    """Cycles before each chunk."""

    def results(self, array: LookupArray) -> np.ndarray:
        """int32 [passes, rows, columns], or float32 as integers."""
        bits, offset = self.format.bits, self.format.offset
        found = []
        for x in self.activations:
            for column in range(array.columns):
                zero = {
                    Offset.NONE: None,
                    Offset.TWOS: 1 << bits - 1,
                    Offset.ZERO: int(self.zeros[column]),
                    Offset.PLAIN: 0,
                }
                total = lookup.group_sum(x, self.codes[column], bits=bits, k=array.k, zero=zero[offset])
                if offset in (Offset.TWOS, Offset.PLAIN):
                    # The zero point of 2**(b - 1), as the odd number one; or of 0.
                    assert total == 2 * int(x @ (self.codes[column] - zero[offset]))
                found.append(total >> (offset is not Offset.NONE))
        sums = np.array(found).reshape(1, array.rows, array.columns)
        if not array.floats:
            return sums * self.scales
        if self.format.minimum:
            totals = self.activations.astype(np.int64).sum(1)[:, None].repeat(array.columns, 1)
            sums = np.concatenate([sums, totals[None]])
        factors = np.stack([self.scales, self.minimums])[: self.format.passes, None]
        return lookup.float_result(sums, factors).view(np.uint32)


def random_group(
    random, array: LookupArray, format: LookupFormat, *, chunks: int, extreme: bool = False, **more
):
    """Of that many chunks; ``extreme``: operands as great as can be."""
    size, columns, most = chunks * array.chunk, array.columns, 1 << format.bits
    x = random.integers(-128, 128, size=(array.rows, size))
    # Ternary weights without tables have no code of zero.
    least = int(array.direct)
    codes = random.integers(least, most, size=(columns, size))
    scales, zeros = random.integers(256, size=columns), random.integers(most, size=columns)
    minimums = halves(random, columns)
    if array.floats:
        scales = halves(random, columns)
    if extreme:
        x[:] = random.choice([-128, 127], size=(array.rows, 1))
        codes[:] = random.choice([least, most - 1], size=(columns, 1))
        zeros = random.choice([0, most - 1], size=columns)
        scales = random.choice([0, 255], p=[0.1, 0.9], size=columns)
        if array.floats:
            scales, minimums = (random.choice(HALVES, size=columns) for _ in range(2))
    return Group(format, x, codes, scales, zeros, minimums, **more)


HALVES = np.array([65504, -65504, 0, -0.0, 2**-24, 2**-14], np.float16)
"""The greatest, the least, and those near zero."""


def halves(random, count: int) -> np.ndarray:
    """Any finite fp16 numbers."""
    return (
        (random.integers(0x7C00, size=count) | random.integers(2, size=count) << 15)
        .astype(np.uint16)
        .view(np.float16)
    )


@dataclass
class Plan:
    """Inputs of a :class:`LookupMatrix` by cycle, and its results by cycle and column."""

    array: LookupArray
    cycle: int = field(init=False)
    """Of the next word."""
    inputs: dict[int, dict] = field(default_factory=dict)
    expected: dict[tuple[int, int], int] = field(default_factory=dict)
    words: dict[int, int] = field(default_factory=dict)
    slices: dict[tuple[int, int], int] = field(default_factory=dict)
    _chunks: int = 0
    _format: LookupFormat | None = None

    def __post_init__(self) -> None:
        self.cycle = self.array.wait + self.array.build

    def then(self, other: Plan, *, begin: int, end: int) -> Plan:
        """This one before ``begin``, the other from ``end`` on."""
        joined = Plan(self.array)
        for name in ("inputs", "words", "slices", "expected"):
            ours, theirs = getattr(self, name), getattr(other, name)
            early = {when: value for when, value in ours.items() if first_of(when) < begin}
            late = {shifted(when, end): value for when, value in theirs.items()}
            setattr(joined, name, early | late)
        return joined

    def _word(self, parts, **steering) -> None:
        """``parts``: of every column."""
        self.words[self.cycle] = sum(int(part) << i * self.array.part_bits for i, part in enumerate(parts))
        self.inputs.setdefault(self.cycle, {})["steering"] = steering
        self.cycle += 1

    def _streams(self, kind: str, streams: np.ndarray, words: int) -> None:
        """Bits [banks, count] of every column, in words."""
        for index in range(words):
            part = streams[:, index * self.array.part_bits : (index + 1) * self.array.part_bits]
            self._word([number(bits) for bits in part], **{kind: 1}, index=index)

    def add(self, group: Group) -> None:
        """As soon as the one before it allows, and what the group waits beyond that."""
        array, format = self.array, group.format
        outputs, banks, chunks = array.outputs, array.banks, len(group.codes[0]) // array.chunk
        self.cycle += self._pause(format, chunks) + group.wait
        self._format = format
        self._begin(group)
        zeros = by_place(group.zeros, array)
        planes = zeros[:, None, :] >> np.arange(format.bits)[None, :, None] & 1
        self._streams("zero", planes.reshape(banks, -1), array.zero_words(format))
        index, width = self._ternary(group) if array.direct else self._lookups(group)
        for chunk in range(chunks):
            self.cycle += group.gaps[chunk] if group.gaps else 0
            self._tables(group, chunk)
            for plane in range(format.bits):
                for place in range(outputs):
                    ends = chunk == chunks - 1 and plane == format.bits - 1
                    if ends and not place:
                        self._results(group)
                    parts = [
                        sum(one << width * i for i, one in enumerate(part))
                        for part in index[plane, place, :, chunk].tolist()
                    ]
                    self._word(
                        parts, code=1, bank=self._chunks % 2, plane=plane, place=place, offset=format.offset,
                        first=int(not chunk and not plane), last=int(ends), top=int(plane == format.bits - 1),
                    )  # fmt: skip
            self._chunks += 1
        for kind, values in (("scale", group.scales), ("minimum", group.minimums))[: format.passes]:
            if array.floats:
                bits = by_place(values.view(np.uint16), array)[:, :, None] >> np.arange(HALF_BITS) & 1
            else:
                bits = by_place(values, array)[:, :, None] >> np.arange(SCALE_BITS)[::-1] & 1
            self._streams(kind, bits.reshape(banks, -1), array.scale_words)

    def _pause(self, format: LookupFormat, chunks: int) -> int:
        """Cycles before a group of so many chunks."""
        array = self.array
        if self._format is None:
            return 0
        scales = max(
            array.scale_cycles(one) for one in (array.variants if format != self._format else [format])
        )
        if array.floats:
            scales = array.scale_cycles(self._format)
        # From last lookup to last lookup.
        words = array.zero_words(format) + chunks * array.lookups(format) + array.tail_words(self._format)
        return max(0, scales - words)

    def _begin(self, group: Group) -> None:
        """What a group's first word goes with."""

    def _lookups(self, group: Group) -> tuple[np.ndarray, int]:
        """[plane, place, bank, chunk, lookup] of codes of so many bits."""
        array, bits = self.array, group.format.bits
        entry, negative = lookup.recoded(lookup.indices(group.codes, bits=bits, k=array.k), array.k)
        index = entry | negative.astype(np.int64) << array.k - 1
        return index.reshape(bits, array.outputs, array.banks, -1, array.groups_per_lane), array.k

    def _ternary(self, group: Group) -> tuple[np.ndarray, int]:
        """[half, place, bank, chunk, lane] of codes of so many bits."""
        array = self.array
        parts = group.codes.reshape(array.outputs, array.banks, -1, 2, array.lanes)
        codes = (parts == 2) | (parts < 2).astype(np.int64) << 1
        return codes.transpose(3, 0, 1, 2, 4), 2

    def _tables(self, group: Group, chunk: int) -> None:
        array = self.array
        start = self.cycle - array.build
        self.inputs.setdefault(start, {})["build"] = {
            "start": 1, "bank": self._chunks % 2, "total": int(group.format.doubled)
        }  # fmt: skip
        for row, x in enumerate(group.activations[:, chunk * array.chunk : (chunk + 1) * array.chunk]):
            self.slices[start + row, row] = int.from_bytes(x.astype(np.int8).tobytes(), "little")

    def _results(self, group: Group) -> None:
        array, results = self.array, group.results(self.array)
        for (times, row, column), result in np.ndenumerate(results):
            place, bank = divmod(column, array.banks)
            place += times * array.outputs
            due = self.cycle + array.result_delay + place * array.spacing(group.format) + row + bank
            assert (due, bank) not in self.expected
            self.expected[due, bank] = int(result) % (1 << 32)


def first_of(when: int | tuple[int, int]) -> int:
    """The cycle of a key."""
    return when[0] if isinstance(when, tuple) else when


def shifted(when: int | tuple[int, int], by: int) -> int | tuple[int, int]:
    """A key so many cycles later."""
    return (when[0] + by, when[1]) if isinstance(when, tuple) else when + by


def number(bits) -> int:
    """Of bits, the lowest first."""
    return sum(int(bit) << i for i, bit in enumerate(bits))


def any_number(random, bits: int) -> int:
    """Of so many bits, which are whole bytes."""
    return int.from_bytes(random.bytes(bits // 8), "little")


def by_place(values: np.ndarray, array: LookupArray) -> np.ndarray:
    """Columns' values as [banks, outputs]."""
    return values.reshape(array.outputs, array.banks).T


def run(plan: Plan, *, random, reset: tuple[int, int] | None = None) -> None:
    """Everything that is not said is random. ``reset``: from the first cycle to before the second, when results do not count."""
    array = plan.array
    matrix, rst = LookupMatrix(array=array), Signal()
    zeros = dict.fromkeys(matrix.steering.shape().members, 0)
    begin, end = reset or (0, 0)

    async def bench(ctx):
        since = [0] * array.rows
        for cycle in range(max(due for due, _ in plan.expected) + array.banks + 3):
            given = plan.inputs.get(cycle, {})
            noise = {name: int(random.integers(2)) for name in ("bank", "first", "last", "top")}
            noise |= {
                "place": int(random.integers(array.outputs)),
                "plane": int(random.integers(array.planes)),
            }
            ctx.set(matrix.steering, zeros | noise | given.get("steering", {}))
            ctx.set(
                matrix.build, given.get("build", {"start": 0, "bank": noise["bank"], "total": noise["top"]})
            )
            if array.quantised:
                ctx.set(matrix.take, given.get("take", {"first": noise["first"], "last": noise["last"]}))
            ctx.set(matrix.words, plan.words.get(cycle, any_number(random, array.banks * array.part_bits)))
            for row in range(array.rows):
                if (cycle, row) in plan.slices:
                    since[row] = cycle
                    ctx.set(matrix.activations[row].as_value(), plan.slices[cycle, row])
                elif cycle - since[row] == array.hold:
                    noise_bits = len(matrix.activations[row].as_value())
                    ctx.set(matrix.activations[row].as_value(), any_number(random, noise_bits))
            ctx.set(rst, int(begin <= cycle < end))
            if not begin <= cycle < end:
                assert ctx.get(matrix.valid) == ((cycle, 0) in plan.expected), cycle
                for bank in range(array.banks):
                    due = plan.expected.get((cycle, bank), 0)
                    # Those in between need not be zero if they are float32.
                    if array.floats and (cycle, bank) not in plan.expected:
                        continue
                    assert ctx.get(matrix.results[bank]) == due, (cycle, bank, due)
            await ctx.tick()

    simulator = Simulator(ResetInserter(rst)(matrix))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
