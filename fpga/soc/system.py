# amaranth: UnusedElaboratable=no
"""A whole board: accelerator, memory, registers, link. ``System`` has a UART, ``ByteSystem`` streams of bytes in its place."""

from __future__ import annotations

import operator
from typing import TypeVar

from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from fpga.soc import registers
from fpga.soc.board import BoardRegisters
from fpga.soc.bus import Decoder, LiteBridge, lite_pins
from fpga.soc.link import Link, Silence
from fpga.soc.memory import Memory, axi_pins
from fpga.soc.sdram import Sdram
from fpga.soc.uart import ReceiveBuffer, UartReceiver, UartTransmitter, divisor_of
from gen.config import Config
from gen.generate import accelerator as make_accelerator

RECEIVE_BUFFER = 512
"""Bytes that wait behind a read's answer; a block RAM."""

SILENCE = 0.1
"""Seconds of silence after which half a command is forgotten."""

_RESET = "accelerator"
"""Domain of all that the register ``reset`` resets; its clock is that of ``sync``."""

BoardMemory = Memory | Sdram
"""What may lie behind the accelerator's port."""

_STREAMS = {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))}


def _part_pins(memory: BoardMemory) -> dict:
    """The member that a memory outside of the device needs."""
    return {"sdram": memory.signature.members["sdram"]} if isinstance(memory, Sdram) else {}


def _timing_word(memory: BoardMemory) -> int:
    """An SDRAM has no fixed timing: which rows are open and when it is refreshed decides."""
    if isinstance(memory, Sdram):
        return registers.timing_word(None)
    return registers.timing_word(memory.timing, single_port=memory.single_port)


def _join_part(m: Module, outer, inner) -> None:
    if hasattr(outer, "sdram"):
        wiring.connect(m, wiring.flipped(outer.sdram), inner.sdram)


