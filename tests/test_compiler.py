"""Compiled programs: what they compute, that no timing can break them, what they refuse, how they are tiled."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from gen.compiler import GUARD, DoesNotFit, Program, compile_gemm
from gen.compiler.check import problems
from gen.errors import RequestError
from gen.families import Family
from hw.control.isa import INSTRUCTION_BYTES, Opcode, OutputMode
from hw.design import Design
from hw.formats import Format, Operand
from sim import golden
from sim.interpreter import run
from tests.reference_array import PAIRS, Reference, design

RAW, REQUANTISED = OutputMode


def operands(program: Program, seed: int) -> tuple[Any, ...]:
    """Random x and w, and parameters when the program takes them."""
    g, generator = program.gemm, np.random.default_rng(seed)
    activations, weights = program.family.pairs[g.variant]
    x = Operand(format=activations, codes=codes(generator, activations, (g.M, g.K)), depth_axis=1)
    scales = selectors = None
    if weights.block:
        blocks = (-(-g.K // weights.block), g.N)
        scales = generator.integers(*((0, 256) if weights.scale == "int8" else (-128, 128)), blocks)
        if len(weights.tables) > 1:
            selectors = generator.integers(0, len(weights.tables), blocks, dtype=np.uint8)
    w = Operand(
        format=weights, codes=codes(generator, weights, (g.K, g.N)), depth_axis=0, scales=scales, selectors=selectors
    )  # fmt: skip
    if g.mode is RAW:
        return x, w
    bias = generator.integers(-(2**31), 2**31, g.N, dtype=np.int32)
    multiplier = generator.integers(0, 2**32, g.N, dtype=np.uint32)
    return x, w, bias, multiplier, generator.integers(20, 64, g.N).astype(np.uint8)


def codes(generator: np.random.Generator, format: Format, shape: tuple[int, int]) -> np.ndarray:
    return generator.integers(0, 1 << format.bits, shape, dtype=format.code_type)


def verify(chip: Design, family: Family, program: Program, seed: int = 0) -> None:
    """Sound in any timing; equal to the golden model; nothing else touched."""
    assert problems(chip, family.model(), program.binary) == []
    assert {one.variant for one in program.instructions if one.opcode is Opcode.EXECUTE} == {
        program.gemm.variant
    }
    x, w, *scaling = operands(program, seed)
    image = program.image(x, w, *scaling)
    before = image.copy()
    result = run(
        chip, family.model(), image, program.address, program.length, program.window, base=program.base
    )
    assert result.passed, (result, program.length)
    given = (x.integers(), w.integers(), *scaling)
    wanted = golden.gemm(*given) if program.gemm.mode is RAW else golden.requantised_gemm(*given)
    assert np.array_equal(program.read_output(image), wanted), f"seed {seed}"
    assert program.damaged(image) is None
    start, size = program.regions["output"]
    before[start - program.base :][:size] = image[start - program.base :][:size]
    assert np.array_equal(image, before), "bytes outside the output changed"


sizes = st.one_of(st.integers(1, 8), st.integers(1, 90))


@st.composite
def chips(draw: st.DrawFn) -> tuple[Design, Family]:
    """Arrays of both dataflows, odd widths, wide and narrow buses, scratchpads from far too small to ample."""
    stationary = draw(st.booleans())
    rows = draw(st.sampled_from([1, 2, 4, 8, 16] if stationary else [1, 2, 3, 5, 8, 16]))
    columns = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16]))
    spread = draw(st.sampled_from([spread for spread in (1, 2, 3, 4) if columns % spread == 0]))
    width = draw(st.sampled_from([4, 8, 16, 64]))
    family = Reference(rows=rows, columns=columns, data_bytes=width, stationary=stationary, spread=spread)
    banks = columns // spread
    small = st.sampled_from([256, 512, 1024, 4096, 65536])
    chip = design(
        family,
        activations=draw(small),
        weights=draw(small),
        accumulators=draw(st.sampled_from([2, 8, 32, 64, 1024])),
        parameters=draw(st.sampled_from([16, 32, 256])),
        lanes=draw(st.sampled_from([n for n in (1, 2, 4, 8, 16) if banks % n == 0 and 4 * n <= width])),
    )
    return chip, family


@settings(max_examples=150)
@given(
    chips(),
    sizes,
    sizes,
    sizes,
    st.sampled_from(OutputMode),
    st.integers(0, 2**32 - 1),
    st.integers(0, 127),
    st.sampled_from(PAIRS),
)
def test_programs_equal_the_golden_model(
    chip_and_family: tuple[Design, Family],
    m: int,
    k: int,
    n: int,
    mode: OutputMode,
    seed: int,
    shift: int,
    pair: tuple[Format, Format],
) -> None:
    chip, family = chip_and_family
    alignment = {"activations": shift, "parameters": shift // 2, "output": 127 - shift}
    try:
        program = compile_gemm(
            chip,
            family,
            m,
            k,
            n,
            mode=mode,
            formats=(pair[0].name, pair[1].name),
            base=seed // 128 * 128,
            alignment=alignment,
        )
    except DoesNotFit:
        event("does not fit")
        return
    tiling = program.tiling
    event(
        f"{'one chunk' if len(tiling.chunks) == 1 else 'chunks'}, {'one' if len(tiling.m_tiles) == 1 else 'several'} M tiles"
    )
    assert all(
        program.regions[name][0] % 128 == offset
        for name, offset in alignment.items()
        if name in program.regions
    )
    verify(chip, family, program, seed)


STANDARD = Reference(rows=8, columns=8, data_bytes=8, stationary=False)
STATIONARY = Reference(rows=16, columns=16, data_bytes=8, stationary=True)
TINY: dict[str, Any] = {"activations": 512, "weights": 512, "accumulators": 32, "parameters": 16}


@pytest.mark.parametrize("mode", OutputMode)
@pytest.mark.parametrize("family", [STANDARD, STATIONARY], ids=["outputs", "weights"])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (1, 576, 96),
        (3, 65, 17),
        (17, 100, 33),
        (40, 64, 72),
        (64, 300, 8),
        (1, 1000, 9),
        (7, 9, 200),
    ],
    ids=str,
)
@pytest.mark.parametrize("memory", [{}, TINY], ids=["ample", "tiny"])
def test_shapes_by_hand(
    shape: tuple[int, int, int], family: Family, mode: OutputMode, memory: dict[str, int]
) -> None:
    chip = design(family, **memory, lanes=2)
    verify(chip, family, compile_gemm(chip, family, *shape, mode=mode, base=0x4000))


def test_tiny_scratchpads_force_every_kind_of_cut() -> None:
    chip = design(STANDARD, **TINY)
    program = compile_gemm(chip, STANDARD, 40, 100, 72, mode=REQUANTISED)
    assert len(program.tiling.m_tiles) > 1
    assert len(program.tiling.chunks) > 1
    assert any(one.opcode is Opcode.EXECUTE and one.accumulate for one in program.instructions)
    assert not program.tiling.weights_stay
    assert not program.tiling.parameters_stay


def test_large_gemms_are_sound() -> None:
    chip = design(STANDARD, lanes=2)
    for shape in [(64, 576, 576), (1, 576, 1536), (64, 5000, 136), (1000, 64, 48), (1, 20000, 16)]:
        program = compile_gemm(chip, STANDARD, *shape, mode=REQUANTISED)
        assert problems(chip, STANDARD.model(), program.binary) == [], shape


def test_weights_that_fit_are_loaded_once() -> None:
    chip = design(STANDARD)
    program = compile_gemm(chip, STANDARD, 2000, 64, 64)
    assert len(program.tiling.m_tiles) > 1
    loads = [one for one in program.instructions if one.opcode is Opcode.LOAD and one.variant == 1]
    assert sum(one.row_bytes for one in loads) == 64 * 64


def test_decode_reads_one_row_of_activations_for_all() -> None:
    """M = 1 takes the room of one row, not of a row tile."""
    chip = design(STANDARD, activations=576)
    program = compile_gemm(chip, STANDARD, 1, 576, 64)
    assert len(program.tiling.chunks) == 1
    assert {one.activations_stride for one in program.instructions if one.opcode is Opcode.EXECUTE} == {0}
    verify(chip, STANDARD, program)


def test_prefill_starts_early_and_ends_shortly() -> None:
    """64 x 576 x 576: the first EXECUTE needs one row tile and one column tile, the last STORE brings no more."""
    program = compile_gemm(design(STANDARD, lanes=2), STANDARD, 64, 576, 576)
    first = next(one for one in program.instructions if one.opcode is Opcode.EXECUTE)
    assert (first.row_tiles, first.column_tiles) == (1, 1)
    needed = program.instructions[:2]
    assert [(one.opcode, one.rows * one.row_bytes) for one in needed] == [(Opcode.LOAD, 8 * 576)] * 2
    last = program.instructions[-1]
    assert (last.opcode, last.rows, last.columns) == (Opcode.STORE, 8, 8)
    assert program.length < 150


def test_decode_streams_weights_in_few_linear_rows() -> None:
    """1 x 576 x 1536: instructions take less than 1.5 % of the beats, every weight LOAD is one aligned row."""
    program = compile_gemm(design(STANDARD, lanes=2), STANDARD, 1, 576, 1536)
    loads = [one for one in program.instructions if one.opcode is Opcode.LOAD and one.variant == 1]
    assert sum(one.row_bytes for one in loads) == 576 * 1536
    assert all(one.rows == 1 and one.memory_address % 8 == 0 for one in loads)
    assert all(a.memory_address + a.row_bytes == b.memory_address for a, b in pairwise(loads))
    assert program.length * INSTRUCTION_BYTES < 0.015 * 576 * 1536


def test_compiling_is_quick_and_deterministic() -> None:
    chip = design(STANDARD, lanes=2)
    program = compile_gemm(chip, STANDARD, 64, 576, 1536)
    spent = []
    for _ in range(5):
        start = time.process_time()
        again = compile_gemm(chip, STANDARD, 64, 576, 1536)
        spent.append(time.process_time() - start)
        assert (again.binary, again.regions, again.blocks) == (
            program.binary,
            program.regions,
            program.blocks,
        )
    assert min(spent) < 0.05
    given = operands(program, 3)
    assert np.array_equal(program.image(*given), again.image(*given))


def test_memory_map() -> None:
    program = compile_gemm(
        design(STANDARD), STANDARD, 5, 70, 30, mode=REQUANTISED, base=0x1000, alignment={"output": 3}
    )
    assert set(program.regions) == {"activations", "weights", "parameters", "output", "program"}
    assert program.address % 128 == 0
    assert program.window[0] == 0x1000
    image = program.image(*operands(program, 1))
    assert image.size == program.window[1] - program.window[0] + 1
    edges = [program.base]
    for start, size in program.regions.values():
        assert start - edges[-1] >= 64
        edges += [start, start + size]
    edges.append(program.window[1] + 1)
    assert edges[-1] - edges[-2] >= 64
    assert program.guards() == list(zip(edges[::2], edges[1::2], strict=True))
    for first, end in program.guards():
        assert (image[first - program.base : end - program.base] == GUARD).all()
    assert program.damaged(image) is None
    place = program.guards()[1][0]
    image[place - program.base] ^= 1
    assert program.damaged(image) == place


def test_listing_names_every_instruction() -> None:
    program = compile_gemm(design(STANDARD), STANDARD, 9, 20, 30)
    lines = [line for line in program.listing().splitlines() if not line.startswith(";")]
    assert len(lines) == program.length == len(program.instructions)
    assert "Y[9,30] = X[9,20] · W[20,30], raw" in program.listing()
    assert any("wait(results_ready)" in line and " store " in line for line in lines)


@pytest.mark.parametrize(
    ("memory", "line"),
    [
        ({"accumulators": 8}, "memory.accumulators must be at least 16 rows for this array, not 8"),
        ({"activations": 56}, "memory.activations must be at least 64 bytes for this array, not 56"),
        ({"weights": 32}, "memory.weights must be at least 64 bytes for this array, not 32"),
        ({"parameters": 4}, "memory.parameters must be at least 8 features for this array, not 4"),
        ({"address_width": 12}, "address_width must be at least 13 for this memory map, not 12"),
    ],
)
def test_what_does_not_fit_says_by_how_much(memory: dict[str, int], line: str) -> None:
    with pytest.raises(DoesNotFit) as refusal:
        compile_gemm(design(STANDARD, **memory), STANDARD, 16, 64, 32, mode=REQUANTISED)
    assert refusal.value.lines == (line,)
    assert isinstance(refusal.value, ValueError)


def test_the_size_named_is_enough() -> None:
    family = STANDARD
    chip = design(family, activations=64, weights=64, accumulators=16, parameters=8)
    verify(chip, family, compile_gemm(chip, family, 16, 64, 32, mode=REQUANTISED))


def test_features_that_share_a_bank_take_rows_of_it_each() -> None:
    family = Reference(rows=4, columns=6, data_bytes=8, stationary=False, spread=3)
    with pytest.raises(DoesNotFit, match="accumulators must be at least 24 rows for this array, not 16"):
        compile_gemm(design(family, accumulators=16), family, 4, 8, 6)
    for rows, tiles in ((24, 1), (26, 1), (48, 2)):
        chip = design(family, accumulators=rows)
        program = compile_gemm(chip, family, 4, 8, 24)
        verify(chip, family, program)
        assert max(group.tiles[1] - group.tiles[0] for group in program.tiling.groups) == tiles


@pytest.mark.parametrize(("width", "lanes"), [(8, 2), (64, 16)])
def test_parameters_begin_where_store_can_take_them(width: int, lanes: int) -> None:
    """Groups of features that are no multiple of the lanes, loaded anew for every M tile."""
    family = Reference(rows=4, columns=3 * lanes, data_bytes=width, stationary=False)
    chip = design(family, activations=1024, accumulators=8, parameters=8 * lanes, lanes=lanes)
    program = compile_gemm(chip, family, 13, 90, 9 * lanes + 1, mode=REQUANTISED)
    verify(chip, family, program)
    stores = [one for one in program.instructions if one.opcode is Opcode.STORE]
    assert any(one.columns % lanes for one in stores[:-1])
    assert not any(one.parameters_address % lanes for one in stores)
    wrong = next(i for i, one in enumerate(program.instructions) if one.opcode is Opcode.STORE)
    found = problems(chip, family.model(), mutated(program, wrong, parameters_address=1))
    assert any("takes parameters from the middle of a group of lanes" in line for line in found)


def test_every_size_that_is_too_small_is_named() -> None:
    chip = design(STANDARD, activations=8, weights=8, accumulators=2, parameters=1)
    with pytest.raises(DoesNotFit) as refusal:
        compile_gemm(chip, STANDARD, 16, 64, 32, mode=REQUANTISED)
    assert len(refusal.value.lines) == 4


def test_wrong_arguments() -> None:
    chip = design(STANDARD)
    with pytest.raises(ValueError, match="K must be 1 to 1073741823, not 0"):
        compile_gemm(chip, STANDARD, 1, 0, 1)
    with pytest.raises(TypeError):
        compile_gemm(chip, STANDARD, 1.5, 1, 1)
    with pytest.raises(TypeError, match="mode must be an OutputMode, not 'raw'"):
        compile_gemm(chip, STANDARD, 1, 1, 1, mode="raw")
    with pytest.raises(ValueError, match="base must be a multiple of 128 and at least 0, not 64"):
        compile_gemm(chip, STANDARD, 1, 1, 1, base=64)
    with pytest.raises(
        ValueError, match="alignment must be given for activations, parameters, output, not 'weights'"
    ):
        compile_gemm(chip, STANDARD, 1, 1, 1, alignment={"weights": 1})
    with pytest.raises(ValueError, match="alignment of output must be 0 to 127, not 128"):
        compile_gemm(chip, STANDARD, 1, 1, 1, alignment={"output": 128})
    with pytest.raises(ValueError, match="design must be of the geometry"):
        compile_gemm(chip, STATIONARY, 1, 1, 1)


def test_wrong_operands() -> None:
    program = compile_gemm(design(STANDARD), STANDARD, 2, 3, 4)
    x, w = operands(program, 1)
    with pytest.raises(ValueError, match=r"w must be of shape \(3, 4\), not \(2, 4\)"):
        program.image(x, w.part((0, 2), (0, 4)))
    with pytest.raises(TypeError, match="x must be an Operand of int8 with K along axis 1, not nibbles"):
        program.image(Operand(format=PAIRS[1][0], codes=x.codes & 15, depth_axis=1), w)
    with pytest.raises(TypeError, match="w must be an Operand of int8 with K along axis 0, not ndarray"):
        program.image(x, w.codes)
    with pytest.raises(ValueError, match="must be left out in raw mode"):
        program.image(x, w, np.zeros(4, np.int32))
    program = compile_gemm(design(STANDARD), STANDARD, 2, 3, 4, mode=REQUANTISED)
    with pytest.raises(TypeError, match="bias must be an array of int32, not None"):
        program.image(x, w)
    with pytest.raises(ValueError, match="shift must be 0 to 63, not 64"):
        program.image(x, w, np.zeros(4, np.int32), np.zeros(4, np.uint32), np.full(4, 64, np.uint8))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[1].name)
@pytest.mark.parametrize("depth", [1, 5, 16, 17, 50])
@pytest.mark.parametrize("stationary", [False, True])
def test_every_pair_at_a_depth_of_parts_of_tiles_and_blocks(
    pair: tuple[Format, Format], depth: int, stationary: bool
) -> None:
    family = Reference(rows=4, columns=3, data_bytes=8, stationary=stationary)
    chip = design(family)
    names = (pair[0].name, pair[1].name)
    for mode in OutputMode:
        verify(chip, family, compile_gemm(chip, family, 5, depth, 7, mode=mode, formats=names), seed=depth)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_rows_keep_apart_where_a_tile_takes_several_activation_words(rows: int) -> None:
    """One step of K, in tiles of four: two words, of which LOAD fills one; the scratchpad holds no more than these."""
    family = Reference(rows=4, columns=1, data_bytes=4, stationary=True)
    chip = design(family, activations=8 * rows, accumulators=16)
    program = compile_gemm(chip, family, rows, 1, 1, formats=("words", "selected"))
    verify(chip, family, program)
    assert {one.activations_stride for one in program.instructions if one.opcode is Opcode.EXECUTE} == {
        2 * (rows > 1)
    }
    with pytest.raises(
        DoesNotFit, match=r"memory.activations must be at least 8 bytes for this array, not 4"
    ):
        compile_gemm(design(family, activations=4), family, rows, 1, 1, formats=("words", "selected"))


def test_formats_are_chosen_by_name() -> None:
    chip = design(STANDARD)
    assert compile_gemm(chip, STANDARD, 1, 1, 1).gemm.variant == 0
    assert compile_gemm(chip, STANDARD, 1, 1, 1, formats=(None, "blocks")).gemm.variant == 1
    assert compile_gemm(chip, STANDARD, 1, 1, 1, formats=("nibbles", None)).gemm.variant == 1
    assert compile_gemm(chip, STANDARD, 1, 1, 1, formats=(None, "selected")).gemm.variant == 2
    assert compile_gemm(chip, STANDARD, 1, 1, 1, formats=(None, "specials")).gemm.variant == 3
    pairs = "int8 x int8, nibbles x blocks, words x selected, int8 x specials"
    message = f"formats int8 x blocks .*: must be one of {pairs} for this array"
    with pytest.raises(RequestError, match=message):
        compile_gemm(chip, STANDARD, 1, 1, 1, formats=("int8", "blocks"))
