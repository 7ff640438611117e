"""Every board with the presets that are sized for it: what is built, what it computes in a second, and what the part could.

A record is of a board with one of the memories that it can have, and a preset. What is measured is kept in ``boards.json``, which
the documents show: place and route takes minutes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpga.board import SDRAM, Board, boards
from fpga.flow.build import Plan, build, plan
from fpga.flow.design import memory, system
from fpga.flow.steps import DoesNotFit
from fpga.host.accelerator import Accelerator, unpredictable
from fpga.host.parts import parts
from fpga.host.virtual import VirtualBoard
from fpga.measure import area
from fpga.pll import MEGA
from fpga.soc.memory import Memory
from fpga.soc.sdram_part import WORD_BYTES
from fpga.soc.system import BoardMemory
from fpga.soc.virtual import program
from fpga.synthesis import Flow
from gen import config, workload
from gen.bench.figures import Row
from gen.config import Config
from gen.models.shapes import SHAPES
from gen.run import mismatch
from gen.workload import Workload
from hw.design import ceil_div
from sim.cycles.program import predict

Notify = Callable[[str], None]

FILE = Path(__file__).with_name("boards.json")
SHAPE, LAYER = "smollm2", "attn_q"
PROMPT, TOKEN = 64, 1
"""Rows of the GEMMs: many tokens, and one."""
FLOW = Flow(dsp=False)
"""How the tables for a multiplication are counted, whatever the part: all of them have tables of four inputs."""
HOUR = 3600
RESOURCES = {
    "luts": "LUT",
    "flip_flops": "FF",
    "block_rams": "block RAM",
    "large_rams": "SPRAM",
    "dsps": "DSP",
}
"""What a part has, in the order of tables, and its name there."""


def designs(board: Board) -> list[Config]:
    """Of each family the first preset that the board names, and the one whose array multiplies most, if that is another."""
    families: dict[str, list[Config]] = {}
    for name in board.presets:
        loaded = config.load(name)
        families.setdefault(loaded.family, []).append(loaded)
    found = []
    for several in families.values():
        largest = max(several, key=most)
        found += [several[0], largest] if most(largest) > most(several[0]) else several[:1]
    return found


def most(loaded: Config) -> float:
    """Multiplications of its array in a cycle, in the variant of ``busiest``."""
    return loaded.instance.model().multiplications(busiest(loaded))


def busiest(loaded: Config) -> int:
    """The first of the variants in which the array multiplies most."""
    model = loaded.instance.model()
    return max(
        range(len(loaded.instance.pairs)), key=lambda variant: (model.multiplications(variant), -variant)
    )


MODEL, SIMULATION = "cycle model", "simulation"
"""What says how many cycles a GEMM takes."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A GEMM on a board: cycles of all its programs, beats that they read, and whether cycle model or simulation says so."""

    load: Workload
    cycles: int
    beats: int
    method: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        names = ("M", "K", "N")
        return {
            **dict(zip(names, self.load.sizes, strict=True)),
            "cycles": self.cycles,
            "read_beats": self.beats,
            "method": self.method,
        }


def work(loaded: Config, board: Board, sizes: tuple[int, int, int], notify: Notify = lambda _: None) -> Work:
    """A GEMM of random operands, M x K by K x N, in as many parts as the board's memory makes necessary.

    Where the cycle model does not know the memory, the virtual board computes it.

    Raises ``ArithmeticError`` when that computes something else.
    """
    family, design = loaded.instance, loaded.design()
    load = workload.random(sizes, "raw", 1, family.pairs[busiest(loaded)], family)
    behind = memory(loaded, board, clock_hz=board.usual_hz(loaded.name), modelled=True)
    known = isinstance(behind, Memory) and not unpredictable(
        design, behind.timing, single_port=behind.single_port
    )
    cycles = beats = 0
    for part in parts(loaded, load, behind.size):
        own = part.load
        image = part.program.image(own.x, own.w, *own.scaling)
        found = predict(
            design,
            family.model().law(),
            part.program.instructions,
            behind.timing if isinstance(behind, Memory) else None,
            image=image,
            base=part.program.base,
        )
        cycles += found.cycles
        beats += found.load_beats + found.fetch_beats
    if known:
        return Work(load=load, cycles=cycles, beats=beats, method=MODEL)
    return Work(
        load=load, cycles=_simulated(loaded, board, behind, load, notify), beats=beats, method=SIMULATION
    )


