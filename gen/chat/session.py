"""A prompt, a model, an accelerator: what is said, and what it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gen.chat.attention import ArrayAttention, cache_variant
from gen.chat.device import Accelerator, Account, Device, Golden, Window
from gen.chat.generate import Decoder, generate
from gen.chat.network import Progress, Target, check_context, check_group, choose, grouped, load
from gen.chat.text import Stream, Text
from gen.config import Config
from gen.errors import RequestError
from gen.models.assignment import HEAD
from gen.models.file import ModelFile, ModelFileError
from gen.models.llama import Llama
from sim.cycles.memory import MemoryTiming

MEGA = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for.

    Members
    -------
    path : Path
        The model.
    prompt : str
    tokens : int
        Most tokens that are said.
    conversation : bool
        The prompt is a user's turn, by the model's own template.
    activations, weights, formats
        Formats, and those of some kinds of layer.
    parallel : int
        Simulators at the same time.
    chunk : int
        Tokens of the prompt that are read at once.
    attention : bool
        The array computes it, too (``gen.chat.attention``).
    simulated : bool
        False: the golden model computes everything.
    check : bool
        Compare every layer with the golden model.
    window : Window, optional
        Cycles of which there is to be a trace.
    clock : float
        MHz, for tokens a second on a board.
    """

    path: Path
    config: Config
    prompt: str
    tokens: int
    conversation: bool = False
    activations: str | None = None
    weights: str | None = None
    formats: str = ""
    parallel: int = 1
    chunk: int = 1
    attention: bool = False
    simulated: bool = True
    check: bool = False
    window: Window | None = None
    clock: float = 100.0
    timing: MemoryTiming = field(default_factory=MemoryTiming)


class Session:
    """A text that a model writes.

    ``words`` gives it bit by bit; afterwards ``document`` says what it took.

    Raises
    ------
    RequestError
        When the model cannot be read, or an array or a format does not fit.
    """

    def __init__(self, request: Request, *, notify: Callable[[str], None], progress: Progress):
        self.request = request
        config, started = request.config, time.perf_counter()
        target = Target.of(config, request.timing)
        # What the array does not have is refused before anything is made.
        activations, group = grouped(request.activations)
        target.family.variant(activations, request.weights)
        if request.attention:
            cache_variant(target.family)
        self._device: Device = Golden()
        self._accelerator: Accelerator | None = None
        try:
            llama = Llama(ModelFile(request.path))
            self._variants = choose(
                target.family, [*llama.layers, HEAD], request.activations, request.weights, request.formats
            )
            for chosen in set(self._variants.values()):
                check_group(target.family, chosen, group)
            self.text = Text(llama)
            prompt = self.text.conversation(request.prompt) if request.conversation else request.prompt
            self.prompt = self._encoded(prompt)
            check_context(llama, "--tokens", len(self.prompt) + request.tokens)
            if request.simulated:
                self._accelerator = self._device = Accelerator(
                    config,
                    parallel=request.parallel,
                    timing=request.timing,
                    check=request.check,
                    window=request.window,
                    notify=notify,
                )
            linears = load(
                llama,
                target,
                self._variants,
                parallel=request.parallel,
                packed=request.simulated,
                group=group,
                progress=progress,
            )
            attention = ArrayAttention(llama.sizes, target, self._device) if request.attention else None
            self._decoder = Decoder(llama, linears, self._device, attention)
        except ModelFileError as error:
            self.close()
            raise RequestError(
                f"MODEL {str(request.path)!r}: must be a model that can be run ({error})"
            ) from None
        except BaseException:
            self.close()
            raise
        self._family, self._group = target.family, f":g{group}" if group else ""
        self.said: list[int] = []
        self.steps: list[Account] = []
        """Of each token that was read alone, with the output matrix after it."""
        self.prepared = time.perf_counter() - started

    def _encoded(self, prompt: str) -> list[int]:
        try:
            numbers = self.text.encode(prompt)
        except KeyError as error:
            raise RequestError(f"--prompt: must be of characters that the model knows, not {error}") from None
        if not numbers:
            raise RequestError(f"--prompt {prompt!r}: must have at least one token")
        return numbers

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the simulators, if there are any."""
        if self._accelerator is not None:
            self._accelerator.close()

    def words(self) -> Iterator[str]:
        """The text as it comes, token by token; a token may be a part of a character, and show later."""
        request, stream = self.request, Stream(self.text)
        before = copy(self._device.account)
        for token in generate(
            self._decoder, self.prompt, request.tokens, chunk=request.chunk, ends=self.text.ends
        ):
            now = copy(self._device.account)
            if self.said or len(self.prompt) == 1:
                self.steps.append(now.since(before))
            self.said.append(token)
            yield stream.add(token)
            before = copy(self._device.account)
        if rest := stream.end():
            yield rest

    @property
    def account(self) -> Account:
        """Of everything so far."""
        return self._device.account

    def document(self) -> dict[str, Any]:
        """What was said and what it took, as plain data. ``equal`` is None when nothing was compared."""
        request, account = self.request, self.account
        steps, accelerator = self.steps, self._accelerator
        cycles = sum(step.cycles for step in steps) / len(steps) if steps and accelerator else None
        mismatch = accelerator.mismatch if accelerator else None
        used: dict[str, set[str]] = {}
        for layer, variant in self._variants.items():
            activations, weights = (each.name for each in self._family.pairs[variant])
            pair = f"{activations}{self._group} x {weights}"
            used.setdefault(layer.rsplit(".", 1)[-1], set()).add(pair)
        formats = {kind: ", ".join(sorted(names)) for kind, names in used.items()}
        attention = {
            "on": "accelerator" if request.attention else "host",
            "programs_per_token": steps[-1].cached_programs if steps and accelerator else None,
            "cycles_per_token": round(sum(step.cached_cycles for step in steps) / len(steps))
            if steps and accelerator
            else None,
        }
        return {
            "text": self.text.decode(self.said),
            "tokens": self.said,
            "prompt_tokens": len(self.prompt),
            "equal": (mismatch is None) if request.check and accelerator else None,
            "mismatch": mismatch,
            "cycle_error": account.errors if accelerator else None,
            "cycles": account.cycles,
            "programs": account.programs,
            "cycles_per_token": None if cycles is None else round(cycles),
            "programs_per_token": steps[-1].programs if steps and accelerator else None,
            "attention": attention,
            "seconds_per_token": sum(step.seconds for step in steps) / len(steps)
            if steps and accelerator
            else None,
            "cycles_per_second": round(account.cycles / account.seconds) if account.seconds else None,
            "bus": self._bus(),
            "clock_mhz": request.clock,
            "board_tokens_per_second": None if cycles is None else request.clock * MEGA / cycles,
            "seconds_to_prepare": round(self.prepared, 3),
            "simulators": request.parallel if accelerator else 0,
            "formats": formats,
            "configuration": request.config.name,
            "digest": request.config.digest,
        }

    def _bus(self) -> dict[str, float] | None:
        """Beats in a cycle while tokens were read alone: of LOADs, and with instructions and results."""
        cycles = sum(step.cycles for step in self.steps)
        if not cycles:
            return None
        return {
            "loads": sum(step.load_beats for step in self.steps) / cycles,
            "all": sum(step.beats for step in self.steps) / cycles,
        }
