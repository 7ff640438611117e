"""Multipliers and accumulators of integers made otherwise than by ``*`` and ``+``."""
