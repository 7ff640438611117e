"""The pipeline from a step of the walker to a bus beat."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from hw.delay import delayed
from hw.design import Design
from hw.interfaces import accumulators_read
from hw.output.pack import Packer, beat_members
from hw.output.requantise import Requantise
from hw.output.rescale import Rescale
from hw.output.walk import parameter_groups, step_layout
from hw.timing import ACCUMULATOR_READ, SCRATCHPAD, STORE_SELECT

PARAMETER = data.StructLayout({"bias": 32, "multiplier": 32, "shift": 8, "zeros": 56})
"""A parameter entry as it lies in the scratchpad. Where sums are float32, so are bias and multiplier; ``shift`` is not used."""


class ResultPath(wiring.Component):
    """Reads what a step asks for, requantises it and packs it. Never stalled.

    Parameters
    ----------
    design : Design

    Members
    -------
    step : ``hw.output.walk.step_layout``
    address : the step's group of parameter entries
    raw : results are written as they are; constant while steps are on their way
    accumulators : data of the row whose address was given in the cycle of the step
    parameters_address, parameters : address to the parameter scratchpad, and what it answers
    clear : forget what has been gathered in a beat
    coming, valid, data, strobe : ``beat_members``

    Timing
    ------
    ``Geometry.store_pipeline`` cycles from a step that completes a beat to the beat.
    """

    def __init__(self, *, design):
        if not isinstance(design, Design):
            raise TypeError(f"design must be a Design, not {design!r}")
        self._design = design
        group = max(1, ceil_log2(parameter_groups(design)))
        super().__init__(
            {
                "step": In(step_layout(design)),
                "address": In(group),
                "raw": In(1),
                "accumulators": In(accumulators_read(design).members["data"].shape),
                "parameters_address": Out(group),
                "parameters": In(data.ArrayLayout(PARAMETER, design.output_lanes)),
                "clear": In(1),
                **beat_members(design),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes, geometry = self._design.output_lanes, self._design.geometry
        chosen_at = ACCUMULATOR_READ + STORE_SELECT

        # The parameters meet the accumulators where these have been chosen.
        m.d.comb += self.parameters_address.eq(
            delayed(m, self.address, chosen_at - SCRATCHPAD, reset_less=True)
        )
        slot = delayed(m, self.step.slot, ACCUMULATOR_READ, reset_less=True)
        chosen = Signal(data.ArrayLayout(32, lanes), reset_less=True)
        m.d.sync += chosen.eq(self.accumulators.as_value().word_select(slot, 32 * lanes))

        m.submodules.packer = packer = Packer(design=self._design)
        for lane in range(lanes):
            integers = geometry.sums == "int32"
            m.submodules[f"requantise_{lane}"] = requantise = Requantise() if integers else Rescale()
            parameter = self.parameters[lane]
            m.d.comb += [
                requantise.accumulator.eq(chosen[lane]),
                requantise.bias.eq(parameter.bias),
                requantise.multiplier.eq(parameter.multiplier),
                *([requantise.shift.eq(parameter.shift)] if integers else []),
                requantise.raw.eq(self.raw),
                packer.results[lane].eq(requantise.result),
            ]
        place, late = self.step.place, chosen_at + geometry.requantise
        m.d.comb += [
            Cat(packer.place.valid, packer.place.emit).eq(delayed(m, Cat(place.valid, place.emit), late)),
            Cat(packer.place.first, packer.place.end).eq(
                delayed(m, Cat(place.first, place.end), late, reset_less=True)
            ),
            packer.raw.eq(self.raw),
            packer.clear.eq(self.clear),
            self.coming.eq(packer.coming),
            self.valid.eq(packer.valid),
            self.data.eq(packer.data),
            self.strobe.eq(packer.strobe),
        ]
        return m
