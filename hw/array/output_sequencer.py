"""The steps of an output-stationary core: which operand is read when."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.array.geometry import LEAST_STEPS, least_interval
from hw.array.setup import COUNT_BITS, DEPTH_BITS, TURN, plan
from hw.delay import delayed, without_reset
from hw.design import Design


class OutputSequencer(wiring.Component):
    """Counts the steps of a tile and the tiles of a command; one command follows another without a gap.

    What comes after a tile is settled ``TURN`` cycles before: counters are below zero when something is the last of its
    kind, so that one bit tells, and no cycle has more to do than to count or to choose.

    Parameters
    ----------
    design : Design
    least : int
        Fewest cycles between the last steps of tiles; ``least_interval`` if it is not given.
    settle : int
        The same before the first step of a command whose tiles are ``short``, from the last before it; ``least`` if not given.
    depth_bits : int, long_words : bool, step_bytes : int
        As of ``Setup``; a word of activations lasts ``LEAST_STEPS`` steps at least.
    uneven_words : bool
        Words of activations end where ``word_ends`` says.

    Members
    -------
    plan : In(stream of ``plan``), soon : In(1)
        Of ``Setup``.
    stop : In(1)
        End the command at an end of a word of activations, ``least`` steps or more into a tile, or with the next tile.
    halt : In(1)
        Stop at once. A sum so far is let out: ``last`` without an operand, in the next cycle, a step as to ``settle``.
    word_ends : In(1)
        The word of activations ends with the third step after this one; not there without ``uneven_words``.
    current : Out(plan)
        The command under way, from the cycle of its first ``begin`` on.
    running : Out(1)
    begin : Out(1)
        The next cycle is step 0 of a tile; ``fresh``: of the first tile of a command; ``again``: of a tile with the same
        columns as the one before.
    step : Out(1)
        A pair of operands: k is below K. ``last``: it is the last of the tile; ``ends``: and of the command.
    read : Out(1)
        An activation word is read. ``index``: step within the word, which is also the row whose word is read. ``turns``: the
        word ends with the next step.

    Timing
    ------
    Tile follows tile after the interval that its plan says, ``least`` cycles or more. A command of ``short`` tiles
    begins ``settle`` cycles after the last step before it, at the earliest. The first step of a command is 2 cycles
    after ``plan`` is taken.
    """

    def __init__(
        self,
        *,
        design: Design,
        least: int | None = None,
        settle: int | None = None,
        depth_bits: int = DEPTH_BITS,
        long_words: bool = False,
        uneven_words: bool = False,
        step_bytes: int = 1,
    ) -> None:
        word_steps = design.geometry.activation_bytes // step_bytes
        self._design, self._depth_bits, self._long_words = design, depth_bits, long_words
        self._uneven_words = uneven_words
        self._least = least_interval(design.geometry.tile_rows) if least is None else least
        self._settle = self._least if settle is None else settle
        planned = plan(design, depth_bits=depth_bits, long_words=long_words)
        super().__init__(
            {
                "plan": In(stream.Signature(planned)),
                "soon": In(1),
                "stop": In(1),
                "halt": In(1),
                **({"word_ends": In(1)} if uneven_words else {}),
                "current": Out(planned),
                "running": Out(1),
                "begin": Out(1),
                "fresh": Out(1),
                "again": Out(1),
                "step": Out(1),
                "last": Out(1),
                "ends": Out(1),
                "read": Out(1),
                "turns": Out(1),
                "index": Out(exact_log2(word_steps) + long_words),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rows = self._design.geometry.tile_rows
        turn, cut, final_tile, idle = Signal(), Signal(), Signal(), Signal()
        self._follow(m, turn, final_tile, idle)
        turned = self._count(m, turn, cut, idle)
        self._tiles(m, turn, cut, final_tile)
        least, (near, in_two, ending) = self._least, self._before_ends(m)
        word, goes_on, dropped, stops = Signal(), Signal(), Signal(), Signal()
        early = Signal(range(-1, least), init=-1)
        past_depth = Signal(self._depth_bits + 1, reset_less=True)
        m.d.comb += [
            self.last.eq((self.step & past_depth[-1]) | dropped),
            self.ends.eq(self.last & (final_tile | dropped)),
            goes_on.eq(self.step & ~past_depth[-1]),
            self.turns.eq(in_two),
            self.read.eq(word & (self.index < rows) if rows < 1 << len(self.index) else word),
        ]
        m.d.sync += [
            self.index.eq(self.index + 1),
            self.step.eq(goes_on),
            past_depth.eq(past_depth - 1),
            early.eq(early - ~early[-1]),
            # The rows' words of this turn have been read two steps later.
            stops.eq(self.stop & near),
            # Results of the tile before have left then, and what comes after this one is not settled yet.
            cut.eq(goes_on & stops & early[-1] & ~turned),
            dropped.eq(self.halt & goes_on),
        ]
        with m.If(ending):
            m.d.sync += word.eq(goes_on)
            if self._long_words:
                m.d.sync += self.index.eq(0)
        with m.If(cut):
            m.d.sync += past_depth.eq(-1)
        with m.If(self.begin):
            m.d.sync += [self.index.eq(0), self.step.eq(1), word.eq(1)]
            m.d.sync += [past_depth.eq(self.current.depth_left), early.eq(least - 4)]
        with m.If(self.halt):
            m.d.sync += [self.step.eq(0), word.eq(0), cut.eq(0)]
        return m

    def _before_ends(self, m: Module) -> list[Value]:
        """The word of activations ends in so many steps, this one included: four, two, one."""
        if self._uneven_words:
            later = Signal(3)
            m.d.sync += later.eq(Mux(self.begin, 0, Cat(self.word_ends, later)))
            return [self.word_ends, later[1], later[2]]
        long = self.current.long if self._long_words else None
        return [before_end(self.index, steps, long=long) for steps in (LEAST_STEPS, 2, 1)]

    def _follow(self, m: Module, turn: Signal, final_tile: Signal, idle: Signal) -> None:
        """After the tile the next one of its command, or the next command as soon as it is there."""
        vacant, more, load, final, settled = Signal(init=1), Signal(), Signal(), Signal(), Signal()
        # A sum's results must have left before those of the next one come; within a command the interval sees to that.
        least = self._settle
        settling = Signal(range(-least, least), init=-1)
        vacates, loads = Signal(), Signal()
        m.d.comb += [
            settled.eq(settling[-1]),
            vacates.eq(vacant | (turn & final_tile)),
            loads.eq(vacates & self.soon & (settled | ~self.plan.payload.short)),
            self.plan.ready.eq(load),
            idle.eq(vacant | load | self.halt),
        ]
        m.d.sync += [
            vacant.eq(vacates & ~loads | self.halt),
            load.eq(loads & ~self.halt),
            more.eq(turn & ~final_tile & ~self.halt),
            self.begin.eq((load | more) & ~self.halt),
            self.fresh.eq(load),
            final.eq(delayed(m, turn, 1)),
            self.running.eq((load | self.begin | (self.running & ~final)) & ~self.halt),
            settling.eq(settling - ~settled),
        ]
        current = without_reset(m, self.current)
        with m.If(load):
            m.d.sync += current.eq(self.plan.payload)
        with m.If(self.step | self.last):
            m.d.sync += settling.eq(least - TURN - 1)

    def _count(self, m: Module, turn: Signal, cut: Signal, idle: Signal):
        """``turn``: the cycle ``TURN`` before the next tile may begin. Meaningless counting goes on while there is no tile.

        Returned: it is ``turn`` or has been, while there is a tile.
        """
        left, turned = Signal(self._depth_bits + 1, init=-1), Signal(init=1)
        m.d.comb += turn.eq(left[-1] & ~turned)
        m.d.sync += [left.eq(left - 1), turned.eq(left[-1] | idle)]
        with m.If(cut):
            m.d.sync += left.eq(-1)
        with m.If(self.begin):
            m.d.sync += left.eq(self.current.turn_left)
        return left[-1]

    def _tiles(self, m: Module, turn: Signal, cut: Signal, final_tile: Signal) -> None:
        """Row tiles within column tiles."""
        rows_left, columns_left = (Signal(COUNT_BITS + 1, reset_less=True) for _ in range(2))
        stopped = Signal()
        m.d.comb += [
            self.again.eq(~rows_left[-1] & ~self.fresh),
            final_tile.eq((rows_left[-1] & columns_left[-1]) | stopped | cut),
        ]
        with m.If(self.begin):
            m.d.sync += [rows_left.eq(rows_left - 1), stopped.eq(self.stop & ~self.fresh)]
            with m.If(self.fresh | rows_left[-1]):
                m.d.sync += rows_left.eq(self.current.rows_left)
            with m.If(self.fresh):
                m.d.sync += columns_left.eq(self.current.columns_left)
            with m.Elif(rows_left[-1]):
                m.d.sync += columns_left.eq(columns_left - 1)
        with m.Elif(cut):
            m.d.sync += stopped.eq(1)


def before_end(index: Value, steps: int, *, long: Value | None = None) -> Value:
    """So many steps, this one included, before the end of a word of activations; only if ``long`` it takes all of ``index``.

    ``long`` is None where all words do.
    """
    most = 1 << len(index)
    return (
        index == most - steps
        if long is None
        else Mux(long, index == most - steps, index == most // 2 - steps)
    )


class ActivationWalk(wiring.Component):
    """Address of each activation word that an output-stationary core reads: words of a tile's rows in turn, then their next.

    Members
    -------
    begin, again, read, turns : In
        Of ``OutputSequencer``.
    base : In, stride : In(16)
        Of the command.
    address : Out
        Of the word that ``read`` reads, a register, wide enough to pass the end of the scratchpad once.
    """

    def __init__(self, *, words: int) -> None:
        super().__init__(
            {
                "begin": In(1),
                "again": In(1),
                "read": In(1),
                "turns": In(1),
                "base": In(ceil_log2(words)),
                "stride": In(16),
                "address": Out(max(16, ceil_log2(words)) + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        row_0, next_of_row_0, next_tile = (Signal.like(self.address, reset_less=True) for _ in range(3))
        address = without_reset(m, self.address)
        first, target, onward = (Signal.like(self.address) for _ in range(3))
        first_words, last_row = Signal(), Signal()
        m.d.comb += [
            onward.eq(self.address + self.stride),
            first.eq(Mux(self.again, next_tile, self.base)),
            target.eq(Mux(self.begin, first, next_of_row_0)),
        ]
        m.d.sync += [
            last_row.eq(~self.begin & self.turns),
            next_of_row_0.eq(row_0 + 1),
            address.eq(onward),
        ]
        with m.If(self.begin | last_row):
            m.d.sync += [address.eq(target), row_0.eq(target), first_words.eq(self.begin)]
        with m.If(first_words & self.read):
            m.d.sync += next_tile.eq(onward)
        return m


class WeightWalk(wiring.Component):
    """Address of each weight word: those of a column tile in turn, again for every row tile.

    Members
    -------
    begin, fresh, again : In
        Of ``OutputSequencer``, delayed by one cycle less than ``step``, so that where to go is a register when it is time.
    step : In
    base : In
        Of the command, while ``fresh``.
    address : Out
        Of the word of ``step``; a register.
    """

    def __init__(self, *, words: int) -> None:
        width = ceil_log2(words)
        super().__init__(
            {
                "begin": In(1),
                "fresh": In(1),
                "again": In(1),
                "step": In(1),
                "base": In(width),
                "address": Out(width + 1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        first, target = (Signal.like(self.address, reset_less=True) for _ in range(2))
        onward = Signal.like(self.address)
        jump, next_columns, fresh = Signal(), Signal(), Signal()
        m.d.comb += onward.eq(self.address + self.step)
        m.d.sync += [
            jump.eq(self.begin & (self.fresh | self.again)),
            next_columns.eq(self.begin & ~self.fresh & ~self.again),
            fresh.eq(self.begin & self.fresh),
            target.eq(Mux(self.fresh, self.base, first)),
            without_reset(m, self.address).eq(Mux(jump, target, onward)),
        ]
        with m.If(fresh):
            m.d.sync += first.eq(target)
        with m.If(next_columns):
            m.d.sync += first.eq(onward)
        return m
