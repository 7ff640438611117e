"""From the three queues to one program: an order in which no queue starves, and the tokens."""

from __future__ import annotations

from bisect import bisect_right

from gen.compiler.schedule import Queues, Step
from hw.control.isa import Destination, Opcode, Token

_READY: dict[int, Token] = {
    Destination.ACTIVATIONS: Token.ACTIVATIONS_READY,
    Destination.WEIGHTS: Token.WEIGHTS_READY,
    Destination.PARAMETERS: Token.PARAMETERS_READY,
}
_FREE: dict[int, Token] = {
    Destination.ACTIVATIONS: Token.ACTIVATIONS_FREE,
    Destination.WEIGHTS: Token.WEIGHTS_FREE,
    Destination.PARAMETERS: Token.PARAMETERS_FREE,
}
"""What the LOAD of a destination gives, and what it takes."""


def interleave(queues: Queues, queue_depth: int) -> list[Step]:
    """One order for all steps: whoever waits comes after whoever is waited for.

    LOADs come as early as that allows, but only so many before the EXECUTE that needs them as a queue holds: the rest
    of them would keep that EXECUTE from being handed out. Settings come just before the first EXECUTE, behind the LOADs that it
    waits for: these are fetched first.
    """
    ahead = max(1, queue_depth - 2)
    program: list[Step] = []
    done: set[int] = set()  # steps that stand in the program, by identity
    emitted = 0
    stores = {id(store.after[0]): store for store in queues.stores}

    def append(step: Step) -> None:
        program.append(step)
        done.add(id(step))

    for execute in queues.executes:
        due = bisect_right(queues.wanted, execute.index)
        while emitted < min(len(queues.loads), due + ahead):
            load = queues.loads[emitted]
            if emitted >= due and any(id(step) not in done for step in load.after):
                break
            append(load)
            emitted += 1
        if execute is queues.executes[0]:
            program += queues.settings
        append(execute)
        if id(execute) in stores:
            append(stores[id(execute)])
    return program


def _token(giver: Step, taker: Step) -> Token:
    """The token that says ``giver`` has ended to ``taker``."""
    if giver.opcode is Opcode.LOAD:
        return _READY[giver.fields["variant"]]
    if taker.opcode is Opcode.LOAD:
        return _FREE[taker.fields["variant"]]
    return Token.ACCUMULATORS_FREE if giver.opcode is Opcode.STORE else Token.RESULTS_READY


def give_tokens(program: list[Step]) -> None:
    """Fill in ``wait`` and ``post``.

    Queues end in order, so a token of one kind stands for everything before it, too: a step waits only for what none
    before it in its queue has waited for, and only what somebody waits for is posted. Then the n-th post of a kind is
    that of its n-th wait.
    """
    latest = dict.fromkeys(Token, -1)
    for step in program:
        wanted: dict[Token, Step] = {}
        for giver in step.after:
            token = _token(giver, step)
            if giver.index > latest[token] and (token not in wanted or giver.index > wanted[token].index):
                wanted[token] = giver
        step.fields["wait"], step.fields["post"] = 0, 0
        for token, giver in wanted.items():
            latest[token] = giver.index
            step.fields["wait"] |= 1 << token
            giver.fields["post"] |= 1 << token
