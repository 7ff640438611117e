"""Byte-level BPE with the vocabulary and the merges of a model file; digits stand alone."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
"""GPT-2's split into words. Numbers never reach it in company, so ``[^\\W\\d_]`` means letters."""


def _byte_names() -> list[str]:
    """GPT-2's printable stand-in for each byte: itself, or the next code point from 256 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)]


class Tokenizer:
    """Text to token numbers and back.

    Parameters
    ----------
    tokens : list of str
        The vocabulary, by number.
    merges : list of str
        Pairs ``"left right"``, the most urgent first.
    """

    def __init__(self, tokens: list[str], merges: list[str]):
        self._tokens = tokens
        self._numbers = {token: number for number, token in enumerate(tokens)}
        self._ranks = {tuple(pair.split(" ", 1)): rank for rank, pair in enumerate(merges)}
        self._names = _byte_names()
        self._bytes = {name: byte for byte, name in enumerate(self._names)}

    def encode(self, text: str) -> list[int]:
        """Token numbers of ``text``."""
        numbers: list[int] = []
        for piece in _pieces(text):
            for word in _WORD.findall(piece):
                numbers += [
                    self._numbers[part] for part in self._merge([self._names[b] for b in word.encode()])
                ]
        return numbers

    def decode(self, numbers: list[int]) -> str:
        """The text of ``numbers``; bytes that are no UTF-8 become the replacement character."""
        return b"".join(map(self.bytes, numbers)).decode(errors="replace")

    def bytes(self, number: int) -> bytes:
        """What a token stands for: perhaps a part of a character. What is not made of bytes' stand-ins is taken as text."""
        token = self._tokens[number]
        if all(name in self._bytes for name in token):
            return bytes(self._bytes[name] for name in token)
        return token.encode()

    def _merge(self, parts: list[str]) -> list[str]:
        never = len(self._ranks)
        while len(parts) > 1:
            rank, first = min(
                (self._ranks.get((left, right), never), i) for i, (left, right) in enumerate(pairwise(parts))
            )
            if rank == never:
                break
            parts[first : first + 2] = [parts[first] + parts[first + 1]]
        return parts


def _pieces(text: str) -> list[str]:
    """``text`` cut so that every digit (any character of a number category) is a piece of its own."""
    pieces = [""]
    for character in text:
        if unicodedata.category(character).startswith("N"):
            pieces += [character, ""]
        else:
            pieces[-1] += character
    return [piece for piece in pieces if piece]
