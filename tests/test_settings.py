# amaranth: UnusedElaboratable=no
"""The way of a setting: from the family through the program to the core, which holds it from its place in the order on."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring

from gen.compiler import compile_gemm
from gen.compiler.check import problems
from gen.verilog import to_verilog
from hw.accelerator import Accelerator
from hw.control.isa import FETCH_SOURCE, Error, Opcode, Queue, Token, assemble, disassemble
from hw.control.registers import STATUS_DONE, STATUS_ERROR
from hw.design import Design, Geometry
from hw.formats import Operand
from hw.interfaces import core_members, execute_command
from hw.timing import ACCUMULATE
from sim import interpreter, simulate
from sim.cycles.memory import MemoryTiming
from sim.cycles.program import predict
from tests.reference_array import PAIRS, SPECIAL, Reference, design

FAMILY = Reference(rows=4, columns=4, data_bytes=8, stationary=False)
SETTINGS = 3
DESIGN = Design(
    geometry=Geometry(
        tile_rows=1,
        columns=1,
        tile_depth=1,
        activation_bytes=8,
        weight_bytes=1,
        weight_words=1,
        settings=SETTINGS,
    ),
    data_bytes=8,
    address_width=32,
    burst_beats=16,
    outstanding=2,
    activation_words=16,
    weight_words=16,
    accumulator_rows=16,
    parameter_entries=8,
    output_lanes=1,
)
BASE, SIZE, OUT = 0x1000, 0x1000, 0x1800


class Teller(wiring.Component):
    """A core without an array: the result of an EXECUTE is the setting that its ``activations_address`` names, a cycle later."""

    def __init__(self):
        super().__init__(core_members(DESIGN))

    def elaborate(self, platform):
        m = Module()
        settings = Array(Signal(32, name=f"setting_{i}") for i in range(SETTINGS))
        command, which, taken = self.command.payload, Signal(range(SETTINGS)), Signal()
        m.d.comb += [
            taken.eq(self.command.valid & self.command.ready),
            self.command.ready.eq(~self.halt),
            self.busy.eq(self.results.valid),
            self.step.eq(self.results.valid),
            self.results.data[0].eq(settings[which]),
        ]
        m.d.sync += [
            which.eq(command.activations_address),
            self.results.valid.eq(taken & ~command.configure),
            self.results.last.eq(taken),
            self.results.address.eq(command.accumulators_address),
            self.results.accumulate.eq(command.accumulate),
        ]
        with m.If(taken & command.configure):
            m.d.sync += settings[command.setting].eq(command.value)
        return m


@dataclass
class Times:
    taken: int
    finished: int
    steps: int


class TellerModel:
    """Golden execute and cycle law of ``Teller``."""

    def activation_bytes(self, variant, steps):
        return steps

    def weight_words(self, variant, depth_tiles):
        return 1

    def execute(self, fields, activations, weights, settings=()):
        return np.array([[settings[fields["activations_address"]]]], np.uint32).view(np.int32)

    def law(self):
        return TellerLaw()


class TellerLaw:
    def execute(self, visible, fields, weights=None):
        return Times(visible, visible + 1 + ACCUMULATE + 1, 1)

    def configure(self, visible, fields):
        return Times(visible, visible + 1 + ACCUMULATE + 1, 0)


def configure(setting, value, **fields):
    return assemble(Opcode.CONFIGURE, setting=setting, value=value, **fields)


def tell(setting, row, **fields):
    return assemble(
        Opcode.EXECUTE,
        activations_address=setting,
        accumulators_address=row,
        row_tiles=1,
        column_tiles=1,
        depth_tiles=1,
        **fields,
    )


def store(rows):
    ready = 1 << Token.RESULTS_READY
    return assemble(
        Opcode.STORE, wait=ready, memory_address=OUT, memory_stride=4, rows=rows, columns=1, variant=0
    )


POST = {"post": 1 << Token.RESULTS_READY}
ORDER = [
    tell(2, 6),
    configure(0, 0x01234567),
    configure(2, 0xFFFFFFFE),
    tell(0, 0),
    configure(0, 0x89ABCDEF),
    tell(0, 1),
    tell(1, 2),
    *[one for i in range(3) for one in (configure(1, i), tell(1, 3 + i))],
    tell(2, 7),
    configure(0, 5, **POST),
    store(8),
]
TOLD = [0x01234567, 0x89ABCDEF, 0, 0, 1, 2, 0, 0xFFFFFFFE]
AGAIN = [*(tell(i, i) for i in range(2)), tell(2, 2, **POST), store(3)]
KEPT = [5, 2, 0xFFFFFFFE]


@pytest.fixture(scope="module")
def teller():
    return to_verilog(Accelerator(design=DESIGN, core=Teller()), name="teller")


def job(program, **options):
    image = np.zeros(SIZE, np.uint8)
    code = b"".join(program)
    image[: len(code)] = np.frombuffer(code, np.uint8)
    registers = {
        "program_address": BASE,
        "program_length": len(program),
        "window_first": BASE,
        "window_last": BASE + SIZE - 1,
    }
    return simulate.Job(image=image.tobytes(), base=BASE, registers=registers, limit=100_000, **options)


def simulated(verilog, jobs):
    return simulate.simulate_all(verilog, jobs, top="teller", data_bytes=8, address_width=32)


def told(memory, rows):
    return np.frombuffer(memory, "<u4")[(OUT - BASE) // 4 :][:rows].tolist()


@pytest.mark.long
def test_the_core_has_them_in_order_and_keeps_them(teller):
    """Through fetch, decode, queue and core; the last CONFIGURE's token starts the STORE. A fault and a new start change none."""
    wrong = [configure(3, 9), *AGAIN]
    good, failed, again = simulated(teller, [job(ORDER), job(wrong, reset=False), job(AGAIN, reset=False)])
    assert good.ok
    assert told(good.memory, 8) == TOLD
    assert failed.status == 1 << STATUS_DONE | 1 << STATUS_ERROR
    assert (failed.error, failed.error_instruction) == (Error.FIELD | FETCH_SOURCE << 8, 0)
    assert again.ok
    assert told(again.memory, 3) == KEPT


