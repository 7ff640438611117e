"""Sizes, streams and times of the arrays of decoded operands. No Amaranth here."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from hw.array.geometry import TURN, Dataflow, least_interval, power_of_two_from
from hw.design import Geometry, ceil_div
from hw.formats.format import SCALES, Format
from hw.formats.olive import PairFormat
from hw.formats.pairs import Accumulator as PairAccumulator
from hw.formats.pairs import PairShape, sum_bits
from hw.pe.block_scale_times import E8M0_LEAST, E8M0_MOST, block_scale_latency
from hw.pe.exponent_integer_times import output_latency, weight_latency
from hw.timing import ACCUMULATE, DRAIN_ROWS, SCRATCHPAD, SELECT, SLOT_DECODER

Accumulator = Literal["exact", "aligned"]
BLOCKS = (0, 16, 32, 64, 128)
SCALE_TYPES = ("e8m0", "e4m3", "int8", "fp16")
"""Types of scale that an array multiplies by. ``e8m0`` of 255 and ``e4m3`` of 127, which are NaN, are taken for numbers."""
WINDOW = 32
"""Bits that the widest product keeps where the accumulator is aligned."""
MOST_SIZE = 64
MOST_VARIANTS = 256
_LEAST_SCALE = {"": 0, "e8m0": E8M0_LEAST, "e4m3": -9, "int8": 0, "fp16": -24}
_MOST_SCALE = {"": 0, "e8m0": E8M0_MOST, "e4m3": 9, "int8": 8, "fp16": 16}
"""Logarithms to base 2: all scales are multiples of the one, and less than the other, or E8M0's the greatest."""
LEAST_RESULT, MOST_PRODUCT = -126, 80
"""Results are multiples of two to the power of the one; a product of scaled numbers is below that of the other, so that sums over
2**20 steps of K stay below 2**100 (docs/architecture.md, Sums)."""


def slot_bits(format: Format) -> int:
    """Bits of a code's place in a stream: 4 or 8, with zeros above the code.

    Raises
    ------
    ValueError
        The format has more than 8 bits.
    """
    if format.bits > 8:
        raise ValueError(f"bits of {format.name} must be 1 to 8, not {format.bits}")
    return 4 if format.bits <= 4 else 8


def scale_type(format: Format) -> str:
    """Type of the scales that a format's blocks have, out of ``SCALE_TYPES``; "" where rows or the tensor have one."""
    return format.scale if format.shared == "block" else ""


