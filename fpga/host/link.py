"""The host's end of the link: words of the board's address space over the bytes of LiteX's UARTBone.

A command is ``[command][words][word address, 4 bytes][data, 4 bytes each]``, all big-endian; a read is answered with its data,
a check with the CRC-32 of what a read would be answered with, a write with nothing.

What is lost on the way is found by a time-out (reads) or a checksum (uploads: ``fpga.host.accelerator``).

Reference: LiteX, ``litex/tools/remote/comm_uart.py`` and ``litex/soc/cores/uart.py``.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import numpy as np
import serial

from gen.errors import RequestError

WRITE, READ, CHECK = 1, 2, 5
BURST = 255
"""Most words of a command."""
AHEAD = 4
"""Reads that are asked for before the first one is answered, so that a slow USB bridge costs its delay once."""
CHECKS_AHEAD = 64
"""The same of checks; so many commands wait in the device's buffer of 512 bytes."""
TRIES = 3
"""Times that a read is asked for."""
QUIET = 0.25
"""Seconds of silence after which the device has surely forgotten half a command (it does so after 0.1)."""

HELD = 8192
"""Bytes that a system may have taken and not sent yet; what comes behind them is answered that much later."""

GONE: tuple[type[Exception], ...] = (serial.SerialException, OSError, TypeError)
"""What is raised when the device goes away; in the middle of a read, pyserial asks a closed descriptor (``TypeError``)."""
with suppress(ImportError):
    # Emptying a terminal's buffer has an error of its own. Windows has no such module.
    GONE += (importlib.import_module("termios").error,)

Progress = Callable[[int, int], None]
"""Told bytes done, and in all."""


class LinkError(RuntimeError):
    """The device does not answer, or the line is gone."""


