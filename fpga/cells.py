"""Cells of an ECP5 in place of components that Yosys would make worse ones of: Verilog for ``techmap``, from a design's RTLIL."""

from __future__ import annotations

import re
from collections.abc import Sequence


def replacements(rtlil: str, *, dsp: bool) -> str:
    """All of them; multipliers only where they may use DSP blocks."""
    kinds = (gated_adders, shifted_adders, signed_adders, table_selects)
    return "".join(kind(rtlil) for kind in (*kinds, *[dsp_multipliers] * dsp))


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
            f"MULT18X18D #({registers}, .RESETMODE(\"SYNC\")) block (.CLK0(clk), .CE0(1'b1), .RST0(1'b0), {factors}, "
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


def _factor_bit(factor: str, bit: int, width: int, signed: int) -> str:
    """Bit ``bit`` of a factor that is extended to the block's width."""
    if bit < width:
        return f"{factor}[{bit}]"
    return f"{factor}[{width - 1}]" if signed else "1'b0"
