"""Sweeps on Dask: a scheduler and workers of their own on the loopback, and a worker killed in the middle."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest
from test_sweep import SPEC, options

from gen.errors import RequestError
from gen.sweep import cluster, executors, points, spec
from gen.sweep.engine import Engine, Listed
from gen.sweep.store import Store


def test_a_scheduler_for_others_wants_tls(tmp_path):
    for host in ("0.0.0.0", "192.168.1.1", "::", "example.org"):
        with pytest.raises(RequestError, match=r"must be of the loopback, such as 127.0.0.1, or --tls-ca"):
            cluster.check_host(host, None)
    certificates = cluster.Certificates(authority=tmp_path, certificate=tmp_path, key=tmp_path)
    for host, files in (("127.0.0.1", None), ("::1", None), ("localhost", None), ("0.0.0.0", certificates)):
        cluster.check_host(host, files)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:9", "nonsense", "tcp://", ""])
def test_nobody_at_the_scheduler_s_address(url):
    with pytest.raises(RequestError, match="must be the address of a Dask scheduler"):
        with executors.dask(url, patience=1):
            pass


@pytest.mark.parametrize("said", [b"", b"HTTP/1.0 400 Bad request\r\n\r\n" + bytes(1000)])
def test_somebody_else_at_the_scheduler_s_address(said):
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls = []

        def answer():
            with suppress(OSError):
                while True:
                    calls.append(server.accept()[0])
                    calls[-1].sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RequestError, match="must be the address of a Dask scheduler"):
            with executors.dask(url, patience=1):
                pass
        server.shutdown(socket.SHUT_RDWR)
    for call in calls:
        call.close()
    assert time.monotonic() - begun < 10


@pytest.mark.long
def test_a_worker_is_killed_in_the_middle_and_no_point_is_lost_nor_a_finished_one_run_again(
    tmp_path, monkeypatch
):
    log = tmp_path / "log.txt"
    monkeypatch.setenv("GATEMILL_TEST_LOG", str(log))
    vary = {"array.rows": [1, 2, 4, 8], "array.columns": [1, 2, 4, 8]}
    source = Listed(points.grid(spec.check(SPEC | {"vary": vary}, "s.toml")))
    with cluster.running(host="127.0.0.1", port=0, workers=2) as (address, processes):
        assert address.startswith("tcp://127.0.0.1:")
        finished = []

        def kill(progress):
            if progress.finished == 5 and not finished:
                # In the middle of its point: each takes 0.4 s.
                finished.append(set(engine.rows))
                threading.Timer(0.1, os.kill, (processes[1].pid, signal.SIGKILL)).start()

        with Store(tmp_path / "s") as store, executors.dask(address) as place:
            engine = Engine(store, place.executor, options("slow", width=place.width), kill)
            engine.run(source)
            assert len(store.rows()) == 16
        assert processes[1].poll() == -signal.SIGKILL
    assert engine.progress.ran == 16
    assert not [row for row in engine.ordered if not row.done]
    lines = log.read_text().splitlines()
    # The point that it was at may have been written by both.
    assert len(set(lines)) == 16
    assert len(lines) <= 17
    for row in (engine.rows[key] for key in finished[0]):
        assert lines.count(f"{row.point.settings} {row.point.target}") == 1
    assert len({row.worker for row in engine.ordered}) == 2


@pytest.mark.long
def test_processes_of_a_cluster_end_with_it():
    with cluster.running(host="127.0.0.1", port=0, workers=1) as (_, processes):
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)
