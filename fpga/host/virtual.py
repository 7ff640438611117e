"""A virtual board: the same system in simulation, behind a pty or a TCP port. Who connects cannot tell it from a board."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import tty
from pathlib import Path
from types import TracebackType

from sim.tools import ToolError

CHUNK = 1 << 16
"""Bytes that are passed on at once."""


def check_free(*, port: int | None, name: Path | None) -> None:
    """Before a model is compiled for long: raises as :class:`VirtualBoard` when it could not be reached so."""
    if port is not None:
        _server(port).close()
    if name is not None and (os.path.lexists(name) or not name.parent.is_dir()):
        raise _taken(name, "File exists" if os.path.lexists(name) else "No such folder")


class VirtualBoard:
    """A running model (``fpga.soc.virtual.program``); as a context manager it ends with the block.

    Parameters
    ----------
    program : Path
        The compiled model.
    port : int, optional
        TCP port on this machine (loopback alone), 0 for any that is free. Without one it is a pty.
    name : Path, optional
        A symbolic link to the pty, made for the time being.

    Raises
    ------
    ToolError
        The port is taken, or there is something of that name already.
    """

    def __init__(self, program: Path, *, port: int | None = None, name: Path | None = None) -> None:
        self._program, self._port, self._name = program, port, name
        self._closing = False
        self._model: subprocess.Popen | None = None
        self._server: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._descriptors: list[int] = []
        self.url = ""

    def __enter__(self) -> VirtualBoard:
        try:
            if self._port is None:
                self._pty()
            else:
                self._tcp(self._port)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the model ends by itself, which it does only when it fails: its exit status, None after ``timeout``."""
        if self._model is None:
            raise ValueError("the board must be running")
        try:
            return self._model.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End the model and give back what it was reached by."""
        self._closing = True
        if self._model is not None:
            self._model.kill()
            self._model.wait()
        if self._server is not None:
            # Wakes an accept that waits; closing alone does not.
            with socket.socket() as knock:
                knock.connect_ex(self._server.getsockname())
            self._server.close()
        if self._thread is not None:
            self._thread.join()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []
        if self._name is not None and self._name.is_symlink() and os.readlink(self._name) == self.url:
            self._name.unlink()

    def _start(self, descriptor: int) -> None:
        command = [str(self._program), str(descriptor), str(descriptor)]
        self._model = subprocess.Popen(command, pass_fds=[descriptor], stdin=subprocess.DEVNULL)

    def _pty(self) -> None:
        near, far = os.openpty()
        # The far end stays open here, so that the line outlives each of its users.
        self._descriptors = [near, far]
        tty.setraw(far)
        self.url = os.ttyname(far)
        if self._name is not None:
            try:
                self._name.symlink_to(self.url)
            except OSError as error:
                raise _taken(self._name, error.strerror) from None
        self._start(near)

    def _tcp(self, port: int) -> None:
        self._server = _server(port)
        self.url = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        near, far = socket.socketpair()
        self._start(far.fileno())
        far.close()
        self._thread = threading.Thread(target=self._serve, args=(self._server, near), daemon=True)
        self._thread.start()

    def _serve(self, server: socket.socket, model: socket.socket) -> None:
        """One client after the other; what is under way when a client goes is dropped with it, the board lives on."""
        with model:
            while not self._closing:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    there = threading.Thread(target=_pass_on, args=(client, model), daemon=True)
                    there.start()
                    self._answer(model, client, there)
                    there.join()

    def _answer(self, model: socket.socket, client: socket.socket, there: threading.Thread) -> None:
        model.settimeout(0.05)
        try:
            while there.is_alive() and not self._closing:
                try:
                    data = model.recv(CHUNK)
                except TimeoutError:
                    continue
                if not data:
                    break
                client.sendall(data)
        except OSError:
            pass
        finally:
            model.settimeout(None)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


def _server(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ToolError(f"--tcp {port}: must be a port that is free ({error.strerror})") from None


def _taken(name: Path, why: str | None) -> ToolError:
    return ToolError(f"--pty {str(name)!r}: must be a name that is free ({why})")


def _pass_on(client: socket.socket, model: socket.socket) -> None:
    """From the client to the model until the client has gone."""
    try:
        while data := client.recv(CHUNK):
            model.sendall(data)
    except OSError:
        return
