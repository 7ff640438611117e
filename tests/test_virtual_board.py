"""A virtual board from end to end: pty and TCP, the host's class, the commands, and LiteX' own client."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import virtual_board
from litex.tools.litex_client import RemoteClient
from litex.tools.remote.comm_uart import CommUART
from virtual_board import CLOCK, MEMORY, SMALL

from fpga.host.accelerator import Accelerator, DeviceError
from fpga.host.virtual import VirtualBoard
from fpga.soc import registers as board_registers
from fpga.soc import virtual
from fpga.soc.memory import memory_timing
from gen import config, workload
from gen.compiler import compile_gemm
from hw.control import registers
from sim.tools import ToolError

ROOT = Path(__file__).resolve().parent.parent
CONFIG = config.load("systolic-4x4", [*SMALL, "bus.data_width=32"])
SETS = [part for one in (*SMALL, "bus.data_width=32") for part in ("--set", one)]


@pytest.fixture(scope="module")
def program():
    return virtual_board.board(32)[1]


@pytest.fixture(scope="module")
def board(program):
    with VirtualBoard(program) as running:
        yield running


def test_gemms(board):
    rng = np.random.default_rng(3)
    with Accelerator.open(board.url, config=CONFIG) as device:
        for m, k, n in ((1, 1, 1), (5, 24, 6), (9, 40, 11)):
            x, w = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((m, k), (k, n)))
            assert np.array_equal(device.gemm(x, w), x.astype(np.int32) @ w.astype(np.int32))


def test_a_gemm_in_parts(board):
    load = workload.random((20, 60, 50), "raw", 5)
    with Accelerator.open(board.url, config=CONFIG) as device:
        got, runs = device.workload(load, predict=True)
    assert np.array_equal(got, load.golden())
    assert len(runs) > 1
    assert all(run.counters["cycles"] == run.predicted for run in runs)


def test_the_board_tells_of_itself(board):
    with Accelerator.open(board.url, config=CONFIG) as device:
        assert (device.identity.memory_bytes, device.identity.clock_hz) == (MEMORY, CLOCK)
    with pytest.raises(DeviceError, match="configuration must be"):
        Accelerator.open(board.url, config=config.load("systolic-4x4"))


def test_commands(board, gatemill):
    status, out, err = gatemill(
        "run", "systolic-4x4", *SETS, "--url", board.url, "--gemm", "5x24x6", "--json"
    )
    assert status == 0, err
    document = json.loads(out)
    assert document["pass"] is True
    assert document["cycles"]["measured"] > 24
    assert document["cycles"]["equal"] is True
    assert document["board"]["memory_timing"] == asdict(memory_timing())
    status, out, err = gatemill("selftest", "systolic-4x4", *SETS, "--url", board.url)
    assert status == 0, err
    assert "GEMM, int8 by int8" in out
    assert "as predicted" in out


def test_tcp_and_one_client_after_the_other(program):
    x = np.ones((2, 8), np.int8)
    with VirtualBoard(program, port=0) as running:
        for _ in range(2):
            with Accelerator.open(running.url, config=CONFIG) as device:
                assert np.array_equal(device.gemm(x, x.T.copy()), np.full((2, 2), 8))
        port = int(running.url.rpartition(":")[2])
        with pytest.raises(ToolError, match="must be a port that is free"), VirtualBoard(program, port=port):
            pass


def test_a_name_for_the_pty(program, tmp_path):
    name = tmp_path / "board"
    with VirtualBoard(program, name=name) as running:
        assert name.readlink() == type(name)(running.url)
        with pytest.raises(ToolError, match="must be a name that is free"), VirtualBoard(program, name=name):
            pass
        with Accelerator.open(str(name), config=CONFIG) as device:
            assert device.identity.memory_bytes == MEMORY
    assert not name.is_symlink()


@contextlib.contextmanager
def comm_uart(url):
    client = CommUART(url)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def remote_client(url):
    """By way of ``litex_server``, a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "litex.tools.litex_server", "--uart", "--uart-port", url]
    command += ["--bind-ip", "127.0.0.1", "--bind-port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = RemoteClient(host="127.0.0.1", port=port)
    try:
        deadline = time.monotonic() + 60
        while not client.binded:
            assert server.poll() is None
            assert time.monotonic() < deadline
            with contextlib.suppress(ConnectionRefusedError):
                client.open()
            time.sleep(0.05)
        yield client
    finally:
        client.close()
        server.kill()
        server.wait()


@pytest.mark.parametrize(
    ("client", "tcp"), [(comm_uart, False), (comm_uart, True), (remote_client, False), (remote_client, True)]
)
def test_the_clients_of_litex(program, client, tcp):
    """LiteX' own driver, and its server's client, write, run and read a GEMM; of ours they know the addresses alone."""
    load = workload.random((3, 16, 5), "raw", 2)
    made = compile_gemm(CONFIG.design(), CONFIG.instance, 3, 16, 5)
    image = made.image(load.x, load.w).tobytes()
    words = np.frombuffer(image + bytes(-len(image) % 4), "<u4").tolist()
    with VirtualBoard(program, port=0 if tcp else None) as running, client(running.url) as device:
        assert device.read(board_registers.address("magic")) == board_registers.MAGIC
        # The server takes up to 255 words at once.
        for place in range(0, len(words), 128):
            device.write(made.base + 4 * place, words[place : place + 128])
        for name, value in made.registers.items():
            register = registers.BY_NAME.get(name) or registers.BY_NAME[f"{name}_low"]
            device.write(board_registers.ACCELERATOR_BASE + register.offset, value)
        device.write(board_registers.ACCELERATOR_BASE + registers.BY_NAME["control"].offset, 1)
        status = board_registers.ACCELERATOR_BASE + registers.BY_NAME["status"].offset
        while device.read(status) & 1 << registers.STATUS_BUSY:
            pass
        assert device.read(status) == 1 << registers.STATUS_DONE
        start, size = made.regions["output"]
        first = start // 4 * 4
        got = device.read(first, (start + size - first + 3) // 4)
    memory = np.zeros(made.memory.end - made.base, np.uint8)
    data = np.array(got, "<u4").view(np.uint8)
    memory[first - made.base : first - made.base + data.size] = data
    assert np.array_equal(made.read_output(memory), load.golden())


@pytest.mark.long
@pytest.mark.parametrize(("memory", "size"), [("block-ram", 32 << 10), ("sdram", 32 << 20)])
def test_the_command(tmp_path, memory, size):
    """A board appears under the name asked for, is used, and goes with an interrupt."""
    name = tmp_path / "board"
    sets = [part for one in SMALL for part in ("--set", one)]
    command = [
        sys.executable,
        "-m",
        "gen.cli",
        "virtual",
        "systolic-4x4",
        *sets,
        "--board",
        "ulx3s-25f",
        "--memory",
        memory,
    ]
    process = subprocess.Popen(
        [*command, "--pty", str(name), "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not name.is_symlink():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        with Accelerator.open(str(name), config=config.load("systolic-4x4", SMALL)) as device:
            assert (device.identity.clock_hz, device.identity.memory_bytes) == (80_000_000, size)
            assert device.gemm(np.ones((1, 4), np.int8), np.ones((4, 1), np.int8)) == [[4]]
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["pass"] is True
    assert not name.is_symlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "ulx3s-85f", "--pty", "a", "--tcp", "1"], "--pty, --tcp: at most one"),
        (["--board", "ulx3s-85f", "--tcp", "70000"], "--tcp 70000: must be an integer from 0 to 65535"),
        (["--board", "nothing"], "nothing"),
        (["--board", "ulx3s-85f", "--clock", "500"], "--clock 500: clock must be 400 MHz"),
        (["--board", "ulx3s-85f", "--baud", "1"], "--baud 1: must be an integer from 300 to 20000000"),
        (["--board", "ulx3s-85f", "--baud", "19999999"], "systolic-4x4 on ulx3s-85f: baud must be at most"),
        (
            ["--board", "ulx3s-85f", "--memory", "sdram", "--clock", "150"],
            "systolic-4x4 on ulx3s-85f: clock_hz must be 1 to 142857142",
        ),
        (
            ["--board", "icebreaker", "--set", "bus.data_width=128"],
            "systolic-4x4 on icebreaker: bus.data_width must be 32 or 64 with the SPRAM of icebreaker, not 128",
        ),
    ],
)
def test_wrong_requests(gatemill, options, message):
    status, out, err = gatemill("virtual", "systolic-4x4", *options)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_name_or_port_that_is_taken_is_told_before_anything_is_compiled(gatemill, monkeypatch, tmp_path):
    monkeypatch.setattr(virtual, "program", lambda *_, **__: pytest.fail("compiled"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for option, value in (("--pty", tmp_path), ("--pty", tmp_path / "no" / "name"), ("--tcp", port)):
            status, out, err = gatemill("virtual", "systolic-4x4", "--board", "ulx3s-85f", option, value)
            assert (status, out, err.count("\n")) == (2, "", 1)
            assert f"{option} " in err
            assert "that is free" in err


def test_the_board_is_that_of_a_build(gatemill, monkeypatch):
    def program(loaded, *, memory, clock_hz, baud, notify):
        raise ToolError(f"{loaded.name}: {memory.size} bytes, {clock_hz} Hz, {baud} baud")

    monkeypatch.setattr(virtual, "program", program)
    wanted = ("virtual", "systolic-4x4", "--board", "ulx3s-25f")
    assert "systolic-4x4: 32768 bytes, 80000000 Hz, 1000000 baud" in gatemill(*wanted)[2]
    _, _, err = gatemill(*wanted, "--clock", "75", "--baud", "2500000")
    assert "systolic-4x4: 32768 bytes, 75000000 Hz, 2500000 baud" in err


def test_nobody_answers(gatemill):
    status, out, err = gatemill("run", "systolic-4x4", "--url", "/dev/nowhere", "--gemm", "1x1x1")
    assert (status, out) == (1, "")
    assert "--url '/dev/nowhere': must be a port that can be opened" in err
