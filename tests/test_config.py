"""Configurations: every mistake at once, overrides, presets, the schema, the derived design."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen import config, toml_file
from gen.errors import RequestError

BASE = "systolic-8x8"


def mistakes(*overrides: str) -> list[str]:
    with pytest.raises(RequestError) as caught:
        config.load(BASE, overrides)
    count, *lines = caught.value.lines
    assert count == f"configuration {BASE} has {len(lines)} mistake{'s' if len(lines) > 1 else ''}:"
    return lines


@pytest.mark.parametrize("name", config.presets())
def test_preset_is_named_as_its_file_and_has_a_design(name):
    loaded = config.load(name)
    design = loaded.design()
    assert loaded.name == name
    assert loaded.summary
    assert design.activation_words * design.geometry.activation_bytes == loaded.memory.activations_kib * 1024
    assert design.weight_words * design.geometry.weight_bytes == loaded.memory.weights_kib * 1024
    assert design.configuration == int(loaded.digest[:8], 16)


def test_presets_of_the_first_accelerators():
    assert {"systolic-8x8", "systolic-ws-16x16", "systolic-4x4"} <= set(config.presets())


def test_all_mistakes_at_once():
    lines = mistakes(
        "array.rows=0",
        "array.colums=3",
        "bus.data_width=65",
        "bus.burst_beats='a'",
        "memory.accumulators=5",
        "zz=1",
    )
    assert lines == [
        "array.rows = 0: must be an integer from 1 to 64",
        "array.colums = 3: unknown key; did you mean columns? allowed are columns, dataflow, depth, multiplier, rows",
        "bus.data_width = 65: must be one of 32, 64, 128, 256, 512",
        'bus.burst_beats = "a": must be an integer from 1 to 256',
        f"memory.accumulators = 5: must be one of {', '.join(str(1 << i) for i in range(2, 17))}",
        "zz = 1: unknown key; allowed are array, bus, control, family, memory, name, output, summary",
    ]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["output.lanes=4"], "output.lanes = 4: must be at most 2, as bus.data_width = 64 carries 2"),
        (["output.lanes=2", "array.columns=7"], "output.lanes = 2: must divide the array's 7 columns"),
        (
            ["array.rows=64", "memory.accumulators=64"],
            "memory.accumulators = 64: must be at least 128: two halves of 64 tile rows",
        ),
        (
            ["array.rows=64", "array.columns=64", "memory.parameters=32"],
            "memory.parameters = 32: must be at least the array's 64 columns",
        ),
        (
            ["array.rows=64", "array.columns=64", "bus.data_width=512", "memory.activations_kib=1"],
            "memory.activations_kib = 1: must be at least 8, "
            "for two of the array's tiles: 128 words of 64 bytes",
        ),
        (["family='lut'"], 'family = "lut": must be one of bit-serial, decoded, lookup, systolic'),
        (
            ["memory=3"],
            "memory = 3: must be a table of activations_kib, weights_kib, accumulators, parameters",
        ),
        (["name='A b'"], 'name = "A b": must be text that matches ^[a-z][a-z0-9-]{0,47}$'),
        (["array.rows=true"], "array.rows = true: must be an integer from 1 to 64"),
        (
            ["bus.address_width=17"],
            'bus.address_width = 17: must be at least 32, or control.issue must be "in-order"',
        ),
        (
            ["control.issue='in-order'", "bus.data_width=512", "output.lanes=1"],
            'bus.data_width = 512: must be at most 256, as control.issue = "in-order"',
        ),
        (
            ["control.issue='in-order'", "output.lanes=2"],
            'output.lanes = 2: must be at most 1, as control.issue = "in-order"',
        ),
        (["control.issue='none'"], 'control.issue = "none": must be one of queues, in-order'),
        (["bus.data_width=64.0"], "bus.data_width = 64.0: must be one of 32, 64, 128, 256, 512"),
    ],
)
def test_a_mistake_says_where_what_and_what_is_allowed(overrides, line):
    assert mistakes(*overrides) == [line]


def test_rules_between_values_speak_beside_mistakes_elsewhere():
    lines = mistakes("memory.weights_kib=0", "output.lanes=4")
    assert [line.split(" = ")[0] for line in lines] == ["memory.weights_kib", "output.lanes"]


def test_a_rule_is_silent_when_a_value_that_it_names_is_wrong_itself():
    assert [line.split(" = ")[0] for line in mistakes("bus.data_width=7", "output.lanes=16")] == [
        "bus.data_width"
    ]


def test_rule_of_the_family_is_reported():
    (line,) = mistakes("array.dataflow=weight-stationary", "array.rows=12")
    assert line == (
        'array = {"rows": 12, "dataflow": "weight-stationary"}: '
        "rows must be a power of two with weight-stationary dataflow, not 12"
    )


def test_what_is_missing_is_named():
    with pytest.raises(RequestError) as caught:
        config.check({}, "empty")
    assert caught.value.lines[1:] == (
        "name: is missing; must be text that matches ^[a-z][a-z0-9-]{0,47}$",
        "array: is missing; must be a table of rows, columns, dataflow, multiplier, depth",
    )


def test_overrides_are_toml_or_words():
    loaded = config.load(BASE, ["array.rows = 4", "array.dataflow=weight-stationary", 'summary="a = b"'])
    assert (loaded.array.rows, loaded.array.dataflow, loaded.summary) == (4, "weight-stationary", "a = b")


@pytest.mark.parametrize(
    "text", ["array.rows", "=4", "array..rows=4", "array.rows=4\nx=1", "name.x=1", "a b=1"]
)
def test_an_override_that_cannot_be_read_is_refused(text):
    with pytest.raises(RequestError, match="--set"):
        config.load(BASE, [text])


def test_file_and_preset_are_the_same(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(files("gen.presets").joinpath(f"{BASE}.toml").read_bytes())
    assert config.load(str(path)) == config.load(BASE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name = ", "must be readable TOML"),
        (b"\xff\xfe", "must be readable TOML"),
        (b"a = " + b"[" * 9999, "must be readable TOML"),
        (b"#" * (toml_file.LARGEST_FILE + 1), "must be at most"),
    ],
)
def test_a_file_that_is_no_toml_is_refused(tmp_path, content, words):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=words):
        config.load(str(path))


def test_a_file_without_end_is_refused():
    with pytest.raises(RequestError, match="must be at most"):
        toml_file.read("/dev/zero", "specification")


def test_an_unknown_name_lists_the_presets():
    with pytest.raises(
        RequestError, match=r"must be a TOML file or one of .* \(did you mean systolic-8x8\?\)"
    ):
        config.load("systolic-8x9")


def test_the_digest_is_of_the_hardware_only():
    same = config.load(BASE, ["name=other", "summary=other"])
    assert same.digest == config.load(BASE).digest != config.load(BASE, ["bus.outstanding=5"]).digest


def test_a_key_that_came_later_changes_no_digest_at_its_default():
    """Digests of systolic arrays are as they were when these had no choice of a multiplier, and took a step of K at a time."""
    assert config.load(BASE).digest[:16] == "771cbba83cae164b"
    assert config.load(BASE, ["array.multiplier=native"]).digest == config.load(BASE).digest
    assert config.load(BASE, ["pe.multiplier=carry_save"]).digest != config.load(BASE).digest
    assert config.load(BASE, ["array.depth=1"]).digest == config.load(BASE).digest
    assert config.load(BASE, ["array.depth=2"]).digest != config.load(BASE).digest


@pytest.mark.parametrize(
    ("preset", "why"),
    [
        ("olive-8x8", "there is no such array of one EXECUTE"),
        ("systolic-ws-16x16", "there is no such array"),
        ("lut-fp16-m2n64k4", "the array's sums are float32"),
    ],
)
def test_arrays_that_are_not_issued_in_order(preset, why):
    with pytest.raises(RequestError, match=f'control.issue = "in-order": must be queues, as {why}'):
        config.load(preset, ["control.issue='in-order'", "output.lanes=1"])


def test_issued_in_order_the_other_keys_of_control_mean_nothing():
    one = config.load("bitserial-up5k")
    other = config.load("bitserial-up5k", ["control.prefetch=16", "control.counters=true"])
    assert (
        one.digest
        == other.digest
        != config.load("bitserial-up5k", ["control.issue=queues", "bus.address_width=32"]).digest
    )
    design = other.design()
    assert (design.prefetch, design.queue_depth, design.counters) == (1, 0, False)


def test_the_schema_for_editors_is_current_and_names_every_key():
    committed = json.loads(files("gen.presets").joinpath("schema.json").read_text())
    assert committed == config.schema()
    assert set(committed["properties"]) == set(config.Config.model_fields)
    assert set(committed["$defs"]["array-systolic"]["properties"]) == {
        "rows", "columns", "dataflow", "multiplier", "depth",
    }  # fmt: skip


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {
            "array.rows": st.integers(1, 64),
            "array.columns": st.integers(1, 64),
            "bus.data_width": st.sampled_from([32, 64, 128, 256, 512]),
            "memory.activations_kib": st.integers(1, 256),
            "memory.weights_kib": st.integers(1, 256),
            "memory.accumulators": st.sampled_from([4, 64, 1024]),
            "output.lanes": st.sampled_from([1, 2, 4]),
        }
    )
)
def test_a_configuration_is_either_refused_or_has_a_whole_design(values):
    try:
        loaded = config.load(BASE, [f"{key}={value}" for key, value in values.items()])
    except RequestError:
        assert mistakes(*[f"{key}={value}" for key, value in values.items()])
        return
    design, g = loaded.design(), loaded.geometry
    assert design.activation_beats * design.data_bytes == design.activation_words * g.activation_bytes
    assert design.weight_beats * design.data_bytes == design.weight_words * g.weight_bytes
    assert design.parameter_beats * design.data_bytes == design.parameter_entries * 16
    assert g.columns % design.output_lanes == 0
    assert design.output_lanes * 4 <= design.data_bytes
    assert design.accumulator_rows // 2 >= g.tile_rows
