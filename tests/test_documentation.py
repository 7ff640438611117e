"""The documents say what the tables say, and what they show runs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from documents import check_options, rows, shown
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from gen import config, decoded_pictures, documentation, pictures, workload
from gen.errors import RequestError
from gen.families.bit_serial import KINDS, BitSerialConfig
from gen.generate import generate
from gen.rtlil import to_rtlil
from hw import timing
from hw.control import isa, registers
from hw.formats import FORMATS as KNOWN
from hw.formats import INT8, Operand
from hw.pe.exponent_integer import OutputStationaryElement
from hw.pe.weight_format import WeightFormat
from sim import bit_serial
from sim.quantise import RULES

ROOT = Path(__file__).resolve().parent.parent
TEXT = (documentation.DOCS / "architecture.md").read_text()
FORMATS = (documentation.DOCS / "formats.md").read_text()
BIT_SERIAL = (documentation.DOCS / "bit_serial.md").read_text()
LOOKUP = (documentation.DOCS / "lookup.md").read_text()
MULTIPLIERS = (documentation.DOCS / "multipliers.md").read_text()
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", documentation.DOCUMENTS)
def test_generated_parts_are_current(name):
    text = (documentation.DOCS / name).read_text()
    assert documentation.filled(text, documentation.DOCUMENTS[name]) == text, (
        "python -m gen.documentation writes them"
    )


def test_the_format_of_ones_own_runs(capsys):
    """As it stands in the document, whole, in under 40 lines."""
    (code,) = re.findall(r"```python\n(.*?)```", FORMATS, re.DOTALL)
    assert len(code.splitlines()) < 40
    exec(compile(code, "formats.md", "exec"), {})
    assert capsys.readouterr().out == "25.5 dB\n"


def test_every_rule_of_a_format_is_explained():
    assert [rule for rule in RULES if f"`{rule}`" not in FORMATS.split("## A format of one's own")[0]] == []


def test_every_constant_register_and_field_is_there():
    constants = {name for name in vars(timing) if name.isupper()}
    assert {name for name, _, _ in documentation.documented(timing)} == constants
    names = constants | {r.name for r in registers.REGISTERS}
    names |= {field.name for fields in isa.FIELDS.values() for field in fields}
    names |= {e.name for e in isa.Error if e} | {t.name.lower() for t in isa.Token}
    assert [name for name in sorted(names) if f"| `{name}` |" not in TEXT] == []


def test_text_without_its_parts_is_refused():
    with pytest.raises(ValueError, match="generated parts must be errors, instructions"):
        documentation.filled("# Nothing\n", documentation.DOCUMENTS["architecture.md"])


def test_files_that_are_named_exist():
    both = TEXT + FORMATS + BIT_SERIAL + LOOKUP + MULTIPLIERS
    named = set(re.findall(r"`((?:hw|gen|sim|tb|fpga|tests|docs)/[\w/.]*)`", both))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", both))
    assert named
    assert [n for n in sorted(named) if not any((base / n).exists() for base in (ROOT, ROOT / "docs"))] == []


def test_terms_of_the_example_sum_to_its_weights():
    """Read back from the table: equation 4 for each term, the terms for each weight."""
    sums: list[tuple[str, list[int]]] = []
    for format, code, weight, _, sign, exponent, man, significance, value in rows("terms"):
        if format:
            sums.append((weight, []))
            number = bit_serial.value(int(code, 2), format.lower(), special=10)
            assert int(weight.split()[0]) == number
        assert (-1) ** int(sign) * int(man) * 2 ** (int(exponent) + int(significance)) == int(value)
        sums[-1][1].append(int(value))
    assert [sum(values) for _, values in sums] == [int(weight.split()[0]) for weight, _ in sums]
    assert sums[0] == ("10 halves = 01010b, special", [8, 2])
    assert "adds 8 a in one cycle and 2 a in the next" in BIT_SERIAL


def test_every_format_and_key_of_the_bit_serial_family_is_there():
    assert {row[0] for row in rows("weight_formats")} == {one.name for one in WeightFormat}
    assert {name for row in rows("weight_formats") for name in row[5].replace("`", "").split(", ")} == set(
        KINDS
    )
    assert [row[0] for row in rows("array_keys")] == [
        f"array.{name}" for name in BitSerialConfig.model_fields
    ]


def test_words_hold_every_bit_of_their_weights_once():
    """Of INT6 the first two slices, of FP3 the first four."""
    cells = [cell for row in rows("words") for cell in row[3:] if cell]
    assert sorted(cells[:12]) == sorted(f"w{index}[{bit}]" for index in range(2) for bit in range(6))
    assert sorted(cells[12:]) == sorted(f"w{index}[{bit}]" for index in range(4) for bit in range(3))


@pytest.mark.parametrize("row", rows("depths"), ids=lambda row: row[0])
def test_depths_are_those_from_which_sums_may_overflow(row):
    """Of the largest weights that the rules write: one step more is refused."""
    format = KNOWN[row[0]]
    deepest = int(row[2])
    largest = max(map(abs, format.range)) / 2.0**format.unit
    selector = next(s for s, table in enumerate(format.tables) if largest in map(abs, filter(None, table)))
    code = next(c for c, v in enumerate(format.tables[selector]) if v is not None and abs(v) == largest)

    def operands(depth):
        blocks = -(-depth // format.block)
        x = Operand(format=INT8, codes=np.full((1, depth), 127, np.uint8), depth_axis=1)
        w = Operand(
            format=format, codes=np.full((depth, 1), code, np.uint8), depth_axis=0, scales=np.full((blocks, 1), 255),
            selectors=np.full((blocks, 1), selector, np.uint8) if len(format.tables) > 1 else None,
        )  # fmt: skip
        return x, w

    workload.check_width("layer", *operands(deepest))
    with pytest.raises(RequestError, match=r"must stay below 2\*\*31"):
        workload.check_width("layer", *operands(deepest + 1))


def test_whole_groups_of_the_presets_need_no_pause():
    for name in ("bitmod-int8-8x8", "bitmod-fp16-4x4"):
        array = config.load(name).instance.array
        assert [array.pause(one, array.group_words) for one in WeightFormat] == [0] * len(WeightFormat)


def test_special_values_of_ones_own_run(capsys, monkeypatch):
    """As it stands in the document, whole, in under 40 lines; what it adds to the tables is taken out again."""
    (code,) = re.findall(r"```python\n(.*?)```", BIT_SERIAL, re.DOTALL)
    assert len(code.splitlines()) < 40
    for table in (KNOWN, KINDS):
        monkeypatch.setitem(table, "fp4-own-s8", None)
    exec(compile(code, "bit_serial.md", "exec"), {})
    assert capsys.readouterr().out == "4.4% of the weights are special\n"


@pytest.mark.parametrize("words", shown(BIT_SERIAL, "gatemill"), ids=" ".join)
def test_commands_of_the_bit_serial_page_exist(words, capsys):
    check_options(words, capsys)
    assert {word for word in words if word.startswith("bitmod-")} <= set(config.presets())


def test_figures_of_the_bit_serial_page_exist():
    from gen.bench.__main__ import FIGURES

    keys = [words[-1] for words in shown(BIT_SERIAL, "python")]
    assert keys
    assert set(keys) <= set(FIGURES)
    assert BIT_SERIAL.count("<!-- figures -->") == 1


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_are_current(name):
    drawn = pictures.PICTURES[name]()
    assert (documentation.DOCS / name).read_text() == drawn, "python -m gen.documentation draws them"
    assert pictures.PICTURES[name]() == drawn


def picture(name: str) -> ET.Element:
    return ET.fromstring(pictures.PICTURES[name]())


def test_pictures_name_the_parts_and_their_widths():
    texts = [text.text for text in picture("bit_serial_element.svg").iter(f"{SVG}text")]
    for label in (
        "lane 0",
        "lane 7",
        "negatives",
        "shift",
        "total",
        "scaled",
        "exponent match",
        "group sum",
        "result",
    ):
        assert label in texts, label
    # The paper's widths (section IV-B): a window of 14 bits, a sum of 17, an accumulator of 15.
    for label in ("window 14 bits", "17 bits", "15 bits and 3 more", "result int32", "float32"):
        assert label in texts, label
    texts = [text.text for text in picture("bit_serial_array.svg").iter(f"{SVG}text")]
    for label in ("head 0", "head 7", "accumulators 7", "row 7, column 7", "Sequencer", "Weight scratchpad"):
        assert label in texts, label


def test_widths_of_the_picture_are_those_of_the_hardware():
    """Registers of the generated Verilog that have these names."""
    texts = [text.text for text in picture("bit_serial_element.svg").iter(f"{SVG}text")]
    verilog = generate(config.load("bitmod-int8-8x8")).verilog
    for register, label in (("total", "23 bits"), ("scaled", "30 bits"), ("addend", "9 bits")):
        assert label in texts
        assert re.search(rf"reg (?:signed )?\[{int(label.split()[0]) - 1}:0\] {register}\b", verilog), (
            register
        )


def test_widths_of_the_decoded_element_are_those_of_the_hardware():
    """Of the RTL: the multiplier's product, the shifted one, the sum."""
    array = config.load("olive-8x8").instance.array
    x, w = array.shapes
    rtlil = to_rtlil(OutputStationaryElement(activation=x, weight=w, sum_width=array.sum_bits), name="top")
    size = decoded_pictures.widths(array)
    for signal, name in (
        ("signed \\\\product", "multiplied"),
        ("signed \\\\product", "product"),
        (r"\\result", "sum"),
    ):
        assert re.search(rf"wire width {size[name]} (?:output \d+ +)?{signal}$", rtlil, re.MULTILINE), name
    texts = [text.text for text in picture("decoded_element.svg").iter(f"{SVG}text")]
    for label in ("16 bits", "28 bits", "32 bits", "by 0 to 12", "e: 3 bits", "i: 8 bits", "0 to 12"):
        assert label in texts, label
    texts = [text.text for text in picture("decoded_array.svg").iter(f"{SVG}text")]
    for label in (
        "decoder 7",
        "accumulators 7",
        "row 7, column 7",
        "5 formats",
        "6 formats",
        "e 3, i 8 bits",
    ):
        assert label in texts, label
    texts = [text.text for text in picture("decoded_codes.svg").iter(f"{SVG}text")]
    for label in ("96", "-96", "victim", "none", "e 4", "i -6"):
        assert label in texts, label


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_texts_of_a_picture_do_not_touch(name):
    """In DejaVu Sans, which it asks for first; and each lies within the picture, and within the box around its middle."""
    root = picture(name)
    boxes = [
        [float(one.get(key, 0)) for key in ("x", "y", "width", "height")] for one in root.iter(f"{SVG}rect")
    ]
    places = []
    for text in root.iter(f"{SVG}text"):
        bold = text.get("class") == "bold"
        font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
        width = TextPath((0, 0), text.text, size=14 if bold else 12, prop=font).get_extents().width
        x, y = float(text.get("x", 0)), float(text.get("y", 0))
        places.append((x - width / 2, x + width / 2, y - 10, y + 3, text.text))
        for left, top, wide, high in boxes:
            if left <= x <= left + wide and top <= y <= top + high:
                assert left + 2 <= places[-1][0] <= places[-1][1] <= left + wide - 2, text.text
                assert top <= places[-1][2] <= places[-1][3] <= top + high, text.text
    for number, (left, right, top, bottom, text) in enumerate(places):
        for other in places[number + 1 :]:
            assert right < other[0] or other[1] < left or bottom < other[2] or other[3] < top, (
                text,
                other[4],
            )
