# amaranth: UnusedElaboratable=no
"""The bit-serial element for int8: whole columns of encoder, folder and element against the definition."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import run_component, run_mapped
from test_block_ram import synthesised

from hw.delay import delayed
from hw.pe.bit_serial import BitSerialElement, deepest
from hw.pe.element_times import CHAIN
from hw.pe.term_folder import TermFolder
from hw.pe.terms import SPECIAL, TermEncoder
from hw.pe.weight_format import WeightFormat, special_value
from hw.timing import TERM_ENCODER, TERM_FOLDER
from sim import bit_serial

FORMATS = tuple(WeightFormat)
FLOATS = (WeightFormat.FP4, WeightFormat.FP3)


class Column(wiring.Component):
    """One element below its column's head, with the delays that an array's edge would have.

    ``activations`` are due with the terms at the element, ``TERM_ENCODER + TERM_FOLDER`` cycles after ``start``; ``last`` with
    ``start``, ``scale_bit`` and ``finish`` as the element wants them.
    """

    def __init__(self, *, lanes, formats, group):
        self._lanes, self._formats, self._group = lanes, formats, group
        self.element = BitSerialElement(lanes=lanes, formats=formats, group=group)
        super().__init__(
            {
                "start": In(1),
                "codes": In(data.ArrayLayout(8, lanes)),
                "format": In(WeightFormat),
                "special": In(SPECIAL),
                "activations": In(data.ArrayLayout(signed(8), lanes)),
                "last": In(1),
                "scale_bit": In(1),
                "finish": In(1),
                "result": Out(32),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = TermEncoder(lanes=self._lanes, formats=self._formats)
        m.submodules.folder = folder = TermFolder(lanes=self._lanes)
        m.submodules.element = element = self.element
        m.d.comb += [
            encoder.start.eq(self.start),
            encoder.codes.eq(self.codes),
            encoder.format.eq(self.format),
            encoder.special.eq(self.special),
            folder.terms.eq(encoder.terms),
            folder.significance.eq(encoder.significance),
            element.negatives.eq(folder.negatives),
            element.shift.eq(delayed(m, folder.shift, element.times.last)),
            element.last.eq(delayed(m, self.last, TERM_ENCODER + TERM_FOLDER + element.times.last)),
            element.scale_bit.eq(self.scale_bit),
            element.finish.eq(self.finish),
            self.result.eq(element.result),
            self.valid.eq(element.valid),
        ]
        for lane in range(self._lanes):
            m.d.comb += [
                element.terms[lane].eq(delayed(m, folder.elements[lane], element.times.skew[lane])),
                element.activations[lane].eq(delayed(m, self.activations[lane], element.times.skew[lane])),
            ]
        return m


@dataclass(frozen=True)
class Group:
    """Weights that share a scale, with their activations; ``pause`` cycles before it."""

    format: WeightFormat
    codes: np.ndarray
    activations: np.ndarray
    special: int = 0
    scale: int = 255
    pause: int = 0

    @property
    def result(self):
        return bit_serial.group_result(
            self.activations,
            self.codes,
            format=self.format.name.lower(),
            special=self.special,
            scale=self.scale,
        )


def cycles_of(groups, column, lanes):
    """Inputs by cycle, and the cycle of each group's result. Groups are put 8 cycles apart where they are shorter."""
    inputs, results, cycle, before = {}, [], 0, -8
    element, head = column.element, TERM_ENCODER + TERM_FOLDER

    def at(when, **values):
        inputs.setdefault(when, {}).update(values)

    for group in groups:
        slices, terms = len(group.codes) // lanes, group.format.terms
        cycle = max(cycle + group.pause, before + 8 - slices * terms + 1)
        sign, magnitude = special_value(group.special)
        for part in range(slices):
            these = slice(part * lanes, (part + 1) * lanes)
            at(
                cycle, start=1, codes=group.codes[these].tolist(), format=group.format,
                special={"sign": sign, "magnitude": magnitude},
            )  # fmt: skip
            for term in range(terms):
                at(cycle + head + term, activations=group.activations[these].tolist())
            cycle += terms
        before = cycle - 1
        at(before, last=1)
        first = before + head + element.times.last + element.times.scale
        for bit in range(8):
            at(first + bit, scale_bit=group.scale >> 7 - bit & 1)
        at(first + 7, finish=1)
        results.append(before + head + element.times.latency)
    return inputs, results