@dataclass(frozen=True, kw_only=True)
class DecodedArray:
    """An array whose operands are decoded at its borders, and all that follows from its sizes.

    A stream, of activations of a row or of weights of a column of a tile, is codes in rising order of K, each in a slot of 4 or 8
    bits, the lowest bits first. In a step slot s of the row's stream meets slot s of the column's. A word of activations is
    ``geometry.activation_bytes`` bytes of one row's stream; a word of weights has a byte of each column's. Where sums are
    float32, each block of codes is followed by its scale, in slots of 8 bits.

    Parameters
    ----------
    rows, columns : int
        1 to 64; rows of a weight-stationary array a power of two, 2 or more.
    dataflow : str
        One of ``Dataflow``.
    pairs : sequence of (Format, Format)
        Activations and weights, by EXECUTE's ``variant``; 1 to 256.
    data_bytes : int
        Bytes of a bus beat.
    block : int
        One of ``BLOCKS``. 0: results are int32, exact sums that wrap. Otherwise they are float32, one for so many steps of K, or
        for as many times more as ``pair_block`` says.
    accumulator : str
        One of ``Accumulator``: sums of a block are exact, or products lose their lowest bits (``sim.decoded``).

    Raises
    ------
    TypeError, ValueError
        A value that is not among those allowed. Formats of more than 8 bits, of several tables, with offsets, or with blocks that
        are no multiple of ``block``. Where sums are int32, formats with scales of blocks and products beyond 32 bits; where they
        are float32, a dataflow other than output-stationary (see ``StationaryBlocks``), rows whose results would not have left
        before those of the next block, and results out of range.
    """

    rows: int
    columns: int
    dataflow: Dataflow
    pairs: Sequence[tuple[Format, Format]]
    data_bytes: int
    block: int = 0
    accumulator: Accumulator = "exact"

    def __post_init__(self) -> None:
        self._check_sizes()
        object.__setattr__(self, "pairs", tuple((x, w) for x, w in self.pairs))
        if not 1 <= len(self.pairs) <= MOST_VARIANTS:
            raise ValueError(f"pairs must be 1 to {MOST_VARIANTS}, not {len(self.pairs)}")
        for format in dict.fromkeys(format for pair in self.pairs for format in pair):
            self._check_format(format)
        for x, w in self.pairs:
            if self.block:
                _check_range(x, w)
            elif sum_bits(x, w, 1) > 32:
                raise ValueError(
                    f"products must be of up to 32 bits, not {sum_bits(x, w, 1)} of {x.name} x {w.name}"
                )
        if self.block:
            self._check_blocks()
        elif self.accumulator != "exact":
            raise ValueError(f"accumulator must be exact without blocks, not {self.accumulator}")

    def _check_sizes(self) -> None:
        for name in ("rows", "columns"):
            value = operator.index(getattr(self, name))
            if not 1 <= value <= MOST_SIZE:
                raise ValueError(f"{name} must be 1 to {MOST_SIZE}, not {value!r}")
        for name, allowed in (("data_bytes", (4, 8, 16, 32, 64)), ("block", BLOCKS)):
            if operator.index(getattr(self, name)) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, allowed))}, not {getattr(self, name)!r}"
                )
        for name, choices in (("dataflow", get_args(Dataflow)), ("accumulator", get_args(Accumulator))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")
        if self.stationary_weights and (self.rows < 2 or self.rows & (self.rows - 1)):
            raise ValueError(
                f"rows must be a power of two, 2 or more, when dataflow is {self.dataflow}, not {self.rows}"
            )

    def _check_format(self, format: Format) -> None:
        slot_bits(format)
        if len(format.tables) > 1:
            raise ValueError(f"formats must have one table, not {len(format.tables)} as {format.name}")
        if format.offset:
            raise ValueError(f"formats must have no offset, not {format.offset} as {format.name}")
        if format.shared != "block":
            return
        if not self.block:
            raise ValueError(f"block must be {format.block} or a divisor for {format.name}, not 0")
        if format.block % self.block:
            raise ValueError(
                f"block must divide the block of {format.name}, {format.block}, not be {self.block}"
            )
        if format.scale not in SCALE_TYPES:
            raise ValueError(
                f"scale of {format.name} must be one of {', '.join(SCALE_TYPES)}, not {format.scale!r}"
            )

    def _check_blocks(self) -> None:
        """That results of float32 leave in time."""
        if self.stationary_weights:
            raise ValueError(f"dataflow must be output-stationary with blocks, not {self.dataflow}")
        self._check_aligned()
        least = min(map(self.block_steps, range(len(self.pairs))))
        if self.drain > least:
            raise ValueError(
                f"rows must be fewer with blocks of {least} steps (results take {self.drain} cycles to leave), not {self.rows}"
            )

    def _check_aligned(self) -> None:
        if self.accumulator == "aligned":
            for x, w in self.pairs:
                if self._dropped(x, w) != self.dropped:
                    raise ValueError(
                        f"pairs must all lose {self.dropped} bits of a product where accumulator is aligned, "
                        f"not {self._dropped(x, w)} as {x.name} x {w.name}"
                    )

    @property
    def stationary_weights(self) -> bool:
        """Weights stay in the elements."""
        return self.dataflow == "weight-stationary"

    @property
    def drain(self) -> int:
        """Cycles in which the rows' results of an output-stationary array come to the tops of their columns."""
        return self.rows + (self.rows - 1) // DRAIN_ROWS

    @property
    def activations(self) -> tuple[Format, ...]:
        """The formats of activations, each once."""
        return tuple(dict.fromkeys(x for x, _ in self.pairs))

    @property
    def weights(self) -> tuple[Format, ...]:
        """The formats of weights, each once."""
        return tuple(dict.fromkeys(w for _, w in self.pairs))

    @property
    def shapes(self) -> tuple[PairShape, PairShape]:
        """What all activations and all weights decode to."""
        return PairShape.of(*self.activations), PairShape.of(*self.weights)

    @property
    def sum_bits(self) -> int:
        """Of an element's sum; 32 where it wraps."""
        if self.stationary_weights:
            return min(32, max(sum_bits(x, w, self.rows) for x, w in self.pairs))
        if not self.block:
            return 32
        return max(sum_bits(x, w, self.pair_block(x, w), dropped=self.dropped) for x, w in self.pairs)

    @property
    def dropped(self) -> int:
        """Lowest bits that each product loses before it is added; the same for all pairs."""
        return self._dropped(*self.pairs[0]) if self.accumulator == "aligned" else 0

    def _dropped(self, x: Format, w: Format) -> int:
        return PairAccumulator.aligned(x, w, self.block, WINDOW).dropped

    def own_scale_slots(self, variant: int) -> tuple[int, int]:
        """Bytes behind each block that the scales of activations and of weights take, a step each."""
        some = self.block and not self.stationary_weights
        x, w = (SCALES[scale_type(one)] // 8 if some else 0 for one in self.pairs[variant])
        return x, w

    @property
    def scale_bits(self) -> tuple[int, int]:
        """Of the longest scale of activations and of weights; 0 if none has one."""
        sides = (self.activations, self.weights) if self.block else ((), ())
        x, w = (max((SCALES[scale_type(one)] for one in side), default=0) for side in sides)
        return x, w

    @property
    def scale_kinds(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Types of the scales of activations and of weights, each once."""
        x, w = (tuple(dict.fromkeys(map(scale_type, side))) for side in (self.activations, self.weights))
        return x, w

    @cached_property
    def scale_latency(self) -> int:
        """Cycles from a sum at the top of its column to its float32 result; none where sums are int32."""
        return block_scale_latency(self.sum_bits, *self.scale_kinds) if self.block else 0

    @cached_property
    def element_latency(self) -> int:
        """Operands at an output-stationary element to its result, but for the way to the top of its column; an activation at a
        weight-stationary one to the partial sum below.
        """
        if self.stationary_weights:
            return weight_latency(*self.shapes)
        return output_latency(*self.shapes) + self.scale_latency

    @property
    def weights_ahead(self) -> int:
        """Cycles by which bytes of weights come before their slots are decoded: the byte after may be a neighbour's."""
        return int(any(isinstance(one, PairFormat) and slot_bits(one) == 8 for one in self.weights))

    @property
    def select_latency(self) -> int:
        """A step of a weight-stationary array to its activations at row 0: no sooner than the weights can be there."""
        return SCRATCHPAD + SELECT + SLOT_DECODER + self.weights_ahead

    def scale_slots(self, variant: int) -> int:
        """Bytes behind the codes of each block, in both streams: as many as the longer scale takes; an even number where codes of
        activations that are neighbours have a byte each, so that no word ends between them.
        """
        most, x = max(self.own_scale_slots(variant)), self.pairs[variant][0]
        return most + most % 2 if isinstance(x, PairFormat) and slot_bits(x) == 8 else most

    @property
    def tile_depth(self) -> int:
        """Steps of K of a depth tile."""
        return self.rows if self.stationary_weights else self.block or 1

    def pair_block(self, x: Format, w: Format) -> int:
        """Steps of K for each result of float32, whole depth tiles; where sums are int32, or weights stay, those of a depth tile.

        The longest of ``BLOCKS`` that divides the blocks of both formats, or of the one whose blocks have scales.
        """
        own = math.gcd(*(one.block for one in (x, w) if scale_type(one)))
        if not own or not self.block or self.stationary_weights:
            return self.tile_depth
        return max(one for one in BLOCKS if one and own % one == 0)

    def block_length(self, variant: int) -> int:
        """``pair_block`` of a variant."""
        return self._block_lengths[variant]

    @cached_property
    def _block_lengths(self) -> list[int]:
        return [self.pair_block(*pair) for pair in self.pairs]

    def blocks(self, variant: int, depth_tiles: int) -> int:
        """Of a column tile that is so deep: whole ones, of which there may be more than of depth tiles."""
        return ceil_div(depth_tiles * self.tile_depth, self.block_length(variant))

    def block_steps(self, variant: int) -> int:
        """Steps of a block and its scales."""
        return self.block_length(variant) + self.scale_slots(variant)

    def steps(self, variant: int, depth_tiles: int) -> int:
        """Slots of either stream of a column tile that is so deep."""
        return self.blocks(variant, depth_tiles) * self.block_steps(variant)

    def block_bits(self, variant: int, side: int) -> tuple[int, int]:
        """Of the codes of a block of activations (0) or weights (1), and of what is behind them."""
        return self.block_length(variant) * slot_bits(self.pairs[variant][side]), 8 * self.scale_slots(
            variant
        )

    def stream_bytes(self, variant: int, side: int, depth_tiles: int) -> int:
        """Of a row of activations (0) or a column of weights (1) that is so deep."""
        return ceil_div(self.blocks(variant, depth_tiles) * sum(self.block_bits(variant, side)), 8)

    def word_tiles(self, variant: int) -> int:
        """Depth tiles of a word of activations of a weight-stationary array."""
        return self.geometry.activation_bytes * 8 // slot_bits(self.pairs[variant][0]) // self.rows

    def scale_words(self, variant: int) -> int:
        """Words of weights behind a tile's that have its columns' scales, where weights stay."""
        return 0

    def activation_words(self, variant: int, depth_tiles: int) -> int:
        """Words of a row's stream of activations."""
        return ceil_div(self.stream_bytes(variant, 0, depth_tiles), self.geometry.activation_bytes)

    def weight_words(self, variant: int, depth_tiles: int) -> int:
        """Words of weights of a column tile that is so deep."""
        return self.stream_bytes(variant, 1, depth_tiles)

    def depth_granule(self, variant: int) -> int:
        """Steps of K, scales not counted, after which tiles and words of both operands all end."""
        sizes = (8 * self.geometry.activation_bytes, 8)
        blocks = (
            size // math.gcd(size, sum(self.block_bits(variant, side))) for side, size in enumerate(sizes)
        )
        return math.lcm(*blocks) * self.block_length(variant)

    def waiting(self, variant: int, depth_tiles: int) -> int:
        """Cycles by which an output-stationary tile lasts longer than its steps, since its rows' last words come one a cycle."""
        before = 8 * self.geometry.activation_bytes * (self.activation_words(variant, depth_tiles) - 1)
        codes, scales = self.block_bits(variant, 0)
        blocks, rest = divmod(before, codes + scales)
        within = min(rest, codes) // slot_bits(self.pairs[variant][0]) + max(rest - codes, 0) // 8
        last_word = blocks * self.block_steps(variant) + within
        return max(0, last_word + self.rows - self.steps(variant, depth_tiles))

    @cached_property
    def geometry(self) -> Geometry:
        """What the rest of the house knows of it."""
        longest = max(self.steps(variant, 16) for variant in range(len(self.pairs)))
        return Geometry(
            tile_rows=1 if self.stationary_weights else self.rows,
            columns=self.columns,
            tile_depth=self.tile_depth,
            activation_bytes=max(self.data_bytes, power_of_two_from(self.rows)),
            weight_bytes=power_of_two_from(self.columns),
            # By this the compiler cuts the first rows: as if all slots were the widest.
            weight_words=ceil_div(longest, 16),
            variants=len(self.pairs),
            sums="float32" if self.block else "int32",
        )

    @cached_property
    def least_interval(self) -> int:
        """Fewest cycles from the results of an output-stationary tile to those of one that may meet them in the accumulators."""
        return least_interval(self.rows) - ACCUMULATE + self.geometry.accumulate

    @cached_property
    def command_gap(self) -> int:
        """Where sums are float32: idle cycles from the last step of a command to the first of the next; 0 or ``TURN`` at least.

        The next command's first results may go where the last ones of the command before it do.
        """
        least = self.least_interval - min(map(self.block_steps, range(len(self.pairs))))
        return max(least, TURN) if least > 0 else 0


def _check_range(x: Format, w: Format) -> None:
    """That results are no subnormal numbers, and none too great for their sums."""
    kinds = tuple(scale_type(one) for one in (x, w))
    least, most = (_together(kinds, table) for table in (_LEAST_SCALE, _MOST_SCALE))
    unit = x.unit + w.unit
    if least + unit < LEAST_RESULT:
        raise ValueError(
            f"results must be multiples of 2**{LEAST_RESULT}, not of 2**{least + unit} as those of {x.name} x {w.name}"
        )
    product = sum_bits(x, w, 1) - 1 + most + unit
    if product > MOST_PRODUCT:
        raise ValueError(
            f"products must be below 2**{MOST_PRODUCT}, not 2**{product} as those of {x.name} x {w.name}"
        )


def _together(kinds: Sequence[str], table: dict[str, int]) -> int:
    """Of both scales: those of E8M0 are limited together."""
    return sum(table[kind] for kind in kinds if kind != "e8m0") + ("e8m0" in kinds) * table["e8m0"]
