"""Tokens one after the other: a Llama whose linear layers are a device's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gen.chat import host
from gen.chat.attention import Attention, HostAttention
from gen.chat.device import Device
from gen.chat.network import HEAD, Linear, enter_groups
from gen.models.llama import Llama


class Decoder:
    """The state of a text: keys and values of its tokens.

    Parameters
    ----------
    llama : Llama
    linears : mapping
        Its linear layers by name.
    device : Device
        Who computes their sums.
    attention : Attention, optional
        Of a new text; the host's own if none is given.
    """

    def __init__(
        self,
        llama: Llama,
        linears: Mapping[str, Linear],
        device: Device,
        attention: Attention | None = None,
    ):
        sizes = llama.sizes
        self._llama, self._linears, self._device = llama, linears, device
        self._embedding = llama.file.read("token_embd.weight")
        self._norms = {
            name: llama.file.read(f"{name}.weight").astype(np.float64)
            for name in (
                "output_norm",
                *(f"blk.{b}.{n}_norm" for b in range(sizes.blocks) for n in ("attn", "ffn")),
            )
        }
        self._attention = attention or HostAttention(sizes)

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self._attention.position

    def read(self, tokens: Sequence[int], *, last: bool = True) -> np.ndarray:
        """Read ``tokens`` at once; the logits (float64) of what comes after the last one, if it is the ``last``: or else none."""
        rows = self._embedding[np.asarray(tokens)].astype(np.float64)
        rows = self._blocks(rows)
        if not last:
            return np.empty(0)
        return self._through([HEAD], self._normed(rows[-1:], "output_norm"))[0][0]

    def _blocks(self, rows: np.ndarray) -> np.ndarray:
        """What leaves the last block for the tokens whose embeddings are ``rows``."""
        first = self.position
        for block in range(self._llama.sizes.blocks):
            rows = self._block(block, first, rows)
        return rows

    def _block(self, block: int, first: int, rows: np.ndarray) -> np.ndarray:
        """``rows`` are of the tokens from position ``first`` on."""
        s, place = self._llama.sizes, f"blk.{block}."
        normed = self._normed(rows, f"{place}attn_norm")
        q, k, v = self._through([f"{place}attn_{name}" for name in "qkv"], normed)
        queries, keys = (
            np.stack(
                [
                    host.rotate(row.reshape(-1, s.head), position, s.rope_base)
                    for position, row in enumerate(each, first)
                ]
            )
            for each in (q, k)
        )
        mixed = self._attention.mix(block, queries, keys, v.reshape(len(rows), -1, s.head))
        rows = rows + self._through([f"{place}attn_output"], mixed)[0]
        normed = self._normed(rows, f"{place}ffn_norm")
        gate, up = self._through([f"{place}ffn_gate", f"{place}ffn_up"], normed)
        return rows + self._through([f"{place}ffn_down"], host.gated(gate, up))[0]

    def _normed(self, rows: np.ndarray, name: str) -> np.ndarray:
        epsilon = self._llama.sizes.epsilon
        return np.stack([host.norm(row, self._norms[name], epsilon) for row in rows])

    def _through(self, names: Sequence[str], rows: np.ndarray) -> list[np.ndarray]:
        """``rows`` [M, K] through layers that have the same input."""
        linears = [self._linears[name] for name in names]
        entering = {
            (part.activations.name, linear.group): enter_groups(
                rows, part.activations, part.target.family, linear.group
            )
            for linear in linears
            for part in linear.parts[:1]
        }
        entered = [entering[linear.parts[0].activations.name, linear.group] for linear in linears]
        tasks = [linear.tasks(operands) for linear, (operands, _) in zip(linears, entered, strict=True)]
        sums = iter(self._device.sums([task for each in tasks for task in each]))
        return [
            linear.results([next(sums) for _ in linear.parts], scales)
            for linear, (_, scales) in zip(linears, entered, strict=True)
        ]


def generate(
    decoder: Decoder, prompt: Sequence[int], tokens: int, *, chunk: int = 1, ends: Sequence[int] = ()
) -> Iterator[int]:
    """The most probable token, ``tokens`` times or until it is one of ``ends``, which is given, too.

    The prompt is read ``chunk`` tokens at a time, the rest of it one by one.
    """
    whole = len(prompt) // chunk * chunk
    pieces = [prompt[i : i + chunk] for i in range(0, whole, chunk)] + [[token] for token in prompt[whole:]]
    for place, piece in enumerate(pieces, 1):
        logits = decoder.read(piece, last=place == len(pieces))
    for number in range(tokens):
        token = int(logits.argmax())
        yield token
        if token in ends or number + 1 == tokens:
            return
        logits = decoder.read([token])