def run(groups, *, lanes, formats=FORMATS, group=256):
    """Check that the results come when they should, and nothing but zero at other times."""
    column = Column(lanes=lanes, formats=formats, group=group)
    inputs, results = cycles_of(groups, column, lanes)
    expected = dict(zip(results, groups, strict=True))
    assert len(expected) == len(groups)

    async def bench(ctx):
        for cycle in range(max(results) + 3):
            given = inputs.get(cycle, {})
            for one in ("start", "last", "finish", "scale_bit"):
                ctx.set(getattr(column, one), given.get(one, 0))
            for one in ("format", "special"):
                if one in given:
                    ctx.set(getattr(column, one), given[one])
            for one in ("codes", "activations"):
                for lane, value in enumerate(given.get(one, [0] * lanes)):
                    ctx.set(getattr(column, one)[lane], value)
            due = expected.get(cycle)
            assert ctx.get(column.valid) == (due is not None), cycle
            assert ctx.get(column.result) == (due.result % (1 << 32) if due else 0), (cycle, due)
            await ctx.tick()

    simulator = Simulator(column)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def random_group(random, format, size, *, pause=0):
    special = int(random.choice([-24, -16, -10, -3, 0, 5, 6, 10, 17, 24]))
    activations = random.integers(-128, 128, size=size)
    activations[random.random(size) < 0.2] = 0
    return Group(
        format, random.integers(1 << format.bits, size=size), activations, special, int(random.integers(256)), pause
    )  # fmt: skip


@pytest.mark.parametrize("lanes", [1, 3, 4, 8, 16, 24, 32])
def test_random_groups(lanes):
    """Of all formats in turn, from one slice to four, with and without a pause."""
    random = np.random.default_rng(lanes)
    groups = [
        random_group(
            random,
            FORMATS[i % len(FORMATS)],
            lanes * int(random.integers(1, 5)),
            pause=int(random.integers(2) * 3),
        )
        for i in range(36)
    ]
    run(groups, lanes=lanes)


@pytest.mark.parametrize(
    "formats", [*([one] for one in FORMATS), FLOATS, (*FLOATS, WeightFormat.INT4), FORMATS]
)
@pytest.mark.parametrize(("lanes", "size"), [(4, 32), (32, 64)])
def test_extremes(formats, lanes, size):
    """Whole groups of the greatest and least products and scales: where a bit too few would show."""
    groups = []
    for format in formats:
        least, most = (0x80 >> 8 - format.bits), (1 << format.bits - 1) - 1
        specials = (24, -24) if format.floating else (0,)
        for special in specials:
            for code in (least, most):
                for activation in (-128, 127):
                    groups.append(Group(format, np.full(size, code), np.full(size, activation), special))
    run(groups, lanes=lanes, formats=formats, group=size)


