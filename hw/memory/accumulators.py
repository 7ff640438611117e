"""Where results are kept and added up until STORE takes them: banks of int32 or float32, in two halves."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.delay import OWN, delayed, without_reset
from hw.design import Design
from hw.interfaces import accumulators_read, results
from hw.memory.float_add import MINUS_ZERO, FloatAdder
from hw.memory.registered import RegisteredMemory
from hw.share import share
from hw.timing import (
    ACCUMULATE,
    ACCUMULATOR_READ,
    FLOAT_ACCUMULATE,
    LEAN_ACCUMULATOR_READ,
    SINGLE_ACCUMULATE,
)


class AccumulatorBank(wiring.Component):
    """One bank.

    Parameters
    ----------
    rows : int
        Rows of both halves together; a power of two, 2 or more.
    floats : bool
        Results are float32; otherwise int32, whose sums wrap.
    single : bool
        In as few cells as may be: int32 are written ``SINGLE_ACCUMULATE`` cycles later and read after
        ``LEAN_ACCUMULATOR_READ``.

    Members
    -------
    valid, address, accumulate, data : In
        A result; it is written ``ACCUMULATE`` cycles later, or ``FLOAT_ACCUMULATE``. Without ``accumulate`` it is written as it
        is.
    valid_next, address_next, accumulate_next : Out
        The same one cycle later, for the next bank.
    read_address : In, read_active : In, read_data : Out(32)
        STORE's; data comes ``ACCUMULATOR_READ`` cycles after its address, in a single bank ``LEAN_ACCUMULATOR_READ``.

    Each half has one read port: STORE's while it is active in that half, otherwise EXECUTE's.
    """

    def __init__(self, *, rows: int, floats: bool = False, single: bool = False) -> None:
        self._rows, self._floats, self._single = rows, floats, single and not floats
        width = ceil_log2(rows)
        super().__init__(
            {
                "valid": In(1),
                "address": In(width),
                "accumulate": In(1),
                "data": In(32),
                "valid_next": Out(1),
                "address_next": Out(width),
                "accumulate_next": Out(1),
                "read_address": In(width),
                "read_active": In(1),
                "read_data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [
            self.valid_next.eq(self.valid),
            without_reset(m, self.address_next).eq(self.address),
            without_reset(m, self.accumulate_next).eq(self.accumulate),
        ]
        # The result waits for what it is added to. Each step is a register: address, block RAM, its own, choice, sum; in a single
        # bank block RAM and sum alone.
        single = self._single
        wait = SINGLE_ACCUMULATE - 1 if single else ACCUMULATE - 1
        value = delayed(m, self.data, wait, reset_less=True)
        half, accumulate = (
            delayed(m, signal, wait - (not single), reset_less=True)
            for signal in (self.address[-1], self.accumulate)
        )
        latency = FLOAT_ACCUMULATE if self._floats else wait + 1
        target = delayed(m, self.address, latency, reset_less=True)
        old, total, write = Signal(32, reset_less=True), Signal(32, reset_less=True), Signal(2)
        reading, domain = (LEAN_ACCUMULATOR_READ, m.d.comb) if single else (ACCUMULATOR_READ, m.d.sync)
        halves = []
        for index in range(2):
            m.submodules[f"half_{index}"] = storage = RegisteredMemory(
                depth=self._rows // 2, lanes=1, lane_width=32, kept=not single
            )
            row = Signal(len(target) - 1, name=f"row_{index}", reset_less=True)
            stored = self.read_active & (self.read_address[-1] == index)
            domain += row.eq(Mux(stored, self.read_address[:-1], self.address[:-1]))
            m.d.comb += [
                storage.read_address.eq(row),
                storage.write_address.eq(target[:-1]),
                storage.write_data.eq(total),
                storage.write_enable.eq(write[index]),
            ]
            halves.append(storage.read_data)
        valid, upper = (delayed(m, signal, latency - 1) for signal in (self.valid, self.address[-1]))
        read_half = Signal(attrs=OWN, reset_less=True)
        m.d.sync += read_half.eq(delayed(m, self.read_address[-1], reading - 2, reset_less=True))
        nothing = MINUS_ZERO if self._floats else 0
        domain += old.eq(Mux(accumulate, Mux(half, halves[1], halves[0]), nothing))
        if self._floats:
            m.submodules.adder = adder = share(FloatAdder)
            m.d.comb += [adder.a.eq(value), adder.b.eq(old), total.eq(adder.sum)]
        else:
            m.d.sync += total.eq(value + old)
        m.d.sync += [
            write.eq(Cat(valid & ~upper, valid & upper)),
            without_reset(m, self.read_data).eq(Mux(read_half, halves[1], halves[0])),
        ]
        return m


class Accumulators(wiring.Component):
    """All banks (``Geometry.banks``), results coming in with the skew of the array.

    Parameters
    ----------
    design : Design

    Members
    -------
    results : In(``hw.interfaces.results``)
    read : In(``hw.interfaces.accumulators_read``)
    finished : Out(1)
        One cycle: the last result of a command, if it has any, is in every bank, and STORE may ask for it from the next cycle
        on. ``banks - 1 + design.geometry.accumulate + 1`` cycles after ``results.last``.
    conflict : Out(1)
        One cycle: a result came for the half that STORE is active in.
    """

    def __init__(self, *, design: Design) -> None:
        self._design = design
        super().__init__(
            {
                "results": In(results(design)),
                "read": In(accumulators_read(design)),
                "finished": Out(1),
                "conflict": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        incoming, read = self.results, self.read
        control = (incoming.valid, incoming.address, incoming.accumulate)
        geometry = self._design.geometry
        for index in range(geometry.banks):
            bank = share(
                AccumulatorBank,
                rows=self._design.accumulator_rows,
                floats=geometry.sums == "float32",
                single=geometry.single,
            )
            m.submodules[f"bank_{index}"] = bank
            m.d.comb += [
                bank.valid.eq(control[0]),
                bank.address.eq(control[1]),
                bank.accumulate.eq(control[2]),
                bank.data.eq(incoming.data[index]),
                bank.read_address.eq(read.address),
                bank.read_active.eq(read.active),
                read.data[index].eq(bank.read_data),
            ]
            control = (bank.valid_next, bank.address_next, bank.accumulate_next)
        last = delayed(m, incoming.last, geometry.banks - 1 + geometry.accumulate)
        m.d.sync += [
            self.finished.eq(last),
            self.conflict.eq(incoming.valid & read.active & (incoming.address[-1] == read.address[-1])),
        ]
        return m
