"""Text to tokens and back: control tokens, the model's own template of a conversation, output as it comes."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from gen.models.file import ModelFileError
from gen.models.llama import Llama

CONTROL = 3
"""Type of a token that stands for no text, in GGUF files."""


class Text:
    """What a model's file says of its texts."""

    def __init__(self, llama: Llama):
        self._values, self._tokenizer = llama.file.values, llama.tokenizer
        tokens, types = (self._values.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
        self._control = {}
        if isinstance(tokens, list) and isinstance(types, list):
            self._control = {
                token: number
                for number, (token, kind) in enumerate(zip(tokens, types, strict=False))
                if kind == CONTROL
            }
        ends = [self._values.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot")]
        self.ends = [end for end in ends if isinstance(end, int)]

    def encode(self, text: str) -> list[int]:
        """Tokens of ``text``, in which control tokens stand for themselves."""
        if not self._control:
            return self._tokenizer.encode(text)
        pieces = re.split("(" + "|".join(map(re.escape, self._control)) + ")", text)
        numbers: list[int] = []
        for piece in pieces:
            numbers += [self._control[piece]] if piece in self._control else self._tokenizer.encode(piece)
        return numbers

    def conversation(self, prompt: str) -> str:
        """``prompt`` as the user's turn, by the template in the file.

        Raises ``ModelFileError`` where there is none, or one that cannot be used.
        """
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        template = self._values.get("tokenizer.chat_template")
        if not isinstance(template, str):
            raise ModelFileError(f"tokenizer.chat_template must be a text, not {template!r}")
        messages = [{"role": "user", "content": prompt}]
        try:
            return (
                ImmutableSandboxedEnvironment()
                .from_string(template)
                .render(messages=messages, add_generation_prompt=True)
            )
        except TemplateError as error:
            raise ModelFileError(f"tokenizer.chat_template must be a template ({error})") from None

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, without control tokens."""
        stream = Stream(self)
        return "".join(map(stream.add, tokens)) + stream.end()

    def bytes(self, token: int) -> bytes:
        """Of one token; none of a control token."""
        return b"" if token in self._control.values() else self._tokenizer.bytes(token)


class Stream:
    """Characters as soon as they are whole."""

    def __init__(self, text: Text):
        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, token: int) -> str:
        """What can be shown after ``token``."""
        return self._decoder.decode(self._text.bytes(token))

    def end(self) -> str:
        """What is left."""
        return self._decoder.decode(b"", final=True)
