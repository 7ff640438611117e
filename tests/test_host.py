"""The host beside a board: words over the link, uploads that are checked, programs, and what is said when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from board_model import BoardModel

from fpga.host import runs
from fpga.host.accelerator import Accelerator, DeviceError
from fpga.host.link import BURST, Link, LinkError
from fpga.host.parts import parts
from fpga.soc import registers as board
from gen import config, workload
from gen.compiler import compile_gemm
from gen.errors import RequestError
from hw.control import registers
from hw.control.isa import Error, OutputMode, Queue
from sim.cycles.memory import MemoryTiming

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


def test_a_slow_line_is_waited_for():
    """An answer may take longer than a silence, while something comes."""
    with device(pace=1e-4) as model, Link.open(model.url, timeout=0.2) as link:
        link.write(0, np.arange(4 * BURST, dtype=np.uint32))
        assert link.read(0, 4 * BURST).tolist() == list(range(4 * BURST))
        assert sum(command == 2 for command, _, _ in model.commands) == 4


def test_what_was_broken_off_is_not_taken_for_the_next_answer(monkeypatch):
    def interrupt(count):
        raise KeyboardInterrupt

    with device(pace=1e-4) as model, Link.open(model.url) as link:
        link.write(0, np.arange(4 * BURST, dtype=np.uint32))
        with monkeypatch.context() as patch:
            patch.setattr(link, "_receive", interrupt)
            with pytest.raises(KeyboardInterrupt):
                link.read(0, BURST)
        assert link.read_word(board.address("magic")) == board.MAGIC


def test_a_line_that_is_gone_cannot_be_resynchronised():
    with device() as model, Link.open(model.url) as link:
        model.hang_up()
        with pytest.raises(LinkError, match="the line is gone"):
            link.resynchronise()


def test_a_slow_rate_has_time_for_what_the_system_holds():
    with device() as model:
        with Link.open(model.url, timeout=2) as fast, Link.open(model.url, baud=9600, timeout=2) as slow:
            assert 2 < fast._port.timeout < 2.2
            assert slow._port.timeout > 10 * 4096 / 9600


def test_a_port_that_is_not_there():
    with pytest.raises(LinkError, match="--url 'nowhere': must be a port that can be opened"):
        Link.open("nowhere")


@pytest.mark.parametrize(
    "url", ["socket://localhost", "socket://:4321", "socket://localhost:x", "socket://localhost:70000"]
)
def test_a_socket_without_a_port(url):
    with pytest.raises(
        RequestError, match=f"--url '{url}': must be socket://host:port, with a port from 1 to"
    ):
        Link.open(url)


def test_a_kind_of_port_that_nobody_knows(gatemill):
    status, out, err = gatemill("run", "systolic-4x4", "--url", "http://board", "--gemm", "1x1x1")
    assert (status, out) == (2, "")
    assert "--url 'http://board': must be a port that can be opened (invalid URL, protocol 'http'" in err


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
            with pytest.raises(LinkError, match=r"the line is gone after [\d,]+ bytes|no answer"):
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


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ({"memory_timing": 1}, "memory_timing of the board: write_latency must be 1 to 255, not 0"),
        ({"clock_hz": 0}, "clock_hz of the board must be 1 or more, not 0"),
    ],
)
def test_what_no_board_says(shown, text):
    """A byte was damaged on the way: nothing is predicted from it."""
    with device() as model:
        model.board |= shown
        with pytest.raises(DeviceError, match=text):
            Accelerator.open(model.url, config=CONFIG)


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


def test_an_error_that_nobody_knows():
    def run(model):
        model.accelerator["status"] = 1 << registers.STATUS_ERROR
        model.accelerator["error"] = 200 | 99 << 8

    with device(program=run) as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        with pytest.raises(DeviceError, match="ended in error 200 in 99, instruction 0"):
            accelerator.run({})


def test_a_program_that_hangs():
    def run(model):
        model.accelerator["status"] = 1 << registers.STATUS_BUSY

    with device(program=run) as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        with pytest.raises(DeviceError, match=r"must end within 0\.1 s; status is 0x1"):
            accelerator.run({}, timeout=0.1)


def test_a_program_that_still_runs_is_ended_first():
    """A host that was interrupted leaves its program; a busy accelerator takes no other, and may write into the memory."""
    load = workload.random((5, 24, 6), "raw", 3)
    program = compile_gemm(CONFIG.design(), CONFIG.instance, 5, 24, 6)
    with device(program=answers(program, load)) as model:
        model.accelerator["status"] = 1 << registers.STATUS_BUSY
        with Accelerator.open(model.url, config=CONFIG) as accelerator:
            y, _ = accelerator.execute(program, program.image(load.x, load.w), timeout=1)
            assert model.resets == 1
        assert np.array_equal(y, load.golden())
        with Accelerator.open(model.url, config=CONFIG):
            assert model.resets == 1


def test_after_a_program_that_hangs_the_board_is_ready_again():
    left = iter([True])
    load = workload.random((5, 24, 6), "raw", 3)
    program = compile_gemm(CONFIG.design(), CONFIG.instance, 5, 24, 6)
    end = answers(program, load)

    def run(model):
        if next(left, False):
            model.accelerator["status"] = 1 << registers.STATUS_BUSY
        else:
            end(model)

    with device(program=run) as model, Accelerator.open(model.url, config=CONFIG) as accelerator:
        with pytest.raises(DeviceError, match=r"must end within 0\.1 s"):
            accelerator.run({}, timeout=0.1)
        y, _ = accelerator.execute(program, program.image(load.x, load.w), timeout=1)
    assert np.array_equal(y, load.golden())


def test_the_user_says_how_long_a_program_may_take(gatemill):
    def run(model):
        model.accelerator["status"] = 1 << registers.STATUS_BUSY

    with device(program=run) as model:
        wanted = ("run", "systolic-4x4", "--url", model.url, "--gemm", "1x1x1", "--timeout")
        status, out, err = gatemill(*wanted, "1")
        assert (status, out) == (1, "")
        assert "program: must end within 1 s; status is 0x1" in err
        status, out, err = gatemill(*wanted, "0")
    assert (status, out) == (2, "")
    assert "--timeout 0: must be an integer from 1 to 86400" in err


def test_what_differs_is_told_in_words(gatemill):
    with device(program=lambda model: None, memory_timing=board.timing_word(MemoryTiming())) as model:
        status, out, _ = gatemill("run", "systolic-4x4", "--url", model.url, "--gemm", "1x1x1")
        assert status == 1
        assert "differs at (0, 0): got " in out
        with Accelerator.open(model.url, config=CONFIG) as accelerator:
            rows = runs.selftest(accelerator, lambda *_: None)["checks"]
    (multiplied,) = (row for row in rows if row["what"].startswith("GEMM"))
    assert not multiplied["held"]
    assert multiplied["detail"].startswith("random GEMM, 5 x 32 x 5: differs at (0, 0): got ")


def test_a_line_of_the_addresses_that_is_stuck():
    """Of a memory that the link is too slow to fill, beyond what it fills."""

    class Memory(bytearray):
        def _place(self, place):
            first = place.start & ~(1 << 24)
            return slice(first, first + place.stop - place.start)

        def __getitem__(self, place):
            return super().__getitem__(self._place(place))

        def __setitem__(self, place, data):
            super().__setitem__(self._place(place), data)

    with device(memory_bytes=1 << 25) as model:
        model.board["baud"] = 50_000
        accelerator = Accelerator.open(model.url, config=CONFIG)
        for memory, detail in ((model.memory, "24 words"), (Memory(1 << 25), "word at 0x0 must be 0x")):
            model.memory = memory
            rows = {row["what"]: row for row in runs.selftest(accelerator, lambda *_: None)["checks"]}
            assert rows["memory, random bytes"]["held"]
            assert rows["memory, lines of the addresses"]["held"] is (detail == "24 words")
            assert rows["memory, lines of the addresses"]["detail"].startswith(detail)
        accelerator.close()


def test_the_bar_of_a_self_test_shows_bytes_alone():
    told = []
    with device(program=lambda model: None) as model:
        with Accelerator.open(model.url, config=CONFIG) as accelerator:
            runs.selftest(accelerator, lambda what, done, total: told.append((what, total)))
    assert {what for what, _ in told} == {"upload", "download"}
    assert (told[0], max(total for _, total in told)) == (("upload", 1 << 16), 1 << 16)


def test_parts_fit_the_memory():
    load = workload.random((40, 64, 48), "raw", 1)
    cut = list(parts(CONFIG, load, 8192))
    assert len(cut) > 1
    assert all(part.program.memory.end <= 8192 for part in cut)
    y = np.zeros((40, 48), np.int32)
    for part in cut:
        y[slice(*part.rows), slice(*part.features)] = part.load.golden()
    assert np.array_equal(y, load.golden())
    with pytest.raises(RequestError, match=r"even a row of 4 features takes .* the board has 8192"):
        list(parts(CONFIG, workload.random((1, 4000, 4), "raw", 1), 8192))


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        (board.timing_word(MemoryTiming()), "1,234 cycles, not "),
        (0, "1,234 cycles; not predicted: an SDRAM's open rows"),
        (
            board.timing_word(MemoryTiming(), single_port=True),
            "1,234 cycles; not predicted: the memory has one port",
        ),
    ],
)
def test_cycles_are_held_against_the_model_where_it_knows_the_memory(shown, message):
    load = workload.random((5, 24, 6), "raw", 3)
    program = compile_gemm(CONFIG.design(), CONFIG.instance, 5, 24, 6)
    image = program.image(load.x, load.w)
    wanted: tuple[object, object] = (None, None)
    with device(program=answers(program, load), memory_timing=shown) as model:
        with Accelerator.open(model.url, config=CONFIG) as accelerator:
            document = runs.run(accelerator, load, lambda *_: None)
            if accelerator.unpredictable is None:
                wanted = (accelerator.predicted(program, image), False)
            else:
                with pytest.raises(ValueError, match="memory must have a timing that the cycle model knows"):
                    accelerator.predicted(program, image)
    told = document["cycles"]
    assert told["measured"] == 1234
    assert (told["predicted"], told["equal"]) == wanted
    assert document["mismatch"] is None
    assert document["pass"] is (told["equal"] is not False)
    assert runs.cycles_text(told).startswith(message)
