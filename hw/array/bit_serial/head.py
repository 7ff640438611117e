"""The head of a column: from words of weights to terms, and from scales to their bits."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.array.bit_serial.geometry import SPECIAL_VALUES, BitSerial
from hw.delay import delayed
from hw.pe.element_times import SCALE_BITS
from hw.pe.term_tables import TableEncoder
from hw.pe.terms import SPECIAL, TERM, TermEncoder
from hw.pe.weight_format import NIBBLE, WeightFormat
from hw.timing import TERM_ENCODER

STEERING = data.StructLayout(
    {
        "scale": 1,
        "high": 1,
        "low": 1,
        "start": 1,
        "group": 1,
        "last": 1,
        "format": WeightFormat,
        "configure": 1,
        "setting": 2,
        "value": SPECIAL,
    }
)
"""What a column does in a cycle; the one to its right does the same in the next.

``scale``, ``high``, ``low``: the word of weights is one of scales, of upper parts, of lower parts. ``start``: a slice begins, in
the cycle after its last word at the earliest; ``group``: the first of a group. ``last``: the last term of a group goes into the
encoder. ``format``: of the slice. ``configure``: the special value ``setting`` becomes ``value``.
"""


def steering_layout(array: BitSerial) -> data.StructLayout:
    """``STEERING``; where zero terms are skipped with ``step``, the encoder is asked for a term, and with its ``index``."""
    choice = {"step": 1, "index": 2} if array.skip_zero_terms else {}
    return data.StructLayout(STEERING.members | choice)


class Head(wiring.Component):
    """Keeps what comes in words until its slice begins.

    Parameters
    ----------
    array : BitSerial

    Members
    -------
    word : In(NIBBLE * lanes)
    steering : In(STEERING)
    terms, significance : Out
        As those of ``TermEncoder``.
    last : Out(1)
        With the terms: they are the last of a group.
    scale_bit : Out(1)
        Of the scale, most significant first, from the cycle after ``last`` on. ``finish``: the last one.

    Timing
    ------
    A slice's first terms come ``TERM_ENCODER`` cycles after its ``start``; ``last`` as long after that of ``steering``.
    """

    def __init__(self, *, array: BitSerial) -> None:
        self._array = array
        super().__init__(
            {
                "word": In(NIBBLE * array.lanes),
                "steering": In(steering_layout(array)),
                "terms": Out(data.ArrayLayout(TERM, array.lanes)),
                "significance": Out(3),
                "last": Out(1),
                "scale_bit": Out(1),
                "finish": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array, steering = self._array, self.steering
        if array.single and not array.skip_zero_terms:
            encoder = TableEncoder(lanes=array.lanes, formats=array.formats)
        else:
            encoder = TermEncoder(lanes=array.lanes, formats=array.formats, chosen=array.skip_zero_terms)
        m.submodules.encoder = encoder
        if array.skip_zero_terms:
            m.d.comb += [encoder.step.eq(steering.step), encoder.index.eq(steering.index)]
        selector = self._scale(m)
        specials = Signal(data.ArrayLayout(SPECIAL, SPECIAL_VALUES))
        with m.If(steering.configure):
            m.d.sync += specials[steering.setting].eq(steering.value)
        m.d.comb += [
            encoder.start.eq(steering.start),
            encoder.format.eq(steering.format),
            encoder.special.eq(specials[selector]),
            self.terms.eq(encoder.terms),
            self.significance.eq(encoder.significance),
        ]
        high, low = (Signal(data.ArrayLayout(NIBBLE, array.lanes), name=name) for name in ("high", "low"))
        for lane in range(array.lanes):
            self._unpack(m, high[lane], low[lane], encoder.codes[lane])
        with m.If(steering.high):
            m.d.sync += high.eq(self.word)
        with m.If(steering.low):
            m.d.sync += low.eq(self.word)
        return m

    def _unpack(self, m: Module, high, low, code) -> None:
        """A lane's code, and what is left for its next ones."""
        formats = sorted(self._array.formats)
        with m.Switch(self.steering.format):
            for one in formats:
                way = one.way
                with m.Case(one):
                    # What is above a code's bits does not matter, and need not be chosen.
                    upper = NIBBLE if way.low == NIBBLE and self._array.single else way.high
                    m.d.comb += code.eq(Cat(low[: way.low], high[:upper]))
                    with m.If(self.steering.start):
                        m.d.sync += [high.eq(high >> way.high), low.eq(low >> way.low)]

    def _scale(self, m: Module):
        """Takes in scale and selector of the next group, and lets out those of the one before. Returned: the selector."""
        steering = self.steering
        coming = Signal(data.StructLayout({"scale": SCALE_BITS, "selector": range(SPECIAL_VALUES)}))
        current = Signal.like(coming)
        with m.If(steering.scale):
            m.d.sync += coming.eq(self.word)
        with m.If(steering.start & steering.group):
            m.d.sync += current.eq(coming)
        # The next group begins before the last terms of this one are there.
        last, ended = delayed(m, steering.last, TERM_ENCODER), Signal(SCALE_BITS)
        with m.If(steering.last):
            m.d.sync += ended.eq(current.scale)
        bits, left = Signal(SCALE_BITS), Signal(SCALE_BITS)
        m.d.sync += [bits.eq(bits << 1), left.eq(left >> 1)]
        with m.If(last):
            m.d.sync += [bits.eq(ended), left.eq(1 << SCALE_BITS - 1)]
        m.d.comb += [self.last.eq(last), self.scale_bit.eq(bits[-1]), self.finish.eq(left[0])]
        return Mux(steering.group, coming.selector, current.selector)
