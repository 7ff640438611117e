"""Dividers of the phase-locked loops of three families: which clock comes of which, exactly.

Bounds and formulas: Lattice FPGA-DS-02012 and FPGA-TN-02200 (ECP5, EHXPLLL), FPGA-DS-02008 and FPGA-TN-02052 (iCE40,
SB_PLL40), Gowin DS117 and UG286 (rPLL of a GW1NR-9, C6/I5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from operator import index

from fpga.parts import ECP5, GOWIN, ICE40

MEGA = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Frequencies in Hz, each as lowest and highest: of the reference, the detector, the oscillator and the output."""

    reference: tuple[int, int]
    detector: tuple[int, int]
    oscillator: tuple[int, int]
    output: tuple[int, int]


def _bounds(*megahertz: tuple[float, float]) -> Bounds:
    reference, detector, oscillator, output = ((int(a * MEGA), int(b * MEGA)) for a, b in megahertz)
    return Bounds(reference=reference, detector=detector, oscillator=oscillator, output=output)


BOUNDS = {
    ECP5: _bounds((8, 400), (10, 400), (400, 800), (3.125, 400)),
    ICE40: _bounds((10, 133), (10, 133), (533, 1066), (16, 275)),
    GOWIN: _bounds((3, 400), (3, 400), (400, 1200), (3.125, 600)),
}
"""By family."""

# Of each family: divider of the reference, factor of the loop (an ECP5's is bounded by its oscillator), divider of that.
_REFERENCE = {ECP5: range(1, 129), ICE40: range(1, 17), GOWIN: range(1, 65)}
_LOOP = {ICE40: range(1, 129), GOWIN: range(1, 65)}
_OUTPUT: Mapping[str, tuple[int, ...]] = {
    ECP5: tuple(range(1, 129)),
    ICE40: (2, 4, 8, 16, 32, 64),
    GOWIN: (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
}

# Upper end of the detector's frequency for each value of FILTER_RANGE, from 1.
_FILTERS = (17, 26, 44, 66, 101, 133)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A loop that makes ``output_hz`` of ``input_hz``.

    The oscillator runs at ``input_hz / reference * loop * feedback``, and its output is divided by ``output``: ``feedback``
    is the divider between oscillator and loop, on an iCE40 1, on a Gowin part ``output``, on an ECP5 that of a second output.
    """

    family: str
    input_hz: int
    output_hz: int
    reference: int
    loop: int
    feedback: int
    output: int

    @property
    def detector_hz(self) -> float:
        """Of the reference where it is compared."""
        return self.input_hz / self.reference

    @property
    def oscillator_hz(self) -> int:
        """Whole, as the output is."""
        return self.output_hz * self.output

    @property
    def text(self) -> str:
        """In words."""
        factor = self.loop * self.feedback
        return (
            f"{megahertz(self.input_hz)} MHz / {self.reference} x {factor} / {self.output} = "
            f"{megahertz(self.output_hz)} MHz"
        )

    @property
    def filter_range(self) -> int:
        """FILTER_RANGE of an iCE40."""
        return next(n for n, most in enumerate(_FILTERS, 1) if self.detector_hz <= most * MEGA)


def megahertz(hertz: int) -> str:
    """``hertz`` as MHz, exactly, without zeros at its end."""
    return f"{hertz // MEGA}.{hertz % MEGA:06}".rstrip("0").rstrip(".")


@cache
def _all(family: str, input_hz: int) -> Mapping[int, Settings]:
    """The loop for every output of whole Hz that there is: detector, then oscillator as fast as can be."""
    found: dict[int, Settings] = {}
    for one in _loops(family, input_hz):
        best = found.get(one.output_hz)
        if best is None or (one.detector_hz, one.oscillator_hz) > (best.detector_hz, best.oscillator_hz):
            found[one.output_hz] = one
    return dict(sorted(found.items()))


def _loops(family: str, input_hz: int) -> Iterator[Settings]:
    bounds = BOUNDS[family]
    if not bounds.reference[0] <= input_hz <= bounds.reference[1]:
        return
    for reference, output in product(_REFERENCE[family], _OUTPUT[family]):
        if not bounds.detector[0] <= input_hz / reference <= bounds.detector[1]:
            continue
        for loop, feedback in _factors(family, output):
            hertz, rest = divmod(input_hz * loop * feedback, reference * output)
            if (
                rest == 0
                and bounds.output[0] <= hertz <= bounds.output[1]
                and bounds.oscillator[0] <= hertz * output <= bounds.oscillator[1]
            ):
                yield Settings(
                    family=family, input_hz=input_hz, output_hz=hertz, reference=reference, loop=loop,
                    feedback=feedback, output=output,
                )  # fmt: skip


def _factors(family: str, output: int) -> Iterator[tuple[int, int]]:
    """Factor of the loop and divider before it, each product once."""
    if family == ECP5:
        # The second output, which feeds the loop, is slow enough by half; a prime is all its.
        most = BOUNDS[ECP5].oscillator[1] // BOUNDS[ECP5].detector[0]
        for factor in range(2, most + 1):
            feedback = next(one for one in range(2, factor + 1) if factor % one == 0)
            yield factor // feedback, feedback
    else:
        yield from ((loop, output if family == GOWIN else 1) for loop in _LOOP[family])


def outputs(family: str, input_hz: int) -> list[int]:
    """Every frequency of whole Hz that a loop makes of ``input_hz``, from the lowest, and ``input_hz`` itself."""
    return sorted({*_all(family, input_hz), input_hz})


def settings(family: str, *, input_hz: int, output_hz: int) -> Settings | None:
    """The loop that makes ``output_hz`` of ``input_hz``; None if they are equal, where none is needed.

    Raises
    ------
    ValueError
        The family has no such loop, or no dividers make that frequency exactly; the text names those next to it.
    """
    if family not in BOUNDS:
        raise ValueError(f"family must be one of {', '.join(BOUNDS)}, not {family!r}")
    input_hz, output_hz = index(input_hz), index(output_hz)
    if output_hz == input_hz:
        return None
    found = _all(family, input_hz).get(output_hz)
    if found is None:
        near = [below(family, input_hz=input_hz, most_hz=output_hz), _above(family, input_hz, output_hz)]
        text = " or ".join(megahertz(one) for one in near if one is not None)
        raise ValueError(
            f"clock must be {text} MHz, the nearest that the part makes of {megahertz(input_hz)} MHz, "
            f"not {megahertz(output_hz)}"
        )
    return found


def below(family: str, *, input_hz: int, most_hz: float) -> int | None:
    """The highest of :func:`outputs` that is no higher than ``most_hz``; None if there is none."""
    return max((one for one in outputs(family, input_hz) if one <= most_hz), default=None)


def _above(family: str, input_hz: int, least_hz: int) -> int | None:
    return min((one for one in outputs(family, input_hz) if one >= least_hz), default=None)
