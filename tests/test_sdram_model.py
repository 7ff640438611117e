"""``tb/sdram.v``: it does what the data sheet says, and notes each thing that it forbids, by itself."""

from __future__ import annotations

import pytest
from sdram_bench import BARE_RC, BREACHES, CLOCK, PART, bare_part

from fpga.soc.sdram_part import LEAST_INTERVAL

CYCLES = PART.cycles(clock_hz=CLOCK)
COMMANDS = {
    "mode": 0b000, "refresh": 0b001, "precharge": 0b010, "activate": 0b011, "write": 0b100, "read": 0b101, "stop": 0b110,
    "none": 0b111,
}  # fmt: skip
A10 = 1 << 10
MODE = CYCLES.cas << 4


def pins(name, **more):
    """A command's pins."""
    number = COMMANDS[name]
    there = {"cke": 1, "ras_n": number >> 2, "cas_n": number >> 1 & 1, "we_n": number & 1}
    return there | more


def carry_out(steps):
    """``steps`` are (pins, cycles until the next); the words on dq in every cycle, and what was noted."""
    seen = []
    with bare_part() as part:
        for given, wait in steps:
            seen.append(part.cycle(given))
            seen += [part.cycle(pins("none")) for _ in range(wait - 1)]
        last = part.cycle(pins("none"))
    return [outputs["dq_o"] for outputs in seen], last["breach"]


def start(*, refreshes=8, mode=MODE, power_up=CYCLES.power_up):
    return [
        (pins("none"), power_up),
        (pins("precharge", a=A10), CYCLES.rp),
        *[(pins("refresh"), CYCLES.rfc)] * refreshes,
        (pins("mode", a=mode), CYCLES.mrd),
    ]


def row(number=0, wait=CYCLES.rcd):
    return (pins("activate", a=number), wait)


def write(column, data, *, wait=1, mask=0):
    return (pins("write", a=column, dq_i=data, dq_oe=1, dqm=mask), wait)


def read(column, wait=1):
    return (pins("read", a=column), wait)


CLOSED = (pins("precharge", a=A10), CYCLES.rp)


def test_nothing_to_note():
    steps = [
        *start(),
        row(5),
        write(7, 0x1234),
        write(8, 0x5678),
        write(8, 0xFFFF, mask=0b10),
        read(7),
        read(8, 8),
    ]
    steps += [CLOSED, row(6), write(7, 0xAAAA, wait=8), CLOSED, row(5, CYCLES.rcd + 2), read(7, 8)]
    steps += [CLOSED, (pins("refresh"), CYCLES.rfc), row(6), read(7, 6)]
    words, breach = carry_out(steps)
    assert breach == 0
    place, expected = 0, []
    for given, wait in steps:
        if given["ras_n"] and not given["cas_n"] and given["we_n"]:
            expected.append(words[place + CYCLES.cas])
        place += wait
    assert expected == [0x1234, 0x56FF, 0x1234, 0xAAAA]


def test_masks_of_reads_come_later():
    steps = [*start(), row(), write(1, 0x1111, wait=2), (pins("read", a=1), 1), (pins("none", dqm=0b01), 6)]
    words, breach = carry_out(steps)
    place = sum(wait for _, wait in steps[:-2]) + CYCLES.cas
    assert breach == 0
    assert words[place] >> 8 == 0x11
    assert words[place] != 0x1111


ready, opened = start(), [*start(), row(0, CYCLES.ras)]
FAULTS = {
    "early": ("power_up", start(power_up=CYCLES.power_up - 1)),
    "no clock enable": ("power_up", [*ready, (pins("none") | {"cke": 0}, 1)]),
    "few refreshes": ("start", [*start(refreshes=7), row()]),
    "no mode": ("start", [*start()[:-1], row()]),
    "other latency": ("mode", start(mode=2 << 4)),
    "longer bursts": ("mode", start(mode=MODE | 1)),
    "soon after the mode": ("mrd", [*ready[:-1], (pins("mode", a=MODE), CYCLES.mrd - 1), row()]),
    "soon after the row": ("rcd", [*ready, row(0, CYCLES.rcd - 1), read(0, 5)]),
    "a row soon after a precharge": ("rp", [*opened, (CLOSED[0], CYCLES.rp - 1), (row(0)[0] | {"ba": 1}, 5)]),
    "a refresh soon after a precharge": ("rp", [*opened, (CLOSED[0], CYCLES.rp - 1), (pins("refresh"), 1)]),
    "a mode soon after a precharge": ("rp", [*opened, (CLOSED[0], CYCLES.rp - 1), (pins("mode", a=MODE), 1)]),
    "closed too soon": ("ras", [*ready, row(0, CYCLES.ras - 1), CLOSED]),
    "opened too soon": ("rc", [*opened, (CLOSED[0], BARE_RC - 1 - CYCLES.ras), row()]),
    "another too soon": ("rrd", [*ready, row(0, CYCLES.rrd - 1), (row(0)[0] | {"ba": 1}, 1)]),
    "soon after a refresh": ("rfc", [*ready, (pins("refresh"), CYCLES.rfc - 1), row()]),
    "soon after a write": ("wr", [*opened, write(0, 1, wait=CYCLES.wr - 1), CLOSED]),
    "no row": ("bank", [*ready, read(0, 5)]),
    "no row any more": ("bank", [*opened, (pins("precharge"), CYCLES.rp), write(0, 0)]),
    "a row over a row": ("bank", [*ready, row(0, BARE_RC), row(1)]),
    "a refresh of an open bank": ("bank", [*opened, (pins("refresh"), 1)]),
    "a mode with an open bank": ("bank", [*opened, (pins("mode", a=MODE), 1)]),
    "no refresh": ("refresh", [*ready, (pins("none"), CYCLES.interval + LEAST_INTERVAL)]),
    "both drive": ("conflict", [*opened, read(0, CYCLES.cas), (pins("none", dq_oe=1), 1)]),
    "one right after the other": ("conflict", [*opened, read(0, CYCLES.cas + 1), write(0, 0)]),
    "nobody drives": ("undriven", [*opened, (pins("write"), 1)]),
    "a stop": ("command", [*ready, (pins("stop"), 1)]),
    "a precharge with the column": ("command", [*opened, read(A10, 5)]),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault):
    name, steps = FAULTS[fault]
    assert carry_out(steps)[1] == BREACHES[name]


def test_every_fault_is_provoked():
    assert {name for name, _ in FAULTS.values()} == set(BREACHES)


def test_what_is_just_allowed():
    """The last moment before it would be forbidden, or the first after."""
    for steps in (
        [*ready, row(0, CYCLES.rrd), (row(0)[0] | {"ba": 1}, 1)],
        [*opened, (CLOSED[0], BARE_RC - CYCLES.ras), row()],
        [*opened, write(0, 1, wait=CYCLES.wr), CLOSED],
        [*opened, read(0, CYCLES.cas + 2), write(0, 0)],
        [
            *ready,
            (pins("none"), CYCLES.interval + LEAST_INTERVAL - CYCLES.rfc - CYCLES.mrd - 4),
            (pins("refresh"), 9),
        ],
    ):
        assert carry_out(steps)[1] == 0
