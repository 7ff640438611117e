"""A small design around any array, for tests of its core."""

from __future__ import annotations

from hw.design import Design, Geometry


def small_design(geometry: Geometry, data_bytes: int, **sizes: int) -> Design:
    """Burst, bus and output as small as cores allow; ``sizes`` are the words of both scratchpads and the accumulators' rows."""
    return Design(
        geometry=geometry,
        data_bytes=data_bytes,
        address_width=32,
        burst_beats=16,
        outstanding=4,
        parameter_entries=64,
        output_lanes=1,
        **sizes,
    )
