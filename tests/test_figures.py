"""The table of figures: those that are the same on every machine, and the table itself."""

import io
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from fpga.parallel import ParallelElement
from fpga.synthesis import Area, Flow, Placed, synthesise
from gen import cases, config
from gen.bench import __main__ as bench
from gen.bench import elements, simulation, systolic_multipliers, throughput
from gen.bench.figures import Row, table
from gen.rtlil import split, to_rtlil
from hw.array.output_stationary import OutputStationaryArray
from hw.array.packed import PackedOutputArray, PackedWeightArray
from hw.pe.bit_serial import BitSerialElement


def predicted(sizes):
    """On systolic-8x8; that the model is exact is asserted in test_system.py."""
    loaded = config.load("systolic-8x8")
    prepared = cases.prepare(loaded, cases.Case(sizes, timing=cases.memory(simulation.LATENCY)))
    return cases.prediction(loaded, prepared)


def test_array_is_at_work():
    m, k, n = simulation.PREFILL
    assert m * k * n / (64 * predicted((m, k, n)).cycles) >= 0.98


def test_bus_is_used():
    m, k, n = simulation.DECODE
    result = predicted((m, k, n))
    assert result.load_beats / result.cycles >= 0.97
    assert k * n / 8 / result.cycles >= 0.97


@pytest.mark.parametrize("weights", simulation.WEIGHTS)
@pytest.mark.parametrize("preset", [simulation.BIT_SERIAL, simulation.BIT_SERIAL_FLOAT])
def test_terms_are_at_work(preset, weights):
    assert 0.95 <= simulation.predicted_use(preset, simulation.LARGE, weights).terms < 1


@pytest.mark.parametrize("weights", simulation.WEIGHTS)
def test_bus_is_used_by_a_bit_serial_array(weights):
    assert 0.95 <= simulation.predicted_use(simulation.BIT_SERIAL, simulation.DECODE, weights).beats < 1


@pytest.mark.parametrize("weights", simulation.LOOKUPS[1:])
def test_lookups_are_at_work(weights):
    """Of whole groups; a token at a time the bus is the bound."""
    *_, whole_groups = simulation.LOOKUP_LAYERS
    assert 0.95 <= simulation.predicted_use(simulation.LOOKUP, whole_groups, weights).terms < 1
    assert 0.95 <= simulation.predicted_use(simulation.LOOKUP, simulation.DECODE, weights).beats < 1


def test_figures_of_lookups_are_current():
    def share(sizes, weights, kind):
        return f"{100 * getattr(simulation.predicted_use(simulation.LOOKUP, sizes, weights), kind):.1f}"

    one, *more = simulation.LOOKUPS
    half, _, whole = simulation.LOOKUP_LAYERS
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    for sizes in (half, whole):
        assert f"| {' / '.join(share(sizes, weights, 'terms') for weights in more)} % |" in readme
    assert f"one bit {share(half, one, 'terms')} % |" in readme
    beats = {weights: share(simulation.DECODE, weights, "beats") for weights in simulation.LOOKUPS}
    assert f"| {beats['int2-s8']} % (2 bits) to {beats['int4-s8']} % (4 bits);" in readme
    assert f"the array is the bound, {beats[one]} % |" in readme
    page = (Path(__file__).parent.parent / "docs" / "lookup.md").read_text()
    for sizes in simulation.LOOKUP_LAYERS:
        each = [f"{share(sizes, weights, 'terms')} %" for weights in simulation.LOOKUPS]
        assert f"| {'×'.join(map(str, sizes))} | {' | '.join(each)} |" in page
    assert f"{', '.join([*beats.values()][:-1])} and {beats['int4-s8']} % of the cycles" in " ".join(
        page.split()
    )


@pytest.mark.parametrize("weights", simulation.WEIGHTS)
def test_figures_of_the_bit_serial_page_are_current(weights):
    terms = simulation.predicted_use(simulation.BIT_SERIAL, simulation.LARGE, weights).terms
    beats = simulation.predicted_use(simulation.BIT_SERIAL, simulation.DECODE, weights).beats
    floats = simulation.predicted_use(simulation.BIT_SERIAL_FLOAT, simulation.LARGE, weights).terms
    row = f"| `{weights}` | {100 * terms:.2f} % | {100 * beats:.2f} % | {100 * floats:.2f} % |"
    assert row in (Path(__file__).parent.parent / "docs" / "bit_serial.md").read_text()


