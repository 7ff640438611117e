"""A bit-serial element for fp16 activations in Amaranth's simulator, fed as an array feeds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.sim import Simulator

from hw.pe.bit_serial_fp16 import FloatElement


@dataclass
class Group:
    """Operands of one result: activations and terms are [slices, lanes]."""

    activations: np.ndarray
    sign: np.ndarray
    exponent: np.ndarray
    man: np.ndarray
    significance: np.ndarray
    scale: int
    gaps: tuple[int, ...] = ()
    """Slices before which a cycle without terms comes."""

    @property
    def operands(self) -> tuple:
        return self.activations, self.sign, self.exponent, self.man, self.significance

    def schedule(self) -> list[int | None]:
        """A slice or nothing, per cycle."""
        cycles: list[int | None] = []
        for step in range(len(self.significance)):
            cycles += [None] * self.gaps.count(step) + [step]
        return cycles


def run(groups: list[Group], *, lanes: int, rounding: str) -> list[int]:
    """Results, in the order of the groups; each must come in its cycle, and nothing in any other."""
    dut = FloatElement(lanes=lanes, rounding=rounding)
    cycles: list[tuple[Group, int] | None] = []
    due: dict[str, dict[int, int]] = {"significance": {}, "last": {}, "scale_bit": {}, "finish": {}}
    results = []
    for group in groups:
        for step in group.schedule():
            if step is not None:
                due["significance"][len(cycles) + dut.significance_delay(lanes)] = int(
                    group.significance[step]
                )
            cycles.append(None if step is None else (group, step))
        last = len(cycles) - 1 + dut.last_delay(lanes)
        due["last"][last] = 1
        for bit in range(8):
            due["scale_bit"][last + dut.scale_delay + bit] = group.scale >> (7 - bit) & 1
        due["finish"][last + dut.scale_delay + 7] = 1
        results.append(last + dut.scale_delay + dut.result_delay)
    seen = []
    rubbish = np.random.default_rng(0)

    async def bench(ctx):
        before = None
        for now in range(results[-1] + 3):
            if now < len(cycles) and cycles[now] is not None:
                group, step = cycles[now]
                for lane in range(lanes):
                    ctx.set(dut.activations[lane].as_value(), int(group.activations[step, lane]))
                    for name in ("sign", "exponent", "man"):
                        ctx.set(getattr(dut.terms[lane], name), int(getattr(group, name)[step, lane]))
            else:
                for lane in range(lanes):
                    ctx.set(dut.activations[lane].as_value(), int(rubbish.integers(1 << 16)))
                    ctx.set(dut.terms[lane].exponent, int(rubbish.integers(4)))
                    ctx.set(dut.terms[lane].man, 0)
            for name, values in due.items():
                idle = int(rubbish.integers(7)) if name == "significance" else 0
                ctx.set(getattr(dut, name), values.get(now, idle))
            names = ("activations", "terms", *due)
            if before:
                assert [
                    ctx.get(getattr(dut, f"{name}_next").as_value())
                    if name in names[:2]
                    else ctx.get(getattr(dut, f"{name}_next"))
                    for name in names
                ] == before
            before = [
                ctx.get(getattr(dut, name).as_value()) if name in names[:2] else ctx.get(getattr(dut, name))
                for name in names
            ]
            assert ctx.get(dut.valid) == (now in results), now
            if now in results:
                seen.append(ctx.get(dut.result))
            else:
                assert ctx.get(dut.result) == 0, now
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen
