# amaranth: UnusedElaboratable=no
"""Bit-serial element for fp16: definition against exact arithmetic and published vectors, hardware against the definition.

``vectors/bitmod_rtl.npz`` has the first of 2,000 inputs and outputs of ``exp_match`` and ``bs_mul`` of yc2367/BitMoD at b18cacb
(``hardware/pe``, simulated with Verilator). All are tested where the whole file lies beside the repository.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator
from float_element_bench import Group, check, stimulus
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped import run_component, run_mapped

from fpga.synthesis import Flow, synthesise
from gen.rtlil import to_rtlil
from hw.pe.bit_serial_fp16 import LANES, DotProduct, FloatElement
from hw.pe.element_times import tree_cycles
from sim import bit_serial_fp16 as golden
from sim.bit_serial_fp16 import ROUNDINGS, Sum

FILES = [
    path
    for path in (
        Path(__file__).parent / "vectors" / "bitmod_rtl.npz",
        Path(__file__).parents[2] / "shared" / "vectors" / "bitmod_rtl.npz",
    )
    if path.exists()
]
SPECIAL = np.array([0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x3C00, 0x7BFF, 0xFBFF, 0x7FFF, 0xFFFF])
"""Zeros, the least and the greatest subnormal, the least normal, one, the greatest, and what would not be a number."""


def published(path):
    """Operands for :func:`golden.dot`, exponents and sums; exponents one higher: the vectors have hidden ones with exponent 0."""
    with np.load(path) as data:
        inputs, outputs = data["pe/in"].astype(np.int64), data["pe/out"]
    field, negative, significand, exponent, sign, man = np.split(inputs, 6, axis=1)
    activations = negative << 15 | field + 1 << 10 | significand & 1023
    return (activations, sign, exponent, man), outputs[:, 0] + 1, outputs[:, 1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parts[-3])
def test_dot_product_is_the_published_one(path):
    operands, exponents, sums = published(path)
    exponent, product = golden.dot(*operands, rounding="truncate")
    assert np.array_equal(exponent, exponents)
    assert np.array_equal(product, sums)
    _, nearest = golden.dot(*operands, rounding="nearest")
    assert 0 < np.abs(nearest - sums).max() <= 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parts[-3])
def test_dot_product_of_the_hardware_is_the_published_one(path):
    operands, exponents, sums = published(path)
    dut = DotProduct(lanes=4, rounding="truncate")
    seen = []

    async def bench(ctx):
        for step in range(len(sums) + 3 + tree_cycles(4)):
            if step < len(sums):
                for lane in range(4):
                    activation, sign, exponent, man = (int(values[step, lane]) for values in operands)
                    ctx.set(dut.activations[lane].as_value(), activation)
                    ctx.set(dut.terms[lane], {"sign": sign, "exponent": exponent, "man": man})
            seen.append((ctx.get(dut.exponent), ctx.get(dut.product)))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    late = 2 + tree_cycles(4)
    assert [exponent for exponent, _ in seen[late:-1]] == exponents.tolist()
    assert [product for _, product in seen[late + 1 :]] == sums.tolist()


def random_group(random, *, lanes, slices, kind, scale=None):
    """A group of operands that are all alike in kind."""
    shape = (slices, lanes)
    if kind == "bits":
        activations = random.integers(0, 1 << 16, shape)
    elif kind == "special":
        activations = random.choice(SPECIAL, shape)
    elif kind == "subnormal":
        activations = random.integers(0, 1 << 11, shape) | random.integers(0, 2, shape) << 15
    else:
        values = random.standard_normal(shape) * 10 ** random.uniform(-6, 3)
        if kind == "outliers":
            values[random.random(shape) < 0.05] *= 60
        activations = values.astype(np.float16).view(np.uint16)
        if kind == "cancelling":
            activations[1::2] = activations[::2][: slices // 2]
    group = Group(
        activations=activations,
        sign=random.integers(0, 2, shape),
        exponent=random.integers(0, 4, shape),
        man=(random.random(shape) < random.choice([0.1, 0.8, 1])).astype(int),
        significance=random.integers(0, 7, slices),
        scale=int(random.integers(256)) if scale is None else scale,
        gaps=tuple(random.integers(0, slices, random.integers(3)).tolist()),
    )
    if kind == "cancelling":
        for values in (group.exponent, group.man, group.significance):
            values[1::2] = values[::2][: slices // 2]
        group.sign[1::2] = 1 - group.sign[::2][: slices // 2]
    return group


KINDS = ("bits", "special", "subnormal", "normal", "outliers", "cancelling")


def exact(group: Group) -> Fraction:
    """Of the group's operands, without the scale; independent of the definition but for the meaning of the fields."""
    total = Fraction(0)
    for step, power in enumerate(group.significance):
        for lane, bits in enumerate(group.activations[step]):
            field, fraction = int(bits) >> 10 & 31, int(bits) & 1023
            significand = fraction + 1024 if field else fraction
            value = Fraction(significand) * Fraction(2) ** (max(field, 1) - 25)
            places = int(group.exponent[step, lane]) + int(power)
            sign = (int(bits) >> 15) ^ int(group.sign[step, lane])
            total += (-1) ** sign * int(group.man[step, lane]) * value * 2**places
    return total


