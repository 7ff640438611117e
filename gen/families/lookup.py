"""Table-lookup arrays after LUT Tensor Core: weights of 1 to 4 bits, a bit plane at a time."""

from __future__ import annotations

from functools import cached_property, reduce
from itertools import product
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from gen.families.contract import ArrayConfig, Family
from gen.families.groups import grouped, known, plain_names, widened
from hw.array.lookup.geometry import (
    HALF_BITS,
    MOST_ROWS,
    Activations,
    Entries,
    GroupLength,
    LookupArray,
    LookupFormat,
    Lookups,
    Offset,
    Scales,
    Tables,
    Ternary,
)
from hw.array.lookup.quantised import ENTRIES
from hw.design import Design, Geometry, ceil_div
from hw.formats import FORMATS, Format, Operand
from hw.pe.element_times import SCALE_BITS
from sim.families.contract import ArrayModel
from sim.lookup import (
    half,
    half_float_results,
    half_group_sums,
    indices,
    quantised_group_sums,
    quantised_results,
    recoded,
    reinterpreted,
)

KINDS = {
    **{f"int{bits}-s8": LookupFormat(bits=bits, offset=Offset.TWOS) for bits in (4, 3, 2)},
    **{f"int{bits}-asym-s8": LookupFormat(bits=bits, offset=Offset.ZERO) for bits in (4, 3, 2)},
    **{f"int{bits}": LookupFormat(bits=bits, offset=Offset.TWOS) for bits in (4, 3, 2)},
    **{f"ternary{scaled}": LookupFormat(bits=2, offset=Offset.TWOS) for scaled in ("-s8", "")},
    **{
        f"bipolar{bits}{scaled}": LookupFormat(bits=bits, offset=Offset.NONE)
        for scaled, bits in product(("-s8", ""), (4, 3, 2, 1))
    },
    **{f"binary{scaled}": LookupFormat(bits=1, offset=Offset.NONE) for scaled in ("-s8", "")},
}
"""Formats of weights by name, without the length of a group; those without ``-s8`` have one scale for a row, and no groups."""
DIRECT = ("ternary-s8", "ternary")
"""Those that need no tables."""

FLOAT_KINDS = {
    "q4_0": LookupFormat(bits=4, offset=Offset.TWOS),
    "q4_1": LookupFormat(bits=4, offset=Offset.PLAIN, minimum=True),
    **{f"int{bits}-asym": LookupFormat(bits=bits, offset=Offset.ZERO) for bits in (4, 3, 2)},
    **{name: kind for name, kind in KINDS.items() if not name.endswith("-s8")},
}
"""The same where the scales of groups are fp16: in those of GGUF, which have their own length, and in the asymmetric ones."""


HALF_KINDS = {name: kind for name, kind in FLOAT_KINDS.items() if not kind.minimum}
"""The same with fp16 activations and tables, those with fp16 scales in groups."""


def kinds(
    scales: Scales, group: int, activations: Activations = "int8", tables: Entries = "exact"
) -> dict[str, LookupFormat]:
    """What arrays with such scales, activations and tables, and groups of that length, take."""
    wide = HALF_KINDS if activations == "fp16" and tables == "exact" else FLOAT_KINDS
    if scales == "int8":
        return KINDS if activations == "int8" else wide
    return {
        name: kind
        for name, kind in wide.items()
        if FORMATS[name].block in (0, group) or "block" in FORMATS[name].sharings
    }