def _simulated(loaded: Config, board: Board, behind: BoardMemory, load: Workload, notify: Notify) -> int:
    notify(f"{loaded.name} on {board.name}: {load.title} on the virtual board")
    model = program(loaded, memory=behind, clock_hz=board.usual_hz(loaded.name), baud=board.baud)
    with VirtualBoard(model) as running, Accelerator.open(running.url, config=loaded) as device:
        got, runs = device.workload(load, timeout=HOUR)
    if wrong := mismatch(got, load.golden()):
        raise ArithmeticError(
            f"the virtual board's results of {load.title} must be the golden model's: {wrong}"
        )
    return sum(run.counters["cycles"] for run in runs)


def weights_mib(loaded: Config) -> float:
    """What all weights of ``SHAPE`` take in the memory, MiB, in the variant of ``busiest``."""
    family = loaded.instance
    geometry, model, variant = family.geometry, family.model(), busiest(loaded)
    size = sum(
        one.count
        * ceil_div(one.N, geometry.columns)
        * model.weight_words(variant, ceil_div(one.K, geometry.tile_depth))
        * geometry.weight_bytes
        for one in SHAPES[SHAPE].linears(TOKEN)
    )
    return size / (1 << 20)


@dataclass(frozen=True, kw_only=True)
class Token:
    """Products with all weights of ``SHAPE`` for one token: cycles, and what says so (as in ``Work``)."""

    cycles: int
    method: str


def token(loaded: Config, board: Board, notify: Notify = lambda _: None) -> Token | None:
    """One token of ``SHAPE``, one product after the other; None if the board's memory does not hold the weights.

    Products of one size count as often as they are there. Raises as :func:`work`.
    """
    if weights_mib(loaded) * (1 << 20) > board.memory_bytes:
        return None
    counts: Counter[tuple[int, int, int]] = Counter()
    for one in SHAPES[SHAPE].linears(TOKEN):
        counts[one.M, one.K, one.N] += one.count
    found = {sizes: work(loaded, board, sizes, notify) for sizes in counts}
    return Token(
        cycles=sum(count * found[sizes].cycles for sizes, count in counts.items()),
        method=next(iter(found.values())).method,
    )


def luts_per_mac(loaded: Config, notify: Notify = lambda _: None) -> float:
    """Tables of the whole core without hardware multipliers, for a multiplication in a cycle."""
    notify(f"{loaded.name}: synthesis of its core without hardware multipliers")
    family = loaded.instance
    found = area(family.core(loaded.design()), flow=FLOW)
    return found.luts / most(loaded)


def prepared(board: Board, loaded: Config) -> Plan:
    """The build of ``gatemill build PRESET --board BOARD``."""
    hertz, seed = board.usual_hz(loaded.name), board.usual_seed(loaded.name)
    made = system(loaded, board, clock_hz=hertz, baud=board.baud)
    return plan(made, board, clock_hz=hertz, seed=seed)


def layer(rows: int) -> tuple[int, int, int]:
    """Sizes of ``LAYER`` of ``SHAPE`` for as many tokens."""
    (found,) = (one for one in SHAPES[SHAPE].linears(rows) if one.kind == LAYER)
    return found.M, found.K, found.N


def option(board: Board) -> str:
    """What builds for another than the usual memory are told; nothing for the usual one, and for a board that is not ours."""
    known = boards().get(board.name, board)
    return "" if board.memory == known.memory else f" --memory {board.memory.lower().replace(' ', '-')}"


def record(board: Board, loaded: Config, notify: Notify) -> dict[str, Any]:
    """All figures of one design on one board, as plain data."""
    name = f"{loaded.name} on {board.name}{option(board)}"
    family, variant = loaded.instance, busiest(loaded)
    notify(f"{name}: design")
    wanted = prepared(board, loaded)
    result: dict[str, Any] = {
        "board": board.name,
        "part": board.part,
        "preset": loaded.name,
        "family": loaded.family,
        "digest": loaded.digest,
        "formats": [one.name for one in family.pairs[variant]],
        "command": f"gatemill build {loaded.name} --board {board.name}{option(board)} -o DIR",
        "seed": wanted.seed,
        "programs": wanted.versions,
        "clock_mhz": wanted.clock_hz / MEGA,
        "memory": board.memory,
        "memory_bytes": board.memory_bytes,
        "bus_bytes": loaded.design().data_bytes,
        "multiplications": most(loaded),
        "weights_mib": round(weights_mib(loaded), 1),
    }
    try:
        built = build(wanted, timeout=HOUR, name=loaded.name, notice=lambda text: notify(f"{name}: {text}"))
    except DoesNotFit as error:
        return {**result, "holds": False, "lacking": {kind: list(one) for kind, one in error.over.items()}}
    clock = min(wanted.clock_hz, built.fmax_mhz * MEGA)
    one = token(loaded, board, notify)
    return {
        **result,
        "holds": built.holds,
        "fmax_mhz": built.fmax_mhz,
        "utilisation": built.figures["utilisation"],
        "work": [work(loaded, board, layer(rows), notify).as_dict() for rows in (PROMPT, TOKEN)],
        "luts_per_mac": round(luts_per_mac(loaded, notify), 1),
        "tokens_per_second": None if one is None else round(clock / one.cycles, 2),
        "tokens_method": None if one is None else one.method,
    }


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a design reaches beside what its part could.

    The part could start a multiplication in every hardware multiplier and every cycle at the clock that the design reaches, or
    be filled with as many tables for each as the design's core takes without them.
    """

    clock_mhz: float
    peak: float
    """Of the array, GOPS; a multiplication is two operations."""
    sustained: float
    """For ``PROMPT`` tokens, GOPS."""
    dsps: float
    """All hardware multipliers, GOPS; 0 if there is none."""
    tables: float
    """All tables, GOPS."""
    bandwidth: float
    """Of the memory's port, read, MB/s; of an SDRAM its own."""
    read: float
    """Of that for a token alone, %."""

    @staticmethod
    def share(value: float, limit: float) -> float:
        """In %."""
        return 100 * value / limit