class _Core(wiring.Component):
    """What both systems share: everything behind the streams of bytes.

    Members
    -------
    i, o : streams of bytes
    forget, waiting : of ``Link``
    framing, overrun : In(1), of the receiver
    reset : Out(1)
        To be the reset of the domain ``accelerator``, together with that of ``sync``.
    active : Out(1)
        A command or a program is under way.
    """

    def __init__(
        self, *, accelerator: wiring.Component, memory: BoardMemory, clock_hz: int, baud: int, digest: str
    ) -> None:
        self._accelerator, self._memory = accelerator, memory
        width, wanted = len(memory.s_axi_rdata), len(accelerator.m_axi_rdata)
        if width != wanted:
            raise ValueError(
                f"memory must be as wide as the accelerator's bus of {wanted} bits, not {width!r}"
            )
        self._board = BoardRegisters(
            digest=digest,
            clock_hz=clock_hz,
            memory_bytes=memory.size,
            baud=baud,
            memory_timing=_timing_word(memory),
        )
        super().__init__(
            {
                **_STREAMS,
                **{name: In(1) for name in ("forget", "framing", "overrun")},
                **{name: Out(1) for name in ("waiting", "reset", "active")},
                **_part_pins(memory),
            }
        )

    def elaborate(self, platform):
        del platform
        m = Module()
        accelerator, memory, board = self._accelerator, self._memory, self._board
        # The part whose memory has one port is the one with few cells.
        narrow = isinstance(memory, Memory) and memory.single_port
        # A bit more than the memory and a command have: behind the memory's last word comes nothing.
        counted = max(ceil_log2(memory.size // 4), 8) + 1
        m.submodules.link = link = Link(counted=counted, crc_bits=1 if narrow else 8)
        m.submodules.board = board
        m.submodules.bridge = bridge = LiteBridge()
        renamed = DomainRenamer(_RESET)
        m.submodules.accelerator = renamed(accelerator)
        if isinstance(memory, Sdram):
            # Its refreshes go on while the accelerator is reset.
            m.submodules.memory = memory
            m.d.comb += memory.restart.eq(ResetSignal(_RESET))
        else:
            m.submodules.memory = renamed(memory)
        m.submodules.decoder = decoder = Decoder(
            regions={
                "memory": (0, ceil_log2(memory.size)),
                "board": (registers.BOARD_BASE, registers.REGION_BITS),
                "accelerator": (registers.ACCELERATOR_BASE, registers.REGION_BITS),
            }
        )
        wiring.connect(m, link.bus, decoder.initiator)
        wiring.connect(m, decoder.memory, memory.bus)
        wiring.connect(m, decoder.board, board.bus)
        wiring.connect(m, decoder.accelerator, bridge.bus)
        wiring.connect(m, wiring.flipped(self.i), link.i)
        wiring.connect(m, link.o, wiring.flipped(self.o))
        self._pins(m, bridge, "m_axil_", accelerator, "s_axil_", lite_pins())
        axi = axi_pins(data_bytes=len(memory.s_axi_wstrb), address_width=len(memory.s_axi_araddr))
        self._pins(m, memory, "s_axi_", accelerator, "m_axi_", axi)
        m.d.comb += [link.forget.eq(self.forget), self.waiting.eq(link.waiting), self.reset.eq(board.reset)]
        _join_part(m, self, memory)
        self._status(m, link, bridge)
        return m

    @staticmethod
    def _pins(m: Module, here, prefix: str, there, other: str, pins: dict) -> None:
        for name, pin in pins.items():
            mine, theirs = getattr(here, prefix + name), getattr(there, other + name)
            m.d.comb += mine.eq(theirs) if pin.flow is In else theirs.eq(mine)

    def _status(self, m: Module, link: Link, bridge: LiteBridge) -> None:
        """What is noted in ``link_errors``; ``active``."""
        board = self._board
        seen = {
            "unmapped": link.unmapped,
            "refused": link.refused,
            "unknown": link.unknown,
            "forgotten": link.forgotten,
            "framing": self.framing,
            "overrun": self.overrun,
        }
        m.d.comb += board.errors.eq(Cat(seen[name] for name, _ in registers.LINK_ERRORS))
        running, before = Signal(), Signal()
        m.d.sync += before.eq(self._accelerator.interrupt)
        with m.If(bridge.started):
            m.d.sync += running.eq(1)
        with m.If((self._accelerator.interrupt & ~before) | board.reset):
            m.d.sync += running.eq(0)
        m.d.comb += self.active.eq(~link.idle | running | self.i.valid | self.o.valid)


def _domains(m: Module, system, core: _Core) -> None:
    """``sync``, and ``accelerator`` on the same clock with a reset of its own."""
    m.domains.sync = sync = ClockDomain(local=True)
    m.domains.accelerator = reset = ClockDomain(_RESET, local=True)
    sync.clk = reset.clk = system.clk
    sync.rst = system.rst
    # A register alone, since it reaches everything, with another before it; the reset of ``sync`` sets it.
    asked, held = Signal(), Signal(init=1)
    m.d.sync += [asked.eq(core.reset), held.eq(asked)]
    m.d.comb += reset.rst.eq(held)


class ByteSystem(wiring.Component):
    """A board whose link is streams of bytes: the virtual board.

    Parameters
    ----------
    accelerator : Component
        With the ports of ``hw.accelerator``.
    memory : Memory or Sdram
    clock_hz, baud : int
        What its registers show.
    digest : str
        Of the accelerator's configuration.

    Members
    -------
    clk, rst : In(1), the clock and its synchronous reset
    i, o : streams of bytes, from and to the host
    forget : In(1)
        The host has been silent for ``SILENCE`` seconds: half a command is forgotten.
    active : Out(1)
        Something is under way: while it is low and no byte comes, nothing changes but the refreshes of an SDRAM.
    sdram : Out(``pins_signature``), where ``memory`` is one

    Raises
    ------
    TypeError, ValueError
        As the parts; or memory and accelerator have buses of different widths.
    """

    def __init__(
        self, *, accelerator: wiring.Component, memory: BoardMemory, clock_hz: int, baud: int, digest: str
    ) -> None:
        self._core = _Core(
            accelerator=accelerator, memory=memory, clock_hz=clock_hz, baud=baud, digest=digest
        )
        ports = {"clk": In(1), "rst": In(1), **_STREAMS, "forget": In(1), "active": Out(1)}
        super().__init__({**ports, **_part_pins(memory)})

    def elaborate(self, platform):
        del platform
        m = Module()
        m.submodules.core = core = self._core
        _domains(m, self, core)
        _join_part(m, self, core)
        wiring.connect(m, wiring.flipped(self.i), core.i)
        wiring.connect(m, core.o, wiring.flipped(self.o))
        m.d.comb += [core.forget.eq(self.forget), self.active.eq(core.active)]
        return m


class System(wiring.Component):
    """A board with a UART.

    Parameters
    ----------
    accelerator, memory, clock_hz, baud, digest
        As of ``ByteSystem``; the UART runs at ``baud`` on a clock of ``clock_hz``.
    silence : int, optional
        Cycles of silence after which half a command is forgotten; by default those of ``SILENCE`` seconds.

    Members
    -------
    clk, rst : In(1), the clock and its synchronous reset
    rx, tx : In(1), Out(1), the line from and to the host
    active : Out(1), something is under way: for a light
    sdram : Out(``pins_signature``), where ``memory`` is one

    Raises
    ------
    TypeError, ValueError
        As of ``ByteSystem``; or ``baud`` cannot be made from ``clock_hz``.
    """

    def __init__(
        self,
        *,
        accelerator: wiring.Component,
        memory: BoardMemory,
        clock_hz: int,
        baud: int,
        digest: str,
        silence: int | None = None,
    ) -> None:
        self._divisor = divisor_of(clock_hz=clock_hz, baud=baud)
        self._silence = operator.index(round(clock_hz * SILENCE) if silence is None else silence)
        self._core = _Core(
            accelerator=accelerator, memory=memory, clock_hz=clock_hz, baud=baud, digest=digest
        )
        ports = {"clk": In(1), "rst": In(1), "rx": In(1), "tx": Out(1, init=1), "active": Out(1)}
        super().__init__({**ports, **_part_pins(memory)})

    def elaborate(self, platform):
        del platform
        m = Module()
        m.submodules.core = core = self._core
        m.submodules.receiver = receiver = UartReceiver(divisor=self._divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(divisor=self._divisor)
        m.submodules.silence = silence = Silence(cycles=self._silence)
        m.submodules.buffer = buffer = ReceiveBuffer(depth=RECEIVE_BUFFER)
        _domains(m, self, core)
        _join_part(m, self, core)
        wiring.connect(m, receiver.o, buffer.i)
        wiring.connect(m, buffer.o, core.i)
        wiring.connect(m, core.o, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            core.framing.eq(receiver.framing),
            core.overrun.eq(receiver.overrun),
            silence.waiting.eq(core.waiting),
            core.forget.eq(silence.over),
            self.active.eq(core.active),
        ]
        return m


Kind = TypeVar("Kind", System, ByteSystem)


def of_config(kind: type[Kind], config: Config, *, memory: BoardMemory, clock_hz: int, baud: int) -> Kind:
    """The system around the accelerator of ``config``."""
    return kind(
        accelerator=make_accelerator(config),
        memory=memory,
        clock_hz=clock_hz,
        baud=baud,
        digest=config.digest,
    )
