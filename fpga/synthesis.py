"""Area and clock of a design on an ECP5: Yosys and nextpnr from their wheels, figures from JSON alone."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fpga.block_ram import count_cells, pack_output_registers
from fpga.parts import ECP5, devices
from sim import tools

DEVICES = devices(ECP5)
"""Parts by nextpnr's name."""


SMALL_WORDS = 64
"""Words of a memory that goes into distributed RAM."""


class FigureError(RuntimeError):
    """A figure is not in what the tools wrote."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """How a design is synthesised and placed; printed beside every figure.

    Parameters
    ----------
    dsp : bool
        Multipliers may use DSP blocks.
    wide_luts : bool
        LUTs may be joined by the slices' multiplexers; soft multipliers are much smaller without.
    flatten : bool
        Optimise across modules; without, a module that appears many times is synthesised once.
    device, package, speed
        The part.
    frequency : float
        MHz that nextpnr works towards.
    """

    dsp: bool = True
    wide_luts: bool = False
    flatten: bool = True
    device: str = "85k"
    package: str = "CABGA381"
    speed: int = 6
    frequency: float = 150.0

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        if self.speed not in (6, 7, 8):
            raise ValueError(f"speed must be 6, 7 or 8, not {self.speed!r}")
        if not self.frequency > 0:
            raise ValueError(f"frequency must be more than 0, not {self.frequency!r}")

    @property
    def synthesis_options(self) -> list[str]:
        """Options of ``synth_ecp5``."""
        off = {"-nodsp": not self.dsp, "-nowidelut": not self.wide_luts, "-noflatten": not self.flatten}
        return [name for name, wanted in off.items() if wanted]

    @property
    def text(self) -> str:
        """The flow in words, for tables."""
        synthesis = " ".join(["synth_ecp5", *self.synthesis_options])
        return (
            f"{synthesis}; {DEVICES[self.device]} {self.package} speed {self.speed} at {self.frequency:g} MHz"
        )


@dataclass(frozen=True, kw_only=True)
class Area:
    """What a design takes of a part; LUTs are nextpnr's TRELLIS_COMB (a carry cell counts as two)."""

    luts: int
    flip_flops: int
    dsps: int
    block_rams: int


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A placed and routed design."""

    area: Area
    frequencies: tuple[float, ...]
    """MHz, one per seed."""
    seeds: tuple[int, ...]
    flow: Flow
    critical_paths: tuple[tuple[str, ...], ...] = field(repr=False, default=())
    """Per seed: the cells on the slowest path."""

    @property
    def slowest(self) -> float:
        """The worst of the seeds, MHz."""
        return min(self.frequencies)

    @property
    def median(self) -> float:
        """The middle of the seeds, MHz."""
        return statistics.median(self.frequencies)

    @property
    def fastest(self) -> float:
        """The best of the seeds, MHz."""
        return max(self.frequencies)

    def as_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        clock = {"slowest": self.slowest, "median": self.median, "fastest": self.fastest}
        return {**asdict(self.area), **clock, "seeds": list(self.seeds), "flow": self.flow.text}


@dataclass(frozen=True, kw_only=True)
class Synthesised:
    """A netlist for nextpnr, and its cells by type, counted through the hierarchy."""

    netlist: str = field(repr=False)
    cells: dict[str, int]
    flow: Flow
    name: str

    def count(self, *types: str) -> int:
        """Cells of these types together; none of them is 0."""
        return sum(self.cells.get(kind, 0) for kind in types)


def dsp_multipliers(rtlil: str) -> str:
    """Verilog that puts each ``hw.pe.multiplier.RegisteredMultiplier`` of ``rtlil`` into a MULT18X18D with its registers.

    Yosys uses the block for the product alone and leaves the registers outside: their way there and back then takes
    more time than the product. Parameters and ports of the block: Lattice, ECP5 sysDSP usage guide (FPGA-TN-02205).
    """
    text = []
    for name, width, signs in _modules(rtlil, "registered_multiplier"):
        signed = int("a" in signs)
        factors = ", ".join(
            f".{factor.upper()}{bit}({_factor_bit(factor, bit, width[factor], signed)})"
            for factor in "ab"
            for bit in range(18)
        )
        product = ", ".join(f".P{bit}(product[{bit}])" for bit in range(width["product"]))
        registers = ", ".join(
            f'.REG_{place}_CLK("CLK0"), .REG_{place}_CE("CE0"), .REG_{place}_RST("RST0")'
            for place in ("INPUTA", "INPUTB", "OUTPUT")
        )
        text.append(
            f"module {name}(input clk, input rst, input [{width['a'] - 1}:0] a, input [{width['b'] - 1}:0] b, "
            f"output [{width['product'] - 1}:0] product);\n"
            f'MULT18X18D #({registers}, .RESETMODE("SYNC")) block (.CLK0(clk), .CE0(1\'b1), .RST0(rst), {factors}, '
            f".SIGNEDA(1'b{signed}), .SIGNEDB(1'b{signed}), .SOURCEA(1'b0), .SOURCEB(1'b0), {product});\nendmodule\n"
        )
    return "".join(text)


def gated_adders(rtlil: str) -> str:
    """Verilog that puts each ``hw.pe.accumulate.GatedAdder`` of ``rtlil`` into a carry chain alone.

    A bit's table is the addend's, or with ``keep`` the exclusive or with the total's; where the carry does not pass, both agree,
    or the addend's bit is 0. Ports and tables of the cell: Yosys, ``techlibs/ecp5/cells_sim.v`` (CCU2C).
    """
    text = []
    for name, width, _ in _modules(rtlil, "gated_adder"):
        last, carried = width["addend"] - 1, "carry" in width
        cells = _carry_chain(
            "6CCC",
            [
                {
                    "A": f"total[{bit}]",
                    "B": f"addend[{min(bit, last)}]",
                    "C": "keep",
                    "D": "1'b1",
                    "S": f"sum[{bit}]",
                }
                for bit in range(width["sum"])
            ],
            carry="carry" if carried else "",
        )
        text.append(
            f"module {name}(input [{width['total'] - 1}:0] total, input keep, input [{last}:0] addend, "
            f"{'input carry, ' * carried}output [{width['sum'] - 1}:0] sum);\n{cells}endmodule\n"
        )
    return "".join(text)


def shifted_adders(rtlil: str) -> str:
    """Verilog that puts each ``hw.pe.accumulate.ShiftedAdder`` of ``rtlil`` into a carry chain alone.

    Of a CCU2C's table, what the carry is where it does not pass stands at C = D = 0: so these are the inputs with which the
    addend is 0 whatever B is, D for ``far`` and C for the bit that is taken without it. The carry is then the total's bit.
    """
    text = []
    for name, width, _ in _modules(rtlil, "shifted_adder"):
        shift, last, carried = width["fill"], width["addend"] - 1, "carry" in width
        cells = _carry_chain(
            "665A",
            [
                {
                    "A": f"total[{min(bit, width['total'] - 1)}]",
                    "B": f"fill[{bit}]" if bit < shift else f"addend[{min(bit - shift, last)}]",
                    "C": f"addend[{min(bit, last)}]",
                    "D": "far",
                    "S": f"sum[{bit}]",
                }
                for bit in range(width["sum"])
            ],
            carry="carry" if carried else "",
        )
        text.append(
            f"module {name}(input [{width['total'] - 1}:0] total, input [{last}:0] addend, input far, "
            f"input [{shift - 1}:0] fill, {'input carry, ' * carried}output [{width['sum'] - 1}:0] sum);\n"
            f"{cells}endmodule\n"
        )
    return "".join(text)


def signed_adders(rtlil: str) -> str:
    """Verilog that puts each ``hw.pe.accumulate.SignedAdder`` of ``rtlil`` into a carry chain alone.

    A bit's table is the exclusive or of both bits and both signs. Where the carry does not pass, both addends' bits agree: it is
    the first one's, which is what the table says at C = D = 0.
    """
    text = []
    for name, width, _ in _modules(rtlil, "signed_adder"):
        signs = "a_negative" in width
        a, b = (f"{side}_negative" if signs else "1'b0" for side in "ab")
        cells = _carry_chain(
            "6996",
            [
                {
                    "A": f"a[{min(bit, width['a'] - 1)}]",
                    "B": a,
                    "C": f"b[{min(bit, width['b'] - 1)}]",
                    "D": b,
                    "S": f"sum[{bit}]",
                }
                for bit in range(width["sum"])
            ],
            carry="carry",
        )
        text.append(
            f"module {name}(input [{width['a'] - 1}:0] a, input [{width['b'] - 1}:0] b, "
            f"{'input a_negative, input b_negative, ' * signs}input carry, output [{width['sum'] - 1}:0] sum);\n"
            f"{cells}endmodule\n"
        )
    return "".join(text)


def table_selects(rtlil: str) -> str:
    """Verilog that makes each ``hw.pe.lookup.TableSelect`` of ``rtlil`` of the slices' own multiplexers.

    Four look-up tables choose between two entries each, PFUMX and L6MUX21 between their outputs: four for a bit of eight entries.
    nextpnr packs up to 16 entries so, further ones are joined by look-up tables again.
    Yosys gives a PFUMX two tables of the same inputs only, nextpnr any two. Ports: Yosys, ``techlibs/ecp5/cells_sim.v``.
    """
    text = []
    for name, width, _ in _modules(rtlil, "table_select"):
        bits, depth = width["entry"], width["index"]
        cells = []
        for bit in range(bits):
            nets = []
            for pair in range(1 << depth - 1):
                low, high = (f"entries[{(2 * pair + one) * bits + bit}]" for one in (0, 1))
                nets.append(f"bit_{bit}_0_{pair}")
                cells.append(_choice(0, low, high, nets[-1]))
            for level in range(1, depth):
                joined = [f"bit_{bit}_{level}_{pair}" for pair in range(len(nets) // 2)]
                for place, net in enumerate(joined):
                    low, high = nets[2 * place : 2 * place + 2]
                    cells.append(_choice(level, low, high, net))
                nets = joined
            cells.append(f"assign entry[{bit}] = {nets[0]};")
        text.append(
            f"module {name}(input [{width['entries'] - 1}:0] entries, input [{depth - 1}:0] index, "
            f"output [{bits - 1}:0] entry);\n" + "\n".join(cells) + "\nendmodule\n"
        )
    return "".join(text)


def _choice(level: int, low: str, high: str, net: str) -> str:
    """The cell that chooses by bit ``level`` of an index."""
    index = f"index[{level}]"
    if level == 1:
        return f"PFUMX mux_{net} (.ALUT({high}), .BLUT({low}), .C0({index}), .Z({net}));"
    if level in (2, 3):
        return f"L6MUX21 mux_{net} (.D0({low}), .D1({high}), .SD({index}), .Z({net}));"
    return f"LUT4 #(.INIT(16'hCACA)) mux_{net} (.A({low}), .B({high}), .C({index}), .D(1'b0), .Z({net}));"


def _carry_chain(table: str, bits: Sequence[dict[str, str]], *, carry: str = "") -> str:
    """Cells of a chain whose first half gives the carry, or 0: half a cell where nextpnr would spend one on it."""
    nothing = dict.fromkeys("ABCD", "1'b0") | {"S": ""}
    first = ("0008", nothing | {"A": carry, "B": "1'b1", "D": "1'b1"}) if carry else ("0000", nothing)
    halves = [first, *((table, bit) for bit in bits)]
    halves += [("0000", nothing)] * (len(halves) % 2)
    text = [f"wire [{len(halves) // 2}:0] carries;\nassign carries[0] = 1'b0;\n"]
    for place, pair in enumerate(zip(halves[::2], halves[1::2], strict=True)):
        tables = ", ".join(f".INIT{half}(16'h{table})" for half, (table, _) in enumerate(pair))
        pins = ", ".join(
            f".{pin}{half}({what})" for half, (_, bit) in enumerate(pair) for pin, what in bit.items()
        )
        text.append(
            f'CCU2C #({tables}, .INJECT1_0("NO"), .INJECT1_1("NO")) bits_{place} '
            f"(.CIN(carries[{place}]), {pins}, .COUT(carries[{place + 1}]));\n"
        )
    return "".join(text)


def loosen_carries(netlist: dict) -> None:
    """Take carries from the netlist that nothing depends on: nextpnr spends a cell on each that enters or leaves a chain.

    That is what goes out and is not read, and what goes into a first half that never lets it pass.
    """
    for module in netlist["modules"].values():
        cells = module["cells"].values()
        inputs = (
            bits for cell in cells for port, bits in cell["connections"].items()
            if cell["port_directions"].get(port) != "output"
        )  # fmt: skip
        read = {
            bit for bits in [*inputs, *(port["bits"] for port in module["ports"].values())] for bit in bits
        }
        for cell in cells:
            if cell["type"] == "CCU2C":
                pins = cell["connections"]
                if not read.intersection(pins["COUT"]):
                    pins["COUT"] = ["x"]
                # With D at 1, the upper half of the table alone says whether it passes.
                if not int(cell["parameters"]["INIT0"], 2) >> (8 if pins["D0"] == ["1"] else 0):
                    pins["CIN"] = ["x"]


def _modules(rtlil: str, kind: str) -> list[tuple[str, dict[str, int], set[str]]]:
    """Modules of a component that is replaced: name, widths of the ports, and which of these are signed."""
    found = []
    for name in re.findall(rf"^module \\(\S*_{kind}(?:_\d+)?)$", rtlil, re.MULTILINE):
        body = rtlil[rtlil.index(f"module \\{name}\n") :].split("\nend\n", 1)[0]
        ports = re.findall(
            r"^  wire (?:width (\d+) )?(?:input|output) \d+ +(signed )?\\(\w+)$", body, re.MULTILINE
        )
        width = {port: int(bits or 1) for bits, _, port in ports}
        found.append((name, width, {port for _, sign, port in ports if sign}))
    return found


def without_collisions(rtlil: str) -> str:
    """``rtlil`` with clocked memory reads free to give anything for a word that is written in the same cycle.

    Nothing in an accelerator looks at such a word; and block RAM that would have to give the old one gets a comparator,
    a register and a multiplexer around it.
    """
    blocks = re.split(r"(?=^  cell \$memrd_v2 )", rtlil, flags=re.MULTILINE)
    result = []
    for block in blocks:
        cell, end, rest = block.partition("\n  end\n")
        if cell.startswith("  cell $memrd_v2 ") and "\\CLK_ENABLE 1" in cell:
            cell = re.sub(r"(?<=COLLISION_X_MASK )(\d+)'0+", lambda m: f"{m[1]}'" + "1" * int(m[1]), cell)
        result.append(cell + end + rest)
    return "".join(result)


def small_memories(rtlil: str) -> str:
    """``rtlil`` with memories of up to 64 words in distributed RAM: what block RAM puts out comes late in its cycle."""

    def mark(memory: re.Match) -> str:
        style = '  attribute \\ram_style "distributed"\n' if int(memory[1]) <= SMALL_WORDS else ""
        return style + memory[0]

    return re.sub(r"^  memory width \d+ size (\d+) ", mark, rtlil, flags=re.MULTILINE)


def _factor_bit(factor: str, bit: int, width: int, signed: int) -> str:
    """Bit ``bit`` of a factor that is extended to the block's width."""
    if bit < width:
        return f"{factor}[{bit}]"
    return f"{factor}[{width - 1}]" if signed else "1'b0"


