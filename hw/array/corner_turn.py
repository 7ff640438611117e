"""From words of successive k of one row to skewed operands of every row: the left edge of the output-stationary array."""

from __future__ import annotations

import operator

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.share import share


def step_control(word_steps: int) -> data.StructLayout:
    """What row 0 does in a step; every other row does the same a cycle after the row above it.

    ``load``: the word of this step is this row's, and its first operand is due. ``index``: step within the row's
    word. ``valid``: there is an operand. ``last``: it is the last of the tile; ``ends``: and of the command.
    """
    return data.StructLayout({"load": 1, "index": exact_log2(word_steps), "valid": 1, "last": 1, "ends": 1})


class CornerTurnRow(wiring.Component):
    """One row: keeps its word and picks ``step_bytes`` bytes per cycle.

    Members
    -------
    word : In(8 * word_bytes)
    control : In(step_control)
        ``control_next``, one cycle later, for the row below.
    activation : Out(signed(8 * step_bytes)), last : Out(1)
        Operand, or several, the first in the lowest byte, two cycles after ``control``; zero when there is none.
    """

    def __init__(self, *, word_bytes: int, step_bytes: int) -> None:
        self._steps, self._step_bytes = word_bytes // step_bytes, step_bytes
        super().__init__(
            {
                "word": In(8 * word_bytes),
                "control": In(step_control(self._steps)),
                "control_next": Out(step_control(self._steps)),
                "activation": Out(signed(8 * step_bytes)),
                "last": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        kept = Signal(data.ArrayLayout(8 * self._step_bytes, self._steps), reset_less=True)
        m.d.sync += self.control_next.eq(self.control)
        with m.If(self.control.load):
            m.d.sync += kept.eq(self.word)
        m.d.sync += self.last.eq(self.control_next.last)
        with m.If(self.control_next.valid):
            m.d.sync += self.activation.eq(kept[self.control_next.index])
        with m.Else():
            m.d.sync += self.activation.eq(0)
        return m


class CornerTurn(wiring.Component):
    """Broadcasts words to the rows; each takes its own.

    Parameters
    ----------
    rows : int
        1 to ``word_bytes / step_bytes``.
    word_bytes, step_bytes : int
        Of a word, and of what a row takes of it in a step; powers of two.

    Members
    -------
    word : In(8 * word_bytes)
        In a step with ``control.load``, and in those after it: the words of rows 0, 1, ... one after another.
    control : In(step_control)
        Of row 0. Words are ``word_bytes / step_bytes`` steps apart.
    activations : Out(ArrayLayout(signed(8 * step_bytes), rows)), last : Out(rows)
        Skewed: row r's are r cycles after row 0's.
    control_last : Out(step_control)
        ``control`` as the last row has taken it.

    Timing
    ------
    ``hw.timing.CORNER_TURN`` cycles from ``word`` and ``control`` to ``activations[0]`` and ``last[0]``; ``rows + 1`` cycles from
    ``control`` to ``control_last``.

    Raises
    ------
    TypeError, ValueError
        A number of bytes is not a power of two, or ``rows`` not 1 to the steps of a word.
    """

    def __init__(self, *, rows: int, word_bytes: int, step_bytes: int = 1) -> None:
        self._rows, self._word_bytes, self._step_bytes = map(operator.index, (rows, word_bytes, step_bytes))
        for name, size in (("word_bytes", self._word_bytes), ("step_bytes", self._step_bytes)):
            if size < 1 or size & (size - 1):
                raise ValueError(f"{name} must be a power of two, not {size!r}")
        steps = self._word_bytes // self._step_bytes
        if not 1 <= self._rows <= steps:
            raise ValueError(f"rows must be 1 to the steps of a word, {steps}, not {rows!r}")
        self._control = step_control(steps)
        super().__init__(
            {
                "word": In(8 * word_bytes),
                "control": In(self._control),
                "activations": Out(data.ArrayLayout(signed(8 * step_bytes), rows)),
                "last": Out(rows),
                "control_last": Out(self._control),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word = Signal(8 * self._word_bytes, reset_less=True)
        control = Signal(self._control)
        m.d.sync += [word.eq(self.word), control.eq(self.control)]
        for index in range(self._rows):
            row = share(CornerTurnRow, word_bytes=self._word_bytes, step_bytes=self._step_bytes)
            m.submodules[f"row_{index}"] = row
            m.d.comb += [
                row.word.eq(word),
                row.control.eq(control),
                self.activations[index].eq(row.activation),
                self.last[index].eq(row.last),
            ]
            control = row.control_next
        m.d.comb += self.control_last.eq(control)
        return m
