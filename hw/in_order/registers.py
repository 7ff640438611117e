"""The AXI4-Lite port for few cells: what the host writes lies in a memory, and is looked at when a run starts."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hw.control.axi_lite import OKAY, SLVERR, axi_lite
from hw.control.isa import PROGRAM_ALIGNMENT
from hw.control.registers import ADDRESS_WIDTH, BY_NAME, COUNTERS, REGISTERS, Access

WORDS = 1 << ADDRESS_WIDTH - 2
FIRST, LIMIT = BY_NAME["program_address_low"].offset // 4, BY_NAME["watchdog"].offset // 4
"""Words of the first register that is looked at, and of the one that stays in view after the others: 8 and 16."""


def _word(name: str) -> int:
    return BY_NAME[name].offset // 4


class RegisterFile(wiring.Component):
    """Answers the host's reads and writes, and hands out what a run needs of them.

    Parameters
    ----------
    configuration : int
        Value of the ``configuration`` register.
    address_width : int
        Bits of a memory address.
    index_bits : int
        Bits of a program's length.

    Members
    -------
    bus : AXI4-Lite slave. A write is taken when address and data are both there, and answered in the next cycle.
    busy, done, error, code, queue, index, cycles : In
        What STATUS, ERROR, ERROR_INSTRUCTION and CYCLES show.
    start : Out(1)
        One cycle, the one after the write of 1 to CONTROL was taken.
    acknowledge : Out(1)
        One cycle: STATUS is written.
    loaded : Out(1)
        One cycle: the last in which the following change, ``LIMIT - FIRST + 1`` after ``start``.
    before : Out(address_width - 7)
        The program's address in units of its alignment, every bit inverted: as ``Control`` compares it, in fewer cells.
    last : Out(index_bits)
        The program's length, less one.
    window_first, window_last : Out(address_width)
        ``window_last`` is all ones when an address has too few bits for it.
    bad : Out(1)
        The program's address or length, or the window's first address, has bits that cannot be; or there is no program.
    limit : Out(32), shown : Out(1)
        The watchdog's register, in cycles with ``shown``: after ``loaded``, while the host reads nothing.

    Errors are those of ``hw.control.axi_lite.RegisterPort``. A reset leaves in the memory what the host wrote.
    """

    def __init__(self, *, configuration: int = 0, address_width: int, index_bits: int) -> None:
        if not 0 <= configuration < 1 << 32:
            raise ValueError(f"configuration must be 0 to 2**32 - 1, not {configuration!r}")
        self._configuration = configuration
        self._address_width, self._index_bits = address_width, index_bits
        super().__init__(
            {
                "bus": Out(axi_lite()),
                "busy": In(1),
                "done": In(1),
                "error": In(1),
                "code": In(4),
                "queue": In(2),
                "index": In(index_bits),
                "cycles": In(32),
                "start": Out(1),
                "acknowledge": Out(1),
                "loaded": Out(1),
                "before": Out(address_width - (PROGRAM_ALIGNMENT - 1).bit_length()),
                "last": Out(index_bits),
                "window_first": Out(address_width),
                "window_last": Out(address_width),
                "bad": Out(1),
                "limit": Out(32),
                "shown": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        content = [0] * WORDS
        for register in REGISTERS:
            content[register.offset // 4] = register.reset
        content[_word("configuration")] = self._configuration
        m.submodules.words = words = memory.Memory(shape=32, depth=WORDS, init=content)
        read = words.read_port()
        begun = Signal()
        place, late = Signal(range(LIMIT + 1), init=LIMIT), Signal()  # the word that is looked at next
        with m.If(self.start):
            m.d.sync += place.eq(FIRST)
        with m.Elif(place != LIMIT):
            m.d.sync += place.eq(place + 1)
        m.d.sync += late.eq(place != LIMIT)
        m.d.comb += [
            self.loaded.eq(late & (place == LIMIT)),
            read.addr.eq(Mux(begun, self.bus.ar.payload[2:], place)),
            self.limit.eq(read.data),
        ]
        m.d.sync += self.shown.eq(~begun & (place == LIMIT))
        self._writes(m, words.write_port())
        self._reads(m, read.data, begun, idle=(place == LIMIT) & ~self.start)
        with m.If(late):
            self._load(m, place, read.data)
        return m

    def _writes(self, m: Module, port) -> None:
        bus = self.bus
        address, data = bus.aw.payload, bus.w.payload.data
        taken, whole, held = Signal(), Signal(), Signal()
        control, status = address[2:] == _word("control"), address[2:] == _word("status")
        names = (r.name for r in REGISTERS if r.access is Access.RW and r.name != "status")
        m.d.comb += [
            taken.eq(bus.aw.valid & bus.w.valid & ~bus.b.valid),
            bus.aw.ready.eq(taken),
            bus.w.ready.eq(taken),
            whole.eq(~address[:2].any() & bus.w.payload.strobe.all()),
            held.eq(Cat(address[2:] == _word(name) for name in names).any()),
            port.addr.eq(address[2:]),
            port.data.eq(data),
            port.en.eq(taken & whole & held & ~self.busy),
            self.acknowledge.eq(taken & whole & status),
        ]
        m.d.sync += self.start.eq(taken & whole & control & data[0] & ~self.busy)
        with m.If(taken):
            good = whole & (status | ((held | control) & ~self.busy))
            m.d.sync += [bus.b.valid.eq(1), bus.b.payload.eq(Mux(good, OKAY, SLVERR))]
        with m.Elif(bus.b.ready):
            m.d.sync += bus.b.valid.eq(0)

    def _reads(self, m: Module, word: Value, begun: Signal, idle: Value) -> None:
        """Taken, looked up, answered: a cycle each. Words that live elsewhere are zero in the memory."""
        bus, reading, known = self.bus, Signal(), Signal()
        address = bus.ar.payload
        m.d.comb += [
            bus.ar.ready.eq(idle & ~reading & ~bus.r.valid),
            begun.eq(bus.ar.ready & bus.ar.valid),
        ]
        m.d.sync += reading.eq(begun)
        shown = {
            "status": Cat(self.busy, self.done, self.error),
            "error": Cat(self.code, Const(0, 8 - len(self.code)), self.queue),
            "error_instruction": self.index,
            COUNTERS[0][0]: self.cycles,
        }
        value = word
        for name, live in shown.items():
            here = Signal(name=f"at_{name}")
            m.d.sync += here.eq(address[2:] == _word(name))
            value |= Mux(here, live, 0)
        mapped = Cat(address[2:] == register.offset // 4 for register in REGISTERS).any()
        m.d.sync += known.eq(mapped & ~address[:2].any())
        with m.If(reading):
            m.d.sync += [
                bus.r.valid.eq(1),
                bus.r.payload.data.eq(value),
                bus.r.payload.response.eq(Mux(known, OKAY, SLVERR)),
            ]
        with m.Elif(bus.r.ready):
            m.d.sync += bus.r.valid.eq(0)

    def _load(self, m: Module, place: Signal, word: Value) -> None:
        """The word before ``place`` is in view."""
        low = min(self._address_width, 32)
        unused = 32 - low, 32 - (self._address_width - low)
        past, past_high = (word[32 - bits :].any() for bits in unused)
        skipped = self._address_width - len(self.before)
        with m.Switch(place):
            with m.Case(_word("program_address_low") + 1):
                m.d.sync += self.before[: low - skipped].eq(~word[skipped:low])
                m.d.sync += self.bad.eq(past | word[:skipped].any())
            with m.Case(_word("program_address_high") + 1):
                m.d.sync += [self.before[low - skipped :].eq(~word), self.bad.eq(self.bad | past_high)]
            with m.Case(_word("program_length") + 1):
                wrong = ~word.any() | word[self._index_bits :].any()
                m.d.sync += [self.last.eq(word - 1), self.bad.eq(self.bad | wrong)]
            with m.Case(_word("window_first_low") + 1):
                m.d.sync += [self.window_first[:low].eq(word), self.bad.eq(self.bad | past)]
            with m.Case(_word("window_first_high") + 1):
                m.d.sync += [self.window_first[low:].eq(word), self.bad.eq(self.bad | past_high)]
            with m.Case(_word("window_last_low") + 1):
                m.d.sync += self.window_last[:low].eq(word[:low] | past.replicate(low))
            with m.Case(_word("window_last_high") + 1):
                m.d.sync += self.window_last[low:].eq(word)
                with m.If(past_high):
                    m.d.sync += self.window_last.eq(~0)
