"""Whole GEMMs from parts of their programs: the same numbers as from all of it, to the cycle."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from gen import config, whole, workload
from gen.compiler import DoesNotFit, compile_gemm
from gen.compiler import compile as compile_module
from gen.compiler.compile import make_gemm, make_plan
from gen.compiler.repeats import Gap, Gaps, Letters, Stay, choose, cycle_of, first_stays, gap, kept
from gen.compiler.shorten import Shortened, Stores
from gen.cost import cost
from gen.errors import RequestError
from gen.models import work
from gen.whole import Predictor
from hw.control.isa import OutputMode
from sim.cycles.memory import MemoryTiming
from sim.cycles.program import predict

RAW, REQUANTISED = OutputMode
COUNTERS = ("cycles", "array_steps", "load_beats", "fetch_beats", "store_beats")
FAMILIES = ("systolic-8x8", "systolic-ws-16x16", "bitmod-int8-8x8", "lut-m2n64k4", "olive-8x8", "mx-8x8")
"""A preset of each family, and of each dataflow."""
IN_ORDER = ("lut-up5k", "bitserial-up5k", "systolic-nano9k")
WIDE = ("bus.address_width=32",)
"""For programs that are longer than those parts have memory for."""


@cache
def loaded(name, *overrides):
    return config.load(name, overrides)


def compare(name, sizes, *, overrides=(), mode=RAW, formats=(None, None), timing=None, most=None):
    """Both predictions of a GEMM, held against each other; the one from a part of the program."""
    configuration = loaded(name, *overrides)
    design, family, timing = configuration.design(), configuration.instance, timing or MemoryTiming()
    program = compile_gemm(design, family, *sizes, mode=mode, formats=formats)
    if most and program.length > most:
        return None
    found = Predictor(design, family, timing).predict(*sizes, mode=mode, formats=formats)
    wanted = predict(design, family.model().law(), program.instructions, timing)
    assert [getattr(found, key) for key in COUNTERS] == [getattr(wanted, key) for key in COUNTERS]
    assert found.instructions == program.length
    return found


# The same numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "mode", "overrides"),
    [
        ("systolic-8x8", (1, 4096, 4096), REQUANTISED, ()),
        ("olive-8x8", (1, 4096, 4096), REQUANTISED, ()),
        ("mx-ws-16x16", (1, 4096, 4096), REQUANTISED, ()),
        ("lut-gguf-m2n64k4", (1, 512, 6000), RAW, ("memory.accumulators=64",)),
        ("lut-up5k", (1, 1024, 6000), RAW, WIDE),
        ("bitserial-up5k", (1, 2048, 2002), REQUANTISED, WIDE),
        ("systolic-nano9k", (2, 576, 2001), REQUANTISED, WIDE),
    ],
)
def test_less_than_all(name, sizes, mode, overrides):
    """Enough repeats for something to be left out, within groups and of groups."""
    found = compare(name, sizes, mode=mode, overrides=overrides)
    assert found.predicted < found.instructions


@st.composite
def cases(draw, names, *, most_rows=400, most_columns=64):
    name = draw(st.sampled_from(names))
    family = loaded(name).instance
    pair = draw(st.sampled_from(family.pairs))
    rows = st.one_of(st.just(1), st.integers(2, most_rows))
    return {
        "name": name,
        "sizes": (
            draw(rows),
            draw(st.integers(1, 40)) * 16,
            draw(st.integers(1, most_columns)) * 64 + draw(st.sampled_from([0, 0, 3])),
        ),
        "mode": draw(st.sampled_from([RAW, REQUANTISED])),
        "formats": tuple(format.name for format in pair),
        "timing": MemoryTiming(
            read_latency=draw(st.sampled_from([1, 20, 100])),
            write_latency=draw(st.sampled_from([1, 20, 400])),
            interval=draw(st.sampled_from([1, 1, 2])),
            outstanding=draw(st.sampled_from([1, 8])),
        ),
    }  # fmt: skip


def drawn(case, most):
    try:
        found = compare(**case, most=most)
    except DoesNotFit:
        found = None
    assume(found)
    event("less than all" if found.predicted < found.instructions else "all")


@settings(max_examples=12)
@given(cases(FAMILIES))
def test_drawn(case):
    drawn(case, 1500)


@settings(max_examples=8)
@given(cases(IN_ORDER, most_rows=4, most_columns=12))
def test_drawn_in_order(case):
    drawn(case | {"overrides": WIDE}, 1500)


@pytest.mark.long
@settings(max_examples=200)
@given(cases(IN_ORDER, most_rows=20))
def test_drawn_in_order_longer(case):
    drawn(case | {"overrides": WIDE}, 20_000)


@pytest.mark.long
@settings(max_examples=300)
@given(cases(config.presets()))
def test_drawn_presets(case):
    drawn(case, 15_000)


@pytest.mark.long
@pytest.mark.parametrize("name", config.presets())
@pytest.mark.parametrize("sizes", [(1, 4096, 4096), (1, 576, 20_000), (177, 256, 2000), (700, 192, 640)])
def test_sizes_of_models(name, sizes):
    compare(name, sizes, overrides=WIDE if name in IN_ORDER else (), mode=REQUANTISED, most=20_000)


@pytest.mark.long
@pytest.mark.parametrize("mode", [RAW, REQUANTISED])
@pytest.mark.parametrize("timing", [MemoryTiming(write_latency=400, outstanding=1), MemoryTiming(interval=2)])
def test_slow_stores(mode, timing):
    """STOREs that the array waits for, with places in pages that change from group to group."""
    for sizes in ((1, 16, 20_000), (64, 32, 4000), (24, 64, 6001)):
        compare("systolic-8x8", sizes, mode=mode, timing=timing)


@pytest.mark.parametrize(
    ("name", "most"), [("systolic-8x8", 10_000), ("lut-up5k", 18_000), ("bitserial-up5k", 6000)]
)
def test_work_of_a_model(name, most):
    """A token of a model of 7 billion weights: so many instructions are gone through, of some 60,000, 190,000 and 480,000."""
    found = cost(loaded(name, *WIDE), work.parse("llama-2-7b:decode"), mode=RAW)
    different = {(line.product.K, line.product.N): line.whole for line in found.lines}
    assert sum(one.predicted for one in different.values()) <= most
    assert sum(one.instructions for one in different.values()) > 5 * most


def test_what_has_no_room_in_memory_is_refused():
    with pytest.raises(DoesNotFit, match="address_width must be at least 23 for this memory map, not 17"):
        cost(loaded("lut-up5k"), work.parse("llama-2-7b:decode"))


# What does not settle --------------------------------------------------------------------------------------------


def shortened(name, sizes):
    configuration = loaded(name)
    design, family = configuration.design(), configuration.instance
    plan = make_plan(design, family, make_gemm(*sizes, REQUANTISED, 0))
    letters = Letters(plan)
    gaps = choose(plan, letters, first_stays(plan, letters))
    return Predictor(design, family), Shortened(
        plan, letters, Stores(design, MemoryTiming(), REQUANTISED), gaps, {}
    )


def test_one_event_that_differs():
    """A prediction of which one number in the window is another is not taken for settled."""
    predictor, short = shortened("systolic-8x8", (1, 4096, 4096))
    failed, prediction = predictor._settled(short)
    assert not failed
    cut = short.cuts[0]
    for times in (prediction.trace.handed, prediction.trace.looked, prediction.finished):
        times[cut.at - 3] += 1
        assert not whole._repeats(prediction, cut, short)
        times[cut.at - 3] -= 1
    assert whole._repeats(prediction, cut, short)
    middle = prediction.trace.handed[cut.at - 2]
    prediction.trace.events.append(middle)
    prediction.trace.events.sort()
    assert not whole._repeats(prediction, cut, short)


def test_one_instruction_that_differs():
    """Nor is a program of which one instruction in the window is another."""
    _, short = shortened("systolic-8x8", (1, 4096, 4096))
    cut = short.cuts[0]
    assert short.same(cut, cut.period)
    short.steps[cut.at - 1].fields["post"] ^= 1
    del short.identities
    assert not short.same(cut, cut.period)


def test_stores_that_are_not_idle():
    predictor, short = shortened("systolic-8x8", (1, 4096, 4096))
    prediction = predictor._predicted(short)
    assert whole._idle(prediction, short)
    short.results[:] = [type(one)(one.place, one.m_tile, one.group, True, 10**9) for one in short.results]
    assert not whole._idle(prediction, short)


def test_few_parts():
    """Too little to leave out: the program as it is."""
    found = compare("systolic-8x8", (8, 64, 64))
    assert found.predicted == found.instructions


# Weights ---------------------------------------------------------------------------------------------------------


def test_cycles_that_depend_on_weights():
    name, sizes, overrides = "systolic-4x4", (5, 24, 30), ("array.multiplier=sparse_digit",)
    configuration = loaded(name, *overrides)
    design, family = configuration.design(), configuration.instance
    with pytest.raises(
        RequestError, match="seed is missing: how long this array takes depends on its weights"
    ):
        Predictor(design, family).predict(*sizes)
    found = Predictor(design, family, seed=7).predict(*sizes)
    load = workload.random(sizes, "raw", 7, family.pairs[0], family)
    program = compile_gemm(design, family, *sizes)
    image = program.image(load.x, load.w)
    wanted = predict(design, family.model().law(), program.instructions, image=image, base=program.base)
    assert [getattr(found, key) for key in COUNTERS] == [getattr(wanted, key) for key in COUNTERS]
    assert Predictor(design, family, seed=8).predict(*sizes).array_steps != found.array_steps


def test_too_long(monkeypatch):
    """A program is refused by the length of the whole of it, not of what is predicted."""
    monkeypatch.setattr(compile_module, "MOST_INSTRUCTIONS", 500)
    configuration = loaded("olive-8x8")
    with pytest.raises(DoesNotFit, match="the program must be shorter than 500 instructions, not "):
        Predictor(configuration.design(), configuration.instance).predict(1, 4096, 4096)


# Gaps ------------------------------------------------------------------------------------------------------------


def test_gap():
    letters = [9, *[1, 2] * 20, 7]
    found = gap(letters, Stay(warm=5, period=2, tail=3))
    assert found == Gap(6, 38, 2)
    assert found.repeats == 16
    assert kept(found, tuple(letters)) == (9, 1, 2, 1, 2, 1, 2, 1, 2, 7)
    assert gap(letters, Stay(warm=5, period=3, tail=3)) is None
    assert gap(letters, Stay(warm=40, period=2, tail=3)) is None
    assert kept(None, (1, 2)) == (1, 2)


def test_cycle_of():
    assert cycle_of([9, *[1, 2, 2] * 20, 7]) == 3
    assert cycle_of([1] * 10) == 1
    assert cycle_of(range(100)) == 1


def test_counts():
    """What EXECUTEs read and write, of a GEMM that is one tile by hand: 8 x 8 elements, K = 16, words of 8 bytes."""
    found = compare("systolic-8x8", (8, 16, 8))
    assert (found.activation_reads, found.weight_reads) == (8 * 2, 16)
    assert (found.results, found.additions) == (64, 0)
    assert Gaps() == Gaps(None, None, {})
