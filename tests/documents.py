"""What tests of the documents share: cells of generated tables, and commands."""

from __future__ import annotations

import re
import shlex

from gen import cli, documentation


def rows(part: str) -> list[list[str]]:
    """Cells of a generated table, without its head."""
    lines = documentation.PARTS[part]().splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def shown(text: str, program: str) -> list[list[str]]:
    """Words of the commands of ``text`` that begin with ``program``."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if words and words[0] == program]


def check_options(words: list[str], capsys) -> None:
    """That ``gatemill`` has this command, and the command these options."""
    cli.run([*(words[:2] if words[0] == "models" else words[:1]), "-h"])
    text = capsys.readouterr().out
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"{option}\b", text), option
