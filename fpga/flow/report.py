"""What nextpnr's report says of a placed design: what it takes of the part, its clock, its critical path."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from fpga.parts import ECP5, GOWIN, ICE40
from fpga.pll import MEGA
from fpga.synthesis import FigureError

KINDS: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    ECP5: {
        "luts": {"TRELLIS_COMB": 1},
        "flip_flops": {"TRELLIS_FF": 1},
        "block_rams": {"DP16KD": 1},
        "dsps": {"MULT18X18D": 1},
    },
    ICE40: {
        "luts": {"ICESTORM_LC": 1},
        "block_rams": {"ICESTORM_RAM": 1},
        "large_rams": {"ICESTORM_SPRAM": 1},
        "dsps": {"ICESTORM_DSP": 1},
    },
    GOWIN: {
        "luts": {"LUT4": 1, "ALU": 1},
        "flip_flops": {"DFF": 1},
        "block_rams": {"BSRAM": 1},
        "dsps": {
            "MULT18X18": 1,
            "MULT9X9": 0.5,
            "MULT36X36": 4,
            "MULTALU18X18": 2,
            "MULTADDALU18X18": 2,
            "MULTALU36X18": 2,
        },
    },
}
"""Of each family, the cells that a resource is made of, the first of which says how many there are, and how much each takes."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of a resource is taken."""

    used: int
    available: int

    @property
    def percent(self) -> float:
        """Of what is available."""
        return round(100 * self.used / self.available, 1)

    def as_dict(self) -> dict[str, float]:
        """Plain data, for JSON."""
        return {**asdict(self), "percent": self.percent}


@dataclass(frozen=True, kw_only=True)
class Step:
    """Part of a path: ``kind`` as nextpnr has it (clk-to-q, logic, routing, setup), ns, and where it ends."""

    kind: str
    delay: float
    cell: str
    net: str
    place: tuple[int, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Path:
    """From one register to another."""

    steps: tuple[Step, ...]

    @property
    def delay(self) -> float:
        """Of all of it, ns."""
        return round(sum(step.delay for step in self.steps), 3)

    @property
    def sources(self) -> tuple[str, ...]:
        """Lines of Python that it goes through, in its order."""
        return tuple(dict.fromkeys(source for step in self.steps for source in step.sources))

    def as_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {
            "delay_ns": self.delay,
            "sources": list(self.sources),
            "steps": [asdict(step) for step in self.steps],
        }


def utilisation(report: Mapping, family: str) -> dict[str, Use]:
    """What is taken of each resource that the part has any of.

    Raises ``FigureError`` when the report lacks it.
    """
    kinds = _figure(report, "utilization")
    result = {}
    for name, cells in KINDS[family].items():
        if next(iter(cells)) not in kinds:
            continue
        used = sum(weight * kinds[cell]["used"] for cell, weight in cells.items() if cell in kinds)
        result[name] = Use(used=math.ceil(used), available=kinds[next(iter(cells))]["available"])
    return result


def overfull(report: Mapping, family: str) -> dict[str, tuple[int, int]]:
    """What a packed design takes more of than there is: used and available, of our resources and of other cells by their names.

    A kind of cell that the part has none of is one that nextpnr turns into others.
    """
    found = {
        kind.replace("_", " "): (one.used, one.available) for kind, one in utilisation(report, family).items()
    }
    named = {cell for cells in KINDS[family].values() for cell in cells}
    found |= {
        kind: (one["used"], one["available"])
        for kind, one in report["utilization"].items()
        if kind not in named
    }
    return {kind: one for kind, one in found.items() if one[0] > one[1] > 0}


def fastest(report: Mapping, clock_hz: int) -> float:
    """MHz of the clock that was to run at ``clock_hz``.

    Raises ``FigureError`` when the report has no clock.
    """
    clocks = _figure(report, "fmax")
    if not clocks:
        raise FigureError("the report has no clock: the design has no path between registers")
    clock = min(clocks.values(), key=lambda one: abs(one["constraint"] - clock_hz / MEGA))
    return round(float(clock["achieved"]), 2)


def lines(netlist: Mapping) -> dict[str, str]:
    """The line of Python that describes a net, by its name, in what Yosys wrote."""
    found = {}
    for module in netlist["modules"].values():
        for name, net in module.get("netnames", {}).items():
            described = [one for one in net["attributes"].get("src", "").split("|") if _is_python(one)]
            if described:
                found[name] = described[0]
    return found


def critical_path(report: Mapping, known: Mapping[str, str]) -> Path:
    """The slowest from a clock to the same; empty if there is none.

    A step without a line of its own has that of the net that its net or cell is named for, out of ``known`` (:func:`lines`).
    """
    paths = [
        _path(one["path"], known) for one in report.get("critical_paths", ()) if one["from"] == one["to"]
    ]
    return max(paths, key=lambda path: path.delay, default=Path(steps=()))


def _path(steps: Iterable[Mapping], known: Mapping[str, str]) -> Path:
    result = []
    for step in steps:
        named = step.get("net") or step["to"]["cell"]
        result.append(
            Step(
                kind=step["type"],
                delay=round(step["delay"], 3),
                cell=step["to"]["cell"],
                net=step.get("net", ""),
                place=tuple(step["to"]["loc"]),
                sources=tuple(one for one in step.get("sources", ()) if _is_python(one))
                or _named(named, known),
            )
        )
    return Path(steps=tuple(result))


def _is_python(source: str) -> bool:
    return source.partition(":")[0].endswith(".py")


def _named(name: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """Yosys names what it makes after a net, with more behind it: ``core.count_TRELLIS_FF_Q_3_DI``, ``core.count[3]``."""
    module, dot, own = name.partition("[")[0].rpartition(".")
    while own:
        if found := known.get(f"{module}{dot}{own}"):
            return (found,)
        own = own.rpartition("_")[0]
    return ()


def _figure(report: Mapping, key: str):
    if key not in report:
        raise FigureError(f"the report has no {key}")
    return report[key]
