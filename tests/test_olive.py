"""``gatemill reproduce olive``: its rows, and the figures in them measured again."""

from __future__ import annotations

import json

import pytest

from fpga.synthesis import Flow
from gen.bench import decoded_array
from gen.bench.decoders import luts
from gen.reproduce import olive
from hw.formats import FORMATS
from hw.formats.pairs import PairShape
from hw.pe.decoder import Decoder, PairDecoder
from hw.pe.exponent_integer import OutputStationaryElement


def test_rows(gatemill) -> None:
    """All that can be tested holds; what is of another technology or model is marked."""
    status, out, _ = gatemill("reproduce", "olive", "--json")
    rows = {row["claim"]: row for row in json.loads(out)["claims"]}
    assert status == 0
    assert {row["holds"] for row in rows.values()} == {True, None}
    assert rows["products as (i · j) << (e + f): exact"]["ours"] == 4096
    assert rows["8-bit products by four 4-bit elements: exact"]["ours"] == 65536
    assert rows["4-bit decoders of a 64×64 array: per cent of it, at most"]["ours"] == 0.23
    assert rows["8-bit decoders of a 64×64 array: per cent of it, at most"]["ours"] == 0.27
    whole = [
        rows[f"decoders of a whole {n}×{n} array for ovp4-int4: per cent of it, at most"]["ours"]
        for n in (16, 64)
    ]
    assert whole == [0.81, 0.2]
    assert rows["a whole array for ovp4-int4 against one of int8"]["ours"] == "16×16 0.59, 64×64 0.58"
    assert rows["its areas add up: 4-bit decoders, per cent"]["holds"]
    speeds = ("one token, 8×16 elements", "64 tokens, 8×8 elements")
    ours = [rows[f"speed over int8 (on a GPU): {what}"]["ours"] for what in speeds]
    assert ours == ["1.97", "1.00"]


def test_a_picture(gatemill, tmp_path) -> None:
    status, _, _ = gatemill("reproduce", "olive", "-o", str(tmp_path / "olive.svg"))
    assert status == 0
    assert b"attn_output" in (tmp_path / "olive.svg").read_bytes()


@pytest.mark.long
def test_areas_are_those_of_synthesis() -> None:
    flow = Flow(dsp=False)
    assert luts(PairDecoder(format=FORMATS["ovp4-int4"]), flow)[0] == olive.BYTE_LUTS
    for name, format in (("4-bit", "ovp4-int4"), ("8-bit", "ovp8-int8-e2m5")):
        assert luts(Decoder(formats=(FORMATS[format],)), flow) == (olive.DECODER_LUTS[name], 0)

    def element(name: str) -> int:
        shape = PairShape.of(FORMATS[name])
        tables, carries = luts(
            OutputStationaryElement(activation=shape, weight=shape, sum_width=32, dropped=0), flow
        )
        return tables + 2 * carries

    assert element("ovp4-int4") == olive.ELEMENT_LUTS
    assert {name: element(name) for name in olive.INTEGER_LUTS} == olive.INTEGER_LUTS


@pytest.mark.long
def test_whole_arrays_are_those_of_synthesis() -> None:
    """The largest of int8 takes a minute, and is of the same modules."""
    found = {side: decoded_array.counted(decoded_array.PAIRS, side) for side in olive.WHOLE}
    assert {side: one.whole for side, one in found.items()} == olive.WHOLE
    for side, one in found.items():
        assert one.decoders == 2 * side * olive.DECODER_LUTS["4-bit"]
    assert decoded_array.size(decoded_array.whole(decoded_array.PLAIN, 16)) == olive.WHOLE_INT8[16]


@pytest.mark.long
def test_layers_are_those_of_the_model() -> None:
    assert olive.measured_layers() == (olive.OUR_PAIRS, olive.QUALITY)
