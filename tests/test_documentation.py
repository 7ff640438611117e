"""The documents say what the tables say, and what they show runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gen import documentation
from hw import timing
from hw.control import isa, registers
from sim.quantise import RULES

ROOT = Path(__file__).resolve().parent.parent
TEXT = (documentation.DOCS / "architecture.md").read_text()
FORMATS = (documentation.DOCS / "formats.md").read_text()


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
    both = TEXT + FORMATS
    named = set(re.findall(r"`((?:hw|gen|sim|tb|fpga|tests|docs)/[\w/.]*)`", both))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", both))
    assert named
    assert [n for n in sorted(named) if not any((base / n).exists() for base in (ROOT, ROOT / "docs"))] == []
