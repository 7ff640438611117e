"""Figures of lookup units: how they follow from what was placed, without placing anything."""

from types import SimpleNamespace

import pytest
from amaranth.hdl import Fragment

from gen.bench import lookup
from hw.pe.lookup import LookupUnit, SerialTableBuilder, TableBuilder, TernaryUnit


def test_outputs_and_columns():
    """A table of eight entries is of use for eight cycles or more; 64 outputs for 1 to 4 planes."""
    assert [lookup.outputs_of(bits) for bits in (1, 2, 3, 4, 8)] == [8, 4, 3, 2, 1]
    assert [lookup.columns_of(bits) for bits in (1, 2, 3, 4, 8)] == [8, 16, 22, 32, 64]


def test_share_of_the_builders():
    """Those of a row, by the products of 64 columns."""
    builders = {"at once": 100, "serial": 40, "total of 8": 90}
    assert lookup._share("lookup, 8 tables", 1, 8, builders) == 800 / (64 * 32)
    assert lookup._share("lookup, 8 tables", 4, 8, builders) == (200 + 90) * 4 / (64 * 32)
    assert lookup._share("lookup, 8 stored tables, 2 outputs", 4, 8, builders) == (320 + 90) * 4 / (32 * 32)
    assert lookup._share("adder, 32 lanes", 4, 8, builders) == 0


@pytest.fixture
def placed(monkeypatch):
    """Units that take what is said here."""
    comb = {LookupUnit: 400, TernaryUnit: 1120, TableBuilder: 128, SerialTableBuilder: 32}

    def measure(component, *, flow):
        assert not flow.dsp
        Fragment.get(component, platform=None)
        area = SimpleNamespace(luts=comb.get(type(component), 100), flip_flops=7)
        return SimpleNamespace(area=area, median=120.0)

    monkeypatch.setattr(lookup, "measure", measure)
    return comb


def test_rows(placed):
    comb = placed
    said: list[str] = []
    rows = lookup.rows(said.append)
    assert [row.key for row in rows] == ["lookup"] * 5
    assert all(row.held for row in rows)
    one = rows[0].values["lookup, 8 tables"]
    assert one == {"each": 400 / 32 + 8 * 128 / (64 * 32), "comb": 400, "ff": 7, "mhz": 120.0}
    assert "13.0 each (0.50 of them builders)" in rows[0].measured
    assert rows[4].values["direct, 64 lanes"]["each"] == 17.5
    comb[LookupUnit] = 4000
    comb[TernaryUnit] = 38 * 128
    assert not any(row.held for row in lookup.rows(said.append))


def test_sweep(placed):
    row = lookup.sweep(lambda _: None)
    assert len(row.values) == 10
    assert row.values["K4 stored"] == {str(lanes): 100 / lanes for lanes in lookup.SWEEP_LANES}
    assert row.held is None
    assert "best: K6, 8 tables, 8.3" in row.measured