def worth(total: Sum) -> Fraction:
    return int(total.value) * Fraction(2) ** (int(total.exponent) - golden.UNIT)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_error_is_bounded(kind, rounding):
    """Step by step: what a lane, a move of either operand, a halving and the last rounding may take away."""
    random = np.random.default_rng(1)
    part = Fraction(1, 2) if rounding == "nearest" else Fraction(1)
    wrong = 0
    for _ in range(30):
        group = random_group(random, lanes=4, slices=int(random.integers(4, 40)), kind=kind)
        places, products = golden.dot(*group.operands[:4], rounding=rounding)
        total, bound = Sum(np.int64(0), np.int64(0)), Fraction(0)
        for step, power in enumerate(group.significance):
            total = golden.add(total, places[step], products[step], int(power), rounding=rounding)
            eighth = Fraction(2) ** (int(total.exponent) - golden.UNIT - 3)
            bound += 4 * part * Fraction(2) ** (int(places[step]) - golden.UNIT + int(power))
            bound += (2 + part) * eighth
        result = golden.mantissa(total, rounding=rounding)
        bound += part * Fraction(2) ** (int(result.exponent) - golden.UNIT)
        assert abs(int(result.value)) <= 1 << golden.MANTISSA
        wanted = exact(group)
        wrong += worth(result) != wanted
        assert abs(worth(result) - wanted) <= bound
    assert wrong or kind == "cancelling"


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_exact_when_nothing_is_lost(rounding):
    """Small whole numbers: their sums fit."""
    random = np.random.default_rng(2)
    for slices in range(1, 60):
        group = random_group(random, lanes=4, slices=slices, kind="bits")
        group.activations = random.integers(-8, 9, (slices, 4)).astype(np.float16).view(np.uint16)
        group.significance = random.integers(0, 2, slices)
        result = golden.group_sum(*group.operands, rounding=rounding)
        assert worth(result) == exact(group)


def test_nearest_is_closer():
    random = np.random.default_rng(3)
    groups = [random_group(random, lanes=4, slices=64, kind="normal") for _ in range(60)]
    error = {}
    for rounding in ROUNDINGS:
        relative = [
            (worth(golden.group_sum(*g.operands, rounding=rounding)) - exact(g)) / abs(exact(g))
            for g in groups
        ]
        error[rounding] = float(np.sqrt(np.mean([float(r) ** 2 for r in relative])))
    assert error["nearest"] < error["truncate"] / 2 < 2e-3


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_slices_of_nothing_change_nothing(rounding):
    random = np.random.default_rng(4)
    for kind in KINDS:
        group = random_group(random, lanes=4, slices=20, kind=kind)
        wanted = golden.group_result(*group.operands, 77, rounding=rounding)
        group.activations = np.insert(group.activations, 7, 0x7BFF, axis=0)
        for name in ("sign", "exponent", "man"):
            setattr(group, name, np.insert(getattr(group, name), 7, 0, axis=0))
        group.significance = np.insert(group.significance, 7, 6)
        assert golden.group_result(*group.operands, 77, rounding=rounding) == wanted


