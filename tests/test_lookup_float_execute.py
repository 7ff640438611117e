# amaranth: UnusedElaboratable=no
"""The table-lookup core of fp16 scales against its model: results and their places, bit by bit."""

import pytest
from core_bench import check_core
from lookup_core_bench import array_for, core_of, design_for
from test_lookup_core import work_of
from test_lookup_float_core import SHAPES

from sim.families.lookup import LookupModel

pytestmark = pytest.mark.long


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_all_commands(shape):
    array = array_for(**shape)
    commands = work_of(array)
    design = design_for(array, accumulator_rows=1024)
    check_core(design, core_of(array), LookupModel(array), commands, [0] * len(commands))
