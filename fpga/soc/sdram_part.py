"""An SDR SDRAM as its data sheet has it: sizes, and times in cycles of a clock. No Amaranth here."""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass

WORD_BYTES = 2
"""Bytes of a column: the part is 16 bits wide."""

BANK_BITS = 2

GIGA = 1_000_000_000

LEAST_INTERVAL = 100
"""Cycles from refresh to refresh that the controller wants at least."""


@dataclass(frozen=True, kw_only=True)
class SdramCycles:
    """Times of an ``SdramPart`` in whole cycles; ``cas`` is a read's latency, ``interval`` the time from refresh to refresh."""

    cas: int
    rcd: int
    rp: int
    ras: int
    rc: int
    rfc: int
    rrd: int
    wr: int
    mrd: int
    interval: int
    power_up: int

    def as_dict(self) -> dict[str, int]:
        """By name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SdramPart:
    """A part with 16 bits and 4 banks; times in ns.

    Parameters
    ----------
    row_bits, column_bits : int
        11 to 13, and 8 to 10.
    rcd, rp, ras, rc, rfc, rrd, wr, mrd : int
        Least times: row to column, precharge, row to precharge, row to row of a bank, refresh, row to row of two banks, write
        to precharge, mode register.
    period : ((int, int), ...)
        CAS latency, and the shortest clock period with it in ps.
    refresh_ns, refreshes : int
        So many refreshes are needed in that time.
    power_up : int
        Time from a steady clock to the first command.
    access, hold : float
        A word comes at most ``access`` after the clock's edge, and stays at least ``hold`` after the next.

    Raises
    ------
    ValueError
        A size is not as above.
    """

    row_bits: int = 13
    column_bits: int = 9
    rcd: int = 21
    rp: int = 21
    ras: int = 42
    rc: int = 63
    rfc: int = 63
    rrd: int = 14
    wr: int = 14
    mrd: int = 14
    period: tuple[tuple[int, int], ...] = ((2, 10_000), (3, 7_000))
    refresh_ns: int = 64_000_000
    refreshes: int = 8192
    power_up: int = 200_000
    access: float = 6.0
    hold: float = 2.5

    def __post_init__(self) -> None:
        if self.row_bits not in (11, 12, 13):
            raise ValueError(f"row_bits must be 11 to 13, not {self.row_bits!r}")
        if self.column_bits not in (8, 9, 10):
            raise ValueError(f"column_bits must be 8 to 10, not {self.column_bits!r}")

    @property
    def size(self) -> int:
        """Bytes."""
        return WORD_BYTES << self.column_bits + BANK_BITS + self.row_bits

    def cycles(self, *, clock_hz: int, cas: int = 3) -> SdramCycles:
        """Its times at a clock.

        Raises ``ValueError`` when the clock is too fast for ``cas``, or so slow that little is left between refreshes.
        """
        shortest = dict(self.period).get(cas)
        if shortest is None:
            raise ValueError(f"cas must be one of {', '.join(str(c) for c, _ in self.period)}, not {cas!r}")
        clock = operator.index(clock_hz)
        if not 1 <= clock <= 1000 * GIGA // shortest:
            raise ValueError(
                f"clock_hz must be 1 to {1000 * GIGA // shortest} with cas {cas}, not {clock_hz!r}"
            )
        names = ("rcd", "rp", "ras", "rc", "rfc", "rrd", "wr", "mrd", "power_up")
        least = {name: -(-getattr(self, name) * clock // GIGA) for name in names}
        # Some makers give these two in cycles.
        least |= {name: max(2, least[name]) for name in ("wr", "mrd")}
        # A refresh may come up to LEAST_INTERVAL cycles after it was due: that much is left of the whole time.
        interval = (self.refresh_ns * clock // GIGA - LEAST_INTERVAL) // self.refreshes
        if interval < LEAST_INTERVAL:
            raise ValueError(
                f"clock_hz must leave {LEAST_INTERVAL} cycles from refresh to refresh, not {interval}: {clock_hz!r}"
            )
        return SdramCycles(cas=cas, interval=interval, **least)

    def capture(self, *, clock_hz: int, delay: float = 5.0) -> int:
        """Half cycles after the ``cas``-th edge at which a word is in the middle of its time at a pad.

        The part's clock is inverted; ``delay`` are the ns from an edge to the part and back, pads and board together.
        """
        return math.floor((self.access + self.hold + 2 * delay) * clock_hz / GIGA + 0.5)


AS4C16M16SA_7 = SdramPart()
"""Alliance AS4C16M16SA-7, 32 MB; the slowest of those that an ULX3S has. Reference: data sheet, rev. 3.0, table 16."""
