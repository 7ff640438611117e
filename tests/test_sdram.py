# amaranth: UnusedElaboratable=no
"""The board's SDRAM: what is written is read, whoever asks in whatever order; its share of the peak; refreshes; resets."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdram_bench import CLOCK, PART, Golden, Traffic, controller, with_part

from fpga.soc.memory import SLVERR
from fpga.soc.sdram_part import AS4C16M16SA_7, SdramPart
from tests.formal import later

SIZE = 8
UNMAPPED = 1 << 32
LEAST_SHARE = 0.8


def beat(generator, size=SIZE):
    return generator.getrandbits(8 * size)


def full(size):
    return (1 << size) - 1


def block(seed, address, beats, size=SIZE):
    """A burst of a write that writes all."""
    generator = random.Random(seed)
    return address, [(beat(generator, size), full(size)) for _ in range(beats)]


@pytest.mark.parametrize("shape", [(8, 32), *later((4, 64), (8, 256), (16, 16), (64, 4), (64, 256))])
@pytest.mark.parametrize("clock_hz", [CLOCK, *later(25_000_000, 50_000_000, 142_000_000)])
def test_share_of_the_peak(shape, clock_hz):
    """Bursts one after the other, refreshes included: 2 bytes a cycle would be the peak."""
    size, beats = shape
    length, interval = beats * size, PART.cycles(clock_hz=clock_hz).interval
    number = -(-8 * interval // length)
    with with_part(size, clock_hz=clock_hz) as model:
        traffic = Traffic(model, size).idle(300)
        writes = [block(i, i * length, beats, size) for i in range(number)]
        reads = [(address, beats) for address, _ in writes]
        for wanted in ({"writes": writes}, {"reads": reads}):
            traffic.first = None
            traffic.run(**wanted)
            cycles = traffic.last - traffic.first + 1
            assert cycles > 3 * interval
            assert number * length / 2 >= LEAST_SHARE * cycles
        assert [word for word, _, _ in traffic.beats] == [word for _, data in writes for word, _ in data]
        assert traffic.breach == 0


places = st.tuples(st.integers(0, 5), st.integers(0, 1023)).map(
    lambda place: (place[0] * 2048 + place[1]) * SIZE
)
"""Byte addresses in rows far apart: every bank, and many rows of each."""


def bursts(area):
    """Bursts in that half of the memory, some of them beyond its end."""
    inside = places.map(lambda address: area * PART.size // 2 + address)
    return st.lists(
        st.tuples(
            inside | st.sampled_from((PART.size - 2 * SIZE, PART.size, 1 << 31)) if area else inside,
            st.sampled_from((1, 2, 3, 5, 17, 40)),
        ),
        max_size=4,
    )


phases = st.lists(
    st.tuples(st.integers(0, 2**32), bursts(0), bursts(1), st.integers(0, 3), st.sampled_from((0, 30, 80))),
    min_size=2,
    max_size=6,
)


@settings(max_examples=40)
@given(phases)
def test_random_traffic(phases):
    """Writes to one half with any strobes, reads of the other, the host in between; the halves change places."""
    golden = Golden(PART.size)
    with with_part(SIZE) as model:
        for number, (seed, low, high, words, pause) in enumerate(phases):
            generator = random.Random(seed)
            stalled = random.Random(seed + 1)
            written, read = (low, high) if number % 2 == 0 else (high, low)
            writes, answers, beats, accesses, expected = [], [], [], [], []
            for address, count in read:
                values = [golden.read(address + i * SIZE, SIZE) for i in range(count)]
                beats += [(value, i == count - 1) for i, value in enumerate(values)]
            for address, count in written:
                data = [
                    (beat(generator), generator.choice((255, 255, generator.randrange(256))))
                    for _ in range(count)
                ]
                inside = [golden.write(address + i * SIZE, *item, SIZE) for i, item in enumerate(data)]
                writes.append((address, data))
                answers.append(0 if all(inside) else SLVERR)
            for _ in range(words):
                # Where no burst comes.
                word = 3 * PART.size // 8 // 4 + generator.randrange(600)
                word = generator.choice((word, word, word, PART.size // 4 + word, (1 << 30) - 1))
                value = generator.choice((None, generator.getrandbits(32)))
                if word >= PART.size // 4:
                    expected.append(UNMAPPED)
                elif value is None:
                    expected.append(golden.read(4 * word, 4))
                else:
                    golden.write(4 * word, value, 15, 4)
                    expected.append(0)
                accesses.append((word, value))
            stalls = lambda channel, cycle, r=stalled, share=pause: r.randrange(100) < share  # noqa: E731
            traffic = Traffic(model, SIZE, stalls=stalls)
            traffic.run(reads=read, writes=writes, accesses=accesses)
            assert [bool(last) for _, _, last in traffic.beats] == [last for _, last in beats]
            for (word, response, _), (value, _) in zip(traffic.beats, beats, strict=True):
                assert response == (SLVERR if value is None else 0)
                assert value in (None, word)
            assert traffic.answers == answers
            assert traffic.words == expected
            assert traffic.breach == 0


@pytest.mark.long
@pytest.mark.parametrize("latencies", [(3, 1), *later((2, 0), (2, 2), (3, 0), (3, 3), (3, 4))])
def test_latencies(latencies):
    """Words that come later, as they do through pads."""
    cas, capture = latencies
    with with_part(SIZE, cas=cas, capture=capture) as model:
        write = block(3, 4000, 100)
        traffic = Traffic(model, SIZE).run(writes=[write])
        traffic.run(reads=[(4000, 100)], accesses=[(1000, None)])
        assert [word for word, _, _ in traffic.beats] == [word for word, _ in write[1]]
        assert traffic.words == [write[1][0][0] & 0xFFFFFFFF]
        assert traffic.breach == 0


@pytest.mark.long
def test_a_slow_part():
    """Each time longer than what lies between the commands anyhow."""
    times = {"rcd": 60, "rp": 70, "ras": 150, "rc": 400, "rfc": 300, "rrd": 90, "wr": 80, "mrd": 50}
    with with_part(SIZE, part=dataclasses.replace(PART, **times)) as model:
        traffic = Traffic(model, SIZE)
        for i in range(40):
            write = block(i, 4096 * (i % 7) + 512 * (i % 5), 1 + i % 3)
            traffic.run(writes=[write])
            traffic.run(reads=[(write[0], len(write[1]))])
            assert [word for word, _, _ in traffic.beats] == [word for word, _ in write[1]]
        assert traffic.breach == 0


def test_nobody_waits_for_a_master():
    """Neither the host nor a refresh, while it takes no beat and brings none."""
    cycles = PART.cycles(clock_hz=CLOCK)
    with with_part(SIZE) as model:
        traffic = Traffic(model, SIZE).run(writes=[block(1, 0, 64)])
        stuck = {"s_axi_arvalid": 1, "s_axi_arlen": 255, "s_axi_awvalid": 1, "s_axi_awlen": 255}
        for _ in range(5 * cycles.interval):
            traffic.breach |= model.cycle(stuck)["breach"]
        assert traffic.breach == 0
        asked = stuck | {"bus_request_valid": 1, "bus_request_payload": 2, "bus_response_ready": 1}
        came = [model.cycle(asked)["bus_response_valid"] for _ in range(200)]
        assert sum(came) >= 4
        seen = [model.cycle(stuck | {"s_axi_rready": 1}) for _ in range(600)]
        beats = [outputs["s_axi_rdata"] for outputs in seen if outputs["s_axi_rvalid"]]
        assert beats[:64] == [word for word, _ in block(1, 0, 64)[1]]


def test_the_host_goes_first():
    """An access waits for a beat, and for a refresh at most."""
    with with_part(SIZE) as model:
        traffic = Traffic(model, SIZE).run(writes=[block(2, 0, 200)])
        accesses = [(word, None) for word in range(40)]
        traffic.run(reads=[(0, 200)] * 4, accesses=accesses)
        start = traffic.now
        assert len(traffic.words) == 40
        traffic.run(accesses=accesses)
        alone = traffic.now - start
        assert alone < 40 * 20
        start = traffic.now
        traffic.run(reads=[(0, 200)] * 2, accesses=accesses[:20])
        assert traffic.now - start < 2 * 200 * 4 + 20 * 20 + 200


def test_reads_and_writes_take_turns():
    """Though the host asks again and again."""
    with with_part(SIZE) as model:
        traffic = Traffic(model, SIZE).run(writes=[block(2, 0, 200)])
        start = traffic.now
        writes = [block(i, 8192 + 1024 * i, 8) for i in range(12)]
        traffic.run(reads=[(0, 8)] * 12, writes=writes, accesses=[(word, None) for word in range(30)])
        assert traffic.now - start < 24 * 60 + 30 * 20
        stuck = {
            "s_axi_arvalid": 1,
            "s_axi_arlen": 255,
            "s_axi_rready": 1,
            "bus_request_valid": 1,
            "bus_response_ready": 1,
        }
        stuck |= {"s_axi_awvalid": 1, "s_axi_wvalid": 1, "s_axi_wlast": 1, "s_axi_bready": 1}
        seen = [model.cycle(stuck) for _ in range(3000)]
        assert sum(outputs["s_axi_bvalid"] for outputs in seen) > 60
        assert sum(outputs["s_axi_rvalid"] for outputs in seen) > 60
        assert sum(outputs["bus_response_valid"] for outputs in seen) > 60
        assert seen[-1]["breach"] == 0


@pytest.mark.parametrize("when", [3, 9, 30, *later(0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 20, 70)])
def test_restart(when):
    """What was asked is forgotten at any moment; refreshes go on, contents stay but for what was being written."""
    with with_part(SIZE) as model:
        traffic = Traffic(model, SIZE).run(writes=[block(5, 0, 80), block(6, 4096, 80)])
        for reading in (True, False):
            pins = {
                "s_axi_rready": 1,
                "s_axi_bready": 1,
                "s_axi_wvalid": 1,
                "s_axi_wdata": 77,
                "s_axi_wstrb": 255,
            }
            pins |= (
                {"s_axi_arvalid": 1, "s_axi_arlen": 60}
                if reading
                else {"s_axi_awvalid": 1, "s_axi_awlen": 60, "s_axi_awaddr": 4096}
            )
            for _ in range(when):
                model.cycle(pins)
            for _ in range(16):
                traffic.breach |= model.cycle(pins | {"restart": 1})["breach"]
            traffic.idle(100)
            traffic.run(writes=[block(7, 8192, 3)], reads=[(0, 80)])
            assert [word for word, _, _ in traffic.beats] == [word for word, _ in block(5, 0, 80)[1]]
        traffic.run(reads=[(4096, 80), (8192, 3)])
        wanted = [word for word, _ in block(6, 4096, 80)[1] + block(7, 8192, 3)[1]]
        spoilt = [i for i, (word, _, _) in enumerate(traffic.beats) if word != wanted[i]]
        assert spoilt == list(range(len(spoilt)))
        assert len(spoilt) <= max(0, when // 4 + 1)
        assert traffic.breach == 0


def test_cycles_of_the_part():
    part = AS4C16M16SA_7
    assert part.size == 32 << 20
    wanted = {"rcd": 3, "rp": 3, "ras": 5, "rc": 7, "rfc": 7, "rrd": 2, "wr": 2, "mrd": 2, "power_up": 20_000}
    assert part.cycles(clock_hz=100_000_000).as_dict() == wanted | {"cas": 3, "interval": 781}
    wanted = {"rcd": 1, "rp": 1, "ras": 2, "rc": 2, "rfc": 2, "rrd": 1, "wr": 2, "mrd": 2, "power_up": 5_000}
    assert part.cycles(clock_hz=25_000_000, cas=2).as_dict() == wanted | {"cas": 2, "interval": 195}


@pytest.mark.parametrize("clock_mhz", range(16, 143, 7))
def test_all_rows_are_refreshed_in_time(clock_mhz):
    """Even when the last refresh of a round comes as late as the controller lets it."""
    part = AS4C16M16SA_7
    cycles = part.cycles(clock_hz=clock_mhz * 1_000_000)
    assert (part.refreshes * cycles.interval + 100) * 1000 <= part.refresh_ns * clock_mhz
    late = 32 + cycles.ras + cycles.rp + cycles.rcd + cycles.cas + cycles.wr + cycles.rp + 10
    assert late <= 100


def test_parameters():
    assert controller().size == PART.size
    for name, value in (("data_bytes", 3), ("address_width", 31), ("outstanding", 0), ("capture", -1)):
        with pytest.raises(ValueError, match=f"{name} must be .* not {value}"):
            controller(**{name: value})
    for name, value in (("row_bits", 14), ("column_bits", 7)):
        with pytest.raises(ValueError, match=f"{name} must be .* not {value}"):
            SdramPart(**{name: value})
    with pytest.raises(ValueError, match="cas must be one of 2, 3, not 1"):
        controller(cas=1)
    assert controller(clock_hz=142_857_142)
    for clock, cas in ((100_000_001, 2), (142_857_143, 3), (0, 3)):
        with pytest.raises(ValueError, match=f"clock_hz must be 1 to .* with cas {cas}, not {clock}"):
            controller(clock_hz=clock, cas=cas)
    with pytest.raises(ValueError, match="clock_hz must leave 100 cycles from refresh to refresh, not 65"):
        controller(clock_hz=8_400_000)
    with pytest.raises(TypeError):
        controller(data_bytes=8.0)
