"""The eight token counters, one after the other."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.control.isa import TOKEN_MAXIMUM, Token
from hw.timing import TOKEN_PASS


class TokenRing(wiring.Component):
    """Counts of the tokens that were given and not yet taken, with the masks of an instruction and of an EXECUTE under way.

    Members
    -------
    clear : In(1)
        Sets every counter to zero; not while ``passing``.
    load : In(1), wait, post : In(8)
        The masks of the next instruction.
    keep : In(1)
        Its ``post`` is to be kept: it is an EXECUTE, and given to the core.
    begin : In(1), own, kept : In(1)
        Let all counters come by, in the next ``hw.timing.TOKEN_PASS`` cycles; tokens that are there are taken out of what
        ``wait`` still wants, those of ``post`` (with ``own``) or of what was kept (with ``kept``) are given. Not while
        ``passing``.
    passing : Out(1)
    missing : Out(1)
        After a pass, a token is still wanted; not while ``passing``.
    overflow : Out(1)
        One was given too many, in this or the last pass.

    A token that is given and wanted in the same pass is taken, or was there.

    Reference: the dependency tokens of VTA (Moreau et al., 2018), here with names, one waiter each, and a bound.
    """

    def __init__(self) -> None:
        mask = len(Token)
        super().__init__(
            {
                "clear": In(1),
                "load": In(1),
                "wait": In(mask),
                "post": In(mask),
                "keep": In(1),
                "begin": In(1),
                "own": In(1),
                "kept": In(1),
                "passing": Out(1),
                "missing": Out(1),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = TOKEN_MAXIMUM.bit_length()
        counts = Signal(bits * TOKEN_PASS)
        wait, post, kept = (
            Signal(TOKEN_PASS, name=name, reset_less=True) for name in ("wait", "post", "kept")
        )
        giving_own, giving_kept, step = Signal(), Signal(), Signal(range(TOKEN_PASS))
        head, give, take = counts[:bits], Signal(), Signal()
        m.d.comb += [
            give.eq((giving_own & post[0]) | (giving_kept & kept[0])),
            take.eq(wait[0] & (head.any() | give)),
        ]
        with m.If(self.begin):
            m.d.sync += [
                self.passing.eq(1),
                self.missing.eq(0),
                self.overflow.eq(0),
                giving_own.eq(self.own),
                giving_kept.eq(self.kept),
            ]
        with m.If(self.load):
            m.d.sync += [wait.eq(self.wait), post.eq(self.post)]
        with m.If(self.keep):
            m.d.sync += kept.eq(post)
        with m.If(self.passing):
            changed = Signal(bits)
            m.d.comb += changed.eq(head + Cat(give ^ take, (take & ~give).replicate(bits - 1)))
            m.d.sync += [
                step.eq(step + 1),
                counts.eq(Cat(counts[bits:], changed)),
                wait.eq(Cat(wait[1:], wait[0] & ~take)),
                # Gathered as they come by: to look at all of them at once would be the slowest path of a small part.
                self.missing.eq(self.missing | (wait[0] & ~take)),
                post.eq(post.rotate_right(1)),
                kept.eq(kept.rotate_right(1)),
                self.overflow.eq(self.overflow | (give & ~take & head.all())),
            ]
            with m.If(step.all()):
                m.d.sync += self.passing.eq(0)
        with m.If(self.clear):
            m.d.sync += counts.eq(0)
        return m
