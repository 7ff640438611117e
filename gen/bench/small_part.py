"""Area and clock of the smallest accelerators on an iCE40 UP5K, out of context."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import cast

from amaranth.lib import wiring

from fpga import ice40
from gen import config
from gen.bench.figures import Row
from gen.config import Config
from gen.families.lookup import LookupFamily
from gen.generate import accelerator
from gen.rtlil import to_rtlil
from hw.array.lookup.array import LookupMatrix
from hw.control.control import Control
from hw.dma.load import LoadUnit
from hw.dma.store import StoreUnit
from hw.in_order.control import Control as InOrderControl
from hw.in_order.mover import Mover
from hw.memory.accumulators import Accumulators

Notify = Callable[[str], None]

PRESETS = ("bitserial-up5k", "lut-up5k")
CELLS, CLOCK = 4700, 12.0
"""Logic cells that leave room for a bridge to the host, and MHz."""
TILE, TILE_CLOCK = "lut-up5k", 40.0
"""Whose array is placed alone, too, and its MHz."""
SEEDS = (1, 2, 3)


def units(loaded: Config) -> dict[str, wiring.Component]:
    """The parts of the accelerator that are worth a line."""
    design = loaded.design()
    if design.in_order:
        movers = {"LOAD and STORE": Mover(design=design)}
    else:
        movers = {"STORE": StoreUnit(design=design), "LOAD": LoadUnit(design=design)}
    return {
        "control": (InOrderControl if design.in_order else Control)(design=design),
        "core": loaded.instance.core(design),
        **movers,
        "accumulators": Accumulators(design=design),
    }


def _synthesised(what: str, component: wiring.Component, notify: Notify) -> ice40.Synthesised:
    notify(f"{what}: synthesis")
    return ice40.synthesise(to_rtlil(component, name="top"), name="top")


def _tile(notify: Notify) -> Row:
    """The table-lookup array alone, and with what feeds it."""
    loaded = config.load(TILE)
    family = cast(LookupFamily, loaded.instance)
    parts = {"array": LookupMatrix(array=family.array), "core": family.core(loaded.design())}
    areas, clocks, flow = {}, {}, ""
    for name, part in parts.items():
        netlist = _synthesised(f"{TILE}, {name}", part, notify)
        areas[name], flow = ice40.area(netlist), netlist.flow.text
        notify(f"{TILE}, {name}: placing")
        clocks[name] = [ice40.clock(netlist, seed=seed) for seed in SEEDS]
    medians = {name: statistics.median(several) for name, several in clocks.items()}
    each = "; ".join(
        f"{name} {area.logic_cells} logic cells, {area.block_rams} block RAMs, "
        f"{' / '.join(f'{clock:.1f}' for clock in sorted(clocks[name]))} MHz"
        for name, area in areas.items()
    )
    return Row(
        key="up5k",
        what=f"array of {TILE} alone, and with what feeds it, three seeds",
        measured=f"{each}; {flow}",
        must=f"it fits, {TILE_CLOCK:g} MHz (median)",
        held=all(area.fits for area in areas.values()) and min(medians.values()) >= TILE_CLOCK,
        values={name: {**area.as_dict(), "clocks": clocks[name]} for name, area in areas.items()},
    )


def rows(notify: Notify) -> list[Row]:
    """The array of one alone; of each the whole accelerator, and its units each alone."""
    return [row for preset in PRESETS for row in _accelerator(preset, notify)] + [_tile(notify)]


def _accelerator(preset: str, notify: Notify) -> list[Row]:
    loaded = config.load(preset)
    whole = _synthesised(preset, accelerator(loaded), notify)
    area = ice40.area(whole)
    parts, clocks = {}, {}
    for name, unit in units(loaded).items():
        netlist = _synthesised(f"{preset}, {name}", unit, notify)
        parts[name] = ice40.area(netlist)
        if parts[name].fits:
            notify(f"{preset}, {name}: placing")
            clocks[name] = ice40.clock(netlist)
    # What does not fit cannot be placed: then the slowest of its units stands for it.
    reached = ice40.clock(whole) if area.fits else min(clocks.values())
    clock_text = (
        f"{reached:.1f} MHz" if area.fits else f"does not fit; its units alone {reached:.1f} MHz or more"
    )
    each = "; ".join(
        f"{name} {part.logic_cells.used:,} cells" + (f", {clocks[name]:.1f} MHz" if name in clocks else "")
        for name, part in parts.items()
    )
    return [
        Row(
            key="up5k",
            what=f"whole accelerator, {preset}",
            measured=f"{area.logic_cells} logic cells, {area.block_rams} block RAMs, {area.dsps} DSP; {clock_text}; "
            f"{whole.flow.text}",
            must=f"{area.logic_cells.available:,} cells, {CLOCK:g} MHz",
            aim=f"{CELLS:,} cells",
            held=area.fits and reached >= CLOCK,
            values={**area.as_dict(), "clock": reached},
        ),
        Row(
            key="up5k",
            what=f"units of {preset}, each alone",
            measured=each,
            values={name: {**part.as_dict(), "clock": clocks.get(name)} for name, part in parts.items()},
        ),
    ]
