"""The numbers of one accelerator, derived from its configuration and shared by hardware, models and compiler.

No Amaranth here. Bounds on what a user may ask for live in ``gen.config``; this is what follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hw.control.isa import (
    FETCH_BATCH,
    FETCH_BUFFER,
    INDEX_BITS,
    INSTRUCTION_BYTES,
    PARAMETER_BYTES,
    OutputMode,
)
from hw.timing import (
    ACCUMULATE,
    ACCUMULATOR_READ,
    FLOAT_ACCUMULATE,
    FLOAT_REQUANTISE,
    LEAN_ACCUMULATOR_READ,
    REQUANTISE,
    SINGLE_ACCUMULATE,
    STORE_PIPELINE,
)

PAGE_BYTES = 4096
"""No AXI burst crosses a multiple of this."""


Issue = Literal["queues", "in-order"]
"""How instructions are issued: by three queues that run at the same time, or one after the other."""

Sums = Literal["int32", "float32"]
"""What an array's results are, and so what the accumulators hold and add."""


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below ``a / b``."""
    return -(-a // b)


def _least(bits: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    """``bits``, or those of ``others`` where they are fewer."""
    return {name: min(width, others.get(name, width)) for name, width in bits.items()}


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What an element family says of its tiles; all that the rest of the house needs to know of it.

    An EXECUTE of ``row_tiles`` × ``column_tiles`` × ``depth_tiles`` computes ``row_tiles * tile_rows`` rows of
    ``column_tiles * columns`` features over ``depth_tiles * tile_depth`` steps of K.
    """

    tile_rows: int
    """Rows of M in a row tile."""
    columns: int
    """Features of N in a column tile."""
    tile_depth: int
    """Steps of K in a depth tile."""
    activation_bytes: int
    """Bytes of an activation word: that many successive k of one row (a multiple of the bus's width)."""
    weight_bytes: int
    """Bytes of a weight word: what the array takes in one step (a multiple or a power-of-two part of the bus's width)."""
    weight_words: int
    """Weight words of a depth tile (block scales that travel with them are counted by the family, not here)."""
    variants: int = 1
    """Values that the ``variant`` of an EXECUTE may take: the formats that the array was generated for."""
    settings: int = 0
    """Settings of the array, of 32 bits each, that CONFIGURE changes; with none there is no such instruction."""
    sums: Sums = "int32"
    """What results are: int32, which wrap, or float32, added in the order in which they come (``hw.memory.float_add``)."""
    spread: int = 1
    """Features of a column tile that share a bank of accumulators; divides ``columns``. Feature ``s * banks + b`` of a tile is in
    bank b, at the row where it would be if each tile were ``spread`` tiles of ``banks`` features."""
    activation_bits: int = 4
    """Fewest bits of an activation."""
    single: bool = False
    """One EXECUTE at a time, for designs that issue in order: core, scratchpads and accumulators are made of as few cells as may
    be, and the next EXECUTE is taken when this one has ended."""

    def __post_init__(self) -> None:
        if self.spread < 1 or self.columns % self.spread:
            raise ValueError(
                f"spread must divide columns, not be {self.spread!r} with {self.columns!r} columns"
            )
        if self.sums not in get_args(Sums):
            raise ValueError(f"sums must be one of {', '.join(get_args(Sums))}, not {self.sums!r}")

    @property
    def banks(self) -> int:
        """Banks of accumulators."""
        return self.columns // self.spread

    @property
    def accumulator_tile(self) -> int:
        """Rows of every bank that the results of a row tile of a column tile take."""
        return self.spread * self.tile_rows

    @property
    def accumulate(self) -> int:
        """A result at its accumulator bank to the cycle of its write: ``ACCUMULATE``, or what floating point makes of it."""
        if self.sums == "float32":
            return FLOAT_ACCUMULATE
        return SINGLE_ACCUMULATE if self.single else ACCUMULATE

    @property
    def accumulator_read(self) -> int:
        """STORE's read address to a row of accumulators: ``ACCUMULATOR_READ``, or ``LEAN_ACCUMULATOR_READ``."""
        return LEAN_ACCUMULATOR_READ if self.single and self.sums == "int32" else ACCUMULATOR_READ

    @property
    def word_tiles(self) -> int:
        """Depth tiles whose activations of a row a word may have, at most."""
        return ceil_div(8 * self.activation_bytes, self.activation_bits * self.tile_depth)

    @property
    def requantise(self) -> int:
        """Accumulator and parameters to the result that STORE packs: ``REQUANTISE``, or what floating point makes of it."""
        return REQUANTISE if self.sums == "int32" else FLOAT_REQUANTISE

    @property
    def store_pipeline(self) -> int:
        """A step that completes a beat to the cycle in which the beat is put into the beat FIFO: ``STORE_PIPELINE``, or so."""
        return STORE_PIPELINE - REQUANTISE + self.requantise

    def result_bytes(self, mode: OutputMode) -> int:
        """Bytes of a result that STORE writes: int32 or int8, float32 or fp16."""
        if mode == OutputMode.RAW:
            return 4
        return 1 if self.sums == "int32" else 2


