"""Cycles of a whole GEMM, exactly, from a part of its program.

``Predictor.predict`` predicts the program with periods of equal parts left out (``gen.compiler.shorten``) and adds what they
take: the time from the end of one period to the end of the next, as often as one is missing. That is exact, no estimate:

* What the model does from some cycle on is a function of the instructions still to come and of its state: what is under way
  in fetch, queues, units, array and memory, and the tokens given. Two cycles with the same state, all times counted from
  there, and the same instructions to come go on alike.
* The state at the end of a period is that of one period before when everything in a *window* before it happened a period
  earlier as well, in the same order at the same distances. The window is a period or more, and so long that every
  instruction before it had ended ``PAST`` cycles ago: what is older delays nothing any more, as every rule is a maximum of
  such times and of later ones. Compared are **all events** of the model in the window, and of each instruction when it was
  handed over, came to the head of its queue, and ended; and the instructions themselves (``Shortened.same``). Only the ends of
  STOREs that are older than the window are left out: they do nothing but give tokens. Of the tokens
  that older ones gave as many are left as a period before, since a period takes what it gives.
* Addresses enter by the bursts that they make, and these are compared. Only STOREs, whose place in a page changes from part
  to part, may differ in how long they take. Each STORE before a cut is then the slowest of those that it stands for, and has
  to be *idle*: its tokens are there before anybody looks for them, and its unit waits for the next one. So a faster one
  changes nothing.

Where that does not come about, or too little can be left out, the whole program is predicted. Where instructions are issued in
order everything waits for each LOAD and STORE: of a LOAD then only the number of its bursts and beats counts, and STOREs that
stand for others must all take equally long. Where cycles depend on the
weights (arrays that skip terms or digits of zero) no part stands for another: the whole program is predicted with random
weights of a stated seed.
"""

from __future__ import annotations

import gc
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from gen import workload
from gen.compiler.compile import Plan, compile_gemm, make_gemm, make_plan, too_long
from gen.compiler.repeats import Gaps, Letters, choose, first_stays
from gen.compiler.shorten import Cut, Shortened, Stores
from gen.errors import RequestError
from gen.families.contract import Family
from hw.control.isa import FIELDS, INSTRUCTION_BYTES, Instruction, Opcode, OutputMode, Token
from hw.design import Design, ceil_div
from hw.timing import TOKEN
from sim.cycles.memory import MemoryTiming
from sim.cycles.prediction import Prediction, Trace, WeightsNeeded
from sim.cycles.program import predict

PAST = 64
"""Cycles after which nothing delays anything any more: more than any number in ``hw.timing``."""
TRIES = 6
"""Each leaves less out than the one before."""
FEW = 0.25
"""Share of the groups that may be left as they are for the others to be cut as before."""
FREED = (Token.ACCUMULATORS_FREE, Token.PARAMETERS_FREE)
"""What STOREs give."""

