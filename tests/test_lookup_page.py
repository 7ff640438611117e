"""The page of the table-lookup family says what its hardware does."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from documents import check_options, rows, shown

from gen import config, documentation, pictures, workload
from gen.compiler import compile_gemm
from gen.errors import RequestError
from gen.families.lookup import KINDS, LookupConfig
from gen.generate import generate
from gen.lookup_documentation import ACTIVATIONS, CODES, GEMM, PRESETS, SCALE, TYPES, ZERO, kinds, largest
from gen.lookup_pictures import TIMED, widths
from gen.reproduce import PAPERS
from hw.array.lookup.geometry import Offset
from hw.formats import FORMATS, INT8, Operand
from sim import interpreter, lookup
from sim.families.lookup import LookupLaw

TEXT = (documentation.DOCS / "lookup.md").read_text()
FLAT = " ".join(TEXT.split())
"""Without its lines' ends."""
BASE, SMALL = PRESETS


def array(*overrides: str, preset: str = BASE):
    return config.load(preset, overrides).instance.array


def test_values_of_codes_are_those_of_the_formats():
    for code, value, bipolar, twos, unsigned in rows("lookup_values"):
        q = int(code, 2)
        assert int(value) == sum((1 if q >> i & 1 else -1) << i for i in range(2))
        assert int(bipolar) == FORMATS["bipolar2-s8"].tables[0][q]
        assert int(twos) == FORMATS["int2-s8"].tables[0][q ^ 2]
        assert int(unsigned) == FORMATS["int2-asym-s8"].tables[0][q] - ZERO


def test_the_worked_example_holds():
    """Read back from the tables of the page: sums of signs, lookups of planes, and what the group is by definition."""
    entries = {}
    for entry, terms, total in rows("lookup_entries"):
        assert sum(int(one) for one in terms.replace(" - ", " -").replace(" + ", " +").split()) == int(total)
        entries[entry] = int(total)
    assert list(entries.values()) == lookup.half_table(np.array(ACTIVATIONS)).tolist()
    *planes, whole, (*_, result) = rows("lookup_planes")
    total = 0
    for number, (plane, index, code, found, bit, extra, text) in enumerate(planes):
        assert (int(plane), int(bit)) == (number, ZERO >> number & 1)
        assert index == "".join(str(q >> number & 1) for q in reversed(CODES))
        sign, entry = code.split()
        assert int(found) == (-1 if int(sign) else 1) * entries[entry]
        assert int(found) == sum(
            a if q >> number & 1 else -a for a, q in zip(ACTIVATIONS, CODES, strict=True)
        )
        assert int(extra) == (-1 if int(bit) else 1) * sum(ACTIVATIONS)
        assert int(text.split("=")[1]) == (int(found) + int(extra)) << number
        total += int(text.split("=")[1])
    assert int(whole[-1]) == total
    weights = [q - ZERO for q in CODES]
    by_definition = SCALE * sum(a * w for a, w in zip(ACTIVATIONS, weights, strict=True))
    assert int(result.split("=")[1]) == total * SCALE // 2 == by_definition
    assert "the zero point 1 and the scale 3: they stand for 1, -1, 2 and 0" in FLAT
    assert f"(3 × 1 + 5 × 1 + 7 × 2 + 2 × 0) = {by_definition}." in FLAT
    assert (weights, list(ACTIVATIONS), SCALE) == ([1, -1, 2, 0], [3, -5, 7, 2], 3)


def test_every_format_and_key_is_there():
    named = [name for row in rows("lookup_formats") for name in row[0].replace("`", "").split(", ")]
    assert sorted(named) == sorted(KINDS)
    assert [row[0] for row in rows("lookup_keys")] == [f"array.{name}" for name in LookupConfig.model_fields]


def scaled(names: str) -> list[str]:
    """Those with groups."""
    return [name for name in names.replace("`", "").split(", ") if name.endswith("-s8")]


