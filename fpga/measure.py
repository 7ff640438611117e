"""Measures Amaranth components: LUTs, flip-flops, DSPs, block RAMs and clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amaranth.lib import wiring

from fpga.synthesis import Flow, Placed, place, synthesise
from gen.rtlil import to_rtlil


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
