"""What a board's memory is kept in: block RAM, or the single-port RAM of an iCE40 UltraPlus."""

from __future__ import annotations

import operator

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

LATENCY = 2
"""Cycles from a read's address to its data: the RAM, then a register. One more where ``registered``."""

SPRAM_WORDS, SPRAM_BITS = 1 << 14, 16
"""Size of a single-port RAM; a part has four."""


def storage_members(*, beats: int, data_bytes: int) -> dict:
    """Members of every storage. In a cycle with ``read_enable`` the beat at ``read_address`` is read, its data comes ``latency``
    cycles later; the lanes of ``write_enable`` are written, and reads of later cycles see it. What is written while it is read
    may or may not be seen."""
    return {
        "read_enable": In(1),
        "read_address": In(ceil_log2(beats)),
        "read_data": Out(8 * data_bytes),
        "write_enable": In(data_bytes),
        "write_address": In(ceil_log2(beats)),
        "write_data": In(8 * data_bytes),
    }


def _check(beats: int, data_bytes: int) -> tuple[int, int]:
    if operator.index(data_bytes) not in (4, 8, 16, 32, 64):
        raise ValueError(f"data_bytes must be one of 4, 8, 16, 32, 64, not {data_bytes!r}")
    if operator.index(beats) < 2:
        raise ValueError(f"beats must be 2 or more, not {beats!r}")
    return operator.index(beats), operator.index(data_bytes)


class BlockStorage(wiring.Component):
    """Block RAM: a read and a write in every cycle.

    Parameters
    ----------
    beats, data_bytes : int
        Depth, 2 or more, and bytes of a word: 4 to 64.
    registered : bool
        Addresses, data and enables go through a register: the way to many blocks takes most of a cycle.

    Members
    -------
    See ``storage_members``.

    Raises
    ------
    TypeError, ValueError
        A size is not as above.
    """

    single_port = False
    """Whether a cycle that writes cannot read."""

    def __init__(self, *, beats: int, data_bytes: int, registered: bool = False) -> None:
        self.beats, self.data_bytes = _check(beats, data_bytes)
        self._registered = bool(registered)
        super().__init__(storage_members(beats=self.beats, data_bytes=self.data_bytes))

    @property
    def latency(self) -> int:
        """Cycles from a read's address to its data."""
        return LATENCY + self._registered

    def elaborate(self, platform):
        del platform
        m = Module()
        m.submodules.words = words = memory.Memory(shape=8 * self.data_bytes, depth=self.beats, init=[])
        write, read = words.write_port(granularity=8), words.read_port()
        kept = Signal(8 * self.data_bytes, reset_less=True)
        m.d.comb += [
            write.addr.eq(self._input(m, "write_address")),
            write.data.eq(self._input(m, "write_data")),
            write.en.eq(self._input(m, "write_enable")),
            read.addr.eq(self._input(m, "read_address")),
            self.read_data.eq(kept),
        ]
        m.d.sync += kept.eq(read.data)
        return m

    def _input(self, m: Module, name: str) -> Signal:
        """A member, or its register."""
        given = getattr(self, name)
        if not self._registered:
            return given
        held = Signal.like(given, name=f"held_{name}", reset_less=name != "write_enable")
        m.d.sync += held.eq(given)
        return held


