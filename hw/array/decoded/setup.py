"""The way into a core of decoded operands."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data
from amaranth.utils import exact_log2

from hw.array.decoded.geometry import MOST_SIZE, DecodedArray, slot_bits
from hw.array.geometry import TURN
from hw.array.setup import DEPTH_BITS, Setup
from hw.design import Design
from hw.timing import DECODED_SETUP


def by_variant(variant: Value, values: list[int]) -> Value:
    """``values[variant]``, each wide enough for the largest."""
    bits = max(1, *(one.bit_length() for one in values))
    if len(set(values)) == 1:
        return Const(values[0], bits)
    return Const(
        sum(one << bits * place for place, one in enumerate(values)), bits * len(values)
    ).word_select(variant[: (len(values) - 1).bit_length()], bits)


def of_variant(m: Module, variant: Value, values: list[int]) -> Signal:
    """``values[variant]``, a register."""
    value = by_variant(variant, values)
    register = Signal(len(value), name="of_variant")
    m.d.sync += register.eq(value)
    return register


def long_words(array: DecodedArray) -> bool:
    """Whether some activations have slots of 4 bits: their words last twice as many steps as they have bytes."""
    return any(slot_bits(one) == 4 for one in array.activations)


def uneven_words(array: DecodedArray) -> bool:
    """Whether some words of activations have codes of 4 bits and scales of 8."""
    return array.block > 0 and long_words(array)


def paired_weights(array: DecodedArray) -> bool:
    """Whether weights that stay come in pairs: words of slots of 4 bits are read for two rows, neighbours of 8 bits meet."""
    narrow = any(slot_bits(one) == 4 for one in array.weights)
    return array.stationary_weights and (narrow or array.weights_ahead > 0)


def depth_bits(array: DecodedArray) -> int:
    """Of the steps of a tile, or of its depth tiles where weights stay."""
    if not array.block or array.stationary_weights:
        return DEPTH_BITS
    most = (1 << DEPTH_BITS) - 1
    return max(array.steps(variant, most) for variant in range(len(array.pairs))).bit_length()


class DecodedSetup(Setup):
    """A ``Setup`` whose tiles are so many blocks, and whose words have slots of two widths.

    Parameters
    ----------
    design : Design
    array : DecodedArray
    """

    cycles = DECODED_SETUP

    def __init__(self, *, design: Design, array: DecodedArray) -> None:
        stay, variants = array.stationary_weights, range(len(array.pairs))
        super().__init__(
            design=design,
            # Results of blocks keep apart by themselves, but for those of two commands.
            least_interval=1 if array.block or stay else array.least_interval,
            depth_bits=depth_bits(array),
            long_words=long_words(array) and not stay,
            paired_weights=paired_weights(array),
            parts=max(map(array.word_tiles, variants)) if stay else 0,
            scales=max(map(array.scale_words, variants)),
        )
        self._array = array
        self._blocks = Signal(DEPTH_BITS)

    @property
    def _ratios(self) -> list[int]:
        """Depth tiles of a block, by variant."""
        array = self._array
        return [array.block_length(variant) // array.tile_depth for variant in range(len(array.pairs))]

    def _steps(self, m: Module, planned: data.View) -> Value:
        command = planned.command
        array, variants = self._array, range(len(self._array.pairs))
        narrow = {
            name: [int(slot_bits(pair[side]) == 4) for pair in array.pairs]
            for name, side in (("long", 0), ("paired", 1))
        }
        counts = {
            "parts_last": [array.word_tiles(variant) - 1 for variant in variants],
            "scales": [array.scale_words(variant) for variant in variants],
        }
        for name, numbers in (narrow | counts).items():
            if name in planned.shape().members:
                m.d.sync += planned[name].eq(by_variant(command.variant, numbers))
        steps = Signal(self._depth_bits)
        if not array.block or array.stationary_weights:
            m.d.sync += steps.eq(command.depth_tiles)
            return steps
        variant, ratios = command.variant, self._ratios
        whole = command.depth_tiles + by_variant(variant, [one - 1 for one in ratios])
        m.d.sync += self._blocks.eq(whole >> by_variant(variant, list(map(exact_log2, ratios))))
        # Scales take no step or a power of two.
        scales = [array.scale_slots(each) for each in range(len(ratios))]
        shift = of_variant(m, variant, [exact_log2(one or 1) for one in scales])
        some = of_variant(m, variant, [int(one > 0) for one in scales])
        shorter = of_variant(m, variant, [exact_log2(max(ratios) // one) for one in ratios])
        codes = (self._blocks << exact_log2(array.block * max(ratios))) >> shorter
        m.d.sync += steps.eq(codes + ((self._blocks << shift) & some.replicate(len(steps))))
        return steps

    def _turn_left(self, m: Module, planned: data.View, steps: Value) -> None:
        array, variant = self._array, planned.command.variant
        if not array.block or array.stationary_weights:
            super()._turn_left(m, planned, steps)
            return
        # How long the last word is, the lowest bits of how many blocks there are tell.
        word, ratios = array.geometry.activation_bytes, self._ratios
        waiting = [
            tuple(array.waiting(each, (word + blocks) * ratio) for blocks in range(word))
            for each, ratio in enumerate(ratios)
        ]
        kinds = list(dict.fromkeys(waiting))
        kind = of_variant(m, variant, [kinds.index(one) for one in waiting])
        more = [(cycles - TURN) % (2 * MOST_SIZE) for one in kinds for cycles in one]
        waits = of_variant(m, Cat(self._blocks[: exact_log2(word)], kind), more)
        m.d.sync += planned.turn_left.eq(steps + waits.as_signed())

    def _short(self, steps: Value) -> Value:
        array = self._array
        if not array.block or array.stationary_weights:
            return super()._short(steps)
        return Const(int(array.command_gap > 0))
