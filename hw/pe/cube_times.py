"""When output-stationary elements give their results. No Amaranth here."""

from __future__ import annotations

from hw.design import ceil_div
from hw.timing import OUTPUT_ELEMENTS, TREE_LAYERS


def tree_registers(products: int) -> int:
    """Cycles that a tree of adders takes; one even where there is nothing to add."""
    return max(1, ceil_div((products - 1).bit_length(), TREE_LAYERS))


def output_element(multiplier: str, depth: int = 1) -> int:
    """Cycles from an element's last operands, of ``depth`` steps of K, to its result.

    ``OUTPUT_ELEMENTS`` has those of one step; of several, multipliers have a tree of adders behind them.
    """
    return OUTPUT_ELEMENTS[multiplier] + (tree_registers(depth) - 1 if multiplier == "native" else 0)
