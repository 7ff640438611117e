"""The receive side of LOAD: beats as they lie in memory become beats that start at a row's first byte."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2, exact_log2

from hw.control.isa import Destination
from hw.delay import OWN, delayed
from hw.design import Design
from hw.dma.read_arbiter import read_beats
from hw.interfaces import INDEX_BITS, write_port
from hw.timing import LOAD_TAIL, READ_RETURN

SCRATCHPADS = {
    Destination.ACTIVATIONS: "activations",
    Destination.WEIGHTS: "weights",
    Destination.PARAMETERS: "parameters",
}


def scratchpad_beats(design: Design) -> dict[Destination, int]:
    """Depth of every scratchpad that LOAD fills, in bus beats."""
    return {
        Destination.ACTIVATIONS: design.activation_beats,
        Destination.WEIGHTS: design.weight_beats,
        Destination.PARAMETERS: design.parameter_beats,
    }


def local_bits(design: Design) -> int:
    """Bits of a bus beat's address in the deepest scratchpad."""
    return max(1, ceil_log2(max(scratchpad_beats(design).values())))


def count_bits(design: Design) -> int:
    """Bits of the number of beats that a row reads, less one: at most one beat more than it fills."""
    return bits_for(max(scratchpad_beats(design).values()))


def write_ports(design: Design) -> dict:
    """One write port per scratchpad, as members."""
    width = 8 * design.data_bytes
    return {
        name: Out(write_port(beats=scratchpad_beats(design)[which], width=width))
        for which, name in SCRATCHPADS.items()
    }


def row_layout(design: Design) -> data.StructLayout:
    """A row on its way: what the receive side must know of it.

    ``count``: beats read, less one; ``single``: that is 0. ``shift``: bytes before the row in its first beat. ``flush``: the last
    beat read also holds bytes of the last beat written, so that as many are written as read (else one less).
    ``end``: last row of its command.
    """
    return data.StructLayout(
        {
            "variant": 2,
            "local": local_bits(design),
            "count": count_bits(design),
            "single": 1,
            "shift": exact_log2(design.data_bytes),
            "flush": 1,
            "end": 1,
            "post": 8,
            "index": INDEX_BITS,
        }
    )


def _rotate(word, steps, *, bytes):
    """``word`` rotated towards its low end by ``steps`` times ``bytes`` bytes."""
    word = Value.cast(word)
    for stage, bit in enumerate(steps):
        word = Mux(bit, word.rotate_right(8 * bytes << stage), word)
    return word