def test_what_is_simulated_is_told(monkeypatch):
    """In their place stand cycles of what was simulated; one format short of the limit is enough to miss."""
    monkeypatch.setattr(simulation, "system", lambda preset: (simulation._loaded(preset), None))
    monkeypatch.setattr(simulation.cases, "prepare", lambda *_: None)
    counters = {"cycles": 300_000, "load_beats": 30_000}
    monkeypatch.setattr(simulation, "run", lambda *_: [SimpleNamespace(counters=counters)])
    row = simulation.term_rate(simulation.BIT_SERIAL, ["fp3-mixed-s8"], lambda _: None)
    assert row.values["fp3-mixed-s8"] == {
        "cycles": 300_000,
        "terms": 64 * 576 * 1536 / 256 / 300_000,
        "beats": 0.1,
    }
    assert "fp3-mixed-s8 73.73%; fp3-mixed-s8 simulated, the others by the cycle model" in row.measured
    assert row.held is False


def test_tiles_follow_tiles_and_commands_commands_without_a_gap():
    law = config.load("systolic-8x8").instance.model().law()
    fields = {"row_tiles": 8, "column_tiles": 8, "depth_tiles": 64}
    times = [law.execute(0, fields) for _ in range(3)]
    assert all(time.steps == 64 * 64 for time in times)
    assert all(after.end - before.end == after.steps for before, after in itertools.pairwise(times))


def test_array_alone():
    row = throughput.row()
    assert row.held
    assert row.values["steady"] == 64
    assert row.values["tiles_8"] == 8 * 4096 / row.values["cycles"][-1]


def test_area_of_the_array():
    """LUT4 and two for each carry cell: what nextpnr's TRELLIS_COMB counts."""
    result = synthesise(to_rtlil(OutputStationaryArray(rows=8, columns=8), name="top"), name="top")
    assert result.count("MULT18X18D") == 64
    assert result.count("LUT4") + 2 * result.count("CCU2C") <= 3_500


@pytest.mark.long
@pytest.mark.parametrize("array", [PackedOutputArray, PackedWeightArray])
def test_two_products_share_a_block(array):
    """Half as many blocks as products, and no more look-up tables than without."""
    result = synthesise(to_rtlil(array(rows=8, columns=8), name="top"), name="top")
    assert result.count("MULT18X18D") == 32
    assert result.count("LUT4") + 2 * result.count("CCU2C") <= 3_083


def test_rows_of_arrays_by_multiplier(monkeypatch):
    """Blocks that are not shared are missed."""
    area = Area(luts=1000, flip_flops=2000, dsps=40, block_rams=0)
    placed = Placed(area=area, frequencies=(120.4,), seeds=(1,), flow=Flow())
    monkeypatch.setattr(systolic_multipliers, "measure", lambda _: placed)
    for arrays in ("OUTPUT_ARRAYS", "WEIGHT_ARRAYS"):
        monkeypatch.setattr(
            systolic_multipliers, arrays, dict.fromkeys(getattr(systolic_multipliers, arrays), dict)
        )
    said: list[str] = []
    rows = systolic_multipliers.rows(said.append)
    assert len(said) == len(rows) == 6
    assert [row.held for row in rows] == [True, False, False] * 2
    assert rows[2].measured == "1,000 LUT, 2,000 FF, 40 DSP; 120 MHz"
    assert rows[5].what.startswith("8×8 weight-stationary array, dsp, int8 x int4; synth_ecp5 ")


@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
def test_core_does_not_grow_with_the_number_of_elements(dataflow):
    text = {}
    for size in (4, 16):
        overrides = [f"array.rows={size}", f"array.columns={size}", f'array.dataflow="{dataflow}"']
        loaded = config.load("systolic-8x8", overrides)
        text[size] = to_rtlil(loaded.instance.core(loaded.design()), name="core")
    assert len(split(text[16])) <= len(split(text[4])) + 2
    assert len(text[16]) < 4 * len(text[4])  # 16 times the elements