@pytest.mark.parametrize("lanes", [4, 8, 32])
def test_groups_without_a_gap(lanes):
    """The least distance: 8 cycles from group to group, whatever the format; zero activations and zero weights among them."""
    random = np.random.default_rng(lanes)
    groups = [random_group(random, one, lanes * 8 // one.terms) for one in FORMATS * 4 if 8 % one.terms == 0]
    groups += [Group(one, np.zeros(lanes * 4, int), np.full(lanes * 4, -128)) for one in FORMATS]
    groups += [random_group(random, one, lanes * 4) for one in FORMATS]
    run(groups, lanes=lanes)


@settings(max_examples=25)
@given(
    lanes=st.sampled_from([1, 2, 4, 5, 8, 16]),
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(
        st.tuples(st.sampled_from(FORMATS), st.integers(1, 4), st.integers(0, 9)), min_size=1, max_size=6
    ),
)
def test_sequences(lanes, seed, shape):
    """Groups of any formats, lengths and pauses."""
    random = np.random.default_rng(seed)
    run([random_group(random, one, lanes * slices, pause=pause) for one, slices, pause in shape], lanes=lanes)


@pytest.mark.parametrize(("formats", "shifted"), [(FORMATS, True), ((WeightFormat.INT4,), False)])
def test_mapped(formats, shifted):
    """The synthesised element does what the component does, whatever the operands; its gates are those of the lanes."""
    sizes = {"lanes": 4, "formats": frozenset(formats), "group": 32}
    module, cells = synthesised(BitSerialElement(**sizes))
    random = np.random.default_rng(7)
    stimulus = [
        {
            "rst": int(cycle % 97 < 2), "activations": int(random.integers(1 << 32)), "terms": int(random.integers(1 << 16)),
            "negatives": int(random.integers(5)), "shift": int(random.integers(4)), "last": int(random.random() < 0.1),
            "scale_bit": int(random.integers(2)), "finish": int(random.random() < 0.1),
        }
        for cycle in range(500)
    ]  # fmt: skip
    assert run_mapped(module, stimulus) == run_component(BitSerialElement(**sizes), stimulus)
    # Nine tables for a lane and three resets; with both kinds of shift one more for each bit that is shifted by one.
    assert cells["LUT4"] <= 4 * 9 + 3 + (16 if shifted else 0)


def test_bits_of_the_accumulator():
    """What the element's docstring says of K."""
    assert deepest(FORMATS) == 514
    assert deepest([WeightFormat.INT4]) == 8224
    assert deepest(FLOATS) == 2741


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"lanes": 0}, ValueError, "lanes must be 1 to 8, or a multiple of 8 up to 64, not 0"),
        ({"lanes": 12}, ValueError, "lanes must be 1 to 8, .*, not 12"),
        ({"lanes": 4.0}, TypeError, "integer"),
        ({"group": 100}, ValueError, "group must be one of 32, 64, 128, 256, not 100"),
        ({"lanes": 64, "group": 32}, ValueError, "lanes must be at most group = 32, not 64"),
        ({"formats": []}, ValueError, "formats must be at least one"),
    ],
)
def test_refused(change, error, message):
    with pytest.raises(error, match=message):
        BitSerialElement(**{"lanes": 8, "formats": FORMATS, "group": 32} | change)


def test_folder_refuses():
    with pytest.raises(ValueError, match=r"lanes must be 1 to 8, .*, not 9"):
        TermFolder(lanes=CHAIN + 1)


@pytest.mark.parametrize(("lanes", "formats"), [(4, FORMATS), (16, FLOATS), (4, (WeightFormat.INT4,))])
def test_reset(lanes, formats):
    """Two cycles of reset leave nothing of what was under way."""
    random = np.random.default_rng(lanes)

    def stimulus(cycles):
        return [
            {
                "activations": int.from_bytes(random.bytes(lanes), "little"), "negatives": int(random.integers(lanes + 1)),
                "terms": int.from_bytes(random.bytes(lanes // 2), "little"), "shift": int(random.integers(4)),
                "last": int(random.random() < 0.1), "scale_bit": int(random.integers(2)),
                "finish": int(cycle > 8 and random.random() < 0.1),
            }
            for cycle in range(cycles)
        ]  # fmt: skip

    def element():
        return BitSerialElement(lanes=lanes, formats=formats, group=64)

    before, after = [one | {"finish": int(random.integers(2))} for one in stimulus(60)], stimulus(200)
    seen = run_component(element(), [*before, {"rst": 1}, {"rst": 1}, *after])
    assert seen[62:] == run_component(element(), after)
    assert any(one["result"] for one in seen[62:])
