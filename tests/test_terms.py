# amaranth: UnusedElaboratable=no
"""Terms of bit-serial weights: the definition against published vectors, the encoder against the definition.

``vectors/bitmod_terms.npz``: terms (sign, exponent, man, significance) that the public RTL of BitMoD gives for INT8 and INT6
(yc2367/BitMoD at b18cacb, ``hardware/pe/decoder.v``, executed), and those of the paper's table IV for FP4 magnitudes.
"""

from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator
from mapped import run_component, run_mapped
from test_block_ram import synthesised

from hw.pe.term_tables import TableEncoder
from hw.pe.terms import LaneEncoder, TermEncoder, format_set
from hw.pe.weight_format import WeightFormat, special_value
from hw.timing import TERM_ENCODER
from sim import bit_serial

FORMATS = tuple(WeightFormat)
VECTORS = np.load(Path(__file__).parent / "vectors" / "bitmod_terms.npz")
SPECIALS = [s for s in range(-31, 32) if abs(s).bit_count() <= 2]


def name(format):
    return format.name.lower()


@pytest.mark.parametrize("bits", [8, 6])
def test_definition_of_integers(bits):
    for number, expected in zip(VECTORS[f"int{bits}/value"], VECTORS[f"int{bits}/terms"], strict=True):
        assert bit_serial.integer_terms(int(number), bits) == [tuple(term) for term in expected.tolist()]


def test_definition_of_magnitudes():
    for number, expected in zip(VECTORS["fp4/halves"], VECTORS["fp4/terms"], strict=True):
        assert bit_serial.magnitude_terms(0, int(number)) == [tuple(term) for term in expected.tolist()]


@pytest.mark.parametrize("format", FORMATS)
def test_terms_sum_to_the_value(format):
    for code in range(1 << format.bits):
        for special in SPECIALS if format.floating else [0]:
            terms = bit_serial.terms(code, name(format), special)
            assert len(terms) == format.terms
            weight = bit_serial.value(code, name(format), special)
            assert sum(map(bit_serial.term_value, terms)) == weight
            assert format.values[0] <= weight <= format.values[1]


@pytest.mark.parametrize("bits", [2, 3, 5, 6, 8])
def test_booth_digits_add_up(bits):
    digits = -(-bits // 2)
    for value in range(-(1 << bits - 1), 1 << bits - 1):
        terms = bit_serial.integer_terms(value, bits)
        assert [low for *_, low in terms] == [2 * place for place in range(digits)]
        found = [bit_serial.term_value((sign, exponent, man, 0)) for sign, exponent, man, _ in terms]
        assert set(found) <= {-2, -1, 0, 1, 2}
        assert sum(digit * 4**place for place, digit in enumerate(found)) == value


def test_three_ones_are_no_weight():
    for magnitude in range(32):
        if magnitude.bit_count() > 2:
            with pytest.raises(ValueError, match=f"not {magnitude}$"):
                bit_serial.magnitude_terms(0, magnitude)
            with pytest.raises(ValueError, match=rf"no more than 2 ones .*, not -{magnitude}$"):
                special_value(-magnitude)
        else:
            assert special_value(-magnitude) == (int(magnitude > 0), magnitude)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: special_value(32), ValueError, "a special value must be -31 to 31 .*, not 32"),
        (lambda: special_value(1.0), TypeError, "integer"),
        (lambda: TermEncoder(lanes=0, formats=FORMATS), ValueError, "lanes must be 1 or more, not 0"),
        (lambda: TermEncoder(lanes="4", formats=FORMATS), TypeError, "integer"),
        (lambda: format_set([]), ValueError, r"formats must be at least one WeightFormat, not \[\]"),
        (lambda: format_set(["fp4"]), TypeError, "formats must be members of WeightFormat, not 'fp4'"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def encoded(encoder, weights):
    """Terms of each cycle: ``weights`` are cycle of the start, codes of all lanes, format and special value."""
    starts = {cycle: rest for cycle, *rest in weights}
    seen = []

    async def bench(ctx):
        for cycle in range(max(starts) + TERM_ENCODER + 6):
            ctx.set(encoder.start, cycle in starts)
            codes, format, special = starts.get(cycle, ([0x5A] * len(encoder.codes), FORMATS[0], -3))
            sign, magnitude = special_value(special)
            ctx.set(encoder.special, {"sign": sign, "magnitude": magnitude})
            ctx.set(encoder.format, format)
            for lane, code in enumerate(codes):
                ctx.set(encoder.codes[lane], code)
            significance = ctx.get(encoder.significance)
            terms = [ctx.get(term) for term in encoder.terms]
            seen.append([(t.sign, t.exponent, t.man, significance) for t in terms])
            await ctx.tick()

    simulator = Simulator(encoder)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("alone", "kind"), [(True, TermEncoder), (False, TermEncoder), (False, TableEncoder)]
)
def test_encoder(format, alone, kind):
    """Every code, with every special value, without a gap; what stands above the code's bits does not matter."""
    lanes, random = 16, np.random.default_rng(format.value)
    pairs = [(c, s) for s in (SPECIALS if format.floating else [0]) for c in range(1 << format.bits)]
    rows = [pairs[i : i + lanes] for i in range(0, len(pairs), lanes)]
    if format.floating:  # a special value is shared by the lanes
        codes = list(range(1 << format.bits))
        rows = [[(c, s) for c in (codes * lanes)[:lanes]] for s in SPECIALS]
    weights = [
        (
            1 + i * format.terms,
            [c | int(random.integers(256)) << format.bits & 255 for c, _ in row],
            format,
            row[0][1],
        )
        for i, row in enumerate(rows)
    ]
    seen = encoded(kind(lanes=lanes, formats=[format] if alone else FORMATS), weights)
    for (cycle, *_), row in zip(weights, rows, strict=True):
        got = list(zip(*seen[cycle + TERM_ENCODER : cycle + TERM_ENCODER + format.terms], strict=True))
        assert got == [tuple(bit_serial.terms(code, name(format), special)) for code, special in row]
    assert all(
        term[2] == 0 for cycle in seen[weights[-1][0] + TERM_ENCODER + format.terms :] for term in cycle
    )


@pytest.mark.parametrize("kind", [TermEncoder, TableEncoder])
def test_encoder_changes_formats(kind):
    """Weights of any formats in turn, with and without gaps: each as alone."""
    random, cycle, weights = np.random.default_rng(3), 0, []
    for _ in range(200):
        format = FORMATS[random.integers(len(FORMATS))]
        weights.append((cycle, random.integers(256, size=2).tolist(), format, int(random.choice(SPECIALS))))
        cycle += format.terms + int(random.integers(3))
    seen = encoded(kind(lanes=2, formats=FORMATS), weights)
    for cycle, codes, format, special in weights:
        for lane, code in enumerate(codes):
            terms = bit_serial.terms(code % (1 << format.bits), name(format), special)
            assert [seen[cycle + TERM_ENCODER + i][lane] for i in range(format.terms)] == terms


def test_encoder_mapped():
    module, _ = synthesised(LaneEncoder(formats=frozenset(FORMATS)))
    random = np.random.default_rng(5)
    stimulus = [
        {
            "start": int(random.integers(2)), "code": int(random.integers(256)), "first": int(random.integers(2)),
            "format": int(random.integers(len(FORMATS))), "special": int(random.integers(64)),
        }
        for _ in range(300)
    ]  # fmt: skip
    assert run_mapped(module, stimulus) == run_component(LaneEncoder(formats=frozenset(FORMATS)), stimulus)
