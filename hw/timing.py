"""Pipeline lengths in clock cycles: the one place from which hardware builds its stages and models take their law.

No Amaranth here.
"""

SCRATCHPAD = 2
"""Read address to data of every scratchpad: block RAM and output register."""

READ_RETURN = 1
"""R handshake on the bus to the beat seen by its client: one register."""

ACCUMULATOR_READ = 3
"""STORE's read address to a row of accumulators: block RAM, output register, choice of the half."""