class LookupConfig(ArrayConfig):
    """``[array]`` of the family ``lookup``."""

    rows: Annotated[int, Field(ge=1, le=MOST_ROWS, description="rows of lookup units")] = 2
    columns: Annotated[int, Field(ge=1, le=128, description="features of a tile, outputs to a unit")] = 64
    k: Annotated[Tables, Field(description="activations of a table")] = 4
    groups_per_lane: Annotated[Lookups, Field(description="lookups of a unit per cycle, a table each")] = 8
    outputs: Annotated[int, Field(ge=2, le=16, description="features that take turns at a unit")] = 8
    group: Annotated[GroupLength, Field(description="weights along K that share a scale")] = 128
    scales: Annotated[
        Scales,
        Field(description="of groups: whole numbers, or fp16 as in GGUF files, which makes sums float32"),
    ] = "int8"
    activations: Annotated[
        Activations,
        Field(description="of tables; fp16 makes sums of fp16, and takes k = 4 and groups_per_lane = 1"),
    ] = "int8"
    tables: Annotated[
        Entries,
        Field(
            description="entries: sums as they are, or of fp16 activations quantised to int8, with a scale for a row of a group"
        ),
    ] = "exact"
    ternary: Annotated[
        Ternary,
        Field(
            description="how ternary weights are multiplied: looked up as two bit planes, or direct by adders, alone"
        ),
    ] = "planes"
    weights: Annotated[
        list[str], Field(min_length=1, description="formats of the weights that it is generated for")
    ] = list(KINDS)

    @model_validator(mode="before")
    @classmethod
    def _ternary_alone(cls, given: Any) -> Any:
        """Without tables the formats are the ternary ones, unless others are given."""
        if isinstance(given, dict) and given.get("ternary") == "direct":
            return {"weights": list(DIRECT)} | given
        return given

    @model_validator(mode="before")
    @classmethod
    def _all(cls, given: Any) -> Any:
        """With fp16 scales ``weights`` are by default what goes with those, with the activations, and with the tables: entries
        made one a cycle keep narrow weights out.
        """
        if not isinstance(given, dict) or given.get("scales") != "fp16":
            return given
        if "weights" in given or given.get("ternary") == "direct":
            return given
        group, activations, tables, outputs, lookups = (
            given.get(name, cls.model_fields[name].default)
            for name in ("group", "activations", "tables", "outputs", "groups_per_lane")
        )
        found = kinds("fp16", group, activations, tables)
        if tables == "int8" and isinstance(outputs, int) and isinstance(lookups, int):
            # Where none is wide enough, the widest stay: the array refuses them by what is missing.
            widest = max(kind.bits for kind in found.values())
            found = {
                name: kind
                for name, kind in found.items()
                if kind.bits == widest or outputs * kind.bits >= ENTRIES * lookups
            }
        return {**given, "weights": list(found)}

    @field_validator("weights")
    @classmethod
    def _known(cls, names: list[str], info: ValidationInfo) -> list[str]:
        if not {"scales", "group", "activations", "tables", "ternary"} <= info.data.keys():
            return names
        if info.data["ternary"] == "direct" and info.data["scales"] != "int8":
            raise ValueError(
                f"array.scales must be int8 where array.ternary is direct, not {info.data['scales']}"
            )
        allowed = kinds(*(info.data[name] for name in ("scales", "group", "activations", "tables")))
        names = known(names, allowed)
        wrong = [name for name in names if name not in DIRECT]
        if info.data["ternary"] == "direct" and wrong:
            raise ValueError(
                f"weights must be among {', '.join(DIRECT)} where array.ternary is direct, not {', '.join(wrong)}"
            )
        return names


GOLDEN_FEATURES = 1024
"""That the golden model computes at a time."""


