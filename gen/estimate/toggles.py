"""How often signals change while the generated Verilog computes a product: what energy is a proxy of, besides bits moved.

The run is one of ``gatemill simulate``, checked bit for bit; its trace is counted. Verilator settles each cycle at once:
glitches, the clock, and what happens within block RAMs and DSP blocks are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from math import prod
from typing import Any

from gen import run, workload
from gen.config import Config
from gen.errors import RequestError
from gen.options import Options
from sim import tools
from sim.simulate import SimulationError

SEED = 0
"""Of the operands."""
MOST_MULTIPLICATIONS = 1 << 20
"""A trace has some kilobytes for each cycle."""
DESIGN, RUNNING, CLOCK = ("harness", "accelerator"), ("harness", "running"), "clk"
"""In the trace: the accelerator's scope, the signal that is high while it runs, the clock."""
TRACE = "trace.vcd"


@dataclass(frozen=True, kw_only=True)
class Toggles:
    """Bits that changed, of all signals of each module by path; the top's own path is empty.

    A signal that several modules have as it is counts once, with the innermost module that holds all of them.
    """

    sizes: tuple[int, int, int]
    formats: tuple[str, str]
    cycles: int
    modules: dict[str, int] = field(repr=False)

    @property
    def multiplications(self) -> int:
        """Of the product."""
        return prod(self.sizes)

    @property
    def total(self) -> int:
        """Of all modules."""
        return sum(self.modules.values())

    def as_dict(self, depth: int) -> dict[str, Any]:
        """Plain data, for JSON, with modules down to ``depth``: what lies deeper counts with the one that it lies in."""
        found: dict[str, int] = {}
        for path, number in self.modules.items():
            name = ".".join(path.split(".")[:depth]) or "top"
            found[name] = found.get(name, 0) + number
        return {
            "sizes": list(self.sizes),
            "formats": list(self.formats),
            "cycles": self.cycles,
            "multiplications": self.multiplications,
            "total": self.total,
            "per_multiplication": self.total / self.multiplications,
            "per_cycle": self.total / self.cycles,
            "modules": [
                {"module": name, "toggles": number, "per_multiplication": number / self.multiplications}
                for name, number in sorted(found.items())
            ],
        }


def parse(text: str) -> tuple[int, int, int]:
    """Sizes of the product ``MxKxN``. Raises ``RequestError`` for anything else, and where a trace would be too long."""
    sizes = workload.parse_gemm(text, "--toggles")
    if prod(sizes) > MOST_MULTIPLICATIONS:
        raise RequestError(
            f"--toggles {text!r}: must have at most {MOST_MULTIPLICATIONS} multiplications, not {prod(sizes)}: "
            "all cycles are traced"
        )
    return sizes


def measure(
    config: Config,
    sizes: tuple[int, int, int],
    *,
    activations: str | None = None,
    weights: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> Toggles:
    """Of a product of random operands of these formats, the first that the array was generated for if they are not given.

    Raises
    ------
    RequestError
        The product cannot be made to fit, or the array was not generated for its formats.
    sim.simulate.SimulationError
        It did not compute what it must.
    sim.tools.ToolError
        A program is missing or failed.
    """
    family = config.instance
    formats = family.pairs[family.variant(activations, weights)]
    load = workload.random(sizes, "raw", SEED, formats, family)
    with tools.working_folder("toggles") as folder:
        done = run.run(config, [load], Options(waves=folder / TRACE), notify=notify)[0]
        if not done["pass"]:
            raise SimulationError(f"{config.name} must compute {load.title} as its model does, and does not")
        with (folder / TRACE).open() as file:
            modules = count(file)
    return Toggles(sizes=sizes, formats=load.formats, cycles=done["cycles"]["measured"], modules=modules)


def count(lines: Iterable[str]) -> dict[str, int]:
    """Bits that change in a VCD trace of the harness while ``RUNNING`` is high, by module; the edge that ends it included."""
    rows = iter(lines)
    owners, running = _signals(takewhile(lambda line: not line.startswith("$enddefinitions"), rows))
    found, known = dict.fromkeys(owners.values(), 0), dict.fromkeys(owners, 0)
    high = rising = False
    for row in rows:
        if row[0] == "#":
            high = rising
        elif row[0] in "b01":
            digits, name = row[1:].split() if row[0] == "b" else (row[0], row[1:].strip())
            if name in known:
                value = int(digits, 2)
                if high:
                    found[owners[name]] += (value ^ known[name]).bit_count()
                known[name] = value
            elif name == running:
                rising = digits == "1"
    return found


def _signals(header: Iterable[str]) -> tuple[dict[str, str], str]:
    """The module that holds each of the accelerator's signals, by the trace's name for it; the name of ``RUNNING``."""
    scopes: list[str] = []
    owners: dict[str, list[str]] = {}
    clocks, running = set(), ""
    for line in header:
        words = line.split()
        if words[:1] == ["$scope"]:
            scopes.append(words[2])
        elif words[:1] == ["$upscope"]:
            scopes.pop()
        elif words[:1] == ["$var"]:
            name, signal = words[3:5]
            if scopes[: len(DESIGN)] == list(DESIGN):
                path = scopes[len(DESIGN) :]
                both = zip(owners.get(name, path), path, strict=False)
                owners[name] = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], both)]
                clocks |= {name} if signal == CLOCK else set()
            elif (*scopes, signal) == RUNNING:
                running = name
    if not running or not owners:
        raise SimulationError("the trace must have the accelerator's signals, and has not")
    return {name: ".".join(path) for name, path in owners.items() if name not in clocks}, running
