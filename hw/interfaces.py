"""Signatures between the parts: the contract of an array family, of the scratchpads and of the AXI master."""

from __future__ import annotations

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import ceil_log2

from hw.design import Design


def read_port(*, words: int, width: int) -> Signature:
    """Read side of a scratchpad, seen from the reader: ``data`` comes ``hw.timing.SCRATCHPAD`` cycles after ``address``."""
    return Signature({"address": Out(max(1, ceil_log2(words))), "data": In(width)})


def write_port(*, beats: int, width: int) -> Signature:
    """Write side of a scratchpad, seen from the writer: a beat is written at the end of a cycle with ``valid``."""
    return Signature({"valid": Out(1), "address": Out(max(1, ceil_log2(beats))), "data": Out(width)})


def execute_command(design: Design) -> data.StructLayout:
    """An EXECUTE whose tokens have come, range-checked as far as one field alone can be."""
    return data.StructLayout(
        {
            "activations_address": ceil_log2(design.activation_words),
            "weights_address": ceil_log2(design.weight_words),
            "accumulators_address": ceil_log2(design.accumulator_rows),
            "activations_stride": 16,
            "row_tiles": 16,
            "column_tiles": 16,
            "depth_tiles": 24,
            "accumulate": 1,
            "variant": 8,
        }
    )


def results(design: Design) -> Signature:
    """Results as they leave an array, seen from the array.

    ``valid``, ``address`` (accumulator row), ``accumulate`` and ``last`` (last result of an EXECUTE) are those of
    column 0; ``data[c]`` comes ``c`` cycles later. Never stalled.
    """
    return Signature(
        {
            "valid": Out(1),
            "address": Out(ceil_log2(design.accumulator_rows)),
            "accumulate": Out(1),
            "last": Out(1),
            "data": Out(data.ArrayLayout(32, design.geometry.columns)),
        }
    )


def core_members(design: Design) -> dict:
    """Members of an array family's core: what every family puts behind the contract (docs/architecture.md)."""
    g = design.geometry
    return {
        "command": In(stream.Signature(execute_command(design))),
        "halt": In(1),
        "activations": Out(read_port(words=design.activation_words, width=8 * g.activation_bytes)),
        "weights": Out(read_port(words=design.weight_words, width=8 * g.weight_bytes)),
        "results": Out(results(design)),
        "step": Out(1),
        "busy": Out(1),
        "fault": Out(1),
    }


def axi_address(address_width: int) -> data.StructLayout:
    """Payload of AR and AW: byte address (aligned to the bus) and beats - 1. INCR, full width, one ID."""
    return data.StructLayout({"address": address_width, "length": 8})


def axi_read_data(data_width: int) -> data.StructLayout:
    """Payload of R; ``error`` is RRESP != OKAY."""
    return data.StructLayout({"data": data_width, "error": 1, "last": 1})


def axi_write_data(data_width: int) -> data.StructLayout:
    """Payload of W."""
    return data.StructLayout({"data": data_width, "strobe": data_width // 8, "last": 1})


def axi_read(address_width: int, data_width: int) -> Signature:
    """Read half of an AXI4 master, as streams."""
    return Signature(
        {"ar": Out(stream.Signature(axi_address(address_width))), "r": In(stream.Signature(axi_read_data(data_width)))}
    )


def axi_write(address_width: int, data_width: int) -> Signature:
    """Write half of an AXI4 master, as streams; the payload of ``b`` is 1 when BRESP is not OKAY."""
    return Signature(
        {
            "aw": Out(stream.Signature(axi_address(address_width))),
            "w": Out(stream.Signature(axi_write_data(data_width))),
            "b": In(stream.Signature(1)),
        }
    )
