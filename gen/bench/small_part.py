"""Area and clock of the smallest accelerator on an iCE40 UP5K, out of context."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.lib import wiring

from fpga import ice40
from gen import config
from gen.bench.figures import Row
from gen.config import Config
from gen.generate import accelerator
from gen.rtlil import to_rtlil
from hw.control.control import Control
from hw.dma.load import LoadUnit
from hw.dma.store import StoreUnit
from hw.memory.accumulators import Accumulators

Notify = Callable[[str], None]

PRESET = "bitserial-up5k"
CELLS, CLOCK = 4700, 12.0
"""Logic cells that leave room for a bridge to the host, and MHz."""


def units(loaded: Config) -> dict[str, wiring.Component]:
    """The parts of the accelerator that are worth a line."""
    design = loaded.design()
    return {
        "control": Control(design=design),
        "core": loaded.instance.core(design),
        "STORE": StoreUnit(design=design),
        "LOAD": LoadUnit(design=design),
        "accumulators": Accumulators(design=design),
    }


def _synthesised(what: str, component: wiring.Component, notify: Notify) -> ice40.Synthesised:
    notify(f"{what}: synthesis")
    return ice40.synthesise(to_rtlil(component, name="top"), name="top")


def rows(notify: Notify) -> list[Row]:
    """The whole accelerator, and its units each alone."""
    loaded = config.load(PRESET)
    whole = _synthesised("accelerator", accelerator(loaded), notify)
    area = ice40.area(whole)
    parts, clocks = {}, {}
    for name, unit in units(loaded).items():
        netlist = _synthesised(name, unit, notify)
        parts[name] = ice40.area(netlist)
        if parts[name].fits:
            notify(f"{name}: placing")
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
            what=f"whole accelerator, {PRESET}",
            measured=f"{area.logic_cells} logic cells, {area.block_rams} block RAMs, {area.dsps} DSP; {clock_text}; "
            f"{whole.flow.text}",
            must=f"{area.logic_cells.available:,} cells, {CLOCK:g} MHz",
            aim=f"{CELLS:,} cells",
            held=area.fits and reached >= CLOCK,
            values={**area.as_dict(), "clock": reached},
        ),
        Row(
            key="up5k",
            what="its units, each alone",
            measured=each,
            values={name: {**part.as_dict(), "clock": clocks.get(name)} for name, part in parts.items()},
        ),
    ]