class LookupFamily(Family):
    """See ``hw/array/lookup`` for the array itself.

    Feature s * banks + b of a tile is place s of unit b, which has bits ``b * part_bits`` to ``(b + 1) * part_bits - 1`` of every
    weight word. K is cut into chunks of ``k * groups_per_lane`` steps. The words of a group of one column tile:

    1. Zero points, only in formats with such. Of a unit, over as many words as needed, bit ``plane * outputs + s`` is that plane
       of place s's. With fp16 activations there are none.
    2. Chunk by chunk, in each plane by plane, the lowest first, in each place by place, a word. Lookup j is bits ``j * k`` to
       ``(j + 1) * k - 1`` of a unit's part: its entry of the half table, and whether that is negated (``sim.lookup.recoded``).
       With fp16 activations a chunk more in formats that take something off: in each step the code of that, inverted.
    3. Scales. Of a unit, bit ``8 * s + i`` is bit 7 - i of place s's: in the order of use. Of fp16 ones bit ``16 * s + i`` is
       bit i of place s's pattern.
    4. Minimums, only in formats with such, like scales of fp16.

    With ``ternary = "direct"`` there are no planes and no lookups: a chunk's words are those of its lower half of steps, a word
    for each place, and then of its upper half. Of a unit's part bits ``2 * i`` and ``2 * i + 1`` are the weight of step i of the
    half: whether it is zero, and whether it is negative.

    Otherwise codes are unsigned here: two's complement comes with its highest bit inverted. Past the depth of W there are weights
    of zero, or, in formats without one, activations of zero.
    """

    name = "lookup"
    summary = "weights of 1 to 4 bits by table lookups, a cycle for each bit plane, and scales for groups (LUT Tensor Core)"
    Config = LookupConfig
    activations = (FORMATS["int8"], FORMATS["fp16"])
    weights = tuple(FORMATS[name] for name in KINDS | FLOAT_KINDS)
    config: LookupConfig

    @cached_property
    def array(self) -> LookupArray:
        """Its sizes."""
        c = self.config
        return LookupArray(
            rows=c.rows, columns=c.columns, k=c.k, groups_per_lane=c.groups_per_lane, outputs=c.outputs, group=c.group,
            variants=[(KINDS | FLOAT_KINDS)[name] for name in c.weights], data_bytes=self.data_bytes, scales=c.scales,
            activations=c.activations, tables=c.tables, ternary=c.ternary, single=self.single,
        )  # fmt: skip

    @property
    def pairs(self) -> tuple[tuple[Format, Format], ...]:
        """Activations and weights, by ``variant``."""
        c = self.config
        if c.activations == "int8":
            weights = [grouped(name, c.group) for name in c.weights]
        else:
            each = [grouped(name, c.group) for name in c.weights]
            weights = [one.grouped(c.group) if one.scale == "fp16" and not one.block else one for one in each]
        return tuple(product([FORMATS[c.activations]], weights))

    @property
    def aliases(self) -> dict[str, str]:
        """Plain names, where it has no such format: what it takes of them has scales of 8 bits, in groups of its length."""
        return plain_names([w.name for _, w in self.pairs])

    def _geometry(self) -> Geometry:
        return self.array.geometry

    def core(self, design: Design) -> Any:
        """The array with what feeds it."""
        from hw.array.lookup.core import LookupCore

        return LookupCore(design=design, array=self.array)

    def model(self) -> ArrayModel:
        """Golden execute and cycle law."""
        from sim.families.lookup import LookupModel

        return LookupModel(self.array)

    def depth_granule(self, variant: int) -> int:
        """Whole groups, which are whole words of activations."""
        return self.config.group

    def golden(self, x: Operand, w: Operand) -> np.ndarray:
        """int32: exact. float32: of each group, in rising order, the exact sum times its scale, rounded once to nearest even; and
        then, in formats of minimums, the sum of its activations times its minimum, the same. Zero is +0. With fp16 activations
        the sum of a group is that of ``sim.lookup.half_group_sums``; with tables of int8 ``quantised_group_sums`` and
        ``quantised_results``, for minimums too.
        """
        if self.geometry.sums == "int32":
            return super().golden(x, w)
        if self.array.quantised:
            return self._quantised_golden(x, w)
        if self.array.halves:
            return self._half_golden(x, w)
        rows, total = x.integers().astype(float), np.empty((x.shape[0], w.shape[1]), np.float32)
        # Some features at a time, whose results stay in the processor's cache.
        for first in range(0, w.shape[1], GOLDEN_FEATURES):
            features = first, min(first + GOLDEN_FEATURES, w.shape[1])
            total[:, slice(*features)] = self._float_golden(rows, w.part((0, w.depth), features))
        return total

    def _float_golden(self, rows: np.ndarray, w: Operand) -> np.ndarray:
        levels, group = w.levels().astype(float), self.config.group
        total: np.ndarray | None = None

        def add(result: np.ndarray) -> np.ndarray:
            # Exact up to here. A zero has a minus if its scale has: taken off by the addition of zero.
            rounded = (result + 0.0).astype(np.float32)
            return rounded if total is None else total + rounded

        for number, first in enumerate(range(0, w.depth, group)):
            part = rows[:, first : first + group]
            scale = 1.0 if w.float_scales is None else w.float_scales[number].astype(float)
            total = add(part @ levels[first : first + group] * scale)
            if w.minimums is not None:
                total = add(part.sum(axis=1, keepdims=True) * w.minimums[number].astype(float))
        return np.asarray(total)

    def _half_golden(self, x: Operand, w: Operand) -> np.ndarray:
        taken, group = self.array.variants[self.variant(weights=w.format.name)], self.config.group
        missing, middle = -x.depth % self.array.k, taken.middle
        rows = np.pad(x.codes, ((0, 0), (0, missing))).view(np.float16)
        codes = np.pad(w.values() + middle if middle else w.codes, ((0, missing), (0, 0)))
        results = []
        for number, first in enumerate(range(0, w.depth, group)):
            part = slice(first, first + group)
            zeros = np.full(w.shape[1], middle) if w.zeros is None else w.zeros[number]
            sums = half_group_sums(
                rows[:, part], codes[part], bits=taken.bits, zeros=zeros if taken.doubled else None
            )
            scale = np.ones(1) if w.float_scales is None else w.float_scales[number].astype(float)
            results.append(half_float_results(sums, scale, doubled=taken.doubled))
        return reduce(np.add, results)

    def _quantised_golden(self, x: Operand, w: Operand) -> np.ndarray:
        taken, group = self.array.variants[self.variant(weights=w.format.name)], self.config.group
        missing, middle = -x.depth % self.array.k, 1 << taken.bits - 1
        rows = half(np.pad(x.codes, ((0, 0), (0, missing))))
        codes = w.values() + middle if taken.offset is Offset.TWOS else w.codes
        # What is beside activations of zero does not count.
        codes = np.pad(codes, ((0, missing), (0, 0)))
        zeros = {Offset.TWOS: middle, Offset.PLAIN: 0}
        total = np.zeros((1, 1), np.float32)
        for number, first in enumerate(range(0, w.depth, group)):
            part = slice(first, first + group)
            zero = w.zeros[number] if w.zeros is not None else np.array(zeros.get(taken.offset, 0))
            sums, totals, table_scales = quantised_group_sums(
                rows[:, part], codes[part], bits=taken.bits,
                offsets=reinterpreted(zero, taken.bits) if taken.doubled else 0,
            )  # fmt: skip
            scale = np.ones(1) if w.float_scales is None else w.float_scales[number].astype(float)
            total = total + quantised_results(sums, table_scales, scale, doubled=taken.doubled)
            if w.minimums is not None:
                minimum = w.minimums[number].astype(float)
                total = total + quantised_results(totals[:, None], table_scales, minimum, doubled=False)
        return total

    def pack_activations(self, x: Operand, variant: int | None = None) -> np.ndarray:
        """A byte per step of K, or two, with zeros to whole words: they leave fp16 sums as they are."""
        codes = np.pad(x.codes, ((0, 0), (0, -x.depth % self.array.word_steps)))
        return codes.astype("<u2").view(np.uint8) if self.config.activations == "fp16" else codes

    def pack_weights(self, w: Operand, variant: int | None = None) -> np.ndarray:
        """Group by group: zero points, weights, scales, minimums."""
        array, g = self.array, self.geometry
        taken = array.variants[self.variant(weights=w.format.name)]
        depth, features = w.shape
        tiles, steps = ceil_div(features, g.columns), ceil_div(depth, g.tile_depth) * g.tile_depth
        groups = ceil_div(steps, array.group)
        width = tiles * g.columns
        zeros = widened(w.zeros, groups, features, width, 0)
        middle = taken.middle
        codes = zeros.repeat(array.group, axis=0)[:steps] + middle
        codes[:depth, :features] = w.values() + middle if middle else w.codes
        words = self._ternary(codes - middle) if array.direct else self._lookups(codes, taken.bits)
        tails = self._tails(w, groups, width)
        parts = []
        each, total = array.group // array.chunk * array.lookups(taken), array.total_words(taken)
        inverted = (1 << taken.bits) - 1 - middle - zeros
        totals = self._lookups(inverted.repeat(array.chunk, axis=0), taken.bits) if total else words[:, :0]
        for number in range(groups):
            if array.zero_words(taken):
                planes = self._by_unit(zeros[number])[..., None] >> np.arange(taken.bits) & 1
                parts.append(self._stream(planes.swapaxes(-1, -2)))
            parts.append(words[:, number * each : (number + 1) * each])
            parts.append(totals[:, number * total : (number + 1) * total])
            parts += [
                self._stream(self._by_unit(each[number])[..., None] >> order & 1) for each, order in tails
            ]
        packed = np.packbits(np.concatenate(parts, axis=1), axis=-1, bitorder="little").reshape(
            -1, ceil_div(array.banks * array.part_bits, 8)
        )
        return np.pad(packed, ((0, 0), (0, g.weight_bytes - packed.shape[1]))).reshape(-1)

    def _tails(self, w: Operand, groups: int, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Scales [group, feature], and minimums where there are such, with the order of their bits."""
        features = w.shape[1]
        if not self.array.floats:
            return [(widened(w.scales, groups, features, width, 1), np.arange(SCALE_BITS)[::-1])]
        halves = [w.float_scales] if w.minimums is None else [w.float_scales, w.minimums]
        one = int(np.float16(1).view(np.uint16))
        patterns = [None if each is None else each.view(np.uint16) for each in halves]
        return [(widened(each, groups, features, width, one), np.arange(HALF_BITS)) for each in patterns]

    def _by_unit(self, each: np.ndarray) -> np.ndarray:
        """What features have, [tile, bank, place]."""
        return each.reshape(-1, self.array.outputs, self.array.banks).swapaxes(1, 2)

    def _stream(self, bits: np.ndarray) -> np.ndarray:
        """Bits of whole words [tile, word, bit of the word] from those of each unit [tile, bank, ...] in their order."""
        array = self.array
        flat = bits.reshape(*bits.shape[:2], -1).astype(np.uint8)
        parts = np.pad(flat, ((0, 0), (0, 0), (0, -flat.shape[-1] % array.part_bits)))
        parts = parts.reshape(*flat.shape[:2], -1, array.part_bits).swapaxes(1, 2)
        return parts.reshape(*parts.shape[:2], -1)

    def _lookups(self, codes: np.ndarray, bits: int) -> np.ndarray:
        """Bits of the words of unsigned codes [steps, features]: [tile, word, bit of the word]."""
        array = self.array
        # [tile, chunk, place, bank, step]
        places = codes.reshape(-1, array.chunk, codes.shape[1] // array.columns, array.outputs, array.banks)
        index = indices(places.transpose(2, 0, 3, 4, 1), bits=bits, k=array.k)
        entry, negative = recoded(index, array.k)
        lookups = (entry | negative.astype(np.int64) << array.k - 1).astype(np.uint8)
        # Of [plane, tile, chunk, place, bank, lookup] the planes go behind the chunks.
        ordered = np.moveaxis(lookups, 0, 2)[..., None] >> np.arange(array.k, dtype=np.uint8) & 1
        return ordered.reshape(len(ordered), -1, array.banks * array.part_bits)

    def _ternary(self, weights: np.ndarray) -> np.ndarray:
        """As ``_lookups``, of weights -1, 0 and 1."""
        array = self.array
        # [chunk, half, lane, tile, place, bank] to [tile, chunk, half, place, bank, lane]
        parts = weights.reshape(
            -1, 2, array.lanes, weights.shape[1] // array.columns, array.outputs, array.banks
        )
        parts = parts.transpose(3, 0, 1, 4, 5, 2)
        bits = np.stack([parts == 0, parts < 0], axis=-1).astype(np.uint8)
        return bits.reshape(len(bits), -1, array.banks * array.part_bits)
