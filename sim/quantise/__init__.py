"""Quantisers: real matrices to codes, by the rule that a format names. Plain NumPy; no Amaranth, no hardware.

Codes and what they stand for are ``hw.formats``'; here is only how they are found.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from hw.formats import Format, find
from sim.quantise.quantised import Quantised, checked

RULES = {
    "bitmod": "sim.quantise.bitmod:quantise",
    "cast": "sim.quantise.cast:quantise",
    "mx": "sim.quantise.mx:quantise",
    "nv": "sim.quantise.nv:quantise",
    "nv-4over6": "sim.quantise.nv:four_over_six",
    "nv-if4": "sim.quantise.nv:integer_or_float",
    "nearest": "sim.quantise.nearest:quantise",
    "symmetric": "sim.quantise.integers:symmetric",
    "asymmetric": "sim.quantise.integers:asymmetric",
    "bipolar": "sim.quantise.integers:bipolar",
    "ternary": "sim.quantise.ternary:quantise",
    "binary": "sim.quantise.ternary:binary",
    "ggml": "sim.quantise.ggml:quantise",
    "olive": "sim.quantise.olive:quantise",
    "kivi": "sim.quantise.kivi:quantise",
}
"""By the name in ``Format.rule``: a function of (format, finite float64 matrix [rows, K]), imported when it is asked for."""


def quantise(
    matrix: np.ndarray, format: Format | str, *, name: str = "the matrix", **options: Any
) -> Quantised:
    """``matrix`` [rows, K], rows being output features or tokens, in ``format``; ``options`` are those of its rule.

    Raises ``ValueError``, which names the tensor ``name``, for a matrix that is empty or has an element that is not finite.
    """
    format = find(format) if isinstance(format, str) else format
    return rule(format)(format, checked(name, matrix), **options)


def rule(format: Format) -> Callable[..., Quantised]:
    """The function behind ``format.rule``."""
    if format.rule not in RULES:
        raise ValueError(
            f"rule of format {format.name} must be one of {', '.join(RULES)}, not {format.rule!r}"
        )
    module, _, function = RULES[format.rule].partition(":")
    return getattr(import_module(module), function)


__all__ = ["RULES", "Quantised", "quantise", "rule"]