def reach(one: Mapping[str, Any]) -> Reach:
    """Of a record whose design fits its part."""
    clock, fmax = min(one["clock_mhz"], one["fmax_mhz"]), one["fmax_mhz"]
    many, token = one["work"]
    use, port = one["utilisation"], one["bus_bytes"]
    width = min(port, WORD_BYTES) if one["memory"] == SDRAM else port
    operations = 2 * many["M"] * many["K"] * many["N"]
    return Reach(
        clock_mhz=clock,
        peak=2 * one["multiplications"] * clock / 1e3,
        sustained=operations / many["cycles"] * clock / 1e3,
        dsps=2 * use["dsps"]["available"] * fmax / 1e3 if "dsps" in use else 0.0,
        tables=2 * use["luts"]["available"] / one["luts_per_mac"] * fmax / 1e3,
        bandwidth=width * clock,
        read=Reach.share(token["read_beats"] * port, token["cycles"] * width),
    )


def lacking(one: Mapping[str, Any]) -> str:
    """What a part has too little of, in words."""
    return ", ".join(
        f"{used:,} of {available:,} {RESOURCES.get(kind.replace(' ', '_'), kind)}"
        for kind, (used, available) in one["lacking"].items()
    )


def _row(one: dict[str, Any]) -> Row:
    if "lacking" in one:
        measured = f"does not fit: {lacking(one)}"
    else:
        found = reach(one)
        use = ", ".join(
            f"{each['used']:,} {RESOURCES[kind]} ({each['percent']} %)"
            for kind, each in one["utilisation"].items()
        )
        measured = (
            f"{one['fmax_mhz']:g} MHz; {use}; {found.peak:.3g} GOPS at most, {found.sustained:.3g} sustained"
        )
    return Row(
        key="boards",
        what=f"{one['preset']} on {one['board']}{option(with_memory(one))}",
        measured=measured,
        must=f"it fits, {one['clock_mhz']:g} MHz",
        held=one["holds"],
        values=one,
    )


def rows(
    notify: Notify, names: Sequence[str] = (), memory: str | None = None, presets: Sequence[str] = ()
) -> list[Row]:
    """Of each board, or of those with these names, a row for each design with its usual memory, or with the one that is named.

    Boards without it have none. With ``presets`` only those designs. Builds come from the cache where it has them.
    """
    chosen = [board for name, board in boards().items() if not names or name in names]
    those = [
        board if memory is None else board.memories[memory]
        for board in chosen
        if memory is None or memory in board.memories
    ]
    return [
        _row(record(board, loaded, notify))
        for board in those
        for loaded in designs(board)
        if not presets or loaded.name in presets
    ]


def kept(file: Path = FILE) -> list[dict[str, Any]]:
    """The figures that were saved last."""
    return json.loads(file.read_text())


def save(new: Sequence[Row], file: Path = FILE) -> None:
    """Put rows in the place of those of the same designs; what no board names any more goes."""
    places = [
        (board.name, kind, loaded.name)
        for board in boards().values()
        for kind in board.memories
        for loaded in designs(board)
    ]
    found = {_place(one): one for one in kept(file)} if file.exists() else {}
    found |= {_place(row.values): dict(row.values) for row in new}
    whole = [found[place] for place in places if place in found]
    file.write_text(json.dumps(whole, indent=1) + "\n")


def _place(one: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a record is of: board, memory, preset."""
    return one["board"], one["memory"], one["preset"]


def with_memory(one: Mapping[str, Any]) -> Board:
    """The board of a record."""
    return boards()[one["board"]].memories[one["memory"]]
