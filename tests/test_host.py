"""The host beside a board: words over the link, uploads that are checked, programs, and what is said when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from board_model import BoardModel

from fpga.host.accelerator import Accelerator, DeviceError
from fpga.host.link import BURST, Link, LinkError
from fpga.soc import registers as board
from gen import config, workload
from gen.compiler import compile_gemm
from gen.errors import RequestError
from hw.control import registers
from hw.control.isa import Error, OutputMode, Queue

CONFIG = config.load("systolic-4x4")


def device(**changes):
    return BoardModel(**{"digest": CONFIG.digest, **changes})


def answers(program, load):
    """A program that puts the golden result where the accelerator would."""

    def run(model):
        start, _ = program.regions["output"]
        data = load.golden().tobytes()
        model.memory[start : start + len(data)] = data
        model.accelerator["cycles"] = 1234

    return run


def test_words_there_and_back():
    words = np.arange(2 * BURST + 7, dtype=np.uint32) * 0x01020304
    seen = []
    with device() as model, Link.open(model.url) as link:
        link.write(64, words, lambda done, total: seen.append((done, total)))
        assert np.array_equal(link.read(64, len(words)), words)
        assert bytes(model.memory[64 : 64 + words.nbytes]) == words.tobytes()
    assert seen == [(4 * n, words.nbytes) for n in (BURST, 2 * BURST, len(words))]
    assert [count for command, count, _ in model.commands if command == 1] == [BURST, BURST, 7]


@pytest.mark.parametrize("address", [2, -4, 1 << 32])
def test_addresses(address):
    with device() as model, Link.open(model.url) as link:
        with pytest.raises(ValueError, match="address must be a multiple of 4"):
            link.read(address, 1)


def test_a_lost_byte_of_a_read_is_asked_for_again():
    lost = iter([True])

    def spoil(data):
        return data[:-1] if len(data) == 6 and next(lost, False) else data

    with device(spoil=spoil) as model, Link.open(model.url, timeout=0.3) as link:
        assert link.read_word(board.address("magic")) == board.MAGIC


def test_silence_is_told():
    with device(spoil=lambda data: b"") as model, Link.open(model.url, timeout=0.1) as link:
        with pytest.raises(LinkError, match=r"no answer to a read of 0xf0000000 after 3 tries"):
            link.read_word(board.address("magic"))


def test_a_port_that_is_not_there():
    with pytest.raises(LinkError, match="--url 'nowhere': must be a port that can be opened"):
        Link.open("nowhere")


def test_uploads_are_checked_and_sent_again():
    spoilt = iter([True])

    def spoil(data):
        if len(data) > 100 and next(spoilt, False):
            return data[:50] + bytes([data[50] ^ 1]) + data[51:]
        return data

    data = np.random.default_rng(1).integers(0, 256, 4000, dtype=np.uint8)
    with device(spoil=spoil) as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        accelerator.write(256, data)
        assert bytes(model.memory[256:4256]) == data.tobytes()
        assert np.array_equal(accelerator.read(256, 4000), data)
        assert sum(command == 1 and count > 16 for command, count, _ in model.commands) == 8


def test_an_upload_that_stays_wrong():
    def spoil(data):
        return data[:50] + bytes([data[50] ^ 1]) + data[51:] if len(data) > 100 else data

    with device(spoil=spoil) as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        with pytest.raises(DeviceError, match="checksum was wrong 3 times"):
            accelerator.write(0, bytes(400))


def test_the_cable_is_pulled():
    with device(hang_up_after=20_000, memory_bytes=1 << 20) as model:
        with Accelerator.open(model.url, config=CONFIG, timeout=0.5) as accelerator:
            with pytest.raises(LinkError, match=r"the line is gone after \d+ bytes|no answer"):
                accelerator.write(0, bytes(1 << 20))


@pytest.mark.parametrize(
    ("address", "size", "text"),
    [
        (2, 4, "multiples of 4, not 2 and 4"),
        (0, 6, "multiples of 4, not 0 and 6"),
        (65536 - 4, 8, "must lie in the 65536 bytes"),
        (-4, 8, "must lie in the 65536 bytes"),
    ],
)
def test_places_outside(address, size, text):
    with device() as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        with pytest.raises(ValueError, match=text):
            accelerator.write(address, bytes(size))
        with pytest.raises(ValueError, match=text):
            accelerator.read(address, size)


def test_who_answers():
    with device(magic=7) as model:
        with pytest.raises(DeviceError, match="not 0x00000007: no bitstream of ours"):
            Accelerator.open(model.url, config=CONFIG)
    other = config.load("systolic-8x8")
    with device() as model:
        with pytest.raises(
            DeviceError, match=f"configuration must be {other.digest[:16]} .*{CONFIG.digest[:16]}"
        ):
            Accelerator.open(model.url, config=other)


@pytest.mark.parametrize("mode", [OutputMode.RAW, OutputMode.REQUANTISED])
def test_a_program(mode):
    load = workload.random((5, 24, 6), mode.name.lower(), 3)
    program = compile_gemm(CONFIG.design(), CONFIG.instance, 5, 24, 6, mode=mode)
    with device(program=answers(program, load)) as model:
        with Accelerator.open(model.url, config=CONFIG) as accelerator:
            y, run = accelerator.execute(program, program.image(load.x, load.w, *load.scaling))
    assert np.array_equal(y, load.golden())
    assert y.dtype == load.golden().dtype
    assert run.counters["cycles"] == 1234
    for name, value in program.registers.items():
        written = model.accelerator.get(name, model.accelerator.get(f"{name}_low"))
        assert written == value


def test_a_program_in_error():
    def run(model):
        model.accelerator["status"] = 1 << registers.STATUS_ERROR
        model.accelerator["error"] = Error.FIELD | Queue.EXECUTE << 8
        model.accelerator["error_instruction"] = 7

    with device(program=run) as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        with pytest.raises(DeviceError, match="ended in error field in execute, instruction 7"):
            accelerator.run({})


def test_a_program_that_hangs():
    def run(model):
        model.accelerator["status"] = 1 << registers.STATUS_BUSY

    with device(program=run) as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        with pytest.raises(DeviceError, match=r"must end within 0\.1 s; status is 0x1"):
            accelerator.run({}, timeout=0.1)


def test_parts_fit_the_memory():
    load = workload.random((40, 64, 48), "raw", 1)
    with device(memory_bytes=8192) as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        rows, features = accelerator.parts(load)
        assert (rows, features) != (40, 48)
        program = compile_gemm(CONFIG.design(), CONFIG.instance, rows, 64, features)
        assert program.memory.end <= 8192
        with pytest.raises(RequestError, match="even a row of 4 features takes"):
            accelerator.parts(workload.random((1, 4000, 4), "raw", 1))
