"""Order of the tests: what is quick first, then proofs, then what simulates generated Verilog or calls other tools.

Drawn examples are the same in every run, so that what lands is what was tested; ``make test-all`` draws new ones.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from gen import cli

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", deadline=None, print_blob=True)
settings.load_profile("same")

LAST = (
    "test_formal",
    "test_synthesis",
    "test_board_clocks",
    "test_simulator",
    "test_run",
    "test_cli",
    "test_system.py",
)
"""How the names of the slow files begin, in their order."""

SAMPLED = {
    "test_bit_serial.py::test_extremes": 3,
    "test_bit_serial_core.py::test_shapes": 5,
    "test_decoded_family.py::test_what_is_packed_is_what_is_computed": 2,
    "test_lookup.py::test_mapped": 3,
    "test_lookup_core.py::test_shapes": 3,
    "test_models.py::test_a_layer_with_scales_of_blocks": 3,
    "test_parallel.py::test_element": 4,
    "test_store.py::test_alignment": 8,
    "test_systolic.py::test_address_past_the_end": 4,
    "test_systolic.py::test_halt": 5,
    "test_systolic_model.py::test_multipliers": 4,
}
"""How many parameters of a test every run takes, spread over all; the long matrix takes the others."""

MUTANTS = ("_with_a_bug", "_with_another_command")
"""How the names of tests end that a proof fails as it should: every run takes one of each."""


@pytest.fixture
def gatemill(capsys):
    """Run a command: exit status, standard output, standard error."""

    def run(*arguments):
        status = cli.run(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return status, out, err

    return run


def rank(file: str) -> int:
    """0 for a quick file; its place among the slow ones otherwise."""
    return next((place for place, start in enumerate(LAST, 1) if file.startswith(start)), 0)


def sample(items: list[pytest.Item]) -> None:
    """Mark as long what the samples leave out."""
    several: dict[str, list[pytest.Item]] = {}
    for item in items:
        if not item.get_closest_marker("long"):
            several.setdefault(f"{item.path.name}::{item.name.split('[')[0]}", []).append(item)
    for name, those in several.items():
        count = SAMPLED.get(name, 1 if name.endswith(MUTANTS) else len(those))
        kept = {len(those) * place // count for place in range(count)}
        for place, item in enumerate(those):
            if place not in kept:
                item.add_marker(pytest.mark.long)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort; tests of a file, and files of one rank, stay as they were."""
    sample(items)
    items.sort(key=lambda item: rank(item.path.name))
