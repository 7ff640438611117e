"""What the tests of control share: a small design, and a simulation with one bench."""

from amaranth.sim import Simulator

from hw.design import Design, Geometry


def design(data_bytes=8, address_width=32, settings=0):
    geometry = Geometry(
        tile_rows=4,
        columns=4,
        tile_depth=1,
        activation_bytes=data_bytes,
        weight_bytes=data_bytes,
        weight_words=1,
        settings=settings,
    )
    return Design(
        geometry=geometry,
        data_bytes=data_bytes,
        address_width=address_width,
        burst_beats=16,
        outstanding=2,
        activation_words=1024,
        weight_words=1024,
        accumulator_rows=64,
        parameter_entries=32,
        output_lanes=1,
        queue_depth=2,
    )


def simulate(component, testbench):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
