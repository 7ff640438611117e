"""How a run is simulated; apart from the run itself, so that a wrong request is refused before anything heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sim.cycles.memory import MemoryTiming


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to simulate."""

    simulator: str = "verilator"
    memory: str = "exact"
    latency: int = 20
    stall: float = 0.0
    seed: int = 0
    waves: Path | None = None

    @property
    def timing(self) -> MemoryTiming:
        """Of the exact memory."""
        return MemoryTiming(read_latency=self.latency, write_latency=self.latency)