@pytest.mark.parametrize("row", rows("lookup_formats"), ids=lambda row: row[0])
def test_depths_are_those_from_which_sums_may_overflow(row):
    """Of the largest weights that the rules write: one step more is refused."""
    deepest = int(row[5])

    def operands(name, depth):
        format = FORMATS[name]
        shape = (-(-depth // format.block), 1)
        most = max(map(abs, format.range))
        code = next(c for c, v in enumerate(format.tables[0]) if v is not None and abs(v) == most)
        x = Operand(format=INT8, codes=np.full((1, depth), 127, np.uint8), depth_axis=1)
        w = Operand(
            format=format, codes=np.full((depth, 1), code, np.uint8), depth_axis=0, scales=np.full(shape, 255),
            zeros=np.zeros(shape, np.int64) if format.offset == "zero" else None,
        )  # fmt: skip
        return x, w

    for name in scaled(row[0]):
        workload.check_width("layer", *operands(name, deepest))
        with pytest.raises(RequestError, match=r"must stay below 2\*\*31"):
            workload.check_width("layer", *operands(name, deepest + 1))


def test_the_largest_weights_of_any_bits():
    for kind in kinds():
        values = lookup.reinterpreted(np.arange(1 << kind.bits), kind.bits)
        less = {Offset.NONE: [0], Offset.TWOS: [1], Offset.ZERO: values}[kind.offset]
        half = 2 if kind.doubled else 1
        assert largest(kind) == max(abs(int(v - z)) // half for v in values for z in less)


def test_rates_add_up():
    """Cycles are words and pauses; the array as the text says with groups of 256."""
    name = ""
    for row in rows("lookup_rates"):
        name = row[0].strip("`") or name
        one = array(preset=name)
        chunks, each = map(int, row[3].split(" × "))
        cycles = chunks * each + sum(map(int, row[4:7]))
        assert cycles == int(row[7])
        assert each == one.outputs * int(row[1])
        assert row[9] == f"{one.rows * one.columns * one.group / cycles:.1f}"
    assert "Groups of 128 binary weights take 40 cycles" in FLAT
    assert "of 256 they take 66" in FLAT
    for group, cycles in ((128, 40), (256, 66)):
        one = array(f"array.group={group}")
        assert LookupLaw(one).interval(KINDS["binary-s8"], one.group_words)[0] == cycles


def test_two_row_tiles_balance_array_and_bus():
    word, beat = next(row[1] for row in rows("lookup_times") if row[0].startswith("bits of a word")).split(
        ","
    )
    assert int(word) == 2 * int(beat) == 8 * array().geometry.weight_bytes
    assert "twice the `rows` of X are needed" in FLAT


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("array.outputs=4", "outputs must be at least 8"),
        ("array.groups_per_lane=1", "groups_per_lane must be at least 2"),
        ("array.outputs=7", "outputs must divide columns"),
        ("array.rows=9", "rows"),
    ],
)
def test_what_the_page_says_is_refused(override, message):
    with pytest.raises(RequestError, match=message):
        config.load(BASE, (override,)).design()


def test_words_hold_every_bit_of_their_weights():
    """Signs name their table's last weight, entries the others beside it; zero points and scales lie as told."""
    table = rows("lookup_words")
    assert [row[0] for row in table] == ["0", "1", "2", "3", "10", "11", "130", "131"]
    for _, what, *cells in table:
        cells.reverse()
        if what.startswith("zero"):
            assert cells == [f"z{place}[{what[-1]}]" for place in range(8)]
        elif what.startswith("scale"):
            assert cells == [f"s{what[-1]}[{bit}]" for bit in reversed(range(8))]
        else:
            plane = f"[{re.search(r'plane (.)', what)[1]}]"
            for last in (3, 7):
                wanted = [f"w{one}{plane} = w{last}{plane}" for one in range(last - 3, last)]
                assert cells[last - 3 : last + 1] == [*wanted, f"not w{last}{plane}"]


def test_entries_and_signs_are_as_the_words_say():
    """A bit of an entry says whether two weights' bits are equal, the sign is the inverse of the last one."""
    index = np.arange(16)
    entry, negative = lookup.recoded(index, 4)
    last = index >> 3
    assert np.array_equal(negative, last == 0)
    for place in range(3):
        assert np.array_equal(entry >> place & 1, index >> place & 1 == last)


def test_the_instruction_of_the_example():
    """The page's command, and the name that the paper would give it."""
    table = {row[0]: row[2] for row in rows("lookup_lmma")}
    sizes = [table[one].split(" = ")[1] for one in "MNK"]
    types = [
        name.strip("` ").partition("-")[0] for name in table["A_dtype, W_dtype"].split(": ")[1].split(",")
    ]
    assert types == [TYPES[0], TYPES[1].removesuffix("-s8")]
    name = "lmma.m{}n{}k{}.{}{}{}int8".format(*sizes, *types, table["Accum_dtype"])
    assert f"`{name}`" in FLAT
    size = "x".join(map(str, GEMM))
    command = f"gatemill simulate {BASE} --gemm {size} --weights {TYPES[1]} --mode requantised"
    assert f"the second EXECUTE of `{command}`" in FLAT


@pytest.mark.parametrize("words", shown(TEXT, "gatemill"), ids=" ".join)
def test_commands_exist(words, capsys):
    check_options(words, capsys)
    assert {word for word in words if word.startswith("lut-")} <= {*config.presets(), *PAPERS}


def test_figures_exist():
    from gen.bench.__main__ import FIGURES

    keys = [words[-1] for words in shown(TEXT, "python")]
    assert keys
    assert set(keys) <= set(FIGURES)


def simulated():
    return [words for words in shown(TEXT, "gatemill") if "--gemm" in words]


@pytest.mark.parametrize("words", simulated(), ids=" ".join)
def test_gemms_of_the_page_run(words):
    """In the interpreter: the formats, sizes and overrides are there, and results those of the mathematics."""
    options = dict(zip(words[2::2], words[3::2], strict=True))
    loaded = config.load(words[1], (options["--set"],) if "--set" in options else ())
    design, family = loaded.design(), loaded.instance
    pair = family.pairs[family.variant(weights=options["--weights"])]
    sizes = tuple(map(int, options["--gemm"].split("x")))
    load = workload.random(sizes, "raw", 0, pair, family)
    program = compile_gemm(design, family, *sizes, formats=tuple(one.name for one in pair))
    memory = program.image(load.x, load.w)
    run = interpreter.run(design, family.model(), memory, program.address, program.length, program.window)
    assert run.passed
    assert np.array_equal(program.read_output(memory), load.golden())


def texts(name: str) -> list[str]:
    return [
        str(one.text)
        for one in ET.fromstring(pictures.PICTURES[name]()).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_pictures_name_the_parts():
    unit, whole = texts("lookup_unit.svg"), texts("lookup_array.svg")
    for label in (
        "table 0",
        "tables 7",
        "totals",
        "tree",
        "open sums",
        "complete",
        "scaled",
        "half of it: result int32",
    ):
        assert label in unit, label
    for label in (
        "column 0",
        "column 7",
        "accumulators 7",
        "row 1, column 7",
        "Sequencer",
        "Weight scratchpad",
    ):
        assert label in whole, label


def test_widths_of_the_unit_are_those_of_the_hardware():
    """Registers and memories of the generated Verilog that have these names."""
    verilog = generate(config.load(BASE)).verilog
    size = widths(array())
    names = {
        "found_0": "found_0",
        "held": "held",
        "scaled": "scaled",
        "result": "result",
        "addend": "sum_extra",
    }
    for name, register in names.items():
        assert re.search(rf"(?:reg|wire) (?:signed )?\[{size[name] - 1}:0\] {register};", verilog), name
    for memory, depth in (("open_sums", 8), ("complete", 8), ("tables_7", 16)):
        width = size["found_0" if memory == "tables_7" else "held"]
        assert re.search(rf"reg \[{width - 1}:0\] {memory} \[{depth - 1}:0\];", verilog), memory
    unit = texts("lookup_unit.svg")
    for label in ("10 bits", f"{size['addend']} bits", f"of {size['held']} bits", f"{size['scaled']} bits"):
        assert label in unit, label


def test_times_of_the_picture_are_those_of_the_law():
    one = array()
    kind = KINDS[TIMED]
    group = LookupLaw(one).interval(kind, one.group_words)[0]
    timing = texts("lookup_timing.svg")
    last_code = group - one.scale_words - one.outputs
    for cycle in (0, one.lookups(kind), group, last_code - 1 + one.result_delay):
        assert str(cycle) in timing
    # Tables are written for as long as they have entries, and none of them while it is looked up.
    assert one.entries <= one.lookups(kind)
