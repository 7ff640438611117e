"""CRC-32 of words, so that the host can check an upload without reading it back."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

_POLYNOMIAL, _WIDTH = 0xEDB88320, 32
"""Of CRC-32, the lowest bit first."""


def _stepped(state: Value, bits: int) -> Value:
    """The remainder after ``bits`` more bits of the message, which were added to it beforehand."""
    terms = [state[i] for i in range(_WIDTH)]
    for _ in range(bits):
        out = terms[0]
        terms = [
            (terms[i + 1] if i + 1 < _WIDTH else 0) ^ (out if _POLYNOMIAL >> i & 1 else 0)
            for i in range(_WIDTH)
        ]
    return Cat(terms)


class WordCrc(wiring.Component):
    """CRC-32 of words, the lowest byte of each first.

    Parameters
    ----------
    bits : int
        Of a word that are worked off in a cycle: 1, 2, 4, 8, 16 or 32.

    Members
    -------
    word : In(32)
    take : In(1)
        ``word`` is the next; not while busy.
    clear : In(1)
        None have come; not while busy.
    busy : Out(1)
    value : Out(32)
        As ``zlib.crc32`` of the bytes of all that have come, while not busy.

    Timing
    ------
    Busy for ``32 / bits`` cycles behind that of ``take``.

    Raises
    ------
    TypeError, ValueError
        ``bits`` is not as above.

    Reference: CRC-32/ISO-HDLC of Greg Cook's catalogue of parametrised CRC algorithms.
    """

    def __init__(self, *, bits: int) -> None:
        self._bits = operator.index(bits)
        if self._bits not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"bits must be one of 1, 2, 4, 8, 16, 32, not {bits!r}")
        super().__init__(
            {"word": In(_WIDTH), "take": In(1), "clear": In(1), "busy": Out(1), "value": Out(_WIDTH)}
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        steps = _WIDTH // self._bits
        rest, left = Signal(_WIDTH, reset_less=True), Signal(range(steps + 1))
        m.d.comb += [self.value.eq(~rest), self.busy.eq(left != 0)]
        # One enable and one choice of two: an iCE40 has a cell for that and the register.
        with m.If(self.take | self.busy):
            m.d.sync += [
                rest.eq(Mux(self.busy, _stepped(rest, self._bits), rest ^ self.word)),
                left.eq(Mux(self.busy, left - 1, steps)),
            ]
        with m.If(self.clear):
            m.d.sync += rest.eq(-1)
        return m
