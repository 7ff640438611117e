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

LAST = ("test_formal", "test_synthesis", "test_simulator", "test_run", "test_cli", "test_system.py")
"""How the names of the slow files begin, in their order."""


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort; tests of a file, and files of one rank, stay as they were."""
    items.sort(key=lambda item: rank(item.path.name))
