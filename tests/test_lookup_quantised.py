"""The table-lookup family with tables quantised to int8: words, results against the definition, formats, what it refuses."""

import numpy as np
import pytest
from test_lookup_family import family, fields, scratchpads
from test_lookup_fp16 import added, bits_of

from gen import config
from gen.errors import RequestError
from gen.workload import random

PRESET = "lut-int8tables-m2n64k4"
WAYS = {
    "default": (),
    "groups of 32": ("array.group=32", "array.columns=32", "array.rows=3", "bus.data_width=64"),
    "eight outputs": ("array.outputs=8", "array.columns=24", "bus.data_width=32"),
    "eight tables": ("array.groups_per_lane=8", "array.columns=16"),
}
"""Overrides of the preset."""


@pytest.mark.parametrize("way", WAYS)
def test_what_is_packed_is_what_is_computed(way):
    """In every format; depths that end within a table, a chunk, a group and a word; features within a tile, rows within one."""
    array = family(*WAYS[way], preset=PRESET)
    g, group = array.geometry, array.array.group
    for variant, pair in enumerate(array.pairs):
        for seed, sizes in enumerate([(1, 1, 1), (3, 2 * group + 5, g.columns + 3)]):
            load = random(sizes, "raw", seed, pair, family=array)
            given = fields(array, sizes, variant=variant)
            got = array.model().execute(given, *scratchpads(array, given, load.x, load.w))
            assert got.dtype == np.float32
            wanted = array.golden(load.x, load.w)
            np.testing.assert_array_equal(bits_of(added(got)[: sizes[0], : sizes[2]]), bits_of(wanted))


def test_names():
    """What is wide enough for the quantiser, with scales in groups."""
    narrow = {w.name for _, w in family(preset=PRESET).pairs}
    assert {"int4:g64", "int2-asym:g64", "bipolar2:g64", "ternary"} <= narrow
    assert not {"binary", "bipolar1:g64", "q4_0"} & narrow
    assert {"q4_0", "q4_1"} <= {w.name for _, w in family("array.group=32", preset=PRESET).pairs}
    wide = family("array.outputs=8", "array.columns=24", preset=PRESET)
    assert {kind.bits for kind in wide.array.variants} == {4}


@pytest.mark.parametrize(("overrides", "message"), [
    (("array.weights=[\"binary\"]",), "outputs must be at least 32 with tables of int8"),
    (("array.activations=int8",), "activations must be fp16 with tables of int8"),
    (("array.group=128",), "group must be at most 64 with tables of int8"),
    (("array.tables=int4",), "int8"),
])  # fmt: skip
def test_refused(overrides, message):
    with pytest.raises(RequestError, match=message):
        config.load(PRESET, list(overrides)).design()


@pytest.mark.parametrize(("overrides", "message"), [
    (("array.groups_per_lane=8", "array.outputs=8"), "outputs must be at least 16 with tables of int8 .* 4 planes"),
    (("array.outputs=abc",), 'array.outputs = "abc": must be an integer from 2 to 16'),
    (("array.outputs=0",), "array.outputs = 0: must be an integer from 2 to 16$"),
    (("array.groups_per_lane=abc",), 'array.groups_per_lane = "abc": must be one of'),
])  # fmt: skip
def test_says_what_is_wrong_where_no_weights_are_given(overrides, message):
    with pytest.raises(RequestError, match=message):
        config.load(PRESET, overrides)