_ZEROS = {opcode: {field.name: 0 for field in fields} for opcode, fields in FIELDS.items()}


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looks for cycles of garbage, which take an eighth of the time: hardly any of a program's many steps is garbage."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What a GEMM takes.

    Members
    -------
    cycles, array_steps, load_beats, fetch_beats, store_beats : int
        As the accelerator's counters.
    instructions, predicted : int
        Of the whole program; and those gone through one by one, which are all where nothing could be left out.
    activation_reads, weight_reads : int
        Words that EXECUTEs take from the scratchpads: for each tile the words of its rows of activations and of its column
        tile of weights; where weights stay in the array, those once per EXECUTE.
    results, additions : int
        Sums that EXECUTEs send to the accumulators, padding included, and those of them that are added to what is there.
    """

    cycles: int
    array_steps: int
    load_beats: int
    fetch_beats: int
    store_beats: int
    instructions: int
    predicted: int
    activation_reads: int
    weight_reads: int
    results: int
    additions: int


@dataclass
class Predictor:
    """Predicts GEMMs on one design; what goes the same way through the model is predicted once.

    Parameters
    ----------
    design : Design
    family : Family
    timing : MemoryTiming
        Of the exact memory.
    seed : int or None
        Of the weights, where cycles depend on them.
    """

    design: Design
    family: Family
    timing: MemoryTiming = field(default_factory=MemoryTiming)
    seed: int | None = None
    _known: dict[tuple[int, ...], Prediction] = field(default_factory=dict)
    _numbers: dict[Hashable, int] = field(default_factory=dict)
    _unsettled: set[int] = field(default_factory=set)

    def predict(
        self,
        M: int,
        K: int,
        N: int,
        *,
        mode: OutputMode = OutputMode.RAW,
        formats: tuple[str | None, str | None] = (None, None),
    ) -> Whole:
        """Of Y[M, N] = X[M, K] · W[K, N]; arguments and errors are those of ``compile_gemm``.

        Raises
        ------
        RequestError
            Also when cycles depend on the weights and there is no ``seed``.
        """
        plan = make_plan(self.design, self.family, make_gemm(M, K, N, mode, self.family.variant(*formats)))
        letters, stores = Letters(plan), Stores(self.design, self.timing, mode)
        try:
            with _uncollected():
                found = self._from_part(plan, letters, stores)
                if found:
                    return found
                every = Shortened(plan, letters, stores, Gaps(), self._numbers)
                too_long(len(every.steps))
                return self._sum(every, [], self._predicted(every))
        except WeightsNeeded:
            return self._with_weights(plan)

    def _from_part(self, plan: Plan, letters: Letters, stores: Stores) -> Whole | None:
        """From as few parts as settle; None when too few can be left out."""
        stays, complete = first_stays(plan, letters), set(self._unsettled)
        for _ in range(TRIES):
            gaps = choose(plan, letters, stays, complete)
            if gaps is None:
                return None
            short = Shortened(plan, letters, stores, gaps, self._numbers)
            failed, prediction = self._settled(short)
            if prediction:
                return self._sum(short, short.cuts, prediction)
            levels, groups = _levels(failed), {cut.group for cut in failed if cut.group is not None}
            if levels == {"blocks"} and len(groups) <= FEW * len(gaps.blocks):
                # As at the start, where queues are filled: these groups as they are, in what comes next, too.
                complete |= groups
                self._unsettled |= groups
            else:
                stays = {level: stay.longer if level in levels else stay for level, stay in stays.items()}
        return None

    def _settled(self, short: Shortened) -> tuple[list[Cut], Prediction | None]:
        """What is predicted, or the cuts before which it is not settled."""
        batch = self.design.fetch_batch
        failed = [cut for cut in short.cuts if cut.period % batch or not short.same(cut, cut.period)]
        if failed:
            return failed, None
        prediction = self._predicted(short)
        failed = [cut for cut in short.cuts if not _repeats(prediction, cut, short)]
        if not failed and not (_alike(short) if self.design.in_order else _idle(prediction, short)):
            failed = [cut for cut in short.cuts if cut.level != "blocks"]
        return failed, None if failed else prediction

    def _predicted(self, short: Shortened) -> Prediction:
        key = tuple(short.identities)
        if key not in self._known:
            program = [Instruction(step.opcode, _ZEROS[step.opcode] | step.fields) for step in short.steps]
            law = self.family.model().law()
            self._known[key] = predict(self.design, law, program, self.timing, traced=True)
        return self._known[key]

    def _sum(self, short: Shortened, cuts: list[Cut], prediction: Prediction) -> Whole:
        """Of the program with what was left out."""
        handed = _trace(prediction).handed
        times = [1] * len(short.steps)
        added: list[tuple[int, int]] = []
        for cut in cuts:
            start = cut.at - cut.period
            # Cuts within the period come before this one.
            inside = sum(cycles for at, cycles in added if start < at <= cut.at)
            added.append((cut.at, cut.repeats * (handed[cut.at - 1] - handed[start - 1] + inside)))
            times[start : cut.at] = [count * (1 + cut.repeats) for count in times[start : cut.at]]
        return self._counted(
            short.plan,
            [(step.opcode, step.fields) for step in short.steps],
            times,
            _trace(prediction).steps,
            cycles=prediction.cycles + sum(cycles for _, cycles in added),
            store_beats=short.store_beats,
        )

    def _counted(
        self,
        plan: Plan,
        program: Sequence[tuple[Opcode, dict[str, int]]],
        times: Sequence[int],
        steps: Sequence[int],
        *,
        cycles: int,
        store_beats: int,
    ) -> Whole:
        """All numbers, where each instruction of ``program`` stands ``times`` times in the whole one."""
        d, g, model, variant = self.design, self.design.geometry, self.family.model(), plan.gemm.variant
        stationary = getattr(self.family.config, "dataflow", "") == "weight-stationary"
        words: dict[int, tuple[int, int]] = {}
        load = activations = weights = results = additions = 0
        for (opcode, fields), count in zip(program, times, strict=True):
            if opcode is Opcode.LOAD:
                load += count * _load_beats(fields, d.data_bytes)
            elif opcode is Opcode.EXECUTE:
                depth, tiles = fields["depth_tiles"], fields["row_tiles"] * fields["column_tiles"]
                if depth not in words:
                    row = model.activation_bytes(variant, depth * g.tile_depth)
                    words[depth] = ceil_div(row, g.activation_bytes), model.weight_words(variant, depth)
                activations += count * tiles * g.tile_rows * words[depth][0]
                weights += count * (fields["column_tiles"] if stationary else tiles) * words[depth][1]
                results += count * tiles * g.tile_rows * g.columns
                additions += count * tiles * g.tile_rows * g.columns * fields["accumulate"]
        length = sum(times)
        plan.add_program(length)
        full, last = divmod(length, d.fetch_batch)
        batches = ((full, d.fetch_batch), (1, last))
        return Whole(
            cycles=cycles,
            array_steps=sum(count * each for count, each in zip(times, steps, strict=True)),
            load_beats=load,
            fetch_beats=sum(n * ceil_div(size * INSTRUCTION_BYTES, d.data_bytes) for n, size in batches),
            store_beats=store_beats,
            instructions=length,
            predicted=len(program),
            activation_reads=activations,
            weight_reads=weights,
            results=results,
            additions=additions,
        )

    def _with_weights(self, plan: Plan) -> Whole:
        """Of the whole program, with random operands of the seed."""
        if self.seed is None:
            raise RequestError(
                "seed is missing: how long this array takes depends on its weights, and must be predicted with random ones"
            )
        gemm, formats = plan.gemm, self.family.pairs[plan.gemm.variant]
        sizes = gemm.M, gemm.K, gemm.N
        load = workload.random(sizes, gemm.mode.name.lower(), self.seed, formats, self.family)
        program = compile_gemm(self.design, self.family, *sizes, mode=gemm.mode, formats=load.formats)
        image = program.image(load.x, load.w, *load.scaling)
        listed, law = program.instructions, self.family.model().law()
        prediction = predict(
            self.design, law, listed, self.timing, image=image, base=program.base, traced=True
        )
        return self._counted(
            plan,
            [(one.opcode, one.values) for one in listed],
            [1] * len(listed),
            _trace(prediction).steps,
            cycles=prediction.cycles,
            store_beats=prediction.store_beats,
        )


def _levels(cuts: Sequence[Cut]) -> set[str]:
    return {cut.level for cut in cuts}


def _load_beats(fields: dict[str, int], size: int) -> int:
    first, stride = fields["memory_address"], fields.get("memory_stride", 0)
    return sum(
        ceil_div((first + row * stride) % size + fields["row_bytes"], size) for row in range(fields["rows"])
    )


def _trace(prediction: Prediction) -> Trace:
    if prediction.trace is None:
        raise ValueError("prediction must be traced")
    return prediction.trace


def _repeats(prediction: Prediction, cut: Cut, short: Shortened) -> bool:
    """All that happened in a window before ``cut`` had happened a period earlier."""
    trace, finished, at, period = _trace(prediction), prediction.finished, cut.at, cut.period
    now, before = trace.handed[at - 1], trace.handed[at - 1 - period]
    start = next((place for place in range(at - period) if finished[place] > now - PAST), at - period)
    if start <= period or max(finished[: start - period]) > before - PAST:
        return False
    if not short.same(cut, at - start):
        return False
    edges = (start - period, at - period, start, at)
    pairs = [
        (times[edges[0] : edges[1]], times[edges[2] : edges[3]])
        for times in (trace.handed, trace.looked, finished)
    ]
    pairs.append((_events(prediction, short, *edges[:2]), _events(prediction, short, *edges[2:])))
    return all([time + now - before for time in earlier] == later for earlier, later in pairs)


def _events(prediction: Prediction, short: Shortened, first: int, last: int) -> list[int]:
    """Cycles of all that happens while the instructions ``first`` to ``last`` are handed over, without the ends of STOREs that
    were before them: these have ended long ago when the last is, and the tokens that they gave are still there, or are not.
    """
    trace, finished = _trace(prediction), prediction.finished
    edges = [trace.handed[edge - 1] for edge in (first, last)]
    found = trace.events[slice(*(bisect_right(trace.events, edge) for edge in edges))]
    if short.plan.design.in_order:
        return found
    ends: Counter[int] = Counter()
    for one in short.results[: bisect_left(short.results, first, key=lambda one: one.place)]:
        if finished[one.place] + TOKEN > edges[0]:
            ends[finished[one.place]] += 1
            ends[finished[one.place] + TOKEN - 1] += short.steps[one.place].fields["post"].bit_count()
    kept = []
    for cycle in found:
        if ends[cycle]:
            ends[cycle] -= 1
        else:
            kept.append(cycle)
    return kept


def _alike(short: Shortened) -> bool:
    """No STORE stands for others of another length: issued in order, everything waits for it."""
    return not any(one.slow for one in short.results)


def _idle(prediction: Prediction, short: Shortened) -> bool:
    """No STORE that stands for others of another length delays anything."""
    finished, looked = prediction.finished, _trace(prediction).looked
    slow = {result.place for result in short.results if result.slow}
    for one, following in pairwise(short.results):
        if one.slow and finished[following.place] - following.takes <= finished[one.place]:
            return False
    for token in FREED:
        givers, takers = (
            [place for place, step in enumerate(short.steps) if step.fields[mask] >> token & 1]
            for mask in ("post", "wait")
        )
        for giver, taker in zip(givers, takers, strict=True):
            if giver in slow and finished[giver] + TOKEN > looked[taker]:
                return False
    return True
