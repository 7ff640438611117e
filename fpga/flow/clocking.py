"""The clock of a board's design: its oscillator, through the part's phase-locked loop where another frequency is wanted."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from fpga.board import Board
from fpga.parts import ECP5, ICE40
from fpga.pll import Settings, megahertz, settings
from hw.delay import OWN

SETTLING = 16e-6
"""Seconds of reset after the clock is steady: block RAM of an iCE40 reads zeros for its first 3 microseconds."""


class Clocking(Elaboratable):
    """A clock, and a reset until it has been steady for ``SETTLING``.

    Parameters
    ----------
    board : Board
    clock_hz : int
        The oscillator's own, or one that :func:`fpga.pll.settings` finds.

    Attributes
    ----------
    clk, rst : Signal
        For a domain of the top.

    Raises
    ------
    ValueError
        The part cannot make that clock.
    """

    def __init__(self, *, board: Board, clock_hz: int) -> None:
        self._board, self._clock_hz = board, clock_hz
        self._settings = settings(board.resources.family, input_hz=board.clock_hz, output_hz=clock_hz)
        self.clk = Signal()
        self.rst = Signal(init=1, attrs=OWN)

    def elaborate(self, platform):
        m = Module()
        pin = platform.request(self._board.clock, dir="-")
        clock, steady = self.clk, Signal(name="steady")
        if self._settings and self._board.clock_is_pad:
            m.submodules.pll = _ice40(self._settings, pin.io, clock, steady, pad=True)
        else:
            m.submodules.pin = buffer = io.Buffer("i", pin)
            if self._settings is None:
                m.d.comb += [clock.eq(buffer.i), steady.eq(1)]
            else:
                make = {ECP5: _ecp5, ICE40: _ice40}.get(self._board.resources.family, _gowin)
                m.submodules.pll = make(self._settings, buffer.i, clock, steady)
        m.domains.raw = ClockDomain(reset_less=True, local=True)
        m.d.comb += ClockSignal("raw").eq(clock)
        cycles = int(SETTLING * self._clock_hz)
        left = Signal(range(cycles + 1), init=cycles)
        seen = Signal()
        m.submodules.seen = FFSynchronizer(steady, seen, o_domain="raw")
        with m.If(~seen):
            m.d.raw += left.eq(cycles)
        with m.Elif(left != 0):
            m.d.raw += left.eq(left - 1)
        # Where the clock is made and where the reset is wanted may be far apart.
        early = Signal(init=1, attrs=OWN)
        m.d.raw += [early.eq(left != 0), self.rst.eq(early)]
        return m


def _ecp5(loop: Settings, reference, clock: Signal, steady: Signal) -> Instance:
    fed_back = Signal()
    ports = ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP", "PHASELOADREG", "PLLWAKESYNC")
    return Instance(
        "EHXPLLL",
        # What the analogue parts want, as Lattice's tools and ecppll set them.
        a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB", p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
        p_CLKI_DIV=loop.reference, p_CLKFB_DIV=loop.loop, p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=loop.feedback, p_CLKOP_CPHASE=loop.feedback - 1, p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=loop.output, p_CLKOS_CPHASE=loop.output - 1, p_CLKOS_FPHASE=0,
        i_CLKI=reference, i_CLKFB=fed_back, o_CLKOP=fed_back, o_CLKOS=clock, o_LOCK=steady,
        **{f"i_{port}": Const(0, 1) for port in ports},
    )  # fmt: skip


def _ice40(loop: Settings, reference, clock: Signal, steady: Signal, *, pad: bool = False) -> Instance:
    given = {"io_PACKAGEPIN": reference} if pad else {"i_REFERENCECLK": reference}
    return Instance(
        "SB_PLL40_PAD" if pad else "SB_PLL40_CORE",
        p_FEEDBACK_PATH="SIMPLE",
        p_DIVR=Const(loop.reference - 1, 4),
        p_DIVF=Const(loop.loop - 1, 7),
        p_DIVQ=Const(loop.output.bit_length() - 1, 3),
        p_FILTER_RANGE=Const(loop.filter_range, 3),
        i_RESETB=Const(1, 1),
        i_BYPASS=Const(0, 1),
        o_PLLOUTGLOBAL=clock,
        o_LOCK=steady,
        **given,
    )


def _gowin(loop: Settings, reference, clock: Signal, steady: Signal) -> Instance:
    widths = {
        "CLKFB": 1,
        "RESET": 1,
        "RESET_P": 1,
        "FBDSEL": 6,
        "IDSEL": 6,
        "ODSEL": 6,
        "PSDA": 4,
        "DUTYDA": 4,
        "FDLY": 4,
    }
    return Instance(
        "rPLL",
        p_FCLKIN=megahertz(loop.input_hz), p_DEVICE="GW1NR-9C", p_CLKFB_SEL="internal",
        p_IDIV_SEL=loop.reference - 1, p_FBDIV_SEL=loop.loop - 1, p_ODIV_SEL=loop.output,
        p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false", p_DYN_DA_EN="false",
        p_PSDA_SEL="0000", p_DUTYDA_SEL="1000", p_DYN_SDIV_SEL=2,
        p_CLKOUT_BYPASS="false", p_CLKOUTP_BYPASS="false", p_CLKOUTD_BYPASS="false",
        p_CLKOUTD_SRC="CLKOUT", p_CLKOUTD3_SRC="CLKOUT",
        i_CLKIN=reference, o_CLKOUT=clock, o_LOCK=steady,
        **{f"i_{port}": Const(0, width) for port, width in widths.items()},
    )  # fmt: skip
