"""A headless Chromium, driven over a pair of pipes: its DevTools protocol without a library. It has no network."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 300.0


def installed():
    """The browser's path, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def page(path, *, width=1400, height=1500):
    """``path`` opened in a browser."""
    to_browser, from_browser = os.pipe(), os.pipe()
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe",
        f"--window-size={width},{height}", f"--user-data-dir={Path(path).parent / 'profile'}", "about:blank",
    ]  # fmt: skip

    def place_pipes():
        # The protocol is spoken on descriptors 3 and 4; free ones above first, so that no move closes what is still to be moved.
        free = [fcntl.fcntl(end, fcntl.F_DUPFD, 5) for end in (to_browser[0], from_browser[1])]
        os.dup2(free[0], 3)
        os.dup2(free[1], 4)

    process = subprocess.Popen(
        [installed(), *arguments],
        # No other thread of the test's process holds a lock.
        preexec_fn=place_pipes,  # noqa: PLW1509
        pass_fds=(3, 4),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Page(Path(path), to_browser[1], from_browser[0])
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        os.close(to_browser[1])
        os.close(from_browser[0])


class Page:
    """An opened page. ``requests`` has the addresses of all that it asked for, ``errors`` what went wrong in it."""

    def __init__(self, path, out, back):
        self._out, self._back, self._number, self._rest, self._session = out, back, 0, b"", None
        self.requests, self.errors, self._loaded = [], [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=0,
            uploadThroughput=0,
        )
        self.call("Page.navigate", url=path.resolve().as_uri())
        self._until(lambda: self._loaded)

    def call(self, method, **parameters):
        """The answer to a command."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        return self._until(lambda: None, self._number)

    def value(self, expression):
        """Of an expression in JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def move(self, selector):
        """The pointer to the middle of an element; where that is."""
        box = self.value(
            f"(() => {{const at = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            "return [at.x + at.width / 2, at.y + at.height / 2]})()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
        return box

    def click(self, selector):
        """An element."""
        x, y = self.move(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self):
        """PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def _until(self, condition, number=None):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if number is None and condition():
                return None
            message = self._message(end)
            if number is not None and message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)
        raise TimeoutError(f"the browser must answer within {PATIENCE:g} s")

    def _note(self, message):
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(message["params"]["exceptionDetails"]["text"])
            case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
                self.errors.append(message["params"]["entry"]["text"])

    def _message(self, end):
        while b"\0" not in self._rest:
            if not select.select([self._back], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"the browser must answer within {PATIENCE:g} s")
            part = os.read(self._back, 1 << 16)
            if not part:
                raise EOFError("the browser has ended")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)