def synthesise(
    rtlil: str,
    *,
    name: str,
    flow: Flow | None = None,
    yosys: Sequence[str] | None = None,
    timeout: float = 1800,
) -> Synthesised:
    """Synthesise ``rtlil`` with top module ``name``; ``yosys`` is another command than the wheel's.

    Raises ``sim.tools.ToolError`` when Yosys is missing, fails or takes longer than ``timeout`` seconds.
    """
    flow = flow or Flow()
    options = " ".join(flow.synthesis_options)
    blocks = (
        gated_adders(rtlil) + shifted_adders(rtlil) + signed_adders(rtlil) + table_selects(rtlil)
        + (dsp_multipliers(rtlil) if flow.dsp else "")
    )  # fmt: skip
    rtlil = small_memories(without_collisions(rtlil))
    script = (
        "read_rtlil design.il\n" + ("techmap -map blocks.v\n" if blocks else "")
        + f"synth_ecp5 {options} -top {name} -json netlist.json\n"
        "check -assert\ntee -q -o statistics.json stat -json\n"
    )  # fmt: skip
    with tools.working_folder("synthesis") as folder:
        (folder / "design.il").write_text(rtlil)
        (folder / "blocks.v").write_text(blocks)
        (folder / "script.ys").write_text(script)
        command = [*(yosys or tools.yowasp("yosys")), "-q", "-l", "log.txt", "-s", "script.ys"]
        try:
            tools.run(command, folder=folder, name="yosys synth_ecp5", timeout=timeout)
        except tools.ToolError as error:
            # What fails after the first pass that runs ABC is in the log only.
            last = (
                (folder / "log.txt").read_text().splitlines()[-10:] if (folder / "log.txt").exists() else []
            )
            raise tools.ToolError("\n".join([str(error), *last])) from error
        netlist = _read(folder / "netlist.json")
    pack_output_registers(netlist)
    loosen_carries(netlist)
    cells = count_cells(netlist, top=name)
    return Synthesised(netlist=json.dumps(netlist), cells=cells, flow=flow, name=name)


