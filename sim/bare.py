"""The compiled model without a test bench: how fast the same Verilog runs when C++ alone drives it."""

from __future__ import annotations

from dataclasses import dataclass

from sim import simulate, tools, verilator


@dataclass(frozen=True, kw_only=True)
class BareResult:
    """What came of a run."""

    memory: bytes
    """The bytes of ``Job.output`` after the run."""
    cycles: int
    """Cycles from the start's handshake to the interrupt."""
    seconds: float
    """Wall time from the first register write to the interrupt."""

    @property
    def cycles_per_second(self) -> float:
        """Simulated cycles in a second of wall time."""
        return self.cycles / self.seconds


def run(
    verilog: str,
    job: simulate.Job,
    *,
    top: str,
    data_bytes: int,
    address_width: int,
    notify: verilator.Notify | None = None,
    timeout: float | None = None,
    start: int | None = None,
) -> BareResult:
    """Run ``job`` with the exact memory; arguments and errors as in :func:`sim.simulate.simulate_all`.

    With ``start``, 1 or more, registers that have no value before a reset begin with random ones of this seed, not with 0.
    """
    program = verilator.build(
        simulate.bench_sources(verilog, external=False),
        top="harness",
        main=simulate.BENCH / "bare.cpp",
        defines={"DUT": top},
        parameters=simulate.parameters([job], data_bytes=data_bytes, address_width=address_width),
        vpi=False,
        notify=notify,
    )
    work = simulate.describe(job, data_bytes)
    timing = work["timing"]
    numbers = [timing[name] for name in ("read_latency", "write_latency", "interval", "outstanding")]
    numbers += [work["base"], work["beats"], *work["dump"], work["limit"], len(work["writes"])]
    numbers += [number for write in work["writes"] for number in write]
    with tools.working_folder("bare") as folder:
        (folder / "job.txt").write_text(" ".join(map(str, numbers)))
        (folder / "image0.hex").write_text(simulate.to_hex(job.image, data_bytes))
        random = [] if start is None else ["+verilator+rand+reset+2", f"+verilator+seed+{start}"]
        text = tools.run([program, *random], folder=folder, name="model", timeout=timeout)
        cycles, seconds = text.split()[-2:]
        data = simulate.from_hex((folder / "dump0.hex").read_text(), data_bytes)
    return BareResult(memory=simulate.cut(data, job, data_bytes), cycles=int(cycles), seconds=float(seconds))
