"""What is gained by skipping terms that are zero in a whole slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gen import cases, workload
from gen.bench.figures import Row
from gen.bench.simulation import LATENCY, run, system
from gen.cases import Prepared
from gen.compiler import compile_gemm
from gen.config import Config
from gen.workload import Workload
from hw.formats import Operand

Notify = Callable[[str], None]

PRESET, OPTION = "bitmod-int8-8x8", "array.skip_zero_terms=true"
SIZES = (64, 576, 192)
"""M, K and N."""
FORMATS = ("int8-s8", "int4-s8", "fp4-mixed-s8", "fp3-mixed-s8")
PRUNED = (0.0, 0.5, 0.9)
"""Shares of slices whose weights are all zero."""
DENSE_LOSS = 0.01
"""Most that random weights may lose."""


def pruned(w: Operand, share: float, *, lanes: int, columns: int, seed: int) -> Operand:
    """``w`` with that share of its slices, ``lanes`` steps of ``columns`` features each, zero."""
    k, n = w.shape
    zero = np.random.default_rng(seed).random((-(-k // lanes), -(-n // columns))) < share
    spread = zero.repeat(lanes, axis=0)[:k].repeat(columns, axis=1)[:, :n]
    # Code 0 is zero in all formats of this family.
    return replace(w, codes=np.where(spread, 0, w.codes).astype(w.codes.dtype))


def _load(loaded: Config, weights: str, share: float) -> Workload:
    family = loaded.instance
    pair = family.pairs[family.variant(weights=weights)]
    load = workload.random(SIZES, "raw", 1, pair, family)
    array = loaded.array
    return replace(load, w=pruned(load.w, share, lanes=array.lanes, columns=array.columns, seed=2))


def prepared(loaded: Config, load: Workload) -> Prepared:
    """``load``, compiled for it."""
    program = compile_gemm(
        loaded.design(), loaded.instance, *load.sizes, mode=load.mode, formats=load.formats
    )
    return Prepared(
        program=program, load=load, image=program.image(load.x, load.w), timing=cases.memory(LATENCY)
    )


def row(notify: Notify) -> Row:
    """Simulated cycles with the option, beside those that the model gives without it."""
    (loaded, made), (plain, _) = system(PRESET, OPTION), system(PRESET)
    several = [(weights, share) for weights in FORMATS for share in PRUNED]
    loads = [_load(loaded, *one) for one in several]
    compiled = [prepared(loaded, load) for load in loads]
    results = run(loaded, made, compiled, notify)
    cycles = [result.counters["cycles"] for result in results]
    errors = [have - cases.prediction(loaded, one).cycles for have, one in zip(cycles, compiled, strict=True)]
    before = [cases.prediction(plain, prepared(plain, load)).cycles for load in loads]
    saved = {one: 1 - a / b for one, a, b in zip(several, cycles, before, strict=True)}
    told = (
        f"{name.removesuffix('-s8')} " + " / ".join(f"{saved[name, share]:.1%}" for share in PRUNED)
        for name in FORMATS
    )
    return Row(
        key="skip",
        what=f"cycles saved by skip_zero_terms, {'×'.join(map(str, SIZES))}, {PRESET}: random weights with "
        f"{' / '.join(f'{share:.0%}' for share in PRUNED)} of slices zero",
        measured=f"{', '.join(told)}; {sum(error != 0 for error in errors)} of {len(errors)} predictions wrong",
        must=f"every prediction exact, dense weights lose less than {DENSE_LOSS:.0%}",
        held=not any(errors) and min(saved.values()) > -DENSE_LOSS,
        values={
            "cycles": {f"{name} {share}": have for (name, share), have in zip(several, cycles, strict=True)},
            "without": {f"{name} {share}": have for (name, share), have in zip(several, before, strict=True)},
        },
    )