class Spram(wiring.Component):
    """One SB_SPRAM256KA, or a model of it where ``modelled``: 16K words of 16 bits, one port.

    Parameters
    ----------
    modelled : bool
        Ordinary memory, for simulation.

    Members
    -------
    write : In(1)
    mask : In(2), bytes to write
    address : In(14)
    i : In(16)
    o : Out(16)
        In the cycle after that of ``address``. It means nothing after a write.

    Reference: Lattice, iCE40 SPRAM usage guide (FPGA-TN-02022).
    """

    def __init__(self, *, modelled: bool) -> None:
        self._modelled = modelled
        super().__init__(
            {
                "write": In(1),
                "mask": In(SPRAM_BITS // 8),
                "address": In(ceil_log2(SPRAM_WORDS)),
                "i": In(SPRAM_BITS),
                "o": Out(SPRAM_BITS),
            }
        )

    def elaborate(self, platform):
        del platform
        if not self._modelled:
            return Instance(
                "SB_SPRAM256KA",
                i_ADDRESS=self.address,
                i_DATAIN=self.i,
                i_MASKWREN=Cat(bit.replicate(2) for bit in self.mask),
                i_WREN=self.write,
                i_CHIPSELECT=1,
                i_CLOCK=ClockSignal(),
                i_STANDBY=0,
                i_SLEEP=0,
                i_POWEROFF=1,
                o_DATAOUT=self.o,
            )
        m = Module()
        m.submodules.words = words = memory.Memory(shape=SPRAM_BITS, depth=SPRAM_WORDS, init=[])
        write, read = words.write_port(granularity=8), words.read_port()
        spoilt, data = Signal(), read.data
        m.d.sync += spoilt.eq(self.write)
        m.d.comb += [
            write.addr.eq(self.address),
            write.data.eq(self.i),
            read.addr.eq(self.address),
            read.en.eq(~self.write),
            self.o.eq(data ^ spoilt.replicate(SPRAM_BITS)),
        ]
        with m.If(self.write):
            m.d.comb += write.en.eq(self.mask)
        return m


class SpramStorage(wiring.Component):
    """The four single-port RAMs of an iCE40 UltraPlus, or some of them: a cycle that writes cannot read.

    They lie in two corners of the part: what goes there is registers, and so is what comes.

    Parameters
    ----------
    data_bytes : int
        Bytes of a word, 4 or 8.
    rams : int
        2 or 4; bytes of a word are at most twice as many.
    modelled : bool
        Ordinary memory instead, for simulation.

    Members
    -------
    See ``storage_members``; writing goes before reading.

    Raises
    ------
    TypeError, ValueError
        A size is not as above.
    """

    single_port = True
    """Whether a cycle that writes cannot read."""

    latency = LATENCY + 1
    """Cycles from a read's address to its data."""

    def __init__(self, *, data_bytes: int, rams: int = 4, modelled: bool = False) -> None:
        if rams not in (2, 4) or data_bytes not in (4, 8) or data_bytes > 2 * rams:
            raise ValueError(
                f"rams must be 2 or 4 and data_bytes 4 or 8, at most twice as many, not {rams!r} and {data_bytes!r}"
            )
        self.data_bytes = operator.index(data_bytes)
        self._banks = 2 * rams // data_bytes
        self._modelled = bool(modelled)
        self.beats = self._banks * SPRAM_WORDS
        super().__init__(storage_members(beats=self.beats, data_bytes=self.data_bytes))

    def elaborate(self, platform):
        del platform
        m = Module()
        writes, bits = self.write_enable.any(), ceil_log2(SPRAM_WORDS)
        address, mask = (
            Signal.like(port, reset_less=True) for port in (self.read_address, self.write_enable)
        )
        given = Signal.like(self.write_data, reset_less=True)
        bank = Signal(range(max(2, self._banks)))
        m.d.sync += [
            address.eq(Mux(writes, self.write_address, self.read_address)),
            mask.eq(self.write_enable),
            given.eq(self.write_data),
            bank.eq(address[bits:]),
        ]
        outputs = []
        for number in range(self._banks):
            data, write = [], Signal(name=f"write_{number}")
            m.d.sync += write.eq(writes & (self.write_address[bits:] == number))
            for part in range(self.data_bytes // 2):
                ram = Spram(modelled=self._modelled)
                m.submodules[f"ram{number}_{part}"] = ram
                m.d.comb += [
                    ram.write.eq(write),
                    ram.mask.eq(mask[2 * part :][:2]),
                    ram.address.eq(address),
                    ram.i.eq(given.word_select(part, SPRAM_BITS)),
                ]
                data.append(ram.o)
            outputs.append(Cat(data))
        chosen = Signal(8 * self.data_bytes)
        for number, output in enumerate(outputs):
            with m.If(bank == number):
                m.d.comb += chosen.eq(output)
        m.d.sync += self.read_data.eq(chosen)
        return m
