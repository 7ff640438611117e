# amaranth: UnusedElaboratable=no
"""The head of a column: words as ``WordTimes`` reads them in, terms of the weights and bits of the scales out."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator
from bit_serial_bench import ALL, array_for

from hw.array.bit_serial.geometry import LOWER_WORD
from hw.array.bit_serial.head import Head
from hw.pe.element_times import SCALE_BITS
from hw.pe.terms import special_value
from hw.pe.weight_format import NIBBLE
from hw.timing import TERM_ENCODER
from sim import bit_serial

LANES, LEAST = 4, 8
SPECIALS = [10, -10, 16, -3]


def word(codes, bits, first):
    """Of each lane the nibble with bits ``first`` on of the codes of successive slices, ``bits`` of each, the first lowest."""
    parts = [
        sum((code[lane] >> first & (1 << bits) - 1) << bits * place for place, code in enumerate(codes))
        for lane in range(LANES)
    ]
    return sum((part & (1 << NIBBLE) - 1) << NIBBLE * lane for lane, part in enumerate(parts))


class Schedule:
    """Groups one behind another as close as may be: by cycle what goes in, and what is to come out."""

    def __init__(self, formats, random):
        self.steering, self.words, self.terms, self.scale_bits = {}, {}, {}, {}
        self.lasts, self.finishes = set(), set()
        self._random, self.step = random, 2 * LEAST
        for setting, special in enumerate(SPECIALS):
            sign, magnitude = special_value(special)
            self._steer(setting, configure=1, setting=setting, value={"sign": sign, "magnitude": magnitude})
        for _ in range(30):
            self._group(formats[random.integers(len(formats))])

    def _steer(self, cycle, **fields):
        self.steering[cycle] = self.steering.get(cycle, {}) | fields

    def _group(self, format):
        random = self._random
        slices = 2 * int(random.integers(-(-LEAST // (2 * format.terms)), 7))
        codes = [random.integers(0, 1 << format.bits, LANES).tolist() for _ in range(slices)]
        scale, selector = int(random.integers(256)), int(random.integers(4))
        self._steer(self.step + 1, scale=1)
        self.words[self.step + 1] = scale | selector << SCALE_BITS
        for number in range(slices):
            self._slice(format, codes, number, SPECIALS[selector] if format.floating else 0)
        self.step += slices * format.terms
        self._steer(self.step + LOWER_WORD, last=1)
        last = self.step + LOWER_WORD + TERM_ENCODER
        self.lasts.add(last)
        for place in range(SCALE_BITS):
            self.scale_bits[last + 1 + place] = scale >> SCALE_BITS - 1 - place & 1
        self.finishes.add(last + SCALE_BITS)

    def _slice(self, format, codes, number, special):
        begin = self.step + number * format.terms
        due, way = begin + 2, format.way
        for name, bits, first in [("high", way.high, way.low)] * bool(way.high) + [("low", way.low, 0)]:
            each = NIBBLE // bits
            if number % each == 0:
                self._steer(due, **{name: 1})
                self.words[due] = word(codes[number : number + each], bits, first)
            due += 1
        start = begin + LOWER_WORD + 1
        self._steer(start, start=1, group=int(number == 0), format=format)
        each = [bit_serial.terms(code, format.name.lower(), special) for code in codes[number]]
        for index in range(format.terms):
            self.terms[start + TERM_ENCODER + index] = [one[index] for one in each]


@pytest.mark.parametrize("formats", [ALL, *[(one,) for one in ALL]])
def test_groups_without_a_gap(formats):
    """Groups of any of the formats, with values in the words only when they are read."""
    random = np.random.default_rng(4)
    dut = Head(array=array_for(rows=1, columns=1, data_bytes=4, variants=formats))
    due = Schedule(formats, random)
    names = ("scale", "high", "low", "start", "group", "last", "configure", "setting")

    async def bench(ctx):
        format = formats[0]
        for cycle in range(due.step + 30):
            now = due.steering.get(cycle, {})
            # That of the slice, until the next.
            format = now.get("format", format)
            ctx.set(dut.steering.format, format)
            for name in names:
                ctx.set(getattr(dut.steering, name), now.get(name, 0))
            ctx.set(dut.steering.value, now.get("value", {}))
            ctx.set(dut.word, due.words.get(cycle, int(random.integers(1 << NIBBLE * LANES))))
            got = [ctx.get(term) for term in dut.terms]
            if cycle in due.terms:
                found = [(t.sign, t.exponent, t.man, ctx.get(dut.significance)) for t in got]
                assert found == due.terms[cycle], cycle
            else:
                assert all(t.man == 0 for t in got), cycle
            assert ctx.get(dut.last) == (cycle in due.lasts), cycle
            assert ctx.get(dut.finish) == (cycle in due.finishes), cycle
            assert ctx.get(dut.scale_bit) == due.scale_bits.get(cycle, 0), cycle
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
