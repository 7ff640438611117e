"""Evaluations for the figures of the sweep engine, each in a process of its own: nothing, or nothing but waiting."""

from __future__ import annotations

import time
from typing import Any

SECONDS = 1.0


def nothing(point: dict[str, Any]) -> dict[str, Any]:
    """At once."""
    del point
    return {"lut": 1, "cycles": 1}


def waiting(point: dict[str, Any]) -> dict[str, Any]:
    """Wait: as long on a busy machine."""
    time.sleep(SECONDS)
    return nothing(point)