@pytest.mark.parametrize("rows", [1, 8])
def test_columns_are_one_module(rows):
    text = to_rtlil(OutputStationaryArray(rows=rows, columns=8), name="top")
    assert sum("column" in name for name in split(text)) == 1


ROW = Row(
    key="mac", what="thing", measured="3", must="2", aim="4", peers="1 (there)", held=True, values={"x": 3}
)


@pytest.fixture
def figures(monkeypatch):
    """Two figures that are quickly measured; the second can be made to miss."""
    rows = {"mac": [ROW], "clock": [Row(key="clock", what="other", measured="9", must="10", held=False)]}
    monkeypatch.setattr(bench, "FIGURES", {key: lambda _, key=key: rows[key] for key in rows})
    return rows


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], 1),
        (["--quick"], 0),
        (["--only", "mac"], 0),
        (["--only", "clock"], 1),
        (["--only", "clock", "--quick"], 2),
    ],
)
def test_exit_status(figures, arguments, status, capsys):
    assert bench.main(arguments) == status
    assert ("python -m gen.bench --only" in " ".join(capsys.readouterr().out.split())) == (status < 2)


def test_json(figures, capsys):
    assert bench.main(["--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["pass"] is False
    assert [row["key"] for row in document["rows"]] == ["mac", "clock"]
    assert document["rows"][0] == ROW.document()
    assert document["rows"][0]["command"] == "python -m gen.bench --only mac"


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--fast"]])
def test_wrong_requests(arguments, capsys):
    assert bench.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_table_marks_what_is_missed():
    console = Console(width=120, file=io.StringIO())
    console.print(table([ROW]))
    assert "MISSED" not in console.file.getvalue()
    console.print(table([Row(key="a", what="b", measured="c", must="2", aim="4", held=False)]))
    assert "MISSED" in console.file.getvalue()
    assert "2 (4)" in console.file.getvalue()


@pytest.mark.long
@pytest.mark.parametrize("lanes", [4, 32])
def test_area_of_a_bit_serial_element(lanes):
    """For a product of FP4 a cycle, all formats at hand, against parallel multipliers of FP4 alone: synthesis without placing."""

    def area(component):
        result = synthesise(to_rtlil(component, name="top"), name="top", flow=elements.FLOW)
        return result.count("LUT4") + 2 * result.count("CCU2C")

    serial = area(BitSerialElement(lanes=lanes, formats=elements.SETS["all"], group=elements.GROUP))
    parallel = area(ParallelElement(lanes=lanes // 2, weights="fp4", group=elements.GROUP))
    assert serial < parallel
    assert serial / (lanes / 2) <= elements.MOST


def test_elements_say_where_they_lose(monkeypatch):
    """COMB made up: a parallel element takes 100 for a lane, a bit-serial one what is drawn here."""
    combs = {4: 199, 8: 401, 16: 700, 32: 2000}

    def figures(arguments):
        comb = 100 * arguments["lanes"] if "weights" in arguments else combs[arguments["lanes"]]
        return {"comb": comb, "ff": 1, "mhz": 200.0}

    monkeypatch.setattr(elements, "_figures", figures)
    monkeypatch.setattr(elements, "BitSerialElement", dict)
    monkeypatch.setattr(elements, "ParallelElement", dict)
    rows = elements.rows(lambda _: None)
    assert [row.held for row in rows] == [True, False, True, False]
    assert rows[0].values["lost"]["FP4, FP3"] == []
    assert rows[0].values["lost"]["INT8"] == [
        "INT8 at as many lanes (199.0 to 100.0)", "INT8 at as many products (199.0 to 100.0)",
    ]  # fmt: skip
    assert "no less than parallel, FP4, FP3: FP4 at as many lanes (100.2 to 100.0)" in rows[1].measured


@pytest.mark.parametrize("preset", simulation.DECODED)
def test_products_of_decoded_operands(preset):
    """Of steps without scales; those of scales are one in nine or seventeen of all."""
    row = simulation.product_rate(preset)
    assert row.held
    assert all(0.95 <= use["of_steps"] < 1 for use in row.values.values())
