"""What the README tells people to do can be done."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from gen import cli, config, systems
from gen.compiler import compile_gemm
from gen.families import FAMILIES
from gen.options import Options
from hw.control.isa import OutputMode
from sim.cycles.program import predict

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands(program: str) -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [words[1:] for words in lines if words and words[0].rsplit("/", 1)[-1] == program]


@pytest.mark.parametrize("words", commands("gatemill"), ids=" ".join)
def test_commands_and_their_options_exist(words, capsys):
    names = []
    for word in words:
        if cli.run([*names, word, "-h"]) != 0:
            break
        names.append(word)
        if names[0] != "models":
            break
    assert names
    capsys.readouterr()
    cli.run([*names, "-h"])
    shown = capsys.readouterr().out
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"{option}\b", shown), option


@pytest.mark.parametrize("words", commands("gatemill"), ids=" ".join)
def test_presets_that_are_named_exist(words):
    named = [word for word in words if word.startswith(("systolic-", "bitmod-", "bitserial-", "lut-"))]
    assert set(named) <= set(config.presets())


def test_families_and_their_presets_are_listed():
    rows = re.findall(
        r"^\| (?:`([\w-]+)`.*?)?\|.*\| (.+) \|$", TEXT.split("## What the demo shows")[0], re.MULTILINE
    )
    assert sorted(family for family, _ in rows if family) == sorted(FAMILIES)
    named = [name for _, presets in rows for name in re.findall(r"`([\w-]+)`", presets)]
    assert len(named) >= len(FAMILIES)
    assert set(named) <= set(config.presets())


def test_the_configuration_of_ones_own_is_one():
    (text,) = blocks("toml")
    loaded = config.check(tomllib.loads(text), "README.md")
    assert loaded.name == "mine"
    assert (ROOT / text.splitlines()[0].removeprefix("#:schema ")).is_file()


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).is_file()] == []


def test_make_targets_exist():
    rules = (ROOT / "Makefile").read_text()
    targets = [words[0] for words in commands("make")]
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", rules, re.MULTILINE) for target in targets)


def test_extras_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"\.\[(\w+)\]", TEXT)) <= set(project["optional-dependencies"])


def test_the_demo_takes_the_cycles_that_are_shown():
    loaded = config.load("systolic-8x8")
    rows = re.findall(r"│ blk\S+ │ (\d+) x (\d+) x (\d+) +│ yes   │ +([\d,]+) │ +([\d,]+) │", TEXT)
    assert len(rows) == 3
    for *sizes, measured, predicted in rows:
        program = compile_gemm(loaded.design(), loaded.instance, *map(int, sizes), mode=OutputMode.RAW)
        expected = predict(
            loaded.design(), loaded.instance.model().law(), program.instructions, Options().timing
        )
        assert measured == predicted == f"{expected.cycles:,}"


def test_the_layers_in_few_bits_take_the_cycles_that_are_shown():
    presets = re.findall(r"^\| weights \| `(.+)` \| error \| `(.+)` \| error \|$", TEXT, re.MULTILINE)[0]
    rows = re.findall(
        r"^\| `(\S+)` \| ([\d,]+) cycles \| \S+ dB \| ([\d,]+) cycles \| \S+ dB \|$", TEXT, re.MULTILINE
    )
    assert len(rows) == 3
    for weights, *shown in rows:
        for preset, cycles in zip(presets, shown, strict=True):
            loaded = config.load(preset)
            family = loaded.instance
            names = (family.pairs[0][0].name, weights)
            program = compile_gemm(
                loaded.design(), family, 8, 576, 576, mode=OutputMode.REQUANTISED, formats=names
            )
            expected = predict(loaded.design(), family.model().law(), program.instructions, Options().timing)
            assert f"{expected.cycles:,}" == cycles


def test_the_cases_of_the_cycle_model_are_as_many_as_shown():
    several = [*systems.SYSTEMS.values(), *systems.MORE_SYSTEMS.values()]
    number = sum(len(cases) for *_, cases in several) + sum(map(len, systems.FULL_SIZE.values()))
    assert f"| 0 of {number} cases differ " in TEXT