def test_greater_exponent_comes_later_or_earlier():
    """The smaller operand is the one that moves, whichever it is: the published draft gives 16,000 for the first."""
    for order in ((20, 10), (10, 20)):
        total = Sum(np.int64(0), np.int64(0))
        for exponent in order:
            total = golden.add(total, np.int64(exponent), np.int64(8000), 0, rounding="nearest")
        result = golden.mantissa(total, rounding="nearest")
        assert (result.value, result.exponent) == (8008, 20)


@given(st.integers(-(1 << 20), 1 << 20), st.integers(0, 25))
def test_move_right(value, places):
    exactly = Fraction(value, 1 << places)
    assert golden.move_right(np.int64(value), np.int64(places), "nearest") == round(exactly)
    assert golden.move_right(np.int64(value), np.int64(places), "truncate") == exactly.__floor__()


def test_float32_is_exact():
    random = np.random.default_rng(5)
    mantissa = np.concatenate(
        [np.arange(-5, 6), [1 << 14, -(1 << 14)], random.integers(-(1 << 14), 1 << 14, 500)]
    )
    exponent = random.integers(0, 50, len(mantissa))
    for scale in (0, 1, 2, 127, 128, 255, *random.integers(0, 256, 20)):
        bits = golden.float32(Sum(mantissa, exponent), np.int64(scale))
        wanted = mantissa * int(scale) * 2.0 ** (exponent - golden.UNIT)
        assert np.array_equal(bits.view(np.float32).astype(np.float64), wanted)
        assert not np.any(bits[wanted == 0])


def wanted(groups, rounding):
    return [int(golden.group_result(*g.operands, g.scale, rounding=rounding)) for g in groups]


def compare(groups, *, lanes=4, rounding="nearest"):
    inputs, due = stimulus(groups, lanes=lanes)
    outputs = run_component(FloatElement(lanes=lanes, rounding=rounding), inputs)
    assert check(inputs, outputs, due) == wanted(groups, rounding)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("lanes", LANES)
def test_hardware(lanes, rounding):
    """Groups of every kind, back to back, some 8 cycles long."""
    random = np.random.default_rng(lanes)
    slices = [8, 8, 8, 9, 16, 33]
    compare(
        [
            random_group(random, lanes=lanes, slices=int(random.choice(slices)), kind=kind)
            for _ in range(8)
            for kind in KINDS
        ],
        lanes=lanes,
        rounding=rounding,
    )


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_hardware_at_its_ends(rounding):
    """The greatest sums of one sign, sums of -1, 0 and 1, and the scales at their ends, 8 cycles apart."""
    groups = []
    for sign in (0, 1):
        for scale in (0, 1, 128, 255):
            for activation, exponent, power, man in (
                (0x7FFF, 3, 6, 1), (0x7BFF, 3, 6, 1), (0x0001, 0, 0, 1), (0x8000, 3, 6, 1), (0x7BFF, 3, 6, 0)
            ):  # fmt: skip
                shape = (8, 4)
                term = np.zeros(shape, int)
                term[0, 0] = man
                many = np.full(shape, man)
                for mans in (many, term):
                    groups.append(
                        Group(
                            np.full(shape, activation), np.full(shape, sign), np.full(shape, exponent), mans,
                            np.full(8, power), scale,
                        )
                    )  # fmt: skip
    compare(groups, rounding=rounding)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_hardware_over_all_distances(rounding):
    """A sum and an addend any number of places apart, in either order and of either sign; sums that have outgrown their bits."""
    random = np.random.default_rng(6)
    groups = []
    for distance in range(30):
        for order in (1, -1):
            group = random_group(random, lanes=4, slices=8, kind="bits")
            field = np.repeat([30, 30 - distance][::order], 4)
            group.activations = field[:, None] << 10 | random.integers(0, 1024, (8, 4))
            group.sign[:] = group.sign[:, :1]
            group.exponent[:], group.man[:], group.significance[:] = 0, 1, random.integers(0, 7)
            groups.append(group)
    compare(groups, rounding=rounding)


