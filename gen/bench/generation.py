"""What generating costs, and how it grows with the array."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from amaranth.back import rtlil

from gen import config
from gen.bench.figures import Row
from gen.config import Config
from gen.generate import accelerator, generate
from gen.rtlil import ports
from gen.verilog import rtlil_to_verilog

Notify = Callable[[str], None]

SIZES = (4, 8, 16, 32, 64)
PLAIN = (4, 8, 16, 32)
"""Sizes for which Amaranth alone is measured beside: the next would take minutes."""
LIMIT = 5.0
"""CPU seconds for 32 × 32."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU seconds of this process and those that it started; bytes of Verilog."""

    seconds: float
    size: int


def _cpu() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def _cost(make: Callable[[], str]) -> Cost:
    gc.collect()
    before = _cpu()
    text = make()
    return Cost(seconds=_cpu() - before, size=len(text))


def _ours(loaded: Config) -> str:
    return generate(loaded).verilog


def _plain(loaded: Config) -> str:
    """Verilog as Amaranth alone makes it: a module for every element."""
    component = accelerator(loaded)
    text = rtlil.convert(component, name="plain", ports=ports(component), emit_src=False)
    return rtlil_to_verilog(text, name="plain")


def rows(notify: Notify) -> list[Row]:
    """Square output-stationary arrays, everything else as in systolic-8x8; one run each, after one to warm up."""
    loaded = {
        size: config.load("systolic-8x8", [f"array.rows={size}", f"array.columns={size}"]) for size in SIZES
    }
    generate(loaded[SIZES[0]])
    ours, plain = {}, {}
    for size in SIZES:
        ours[size] = _cost(partial(_ours, loaded[size]))
        notify(f"{size}×{size}: {ours[size].seconds:.1f} s")
    for size in PLAIN:
        plain[size] = _cost(partial(_plain, loaded[size]))
        notify(f"{size}×{size}: {plain[size].seconds:.1f} s through Amaranth alone")

    def text(costs: dict[int, Cost]) -> str:
        return ", ".join(f"{n}: {cost.seconds:.1f} s, {cost.size / 1e6:.2f} MB" for n, cost in costs.items())

    return [
        Row(
            key="generate",
            what="generate: CPU seconds and Verilog of an n×n array, n = " + ", ".join(map(str, SIZES)),
            measured=text(ours),
            must=f"32: below {LIMIT:g} s",
            peers="the same design through Amaranth alone, measured beside: " + text(plain),
            held=ours[32].seconds < LIMIT,
            values={
                name: {n: {"seconds": cost.seconds, "bytes": cost.size} for n, cost in costs.items()}
                for name, costs in (("gatemill", ours), ("plain", plain))
            },
        )
    ]
