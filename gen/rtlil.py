"""An Amaranth component as RTLIL in which every module is different from every other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Fragment, ValueCastable
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from hw.share import sharing

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_WORDS = """
    always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default
    defparam design disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive
    endspecify endtable endtask event for force forever fork function generate genvar highz0 highz1 if ifnone
    incdir include initial inout input instance integer join large liblist library localparam macromodule medium
    module nand negedge nmos nor noshowcancelled not notif0 notif1 or output parameter pmos posedge primitive
    pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent rcmos real realtime reg release repeat
    rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled signed small specify specparam strong0 strong1
    supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1 triand trior trireg unsigned use vectored
    wait wand weak0 weak1 while wire wor xnor xor
"""
KEYWORDS = frozenset(_WORDS.split())
"""Reserved words of Verilog-2005."""

_MODULE = re.compile(r"module \\(\S+)")
_NAME = re.compile(r"\\([^\s\"\\]+)")
_PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PIN = re.compile(r"(    (?:connect|parameter) )\\(\S+)( .*)")
_CELL = re.compile(r"^(  cell )\\(\S+)( \\\S+)$", re.MULTILINE)


def check_name(name: str) -> str:
    """``name`` if it can name a module.

    Raises ``TypeError`` when it is no text, ``ValueError`` when it is not a plain identifier of at most 64 characters or
    is a word of Verilog.
    """
    if not isinstance(name, str):
        raise TypeError(f"a design's name must be text, not {name!r}")
    if not NAME.fullmatch(name) or name in KEYWORDS:
        raise ValueError(
            "a design's name must be 1 to 64 letters, digits and underscores, not begin with a digit "
            f"and be no word of Verilog, not {name!r}"
        )
    return name


def ports(component: wiring.Component) -> dict:
    """Ports of ``component`` by name: the path of each member, joined by ``_``."""
    table: dict = {}
    for path, member, value in component.signature.flatten(component):
        name = "_".join(map(str, path))
        if name in table:
            raise ValueError(f"ports must have different names, not {name!r} twice")
        direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
        table[name] = (value.as_value() if isinstance(value, ValueCastable) else value, direction)
    return table


_NOTHING = re.compile(r"  wire width 0 \\\S+|connect \\\S+ \{\s*\}")
"""Wires without bits: Verilog would make two bits, [-1:0], of them."""


KEPT = r"attribute \keep 1"
"""Of a wire: ``hw.delay.OWN``."""

_SOURCE = re.compile(r'( *attribute \\src )"([^"]*)"')
ROOT = Path(__file__).resolve().parent.parent
"""To which sources are relative."""
_PACKAGES = ("fpga", "gen", "hw", "sim", "tb")
"""Whose lines are ours: an environment with other packages may lie in ``ROOT``, too."""


def _source(line: str) -> str | None:
    """An attribute that says where in our sources something is described, with its path from ``ROOT``; others are None."""
    found = _SOURCE.fullmatch(line)
    if found is None or not found[2].startswith(tuple(f"{ROOT}/{package}/" for package in _PACKAGES)):
        return None
    return f'{found[1]}"{found[2].removeprefix(f"{ROOT}/")}"'


def split(text: str, *, sources: bool = False) -> dict[str, str]:
    """Bodies of the modules in ``text`` by name: what stands between ``module`` and ``end``.

    Without attributes; with ``sources``, those remain that name a line of ours or a register that stays as it is
    (``hw.delay.OWN``).
    """
    modules: dict[str, str] = {}
    name: str | None = None
    body: list[str] = []
    for line in text.splitlines():
        if name is None:
            if found := _MODULE.fullmatch(line):
                name, body = found[1], []
        elif line == "end":
            modules[name], name = "\n".join(body), None
        elif line.lstrip().startswith("attribute "):
            if sources and (kept := line if line.strip() == KEPT else _source(line)):
                body.append(kept)
        elif line and not _NOTHING.fullmatch(line):
            body.append(line)
    return modules


def deduplicate(modules: Mapping[str, str], *, top: str) -> dict[str, str]:
    """The modules that ``top`` needs, each body once, leaves first; cells point at the one that is left.

    The first in the order of use gives its name, with everything that is not a letter, a digit or ``_`` replaced.
    """
    survivor: dict[str, str] = {}
    kept: dict[str, str] = {}
    taken: dict[str, str] = {}

    def visit(module: str) -> str:
        if module not in survivor:
            body = _CELL.sub(
                lambda cell: f"{cell[1]}\\{visit(cell[2])}{cell[3]}" if cell[2] in modules else cell[0],
                modules[module],
            )
            if body not in kept:
                plain = name = re.sub(r"\W", "_", module)
                number = 1
                while name in taken:
                    number += 1
                    name = f"{plain}_{number}"
                taken[name] = body
                kept[body] = name
            survivor[module] = kept[body]
        return survivor[module]

    visit(top)
    return taken


def to_rtlil(component: wiring.Component, *, name: str, sources: bool = False) -> str:
    """RTLIL of ``component`` as module ``name``, each different module once; the same text for the same component.

    Ports are named by :func:`ports`; the clock and reset of the domain ``sync`` are ``clk`` and ``rst``. With ``sources``,
    wires and cells say which lines of which files describe them, and which registers are not to be joined with others.
    """
    check_name(name)
    with sharing(prefix=name, sources=sources) as shared, _quick_memories():
        text, _ = rtlil.convert_fragment(
            Fragment.get(component, None), ports(component), name, emit_src=sources
        )
    modules = split(text, sources=sources)
    for more in shared.texts:
        modules |= split(more, sources=sources)
    return write(plain(deduplicate(modules, top=name)))


@contextmanager
def _quick_memories() -> Iterator[None]:
    """Write the zeros of cleared memories at once: Amaranth makes an object of each bit, half of all its time here."""
    original = rtlil.ModuleEmitter.emit_memory

    def emit(self, cell_idx, cell):
        if any(cell.init):
            original(self, cell_idx, cell)
            return
        bits = cell.width * cell.depth
        self.builder.cell(
            "$meminit_v2",
            ports={"ADDR": "{ }", "DATA": f"{bits}'{'0' * bits}", "EN": f"{cell.width}'{'1' * cell.width}"},
            parameters={
                "MEMID": self.memories[cell_idx].memid,
                "ABITS": 0,
                "WIDTH": cell.width,
                "WORDS": cell.depth,
                "PRIORITY": 0,
            },
        )

    rtlil.ModuleEmitter.emit_memory = emit
    try:
        yield
    finally:
        rtlil.ModuleEmitter.emit_memory = original


def plain(modules: Mapping[str, str]) -> dict[str, str]:
    """``modules`` (leaves first) with every name in them a plain identifier: ``\\word[0]`` becomes ``\\word_0``.

    Verilog needs no escaped names then, and Yosys' ABC9 without flattening fails on names with brackets.
    """
    tables: dict[str, dict[str, str]] = {}
    result = {}
    for module, body in modules.items():
        kind, lines, own = None, [], []
        for line in body.split("\n"):
            # A cell's type, parameters and ports are not this module's names.
            if found := _CELL.fullmatch(line):
                kind, head, rest = found[2], found[1] + "\\" + found[2], found[3]
            elif found := _PIN.fullmatch(line):
                port = tables.get(kind or "", {}).get(found[2], found[2])
                head, rest = f"{found[1]}\\{port}", found[3]
            else:
                head, rest = "", line
                if line.startswith("  cell "):
                    kind = None
            lines.append(head)
            own.append(rest)
        table = tables[module] = _plain_names({name for rest in own for name in _NAME.findall(rest)})
        new = (
            _NAME.sub(lambda found, table=table: "\\" + table.get(found[1], found[1]), rest) for rest in own
        )
        result[module] = "\n".join(map("".join, zip(lines, new, strict=True)))
    return result


def _plain_names(names: set[str]) -> dict[str, str]:
    """A plain name for each of ``names`` that is none, different from all others."""
    table: dict[str, str] = {}
    taken = set(names)
    for name in sorted(names):
        if _PLAIN.fullmatch(name) and name not in KEYWORDS:
            continue
        stem = short = (
            re.sub(r"\W+", "_", "_" + name if name[0].isdigit() else name, flags=re.ASCII).rstrip("_") or "_"
        )
        number = 1
        while short in taken or short in KEYWORDS:
            number += 1
            short = f"{stem}_{number}"
        taken.add(short)
        table[name] = short
    return table


def write(modules: Mapping[str, str]) -> str:
    """RTLIL text of ``modules``."""
    return "".join(f"module \\{name}\n{body}\nend\n" for name, body in modules.items())
