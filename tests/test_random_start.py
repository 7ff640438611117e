"""Registers that nothing sets before a reset may hold anything: what comes behind it is the same."""

import numpy as np
import pytest
from systems import start_to_interrupt, system

from gen.cases import REQUANTISED, Case, prediction, prepare
from sim import bare

SMALL = ("array.rows=2", "array.columns=2", "memory.activations_kib=1", "memory.weights_kib=1")
CONFIGURATIONS = [
    ("systolic-4x4", SMALL),
    *(
        pytest.param(preset, (), marks=pytest.mark.long)
        for preset in ("systolic-ulx3s", "systolic-ws-16x16", "bitserial-up5k", "mx-8x8", "lut-m2n64k4")
    ),
]


@pytest.mark.parametrize(("preset", "overrides"), CONFIGURATIONS)
def test_results_and_cycles_from_any_start(preset, overrides):
    loaded, made = system(preset, *overrides)
    design = loaded.design()
    ready = prepare(loaded, Case((9, 21, 13), REQUANTISED))
    for start in (1, 2):
        result = bare.run(
            made.verilog,
            ready.job(),
            top=made.top,
            data_bytes=design.data_bytes,
            address_width=design.address_width,
            start=start,
        )
        memory = np.frombuffer(result.memory, np.uint8)
        np.testing.assert_array_equal(ready.program.read_output(memory), ready.load.golden())
        assert result.cycles == prediction(loaded, ready).cycles + start_to_interrupt(design)
