"""Measures Amaranth components: LUTs, flip-flops, DSPs, block RAMs and clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amaranth.lib import wiring

from fpga.synthesis import NETLIST, REPORT, Area, Flow, Placed, area_of, nextpnr, place, read_json, synthesise
from gen.rtlil import to_rtlil
from sim import tools


def measure(
    component: wiring.Component,
    *,
    name: str = "top",
    flow: Flow | None = None,
    seeds: Sequence[int] = (1,),
    timeout: float = 1800,
    progress: Callable[[int], None] | None = None,
) -> Placed:
    """Synthesise, place and route ``component`` out of context: arguments as for :func:`fpga.synthesis.place`.

    Paths from inputs and to outputs do not count: a component whose ports are not registered looks faster than it is.
    """
    synthesised = synthesise(to_rtlil(component, name=name), name=name, flow=flow, timeout=timeout)
    return place(synthesised, seeds=seeds, timeout=timeout, progress=progress)


def area(component: wiring.Component, *, flow: Flow | None = None, timeout: float = 1800) -> Area:
    """What ``component`` takes, as :func:`measure` would say: packed, which takes seconds, but not placed."""
    synthesised = synthesise(to_rtlil(component, name="top"), name="top", flow=flow, timeout=timeout)
    with tools.working_folder("pack") as folder:
        (folder / NETLIST).write_text(synthesised.netlist)
        command = [*nextpnr(synthesised.flow), "--pack-only"]
        tools.run(command, folder=folder, name="nextpnr-ecp5", timeout=timeout)
        return area_of(read_json(folder / REPORT))