class Realign(wiring.Component):
    """Shifts the beats of a row to the row's first byte and writes them to its scratchpad.

    Every beat is rotated by the row's ``shift`` bytes; an output beat then takes its low bytes from one beat
    and its high bytes from the next. It is written when the next one comes; the last one of a row that has no
    next (``flush``), one cycle after it came. That never collides, because the first beat of a row writes
    nothing. Bytes past the row's end are whatever the memory or the next row has there.

    Parameters
    ----------
    design : Design

    Members
    -------
    valid, data : a beat
    first : it is the first of its row
    flush : it is the last of its row and no other beat will complete it
    variant, shift : those of its row
    local : where the output beat is written that begins in this beat
    activations, weights, parameters : write ports
    active : beats are on their way

    Timing
    ------
    A beat in cycle t completes the output beat that is at its write port in cycle t + 2; a flush is there in
    cycle t + 3.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        super().__init__(
            {
                "valid": In(1),
                "data": In(8 * design.data_bytes),
                "first": In(1),
                "flush": In(1),
                "variant": In(2),
                "shift": In(exact_log2(design.data_bytes)),
                "local": In(local_bits(design)),
                **write_ports(design),
                "active": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = self._design.data_bytes
        beat = data.StructLayout(
            {"data": data.ArrayLayout(8, size), "own": size, "local": self.local.shape(), "variant": 2}
        )
        half, now, before = Signal(beat, reset_less=True), Signal(beat), Signal(beat, reset_less=True)
        valid, first, flush, owed = Signal(), Signal(), Signal(), Signal()

        # The rotation is spread over two cycles; the second one also merges.
        steps = len(self.shift)
        early = (steps + 1) // 2
        rest = Signal(steps - early, reset_less=True)
        m.d.sync += [
            valid.eq(self.valid),
            first.eq(self.first),
            flush.eq(self.flush),
            half.data.eq(_rotate(self.data, self.shift[:early], bytes=1)),
            rest.eq(self.shift[early:]),
            # One bit per byte of the output beat: this beat has it, not its successor.
            half.own.eq(Const((1 << size) - 1, size) >> self.shift),
            half.local.eq(self.local),
            half.variant.eq(self.variant),
            owed.eq(valid & flush),
        ]
        m.d.comb += [now.eq(half), now.data.eq(_rotate(half.data, rest, bytes=1 << early))]
        with m.If(valid):
            m.d.sync += before.eq(now)

        write = Signal()
        merged = Signal(8 * size, reset_less=True)
        m.d.comb += write.eq(valid & ~first | owed)
        m.d.sync += merged.eq(Cat(Mux(before.own[i], before.data[i], now.data[i]) for i in range(size)))
        written = Signal()
        m.d.sync += written.eq(write)
        m.d.comb += self.active.eq(valid | owed | written)
        for which, name in SCRATCHPADS.items():
            port = getattr(self, name)
            # The scratchpads lie far apart: each has an address of its own.
            local = Signal.like(port.address, name=f"{name}_address", reset_less=True, attrs=OWN)
            m.d.sync += [port.valid.eq(write & (before.variant == which)), local.eq(before.local)]
            m.d.comb += [port.address.eq(local), port.data.eq(merged)]
        return m


class Receive(wiring.Component):
    """Counts the beats of R off against the rows that were asked for, and says when a command has ended.

    A row is kept here from the last beat of the one before on, so that beats of row after row may come without
    a gap.

    Parameters
    ----------
    design : Design

    Members
    -------
    row : stream of ``row_layout``; a row is taken 1 cycle before its first beat or earlier
    r : ``read_beats``
    drop : forget the row that was taken, its beats will not come
    clear : forget about errors
    activations, weights, parameters : write ports
    finished, post, index : a command has ended, and no beat of it, nor one before it since ``clear``, was an
        error
    error : this beat is the first with an error since ``clear``; ``error_index`` is its command's
    active : beats are on their way or awaited

    Timing
    ------
    ``finished`` comes ``LOAD_TAIL - READ_RETURN - 1`` cycles after the command's last beat at ``r``. A read
    address that is put to the scratchpad in the cycle after that or later finds the data. No decision about the
    next beat takes more than the flag ``final``, made with the beat before.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        super().__init__(
            {
                "row": In(stream.Signature(row_layout(design))),
                "r": In(read_beats(8 * design.data_bytes)),
                "drop": In(1),
                "clear": In(1),
                **write_ports(design),
                "finished": Out(1),
                "post": Out(8),
                "index": Out(INDEX_BITS),
                "error": Out(1),
                "error_index": Out(INDEX_BITS),
                "active": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.realign = realign = Realign(design=self._design)
        for name in SCRATCHPADS.values():
            wiring.connect(m, getattr(realign, name), wiring.flipped(getattr(self, name)))
        given, row = self.row.payload, Signal(row_layout(self._design), reset_less=True)
        # ``row`` is there; the next beat is its first, its last.
        there, first, final = Signal(), Signal(), Signal()
        m.d.comb += self.row.ready.eq(~there | self.r.valid & final)
        with m.If(self.row.ready):
            m.d.sync += [row.eq(given), there.eq(self.row.valid), first.eq(1), final.eq(given.single)]
        with m.Elif(self.r.valid):
            m.d.sync += [
                row.count.eq(row.count - 1),
                row.local.eq(row.local + 1),
                first.eq(0),
                final.eq(row.count == 1),
            ]
        with m.If(self.drop):
            m.d.sync += there.eq(0)
        m.d.comb += [
            realign.valid.eq(self.r.valid),
            realign.data.eq(self.r.data),
            realign.first.eq(first),
            realign.flush.eq(final & row.flush),
            realign.variant.eq(row.variant),
            realign.shift.eq(row.shift),
            realign.local.eq(row.local),
        ]

        failed = Signal()
        m.d.comb += [self.error.eq(self.r.valid & self.r.error & ~failed), self.error_index.eq(row.index)]
        m.d.sync += failed.eq((failed | self.error) & ~self.clear)

        tail = Signal(LOAD_TAIL - READ_RETURN - 1)
        m.d.sync += tail.eq(Cat(self.r.valid & final & row.end & ~failed & ~self.r.error, tail))
        m.d.comb += [
            self.finished.eq(tail[-1]),
            Cat(self.post, self.index).eq(delayed(m, Cat(row.post, row.index), len(tail), reset_less=True)),
            self.active.eq(there | realign.active | tail.any()),
        ]
        return m
