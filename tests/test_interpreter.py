"""The interpreter on programs written by hand: data movement, tokens, and every error that a program can cause."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hw.control.isa import Destination, Error, Opcode, OutputMode, Token, assemble
from sim.interpreter import Outcome, run
from tests.reference_array import PAIRS, Reference, design

FAMILY = Reference(rows=2, columns=2, data_bytes=4, stationary=False)
DESIGN = design(FAMILY, activations=64, weights=32, accumulators=16, parameters=4, address_width=32)
BASE, SIZE, DATA = 0x1000, 0x800, 0x1400
LOAD, EXECUTE, STORE, CONFIGURE = Opcode


def load(destination: Destination = Destination.ACTIVATIONS, **fields: int) -> bytes:
    return assemble(
        LOAD, **{"variant": destination, "memory_address": DATA, "row_bytes": 4, "rows": 1} | fields
    )


def execute(**fields: int) -> bytes:
    return assemble(
        EXECUTE, **{"row_tiles": 1, "column_tiles": 1, "depth_tiles": 4, "activations_stride": 1} | fields
    )


def store(**fields: int) -> bytes:
    return assemble(STORE, **{"memory_address": 0x1600, "rows": 1, "columns": 1} | fields)


def configure(setting: int, value: int, **fields: int) -> bytes:
    return assemble(CONFIGURE, setting=setting, value=value, **fields)


def memory(*instructions: bytes) -> np.ndarray:
    image = np.random.default_rng(1).integers(0, 256, SIZE, dtype=np.uint8)
    program = b"".join(instructions)
    image[: len(program)] = np.frombuffer(program, np.uint8)
    return image


def outcome(*instructions: bytes) -> Outcome:
    """Of a program at the start of the memory, whose window is all of it."""
    image = memory(*instructions)
    return run(DESIGN, FAMILY.model(), image, BASE, len(instructions), (BASE, BASE + SIZE - 1), base=BASE)


def test_a_product_by_hand() -> None:
    """[2, 4] x [4, 3]: two column tiles, an odd address, two rows of results with a stride."""
    x = np.array([[1, -2, 3, 4], [5, 6, -7, 127]], np.int8)
    w = np.array([[1, 2, 3], [-4, 5, 6], [7, -8, 9], [10, 11, -128]], np.int8)
    image = memory(
        load(memory_address=0x1401, memory_stride=5, rows=2, local_stride=1),
        load(Destination.WEIGHTS, memory_address=0x1500, row_bytes=16, post=1 << Token.WEIGHTS_READY),
        execute(column_tiles=2, wait=1 << Token.WEIGHTS_READY, accumulators_address=8),
        execute(column_tiles=2, accumulate=1, accumulators_address=8),
        store(accumulators_address=8, accumulators_stride=2, rows=2, columns=3, memory_stride=14),
    )
    image[0x401:0x405], image[0x406:0x40A] = x.view(np.uint8)
    padded = np.zeros((4, 4), np.int8)
    padded[:, :3] = w
    packed = np.concatenate([padded[:, :2].reshape(-1), padded[:, 2:].reshape(-1)])
    image[0x500:0x510] = packed.view(np.uint8)
    before = image.copy()
    assert run(DESIGN, FAMILY.model(), image, BASE, 5, (BASE, BASE + SIZE - 1), base=BASE).passed
    expected = 2 * (x.astype(np.int32) @ w.astype(np.int32))
    for row in range(2):
        place = 0x600 + 14 * row
        assert image[place : place + 12].copy().view("<i4").tolist() == expected[row].tolist()
        before[place : place + 12] = image[place : place + 12]
    assert np.array_equal(image, before), "bytes beside the output changed"


def test_requantised_store_takes_its_parameters() -> None:
    image = memory(
        load(memory_address=0x1400, row_bytes=1),
        load(Destination.WEIGHTS, memory_address=0x1500, row_bytes=2),
        load(Destination.PARAMETERS, memory_address=0x1580, row_bytes=32, local_address=8),
        execute(depth_tiles=1, activations_stride=0),
        store(variant=OutputMode.REQUANTISED, columns=2, parameters_address=2),
    )
    image[0x400] = 10
    image[0x500:0x502] = np.array([3, -100], np.int8).view(np.uint8)
    entries = np.zeros((2, 16), np.uint8)
    entries[:, 0:4] = np.array([-5, 7], "<i4").view(np.uint8).reshape(2, 4)
    entries[:, 4:8] = np.array([3, 1], "<u4").view(np.uint8).reshape(2, 4)
    entries[:, 8] = [1, 2]
    image[0x580:0x5A0] = entries.reshape(-1)
    assert run(DESIGN, FAMILY.model(), image, BASE, 5, (BASE, BASE + SIZE - 1), base=BASE) == Outcome(
        Error.NONE, 5
    )
    # (30 - 5) * 3 / 2 = 37.5 and (-1000 + 7) / 4 = -248.25
    assert image[0x600:0x602].copy().view(np.int8).tolist() == [38, -128]


def test_features_that_share_a_bank() -> None:
    """[2, 1] x [1, 8]: two tiles of four features, banks of two; results of features 2 and 3 follow those of 0 and 1."""
    family = Reference(rows=2, columns=4, data_bytes=4, stationary=False, spread=2)
    chip = design(family, activations=64, weights=32, accumulators=16, parameters=4, address_width=32)
    image = memory(
        load(memory_address=0x1400, memory_stride=1, row_bytes=1, rows=2, local_stride=1),
        load(Destination.WEIGHTS, memory_address=0x1500, row_bytes=8),
        execute(column_tiles=2, depth_tiles=1),
        store(accumulators_stride=2, rows=2, columns=7, memory_stride=28),
        store(accumulators_address=5, columns=2, memory_address=0x1700),
        execute(column_tiles=2, depth_tiles=1, accumulators_address=1),
    )
    image[0x400:0x402] = 1, 10
    image[0x500:0x508] = np.arange(1, 9)
    result = run(chip, family.model(), image, BASE, 6, (BASE, BASE + SIZE - 1), base=BASE)
    assert result == Outcome(Error.LOCAL, 5)
    assert image[0x600:0x638].view("<i4").tolist() == [*range(1, 8), *range(10, 80, 10)]
    # Row 1 of the second tile's first part.
    assert image[0x700:0x708].view("<i4").tolist() == [50, 60]


@pytest.mark.parametrize(("place", "error"), [(0, Error.NONE), (1, Error.LOCAL), (2, Error.NONE)])
def test_parameters_lie_in_groups_of_lanes(place: int, error: Error) -> None:
    image = memory(store(variant=OutputMode.REQUANTISED, parameters_address=place))
    lanes = replace(DESIGN, output_lanes=2)
    assert run(lanes, FAMILY.model(), image, BASE, 1, (BASE, BASE + SIZE - 1), base=BASE).error is error


def test_a_setting_holds_from_its_configure_on() -> None:
    """One weight that is setting 1, before and after it changes; the last to be told counts, and setting 0 is another one."""
    image = memory(
        load(memory_address=0x1400, row_bytes=1),
        load(Destination.WEIGHTS, memory_address=0x1500, row_bytes=2),
        execute(variant=3, depth_tiles=1, activations_stride=0, accumulators_address=0),
        configure(1, 5),
        configure(1, 2**32 - 9),
        configure(0, 11),
        execute(variant=3, depth_tiles=1, activations_stride=0, accumulators_address=2),
        configure(1, 1 << 31),
        execute(variant=3, depth_tiles=1, activations_stride=0, accumulators_address=4),
        *(store(accumulators_address=2 * i, memory_address=0x1600 + 4 * i) for i in range(3)),
    )
    image[0x400], image[0x500] = 3, 15
    assert run(DESIGN, FAMILY.model(), image, BASE, 12, (BASE, BASE + SIZE - 1), base=BASE).passed
    # -3 * 2**31 wraps to -2**31.
    assert image[0x600:0x60C].copy().view("<i4").tolist() == [0, -27, -(1 << 31)]


WAIT_WEIGHTS = 1 << Token.WEIGHTS_READY


@pytest.mark.parametrize(
    ("instruction", "error"),
    [
        pytest.param(bytes(32), Error.OPCODE, id="zeroed memory"),
        pytest.param(b"\x09" + load()[1:], Error.OPCODE, id="unknown opcode"),
        pytest.param(load(Destination(0), variant=3), Error.OPCODE, id="unknown destination"),
        pytest.param(execute(variant=len(PAIRS)), Error.OPCODE, id="format that the array lacks"),
        pytest.param(store(variant=2), Error.OPCODE, id="unknown output mode"),
        pytest.param(configure(0, 1, variant=1), Error.OPCODE, id="variant of CONFIGURE"),
        pytest.param(configure(2, 1), Error.FIELD, id="setting that the array lacks"),
        pytest.param(configure(1 << 15, 1), Error.FIELD, id="setting far off"),
        pytest.param(configure(0, 1)[:-1] + b"\x01", Error.FIELD, id="reserved bit of CONFIGURE"),
        pytest.param(configure(0, 1, wait=1), Error.FIELD, id="foreign wait of CONFIGURE"),
        pytest.param(load()[:-1] + b"\x01", Error.FIELD, id="reserved bit of LOAD"),
        pytest.param(execute(reserved=1), Error.FIELD, id="reserved field"),
        pytest.param(execute(accumulate=2), Error.FIELD, id="flag of 2"),
        pytest.param(load(rows=0), Error.FIELD, id="no rows"),
        pytest.param(load(row_bytes=0), Error.FIELD, id="empty rows"),
        pytest.param(load(row_bytes=1 << 24), Error.FIELD, id="row too long to express"),
        pytest.param(execute(depth_tiles=0), Error.FIELD, id="no depth"),
        pytest.param(execute(accumulators_address=16), Error.FIELD, id="accumulator address not implemented"),
        pytest.param(store(columns=0), Error.FIELD, id="no columns"),
        pytest.param(load(memory_address=1 << 32), Error.FIELD, id="address bits not implemented"),
        pytest.param(load(wait=WAIT_WEIGHTS), Error.FIELD, id="foreign wait"),
        pytest.param(load(memory_address=0xFFF), Error.WINDOW, id="read below the window"),
        pytest.param(load(memory_address=0x17FD), Error.WINDOW, id="read past the window"),
        pytest.param(load(memory_address=0xFFFFFFFD), Error.WINDOW, id="read that wraps"),
        pytest.param(load(rows=2, memory_stride=0xFFFFFFFF), Error.WINDOW, id="second row outside"),
        pytest.param(store(memory_address=0x17FD), Error.WINDOW, id="write past the window"),
        pytest.param(load(row_bytes=65), Error.LOCAL, id="activations past the end"),
        pytest.param(load(rows=2, local_stride=16), Error.LOCAL, id="second row past the end"),
        pytest.param(
            load(Destination.PARAMETERS, local_address=15, row_bytes=5), Error.LOCAL, id="parameters past end"
        ),
        pytest.param(execute(activations_address=15), Error.LOCAL, id="second row's operands past the end"),
        pytest.param(execute(weights_address=13), Error.LOCAL, id="weights past the end"),
        pytest.param(execute(accumulators_address=7), Error.LOCAL, id="crosses the half"),
        pytest.param(execute(accumulators_address=15), Error.LOCAL, id="accumulators past the end"),
        pytest.param(store(accumulators_address=15, rows=2), Error.LOCAL, id="stored rows past the end"),
        pytest.param(store(columns=5, accumulators_stride=8), Error.LOCAL, id="stored tiles past the end"),
        pytest.param(
            store(variant=1, parameters_address=3, columns=2),
            Error.LOCAL,
            id="parameters of a STORE past end",
        ),
        pytest.param(execute(wait=WAIT_WEIGHTS), Error.WATCHDOG, id="token that never comes"),
    ],
)
def test_errors_name_the_instruction(instruction: bytes, error: Error) -> None:
    assert outcome(load(), instruction, load()) == Outcome(error, 1)


def test_an_array_without_settings_has_no_configure() -> None:
    plain = replace(DESIGN, geometry=replace(DESIGN.geometry, settings=0))
    image = memory(load(), configure(0, 0))
    result = run(plain, FAMILY.model(), image, BASE, 2, (BASE, BASE + SIZE - 1), base=BASE)
    assert result == Outcome(Error.OPCODE, 1)


def test_tokens_are_counted() -> None:
    assert outcome(
        load(post=WAIT_WEIGHTS),
        configure(0, 1, wait=WAIT_WEIGHTS, post=WAIT_WEIGHTS),
        execute(wait=WAIT_WEIGHTS),
    ).passed
    post = load(post=WAIT_WEIGHTS)
    take = execute(wait=WAIT_WEIGHTS)
    assert outcome(*[post] * 15, *[take] * 15).passed
    assert outcome(*[post] * 16) == Outcome(Error.TOKEN_OVERFLOW, 15)
    assert outcome(post, take, take) == Outcome(Error.WATCHDOG, 2)


@pytest.mark.parametrize(
    ("address", "length"),
    [(BASE, 0), (BASE + 32, 1), (BASE - 128, 1), (BASE + SIZE, 1), (BASE + SIZE - 128, 5)],
)
def test_bad_programs(address: int, length: int) -> None:
    image = memory(load())
    result = run(DESIGN, FAMILY.model(), image, address, length, (BASE, BASE + SIZE - 1), base=BASE)
    assert result == Outcome(Error.PROGRAM, 0)


def test_the_window_must_be_in_the_memory() -> None:
    with pytest.raises(
        ValueError, match="window must lie in the memory from 0x1000 to 0x17ff, not 0x0 to 0x17ff"
    ):
        run(DESIGN, FAMILY.model(), memory(load()), BASE, 1, (0, BASE + SIZE - 1), base=BASE)