@dataclass(frozen=True, kw_only=True)
class Design:
    """Sizes of everything outside the array."""

    geometry: Geometry
    data_bytes: int
    """Bytes of a bus beat: 4, 8, 16, 32 or 64."""
    address_width: int
    """Bits of a memory address: 32 to 64, or from 16 on where instructions are issued in order."""
    burst_beats: int
    """Most beats in a burst: 1 to 256."""
    outstanding: int
    """Most bursts that LOAD may have under way."""
    activation_words: int
    weight_words: int
    accumulator_rows: int
    """Rows of an accumulator bank, both halves together; even. The upper half starts at accumulator_rows // 2."""
    parameter_entries: int
    """Output features whose bias, multiplier and shift fit on chip."""
    output_lanes: int
    """Results that STORE takes per cycle; divides banks, and output_lanes * 4 <= data_bytes."""
    queue_depth: int = 8
    """Instructions that each of the three queues holds behind the one that it hands to its unit; 0: none, and that one alone."""
    prefetch: int = FETCH_BUFFER
    """Instructions that fetch holds: 1, which is then decoded where it stands, or ``FETCH_BATCH`` to ``FETCH_BUFFER``."""
    counters: bool = True
    """Whether all counters are there; otherwise ``cycles`` alone, and the others are 0."""
    issue: Issue = "queues"
    """In three queues beside one another; or in order, LOAD and STORE one at a time, EXECUTE beside what follows it: then
    ``prefetch`` is 1, ``queue_depth`` 0, and there are no ``counters``."""
    configuration: int = 0
    """First 32 bits of the configuration's hash, for the register of that name."""

    @property
    def execute_fields(self) -> dict[str, int]:
        """Bits of EXECUTE's counts, stride and variant that are implemented; in order only those that there is use for."""
        g = self.geometry
        if self.issue == "queues":
            return {
                "activations_stride": 16,
                "row_tiles": 16,
                "column_tiles": 16,
                "depth_tiles": 24,
                "variant": 8,
            }
        tiles = self.accumulator_rows // 2 // g.accumulator_tile
        return {
            "activations_stride": min(16, self.activation_words.bit_length()),
            "row_tiles": min(16, tiles.bit_length()),
            "column_tiles": min(16, tiles.bit_length()),
            "depth_tiles": min(24, (self.activation_words * g.word_tiles).bit_length()),
            "variant": max(1, (g.variants - 1).bit_length()),
        }

    @property
    def in_order(self) -> bool:
        """Whether instructions are issued one after the other (``hw.in_order``)."""
        return self.issue == "in-order"

    @property
    def index_bits(self) -> int:
        """Bits of an instruction's index: in order no more than an address can tell apart."""
        most = self.address_width - (INSTRUCTION_BYTES - 1).bit_length()
        return min(INDEX_BITS, most) if self.in_order else INDEX_BITS

    @property
    def load_fields(self) -> dict[str, int]:
        """Bits that this design implements of LOAD's fields; in order what scratchpads and addresses can need."""
        beats = max(self.activation_beats, self.weight_beats, self.parameter_beats)
        wide = {
            "memory_address": self.address_width,
            "memory_stride": 32,
            "row_bytes": 24,
            "rows": 16,
            "local_stride": 16,
            "local_address": (beats - 1).bit_length(),
        }
        own = {
            "memory_stride": self.address_width,
            "row_bytes": (beats * self.data_bytes).bit_length(),
            "rows": beats.bit_length(),
            "local_stride": (beats - 1).bit_length(),
        }
        return _least(wide, own) if self.in_order else wide

    @property
    def store_fields(self) -> dict[str, int]:
        """The same of STORE's: what accumulators and addresses can need."""
        rows = self.accumulator_rows
        wide = {
            "memory_address": self.address_width,
            "memory_stride": 32,
            "accumulators_address": (rows - 1).bit_length(),
            "accumulators_stride": 16,
            "rows": 16,
            "columns": 16,
            "parameters_address": (self.parameter_entries - 1).bit_length(),
        }
        own = {
            "memory_stride": self.address_width,
            "accumulators_stride": (rows - 1).bit_length(),
            "rows": rows.bit_length(),
            "columns": (rows * self.geometry.banks).bit_length(),
        }
        return _least(wide, own) if self.in_order else wide

    @property
    def block_beats(self) -> int:
        """Beats of the aligned blocks that no read of an in-order design's LOAD goes beyond the end of: a power of two."""
        return 1 << min(self.burst_beats, PAGE_BYTES // self.data_bytes, 256).bit_length() - 1

    @property
    def fetch_batch(self) -> int:
        """Instructions that fetch asks for together."""
        return min(FETCH_BATCH, self.prefetch)

    @property
    def activation_beats(self) -> int:
        """Depth of the activation scratchpad in bus beats."""
        return self.activation_words * self.geometry.activation_bytes // self.data_bytes

    @property
    def weight_beats(self) -> int:
        """Depth of the weight scratchpad in bus beats."""
        return self.weight_words * self.geometry.weight_bytes // self.data_bytes

    @property
    def parameter_beats(self) -> int:
        """Depth of the parameter scratchpad in bus beats."""
        return self.parameter_entries * PARAMETER_BYTES // self.data_bytes
