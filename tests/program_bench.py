"""A compiled program against the golden model, carried out by the interpreter."""

from __future__ import annotations

import numpy as np

from gen import cases
from gen.config import Config
from sim.interpreter import run


def check_program(whole: Config, case: cases.Case) -> None:
    """What it leaves in memory is the workload's result; the cycle model has a number for it."""
    prepared = cases.prepare(whole, case)
    program, image = prepared.program, prepared.image.copy()
    result = run(
        whole.design(), whole.instance.model(), image, program.address, program.length, program.window, base=program.base
    )  # fmt: skip
    assert result.passed, case
    np.testing.assert_array_equal(program.read_output(image), prepared.load.golden(), err_msg=str(case))
    assert cases.prediction(whole, prepared).cycles > 0