def test_hardware_where_an_addend_is_halved_with_the_sum():
    """Two slices that outgrow the sum, and then one with few ones: of what it loses, all that is lost decides a tie."""
    random = np.random.default_rng(9)
    groups = []
    for _ in range(250):
        group = random_group(random, lanes=4, slices=8, kind="bits")
        group.activations = 25 << 10 | random.integers(0, 1024, (8, 4))
        ones, place = random.integers(8), random.integers(9)
        group.activations[2:] = 25 - random.integers(3, 16) << 10 | ones << place & 1023
        group.sign[:2] = 0
        group.exponent[:], group.significance[:], group.scale, group.gaps = 0, 0, 1, ()
        group.man[:], group.man[2, 1:], group.man[3:] = 1, 0, 0
        groups.append(group)
    compare(groups)


@st.composite
def drawn_groups(draw):
    groups = []
    for _ in range(draw(st.integers(1, 4))):
        slices = draw(st.integers(8, 12))
        table = [
            draw(st.lists(values, min_size=4 * slices, max_size=4 * slices))
            for values in (
                st.one_of(st.integers(0, 0xFFFF), st.sampled_from(SPECIAL.tolist())),
                st.integers(0, 1), st.integers(0, 3), st.integers(0, 1),
            )
        ]  # fmt: skip
        groups.append(
            Group(
                *(np.array(values).reshape(slices, 4) for values in table),
                significance=np.array(draw(st.lists(st.integers(0, 6), min_size=slices, max_size=slices))),
                scale=draw(st.integers(0, 255)),
                gaps=tuple(draw(st.lists(st.integers(0, slices - 1), max_size=3))),
            )
        )
    return groups


@settings(max_examples=25)
@given(drawn_groups(), st.sampled_from(ROUNDINGS))
def test_hardware_on_drawn_groups(groups, rounding):
    compare(groups, rounding=rounding)


@pytest.fixture(scope="module")
def netlist():
    """Of the element that rounds to nearest, as in the table of figures."""
    rtlil = to_rtlil(FloatElement(), name="top")
    return synthesise(rtlil, name="top", flow=Flow(dsp=False))


def test_netlist(netlist):
    """Synthesis puts the gated adders into carry cells of ours."""
    random = np.random.default_rng(8)
    groups = [random_group(random, lanes=4, slices=8, kind=kind) for kind in KINDS for _ in range(3)]
    inputs, due = stimulus(groups, lanes=4)
    outputs = run_mapped(json.loads(netlist.netlist)["modules"]["top"], inputs)
    assert check(inputs, outputs, due) == wanted(groups, "nearest")


def test_area(netlist):
    """Less than the published blocks take, and less than 2.4 of the MACs that it does the work of."""
    luts, carries = netlist.count("LUT4"), netlist.count("CCU2C")
    assert luts + 2 * carries <= 939
    assert 2.4 * luts / 2 <= 1159


def test_definition_takes_many_groups_at_once():
    random = np.random.default_rng(7)
    groups = [random_group(random, lanes=4, slices=12, kind=kind) for kind in KINDS]
    for group in groups:
        group.significance = groups[0].significance
    stacked = [
        np.stack([getattr(g, name) for g in groups]) for name in ("activations", "sign", "exponent", "man")
    ]
    scales = np.array([g.scale for g in groups])
    together = golden.group_result(*stacked, groups[0].significance, scales)
    assert together.dtype == np.uint32
    assert together.tolist() == [int(golden.group_result(*g.operands, g.scale)) for g in groups]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"lanes": 3}, ValueError, "lanes must be one of 1, 2, 4, 8, not 3"),
        ({"lanes": 4.0}, TypeError, "float"),
        ({"rounding": "up"}, ValueError, "rounding must be one of nearest, truncate, not 'up'"),
    ],
)
def test_wrong_parameters(arguments, error, text):
    with pytest.raises(error, match=text):
        FloatElement(**arguments)


def test_wrong_rounding_of_the_definition():
    with pytest.raises(ValueError, match="rounding must be one of nearest, truncate, not 'up'"):
        golden.check_rounding("up")
