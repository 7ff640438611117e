"""The pins of an SDRAM."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from fpga.soc.sdram_part import BANK_BITS, WORD_BYTES, SdramPart


def sdram_pins(part: SdramPart) -> dict:
    """The part's pins but its clock, by the names that follow the prefix, seen from the controller."""
    return {
        "cke": Out(1), "cs_n": Out(1), "ras_n": Out(1), "cas_n": Out(1), "we_n": Out(1),
        "ba": Out(BANK_BITS), "a": Out(part.row_bits), "dqm": Out(WORD_BYTES, init=3),
        "dq_o": Out(8 * WORD_BYTES), "dq_oe": Out(1), "dq_i": In(8 * WORD_BYTES),
    }  # fmt: skip


def pins_signature(part: SdramPart) -> wiring.Signature:
    """Those pins together, seen from the controller."""
    return wiring.Signature(sdram_pins(part))
