"""Signatures between the parts: the contract of an array family, of the scratchpads and of the AXI master."""

from __future__ import annotations

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import ceil_log2

from hw.control.isa import INDEX_BITS
from hw.design import Design


def read_port(*, words: int, width: int) -> Signature:
    """Read side of a scratchpad, seen from the reader: ``data`` comes ``hw.timing.SCRATCHPAD`` cycles after ``address``."""
    return Signature({"address": Out(max(1, ceil_log2(words))), "data": In(width)})


def write_port(*, beats: int, width: int) -> Signature:
    """Write side of a scratchpad, seen from the writer: a beat is written at the end of a cycle with ``valid``."""
    return Signature({"valid": Out(1), "address": Out(max(1, ceil_log2(beats))), "data": Out(width)})


def execute_command(design: Design) -> data.StructLayout:
    """An EXECUTE whose tokens have come, range-checked as far as one field alone can be.

    For an array with settings also a CONFIGURE, when ``configure`` is 1: then ``setting`` and ``value`` are its fields, and the
    other members mean nothing. When it is 0, these two mean nothing.
    """
    settings = design.geometry.settings
    configure = {"configure": 1, "setting": ceil_log2(settings), "value": 32} if settings else {}
    return data.StructLayout(
        {
            "activations_address": ceil_log2(design.activation_words),
            "weights_address": ceil_log2(design.weight_words),
            "accumulators_address": ceil_log2(design.accumulator_rows),
            "accumulate": 1,
            **design.execute_fields,
            **configure,
        }
    )


def load_command(design: Design) -> data.StructLayout:
    """A LOAD whose tokens have come; fields as in the instruction, cut to the bits that this design implements."""
    return data.StructLayout({"variant": 2, "post": 8, "index": INDEX_BITS, **design.load_fields})


def store_command(design: Design) -> data.StructLayout:
    """A STORE whose tokens have come."""
    return data.StructLayout({"variant": 1, "post": 8, "index": INDEX_BITS, **design.store_fields})


def mover_members(design: Design) -> dict:
    """What LOAD and STORE share towards control.

    ``halt``: take nothing new, start no new burst, finish those under way. ``busy``: a command or a burst is under way.
    ``finished``: one cycle, the oldest command has ended without fault, ``post`` is its mask and ``index`` its place in the
    program. ``fault``: one cycle, with ``code`` (``hw.control.isa.Error``) and ``index`` of the command at fault; such a
    command ends without ``finished``.
    ``window_first``, ``window_last``: lowest and highest byte address that may be touched; constant while busy.
    """
    return {
        "window_first": In(design.address_width),
        "window_last": In(design.address_width),
        "halt": In(1),
        "busy": Out(1),
        "finished": Out(1),
        "post": Out(8),
        "fault": Out(1),
        "code": Out(4),
        "index": Out(INDEX_BITS),
    }


def accumulators_read(design: Design) -> Signature:
    """STORE's side of the accumulators, seen from STORE: a row of all banks, ``Geometry.accumulator_read`` cycles later.

    ``active`` says that the half of ``address`` is in use.
    """
    return Signature(
        {
            "active": Out(1),
            "address": Out(ceil_log2(design.accumulator_rows)),
            "data": In(data.ArrayLayout(32, design.geometry.banks)),
        }
    )


def results(design: Design) -> Signature:
    """Results as they leave an array, seen from the array.

    ``valid``, ``address`` (accumulator row), ``accumulate`` and ``last`` are those of bank 0; ``data[b]``, int32 or
    the pattern of a float32 (``Geometry.sums``), comes ``b`` cycles later. ``last``: a command has ended; an EXECUTE with its
    last result, a CONFIGURE without a result, hence without ``valid``. Never stalled.
    """
    return Signature(
        {
            "valid": Out(1),
            "address": Out(ceil_log2(design.accumulator_rows)),
            "accumulate": Out(1),
            "last": Out(1),
            "data": Out(data.ArrayLayout(32, design.geometry.banks)),
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
    """Payload of R; ``error``: RRESP is SLVERR or DECERR."""
    return data.StructLayout({"data": data_width, "error": 1, "last": 1})


def axi_write_data(data_width: int) -> data.StructLayout:
    """Payload of W."""
    return data.StructLayout({"data": data_width, "strobe": data_width // 8, "last": 1})


def axi_read(address_width: int, data_width: int) -> Signature:
    """Read half of an AXI4 master, as streams."""
    return Signature(
        {
            "ar": Out(stream.Signature(axi_address(address_width))),
            "r": In(stream.Signature(axi_read_data(data_width))),
        }
    )


def axi_write(address_width: int, data_width: int) -> Signature:
    """Write half of an AXI4 master, as streams; the payload of ``b`` is 1 when BRESP is SLVERR or DECERR."""
    return Signature(
        {
            "aw": Out(stream.Signature(axi_address(address_width))),
            "w": Out(stream.Signature(axi_write_data(data_width))),
            "b": In(stream.Signature(1)),
        }
    )