def test_models_say_the_same(teller):
    timing = MemoryTiming()
    program = [disassemble(one) for one in ORDER]
    (result,) = simulated(teller, [job(ORDER, timing=timing)])
    predicted = predict(DESIGN, TellerModel().law(), program, timing)
    assert (predicted.cycles, predicted.array_steps) == (
        result.counters["cycles"],
        result.counters["array_steps"],
    )
    assert predicted.array_steps == sum(one.opcode is Opcode.EXECUTE for one in program)
    parts = sum(count for name, count in result.counters.items() if name.startswith("execute_"))
    assert parts + predicted.array_steps == predicted.cycles
    memory = np.frombuffer(job(ORDER).image, np.uint8).copy()
    assert interpreter.run(
        DESIGN, TellerModel(), memory, BASE, len(ORDER), (BASE, BASE + SIZE - 1), base=BASE
    ).passed
    assert memory.tobytes() == result.memory


def test_commands_have_room_for_a_setting_only_where_there_are_any():
    names = set(execute_command(DESIGN).members) - set(execute_command(plain(DESIGN)).members)
    assert names == {"configure", "setting", "value"}


def plain(chip):
    return replace(chip, geometry=replace(chip.geometry, settings=0))


# The compiler ---------------------------------------------------------------------------------------------------


def compiled(**memory):
    chip = design(FAMILY, **memory)
    return chip, compile_gemm(chip, FAMILY, 5, 70, 30, formats=tuple(format.name for format in PAIRS[3]))


@pytest.mark.parametrize("memory", [{}, {"activations": 256, "weights": 256, "accumulators": 16}], ids=str)
def test_a_program_sets_what_it_needs_once_before_all_executes(memory):
    chip, program = compiled(**memory)
    mine = [one for one in program.instructions if one.opcode.queue is Queue.EXECUTE]
    settings = [(i, value % (1 << 32)) for i, value in enumerate(SPECIAL)]
    assert [(one.opcode, one.setting, one.value) for one in mine[:2]] == [
        (Opcode.CONFIGURE, *setting) for setting in settings
    ]
    assert {one.opcode for one in mine[2:]} == {Opcode.EXECUTE}
    assert [(one.wait, one.post) for one in mine[:2]] == [(0, 0)] * 2
    # No LOAD waits behind them that the first EXECUTE waits for.
    assert program.instructions[0].opcode is Opcode.LOAD
    place = program.instructions.index(mine[0])
    assert program.instructions[place : place + 3] == mine[:3]
    assert problems(chip, FAMILY.model(), program.binary) == []
    assert f"configure variant=0 setting=1 value={SPECIAL[1]}" in program.listing()


def test_other_formats_set_nothing():
    program = compile_gemm(design(FAMILY), FAMILY, 5, 70, 30)
    assert {one.opcode for one in program.instructions} == {Opcode.LOAD, Opcode.EXECUTE, Opcode.STORE}


def test_results_depend_on_the_settings():
    """Another value, a later CONFIGURE, none at all: another product."""
    chip, program = compiled()
    generator = np.random.default_rng(4)
    shapes = ((PAIRS[3][0], (5, 70), 1), (PAIRS[3][1], (70, 30), 0))
    x, w = (
        Operand(format=f, codes=generator.integers(0, 1 << f.bits, shape, np.uint8), depth_axis=axis)
        for f, shape, axis in shapes
    )
    image = program.image(x, w)
    place = next(i for i, one in enumerate(program.instructions) if one.opcode is Opcode.CONFIGURE)
    start = program.address - program.base + 32 * place

    def outputs(*changed):
        memory = image.copy()
        for i, one in enumerate(changed):
            memory[start + 32 * i :][:32] = np.frombuffer(one, np.uint8)
        where = (program.address, program.length, program.window)
        assert interpreter.run(chip, FAMILY.model(), memory, *where, base=program.base).passed
        return program.read_output(memory)

    def product(values):
        weights = np.array([*range(-7, 7), *values])[w.codes]
        return (x.integers() @ weights).astype(np.int32)

    assert np.array_equal(outputs(), product(SPECIAL))
    assert np.array_equal(outputs(configure(0, 9)), product((9, SPECIAL[1])))
    assert np.array_equal(outputs(configure(1, 9), configure(1, 8)), product((0, 8)))


def test_the_checker_finds_a_setting_that_the_array_lacks():
    chip, program = compiled()
    complaints = problems(plain(chip), FAMILY.model(), program.binary)
    assert [line.partition(": ")[2] for line in complaints] == [
        f"sets setting {i} of an array with 0" for i in range(2)
    ]
    assert problems(chip, FAMILY.model(), configure(2, 0)) == [
        "instruction 0: sets setting 2 of an array with 2"
    ]
