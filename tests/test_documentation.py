"""docs/architecture.md says what the hardware's tables say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gen import documentation
from hw import timing
from hw.control import isa, registers

ROOT = Path(__file__).resolve().parent.parent
TEXT = documentation.ARCHITECTURE.read_text()


def test_generated_parts_are_current():
    assert documentation.filled(TEXT) == TEXT, "python -m gen.documentation writes them"


def test_every_constant_register_and_field_is_there():
    constants = {name for name in vars(timing) if name.isupper()}
    assert {name for name, _, _ in documentation.documented(timing)} == constants
    names = constants | {r.name for r in registers.REGISTERS}
    names |= {field.name for fields in isa.FIELDS.values() for field in fields}
    names |= {e.name for e in isa.Error if e} | {t.name.lower() for t in isa.Token}
    assert [name for name in sorted(names) if f"| `{name}` |" not in TEXT] == []


def test_text_without_its_parts_is_refused():
    with pytest.raises(ValueError, match="generated parts must be errors, instructions"):
        documentation.filled("# Nothing\n")


def test_files_that_are_named_exist():
    named = set(re.findall(r"`((?:hw|gen|sim|tb|fpga|tests|docs)/[\w/.]*)`", TEXT))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", TEXT))
    assert named
    assert [n for n in sorted(named) if not any((base / n).exists() for base in (ROOT, ROOT / "docs"))] == []
