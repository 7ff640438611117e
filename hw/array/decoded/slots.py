"""From bytes of a stream to what their slots decode to, and to the scales behind each block."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.array.decoded.geometry import slot_bits
from hw.delay import delayed
from hw.formats.format import Format
from hw.formats.olive import PairFormat
from hw.formats.pairs import PairShape
from hw.pe.decoder import Decoder, pair_layout


def slot_control(formats: Sequence[Format], *, scale_bits: int = 0) -> dict[str, int]:
    """What is to be known of a slot, by name: bits.

    ``odd``: it is the second of a pair or of a byte. ``format``: which of ``formats``. ``narrow``: slots have 4 bits; not there
    if all have, or none. ``scale``: it is a byte of a scale, never odd; not there without ``scale_bits``. ``valid``: it has a
    code.
    """
    narrow = {slot_bits(one) == 4 for one in formats}
    return (
        {"odd": 1, "valid": 1}
        | ({"format": (len(formats) - 1).bit_length()} if len(formats) > 1 else {})
        | ({"narrow": 1} if len(narrow) > 1 else {})
        | ({"scale": 1} if scale_bits else {})
    )


def beside(formats: Sequence[Format]) -> bool:
    """Whether the decoder of a slot needs another byte beside its own."""
    return any(isinstance(one, PairFormat) and slot_bits(one) == 8 for one in formats)


class SlotDecoder(wiring.Component):
    """Chooses the slot of a byte, decodes it, and puts scales together.

    Parameters
    ----------
    formats : tuple of Format
    shape : PairShape
        Of the pair.
    scale_bits : int
        0, 8 or 16: of the longest scale.

    Members
    -------
    byte : In(8)
        Of the slot. ``other``: the byte of its neighbour; there with pairs of 8 bits alone.
    odd, narrow, format, valid, scale : In
        See ``slot_control``.
    pair : Out(pair_layout(shape))
        Zero unless ``valid``.
    collected : Out(scale_bits)
        The last bytes with ``scale``, the latest at the top: 8 bits are the upper half of 16. Not there without ``scale_bits``.

    Timing
    ------
    ``pair`` and ``collected`` come ``hw.timing.SLOT_DECODER`` cycles later.
    """

    def __init__(self, *, formats: tuple[Format, ...], shape: PairShape, scale_bits: int = 0) -> None:
        self._formats, self._shape = formats, shape
        super().__init__(
            {"byte": In(8), "pair": Out(pair_layout(shape))}
            | {name: In(bits) for name, bits in slot_control(formats, scale_bits=scale_bits).items()}
            | ({"other": In(8)} if beside(formats) else {})
            | ({"collected": Out(scale_bits)} if scale_bits else {})
        )

    def elaborate(self, platform):
        m = Module()
        formats = self._formats
        scales = "scale" in self.signature.members
        width = 8 if scales else max(map(slot_bits, formats))
        lower, upper = self.byte[:4], self.byte[4:]
        narrow: Value = self._narrow()
        code = Signal(width)
        # What is above a narrow code does not matter.
        m.d.sync += code.eq(Cat(Mux(self.odd & narrow, upper, lower), upper))
        # The decoder's own register is cleared: no gate for a slot without a code.
        empty = ~delayed(m, self.valid, 1)
        decoder = Decoder(formats=formats, shape=self._shape)
        m.submodules.decoder = ResetInserter(empty)(decoder)
        m.d.comb += [decoder.code.eq(code), self.pair.eq(decoder.pair)]
        if "format" in self.signature.members:
            m.d.comb += decoder.format.eq(delayed(m, self.format, 1))
        if "neighbour" in decoder.signature.members:
            half = Mux(self.odd, lower, upper)
            neighbour = Mux(narrow, half, self.other) if beside(formats) else half
            m.d.comb += decoder.neighbour.eq(delayed(m, neighbour, 1))
        if scales:
            with m.If(delayed(m, self.scale, 1)):
                m.d.sync += self.collected.eq(Cat(self.collected, code)[-len(self.collected) :])
        return m

    def _narrow(self) -> Value:
        if "narrow" in self.signature.members:
            return self.narrow
        return Value.cast(int(slot_bits(self._formats[0]) == 4))
