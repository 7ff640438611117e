"""The top of a board's design: clock, pins and one system, prepared by Amaranth's platform; its files, and their digest."""

from __future__ import annotations

from dataclasses import dataclass, field

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import Out

from fpga.board import SDRAM, Board, platform_of
from fpga.flow.clocking import Clocking
from fpga.parts import ECP5, GOWIN
from fpga.soc.sdram_pads import SdramPads, capture_of
from fpga.soc.sdram_part import SdramPart
from gen.rtlil import to_rtlil

TOP, SYSTEM = "top", "gatemill_system"


class BoardTop(Elaboratable):
    """``SYSTEM`` on the board's pins: a module with ``clk``, ``rst``, ``rx`` and ``tx``, and ``sdram`` where that is its memory.

    Parameters
    ----------
    board : Board
    clock_hz : int
        Of the system.
    """

    def __init__(self, *, board: Board, clock_hz: int) -> None:
        self._board, self._clock_hz = board, clock_hz
        self._clocking = Clocking(board=board, clock_hz=clock_hz)

    def elaborate(self, platform):
        m = Module()
        m.submodules.clocking = clocking = self._clocking
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal().eq(clocking.clk), ResetSignal().eq(clocking.rst)]
        uart = platform.request(
            self._board.uart, dir={"rx": "-", "tx": "-"} | _others(platform, self._board.uart)
        )
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        received = Signal()
        sent = Signal()
        m.d.comb += [received.eq(rx.i), tx.o.eq(sent)]
        part = self._board.sdram if self._board.memory == SDRAM else None
        pins = {} if part is None else self._sdram(m, platform, part)
        m.submodules.system = Instance(
            SYSTEM, i_clk=ClockSignal(), i_rst=ResetSignal(), i_rx=received, o_tx=sent, **pins
        )
        return m

    def _sdram(self, m: Module, platform, part: SdramPart) -> dict:
        """The pads of the SDRAM; what ``SYSTEM`` is joined to."""
        names = [sub.name for sub in platform.lookup("sdram").ios]
        ports = platform.request("sdram", dir=dict.fromkeys(names, "-"))
        _, falling = capture_of(part, clock_hz=self._clock_hz)
        m.submodules.pads = pads = SdramPads(part=part, ports=ports, falling=falling)
        return {
            f"{'i' if pin.flow is Out else 'o'}_sdram_{name}": getattr(pads.pins, name)
            for name, pin in pads.pins.signature.members.items()
        }


def _others(platform, name: str) -> dict[str, str]:
    """The lines of a serial port that nothing here uses, left alone."""
    return {sub.name: "-" for sub in platform.lookup(name).ios if sub.name not in ("rx", "tx")}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What synthesis and place and route take: RTLIL with module ``TOP``, constraints, and a digest of the platform's plan."""

    rtlil: str = field(repr=False)
    constraints: str
    digest: str


def prepare(board: Board, system: wiring.Component, *, clock_hz: int) -> Prepared:
    """The files of ``system`` (``rx`` and ``tx``) on ``board``, at ``clock_hz``.

    Raises
    ------
    ValueError
        The part cannot make that clock, or the board is not the one that its platform describes.
    """
    platform = platform_of(board)
    text = to_rtlil(system, name=SYSTEM, sources=True)
    platform.add_file(f"{SYSTEM}.il", text)
    plan = platform.prepare(BoardTop(board=board, clock_hz=clock_hz), TOP, emit_src=False)
    suffix = {ECP5: "lpf", GOWIN: "cst"}.get(board.resources.family, "pcf")
    return Prepared(
        rtlil=text + plan.files[f"{TOP}.il"],
        constraints=plan.files[f"{TOP}.{suffix}"],
        digest=plan.digest(32).hex(),
    )
