"""Loops: dividers within the data sheets' bounds, the exact frequency, and the nearest that there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpga.parts import ECP5, GOWIN, ICE40
from fpga.pll import BOUNDS, MEGA, below, megahertz, outputs, settings

# Dividers, and of the detector, the oscillator and the output the MHz, as the data sheets have them.
SHEETS = {
    ECP5: ((128, 128, 128), (10, 400), (400, 800), (3.125, 400)),
    ICE40: ((16, 128, 64), (10, 133), (533, 1066), (16, 275)),
    GOWIN: ((64, 64, 128), (3, 400), (400, 1200), (3.125, 600)),
}
OSCILLATORS = (12, 16, 25, 27, 48, 50, 100)


@pytest.mark.parametrize("family", SHEETS)
@given(data=st.data())
def test_every_loop_is_within_the_bounds(family, data):
    input_hz = data.draw(st.sampled_from(OSCILLATORS)) * MEGA
    found = [one for one in outputs(family, input_hz) if one != input_hz]
    output_hz = data.draw(st.sampled_from(found))
    loop = settings(family, input_hz=input_hz, output_hz=output_hz)
    (reference, factor, output), *bounds = SHEETS[family]
    assert 1 <= loop.reference <= reference
    assert 1 <= loop.loop <= factor
    assert 1 <= loop.output <= output
    assert 1 <= loop.feedback <= output
    oscillator = input_hz * loop.loop * loop.feedback / loop.reference
    for hertz, (low, high) in zip((input_hz / loop.reference, oscillator, output_hz), bounds, strict=True):
        assert low * MEGA <= hertz <= high * MEGA
    assert oscillator == loop.oscillator_hz
    assert input_hz * loop.loop * loop.feedback == output_hz * loop.output * loop.reference
    if family == ECP5:
        # The output that feeds the loop has its bounds, too.
        assert SHEETS[ECP5][3][0] * MEGA <= oscillator / loop.feedback <= SHEETS[ECP5][3][1] * MEGA
    if family == GOWIN:
        assert loop.feedback == loop.output


@pytest.mark.parametrize(
    ("family", "given_mhz", "wanted", "expected"),
    [
        (ECP5, 25, 100, (1, 16, 2, 8)),
        (ECP5, 25, 110, (1, 11, 2, 5)),
        (ECP5, 48, 96, (1, 8, 2, 8)),
        (ICE40, 12, 40.5, (1, 54, 1, 16)),
        (GOWIN, 27, 54, (1, 2, 16, 16)),
    ],
)
def test_loops_that_are_known(family, given_mhz, wanted, expected):
    loop = settings(family, input_hz=given_mhz * MEGA, output_hz=int(wanted * MEGA))
    assert (loop.reference, loop.loop, loop.feedback, loop.output) == expected
    assert loop.text.endswith(f"= {wanted:g} MHz")


def test_the_same_frequency_needs_no_loop():
    assert settings(ECP5, input_hz=25 * MEGA, output_hz=25 * MEGA) is None
    assert settings(ICE40, input_hz=12 * MEGA, output_hz=12 * MEGA) is None


def test_another_frequency_is_refused_with_its_neighbours():
    with pytest.raises(
        ValueError, match=r"clock must be 39\.75 or 40\.5 MHz, the nearest .* of 12 MHz, not 40$"
    ):
        settings(ICE40, input_hz=12 * MEGA, output_hz=40 * MEGA)
    with pytest.raises(ValueError, match=r"clock must be 400 MHz, .* not 1000$"):
        settings(ECP5, input_hz=25 * MEGA, output_hz=1000 * MEGA)
    with pytest.raises(ValueError, match="family must be one of ecp5, ice40, gowin, not 'xilinx'"):
        settings("xilinx", input_hz=25 * MEGA, output_hz=50 * MEGA)


def test_a_reference_out_of_bounds_makes_nothing():
    assert outputs(ICE40, 9 * MEGA) == [9 * MEGA]


@pytest.mark.parametrize("family", SHEETS)
def test_nearest_below(family):
    all_of_them = outputs(family, 25 * MEGA)
    limit = 93.4 * MEGA
    found = below(family, input_hz=25 * MEGA, most_hz=limit)
    assert found == max(one for one in all_of_them if one <= limit)
    assert below(family, input_hz=25 * MEGA, most_hz=found) == found
    assert below(family, input_hz=25 * MEGA, most_hz=1) is None


@pytest.mark.parametrize(("input_mhz", "expected"), [(12, 1), (25, 2), (40, 3), (50, 4), (75, 5), (120, 6)])
def test_filter_of_an_ice40_goes_by_the_detector(input_mhz, expected):
    """Reference: FPGA-TN-02052 and icepll."""
    loops = (
        settings(ICE40, input_hz=input_mhz * MEGA, output_hz=hz) for hz in outputs(ICE40, input_mhz * MEGA)
    )
    assert {loop.filter_range for loop in loops if loop and loop.reference == 1} == {expected}


def test_megahertz_are_exact():
    assert [megahertz(hz) for hz in (25_000_000, 39_750_000, 13_333_333, 400)] == [
        "25", "39.75", "13.333333", "0.0004",
    ]  # fmt: skip
    assert set(BOUNDS) == set(SHEETS)