def _names_a_port(url: str) -> bool:
    """Whether a URL ends in a host and a port."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.port)
    except ValueError:
        return False


def _no_progress(done: int, total: int) -> None:
    """Of transfers that nobody watches."""


class Link:
    """Reads and writes words through a serial port.

    Parameters
    ----------
    port : serial.SerialBase
        What ``serial.serial_for_url`` gives; its ``timeout`` is how long an answer may keep silent before it is whole.
    name : str
        What messages call it.
    """

    def __init__(self, port: serial.SerialBase, *, name: str) -> None:
        self._port = port
        self._name = name
        self._moved = 0
        self._broken = False
        self._quiet = QUIET + _seconds(4 * BURST * AHEAD, port.baudrate)

    @classmethod
    def open(cls, url: str, *, baud: int = 1_000_000, timeout: float = 2.0) -> Link:
        """The link at ``url``: a device (``/dev/ttyUSB0``, ``COM3``, a pty) or ``socket://host:port``.

        ``timeout`` seconds may an answer keep silent, beside the time that bytes take at such a rate.

        Raises
        ------
        RequestError
            There is no such kind of port or rate.
        LinkError
            It cannot be opened.
        """
        if url.startswith("socket://") and not _names_a_port(url):
            raise RequestError(f"--url {url!r}: must be socket://host:port, with a port from 1 to 65535")
        under_way = _seconds(HELD, baud)
        try:
            port = serial.serial_for_url(
                url, baudrate=baud, timeout=timeout + under_way, write_timeout=max(timeout, 10.0) + under_way
            )
        except ValueError as error:
            raise RequestError(f"--url {url!r}: must be a port that can be opened ({error})") from None
        except (serial.SerialException, OSError) as error:
            raise LinkError(f"--url {url!r}: must be a port that can be opened ({error})") from None
        return cls(port, name=url)

    def close(self) -> None:
        """Give the port back."""
        self._port.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write(self, address: int, words: np.ndarray, progress: Progress = _no_progress) -> None:
        """Write ``words`` (uint32) to byte address ``address`` and on; one write to the port for each command."""
        _check(address, len(words))
        for first in range(0, len(words), BURST):
            part = words[first : first + BURST]
            with self._whole():
                self._send(_head(WRITE, len(part), address + 4 * first) + part.astype(">u4").tobytes())
            progress(4 * (first + len(part)), 4 * len(words))

    def read(self, address: int, count: int, progress: Progress = _no_progress) -> np.ndarray:
        """``count`` words (uint32) from byte address ``address`` on.

        An answer that does not come is asked for again, after a silence that lets the device start afresh; so registers
        whose reading changes something must not be read through this (there are none).
        """
        return self._asked(READ, address, count, progress)

    def checksums(self, address: int, count: int) -> np.ndarray:
        """CRC-32 (uint32), as ``zlib.crc32``, of each ``BURST`` words of the ``count`` from byte address ``address`` on."""
        return self._asked(CHECK, address, count, _no_progress)

    def _asked(self, command: int, address: int, count: int, progress: Progress) -> np.ndarray:
        _check(address, count)
        parts: list[np.ndarray] = []
        done = tries = 0
        ahead = BURST * (AHEAD if command == READ else CHECKS_AHEAD)
        while done < count:
            sizes = [min(BURST, count - first) for first in range(done, min(count, done + ahead), BURST)]
            heads = [_head(command, size, address + 4 * (done + i * BURST)) for i, size in enumerate(sizes)]
            wanted = 4 * (sum(sizes) if command == READ else len(sizes))
            with self._whole():
                self._send(b"".join(heads))
                data = self._receive(wanted)
            if len(data) < wanted:
                tries += 1
                if tries == TRIES:
                    raise LinkError(
                        f"{self._name}: no answer to a read of {address + 4 * done:#010x} after {TRIES} tries "
                        f"({len(data)} of {wanted} bytes came): is the board on and flashed, the rate right?"
                    )
                self.resynchronise()
                continue
            tries = 0
            parts.append(np.frombuffer(data, ">u4").astype(np.uint32))
            done += sum(sizes)
            progress(4 * done, 4 * count)
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def write_word(self, address: int, value: int) -> None:
        """Write one word."""
        self.write(address, np.array([value], np.uint32))

    def read_word(self, address: int) -> int:
        """Read one word."""
        return int(self.read(address, 1)[0])

    def resynchronise(self) -> None:
        """Keep silent until the device has answered and has forgotten a command that it got half of; forget what it sent."""
        time.sleep(self._quiet)
        try:
            self._port.reset_input_buffer()
        except GONE as error:
            raise self._gone(error) from None

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """A command and its answer. What breaks off within, by an interrupt, leaves halves of them: the next clears them away."""
        if self._broken:
            self.resynchronise()
        self._broken = True
        yield
        self._broken = False

    def _send(self, data: bytes) -> None:
        try:
            sent = self._port.write(data)
        except GONE as error:
            raise self._gone(error) from None
        if sent is not None and sent != len(data):
            raise LinkError(f"{self._name}: took {sent} of {len(data)} bytes, {self._moved:,} bytes before")
        self._moved += len(data)

    def _receive(self, count: int) -> bytes:
        """So many bytes, or fewer when none come for as long as may be."""
        data = b""
        try:
            while len(data) < count and (part := self._port.read(count - len(data))):
                data += part
        except GONE as error:
            raise self._gone(error) from None
        self._moved += len(data)
        return data

    def _gone(self, error: Exception) -> LinkError:
        return LinkError(
            f"{self._name}: the line is gone after {self._moved:,} bytes there and back ({error}): plug it in and try again"
        )


def _seconds(count: int, baud: int) -> float:
    """What bytes take on the line, each with its start and stop bit."""
    return 10 * count / baud


def _check(address: int, count: int) -> None:
    if address % 4 or not 0 <= address <= (1 << 32) - 4 * count:
        raise ValueError(f"address must be a multiple of 4 with {count} words below 2**32, not {address!r}")


def _head(command: int, count: int, address: int) -> bytes:
    return bytes([command, count]) + (address // 4).to_bytes(4, "big")
