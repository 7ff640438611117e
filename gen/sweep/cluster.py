"""A Dask scheduler and workers for sweeps, on this machine's loopback unless there is TLS.

Who reaches a scheduler can have any Python run by its workers: it asks nobody for a password. So it listens to this machine
alone, and to others only with TLS, where certificates of a common authority say who may take part.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gen.errors import RequestError
from sim import tools

PATIENCE = 60.0
"""Seconds that a scheduler may take to begin."""

_LIFELINE = """\
import os, signal, threading
def end_with_parent():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=end_with_parent, daemon=True).start()
"""
"""A process of the cluster ends when the one that holds the other end of its standard input does, however that ends."""


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Files for TLS: the authority's certificate, this machine's and its key."""

    authority: Path
    certificate: Path
    key: Path

    def arguments(self) -> list[str]:
        """As Dask's programs take them."""
        return [
            "--tls-ca-file", str(self.authority), "--tls-cert", str(self.certificate), "--tls-key", str(self.key),
        ]  # fmt: skip


def check_host(host: str, certificates: Certificates | None) -> None:
    """Raises ``RequestError`` for an address that others reach, without TLS."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback and certificates is None:
        raise RequestError(
            f"--host {host!r}: must be of the loopback, such as 127.0.0.1, or --tls-ca, --tls-cert and --tls-key be given: "
            "whoever reaches a scheduler can have anything run"
        )


@contextmanager
def running(
    *, host: str, port: int, workers: int, certificates: Certificates | None = None
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler at ``host`` and ``port`` (0: any that is free), and ``workers`` of it, a point at a time each.

    Yields the scheduler's address, and its process followed by those of the workers; in the end all are ended.

    Raises
    ------
    RequestError
        The host is reached by others and there is no TLS; Dask is not installed.
    sim.tools.ToolError
        The scheduler does not begin.
    """
    check_host(host, certificates)
    require()
    more = certificates.arguments() if certificates else []
    protocol = "tls" if certificates else "tcp"
    processes: list[subprocess.Popen[bytes]] = []
    with tools.working_folder("cluster") as folder:
        file = folder / "scheduler.json"
        try:
            listen = ["--host", host, "--port", str(port), "--protocol", protocol, "--no-dashboard"]
            processes.append(_start("scheduler", [*listen, "--scheduler-file", str(file), *more], folder))
            address = _address(file, processes[0])
            for number in range(workers):
                processes.append(worker(address, folder, f"{host}-{number}", more))
            yield address, processes
        finally:
            for process in reversed(processes):
                end(process)


def worker(address: str, folder: Path, name: str, more: list[str]) -> subprocess.Popen[bytes]:
    """A worker of the scheduler at ``address`` for one point at a time."""
    host = address.partition("://")[2].rpartition(":")[0]
    arguments = [
        address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name, "--host", host,
        "--local-directory", str(folder), *more,
    ]  # fmt: skip
    return _start("worker", arguments, folder)


def require() -> None:
    """Raises ``RequestError`` when Dask is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise RequestError("a cluster wants Dask to be installed: pip install 'gatemill[cluster]'") from None


def watch(processes: list[subprocess.Popen[bytes]], notice: Callable[[str], None]) -> None:
    """Wait until the scheduler ends or all workers have; say who does."""
    scheduler, *workers = processes
    while scheduler.poll() is None and (workers or len(processes) == 1):
        time.sleep(0.5)
        for one in [one for one in workers if one.poll() is not None]:
            workers.remove(one)
            notice(f"a worker has ended, {len(workers)} are left")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of the cluster."""
    assert process.stdin
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
    if process.poll() is None:
        process.kill()
        process.wait()
    process.stdin.close()


def _start(what: str, arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    program = _LIFELINE + f"from distributed.cli.dask_{what} import main\nmain()\n"
    with (folder / f"{what}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", program, *arguments],
            cwd=folder,
            env=tools.environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            # An interrupt of the terminal is for whoever started this.
            start_new_session=True,
        )


def _address(file: Path, scheduler: subprocess.Popen[bytes]) -> str:
    """Of the scheduler, as soon as it says so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and scheduler.poll() is None:
        with suppress(OSError, ValueError, KeyError):
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.05)
    log = (file.parent / "scheduler.log").read_text(errors="replace")
    raise tools.ToolError(
        f"the scheduler did not begin within {PATIENCE:g} s:{os.linesep}" + "\n".join(log.splitlines()[-10:])
    )