def place(
    synthesised: Synthesised,
    *,
    seeds: Sequence[int] = (1,),
    timeout: float = 1800,
    progress: Callable[[int], None] | None = None,
) -> Placed:
    """Place and route out of context, once per seed.

    Parameters
    ----------
    timeout
        Seconds for each seed.
    progress
        Told each seed as it begins.

    Raises
    ------
    sim.tools.ToolError
        nextpnr is missing, failed (the design does not fit) or took too long.
    FigureError
        Its report lacks a figure.
    """
    if not seeds:
        raise ValueError(f"seeds must be at least one, not {seeds!r}")
    flow = synthesised.flow
    reports = []
    with tools.working_folder("place") as folder:
        (folder / "netlist.json").write_text(synthesised.netlist)
        for seed in seeds:
            if progress:
                progress(seed)
            report = folder / f"report{seed}.json"
            # The target only guides the tool: what was reached is read from the report, never taken for granted.
            command = [
                *tools.yowasp("nextpnr-ecp5"), f"--{flow.device}", "--package", flow.package, "--speed", str(flow.speed),
                "--out-of-context", "--freq", str(flow.frequency), "--timing-allow-fail", "--seed", str(seed), "--quiet",
                "--json", "netlist.json", "--report", report.name,
            ]  # fmt: skip
            tools.run(command, folder=folder, name="nextpnr-ecp5", timeout=timeout)
            reports.append(_read(report))
    areas = {_area(report) for report in reports}
    return Placed(
        area=max(areas, key=lambda area: area.luts),
        frequencies=tuple(_frequency(report) for report in reports),
        seeds=tuple(seeds),
        flow=flow,
        critical_paths=tuple(_path(report) for report in reports),
    )


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FigureError(f"{path.name} was not written: {error}") from error


def _figure(table: dict, *keys: str):
    for key in keys:
        if not isinstance(table, dict) or key not in table:
            raise FigureError(f"the report has no {' / '.join(keys)}")
        table = table[key]
    return table


def _area(report: dict) -> Area:
    def used(kind: str) -> int:
        return int(_figure(report, "utilization", kind, "used"))

    return Area(
        luts=used("TRELLIS_COMB"),
        flip_flops=used("TRELLIS_FF"),
        dsps=used("MULT18X18D"),
        block_rams=used("DP16KD"),
    )


def _frequency(report: dict) -> float:
    clocks = _figure(report, "fmax")
    if not clocks:
        raise FigureError("the report has no clock: the design has no path between registers")
    return min(float(_figure(clocks, clock, "achieved")) for clock in clocks)


def _path(report: dict) -> tuple[str, ...]:
    """Cells on the slowest path from clock to the same clock."""
    paths = [p for p in report.get("critical_paths", []) if p.get("from") == p.get("to")]
    if not paths:
        return ()
    slowest = max(paths, key=lambda p: sum(step["delay"] for step in p["path"]))
    return tuple(f"{step['to']['cell']} {step['type']} {step['delay']:.2f}" for step in slowest["path"])
