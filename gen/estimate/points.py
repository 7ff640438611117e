"""The configurations that the fitted model is made from, and those that are held out to judge it: all are measured."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gen import config
from gen.config import Config

TARGET = "ecp5-85k"
"""On which they are measured."""
SMALL = {"memory.activations_kib": 16, "memory.weights_kib": 16}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A configuration: a preset with some keys changed.

    Parameters
    ----------
    base : str
        Preset.
    settings : mapping
        Values by key.
    held : bool
        Held out: the model does not see it.
    core : bool
        The core alone, of the array with what feeds it. Whole accelerators are placed and routed, too.
    """

    base: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    held: bool = False
    core: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """The configuration, as in a file."""
        data = copy.deepcopy(config.read(self.base))
        for path, value in self.settings.items():
            table, key = path.split(".")
            data.setdefault(table, {})[key] = value
        return data

    @property
    def config(self) -> Config:
        """The configuration."""
        return config.check(self.data, f"of the fit ({self.base}, {dict(self.settings)})")


def _sizes(base: str, rows: int, columns: int, bus: int, role: str = "", **keys: Any) -> Chosen:
    """Sizes and bus; other keys of ``array``, or with ``__`` between table and key. ``role`` has the other members."""
    named = {
        name.replace("__", ".") if "__" in name else f"array.{name}": value for name, value in keys.items()
    }
    settings = SMALL | {"array.rows": rows, "array.columns": columns, "bus.data_width": bus} | named
    words = role.split()
    return Chosen(base=base, settings=settings, held="held" in words, core="core" in words)


def _systolic() -> Iterator[Chosen]:
    base = "systolic-8x8"
    yield _sizes(base, 2, 2, 32, control__queue_depth=4)
    yield _sizes(base, 3, 5, 32, "held", memory__accumulators=512)
    yield _sizes(base, 3, 5, 32, "held core", memory__accumulators=512)
    yield _sizes(base, 2, 2, 32, "core")
    yield _sizes(base, 8, 4, 64, "core")
    yield _sizes(base, 6, 6, 128)
    yield _sizes(base, 4, 4, 64)
    yield _sizes(base, 6, 4, 64, "held core")
    yield _sizes(base, 2, 8, 64, "core")
    yield _sizes(base, 8, 6, 64, "held", output__lanes=2, memory__activations_kib=32)
    yield _sizes(base, 4, 8, 64, memory__accumulators=256)
    yield _sizes(base, 8, 8, 64, "core")


def _stationary() -> Iterator[Chosen]:
    base = "systolic-ws-16x16"
    yield _sizes(base, 4, 4, 64, "core", output__lanes=1)
    yield _sizes(base, 4, 6, 64, "held core")
    yield _sizes(base, 2, 4, 32, "core", output__lanes=1)
    yield _sizes(base, 2, 4, 32, output__lanes=1)
    yield _sizes(base, 4, 8, 64, "core")
    yield _sizes(base, 4, 6, 64, "held", output__lanes=1)
    yield _sizes(base, 8, 4, 64, "core", output__lanes=1)
    yield _sizes(base, 8, 6, 64, "held core")
    yield _sizes(base, 8, 8, 128, "core")


def _bit_serial() -> Iterator[Chosen]:
    base = "bitmod-int8-8x8"
    yield _sizes(base, 2, 2, 64, "core", lanes=4)
    yield _sizes(base, 3, 4, 64, "held core", lanes=4)
    yield _sizes(base, 2, 2, 64, lanes=4)
    yield _sizes(base, 3, 4, 64, "held", lanes=4)
    yield _sizes(base, 2, 2, 32, "core", lanes=4)
    yield _sizes(base, 4, 4, 64, "core", lanes=8)
    yield _sizes(base, 2, 4, 64, "core", lanes=8, weights=["int4-s8"])
    yield _sizes(base, 4, 3, 64, "held core", lanes=8)
    yield _sizes(base, 4, 2, 64, "core", lanes=16)
    yield _sizes(base, 2, 4, 64, lanes=4, weights=["int8-s8", "int4-s8"])
    yield _sizes(base, 2, 2, 64, "core", lanes=8, weights=["fp4-mixed-s8", "fp3-mixed-s8"])
    yield _sizes(base, 6, 2, 64, "held", lanes=8, memory__weights_kib=32)


def _lookup() -> Iterator[Chosen]:
    base = "lut-m2n64k4"
    yield _sizes(base, 1, 16, 64, "core", groups_per_lane=4)
    yield _sizes(base, 2, 24, 64, "held core", groups_per_lane=4, output__lanes=1)
    yield _sizes(base, 1, 16, 64, groups_per_lane=4)
    yield _sizes(base, 2, 24, 64, "held", groups_per_lane=4, output__lanes=1)
    yield _sizes(base, 2, 16, 64, "core", groups_per_lane=8)
    yield _sizes(base, 1, 32, 64, "core", groups_per_lane=8, weights=["int2-s8", "binary-s8"])
    yield _sizes(base, 4, 16, 64, "core", groups_per_lane=4)
    yield _sizes(base, 1, 48, 128, "held core", groups_per_lane=8)
    yield _sizes(base, 2, 32, 64, groups_per_lane=4)
    yield _sizes(base, 4, 8, 64, "core", groups_per_lane=4, output__lanes=1, weights=["int4-s8"])
    yield _sizes(base, 1, 64, 128, "core", groups_per_lane=8)
    yield _sizes(base, 4, 16, 64, "held", groups_per_lane=4, memory__weights_kib=32)


def _decoded() -> Iterator[Chosen]:
    base = "olive-8x8"
    four: dict[str, Any] = {"activations": ["ovp4-int4"], "weights": ["ovp4-int4"]}
    yield _sizes(base, 2, 2, 64, "core")
    yield _sizes(base, 3, 4, 64, "held")
    yield _sizes(base, 2, 2, 64)
    yield _sizes(base, 3, 4, 64, "held core")
    yield _sizes(base, 4, 4, 64, "core", **four)
    yield _sizes(base, 2, 4, 64, "core")
    yield _sizes(base, 4, 2, 32, "core")
    yield _sizes(base, 4, 6, 64, "held core", **four)
    yield _sizes(base, 2, 2, 32, "core", activations=["int8"], weights=["int8"])
    yield _sizes(base, 4, 4, 64, **four)
    yield _sizes(base, 8, 4, 64, "core", **four)
    yield _sizes(base, 4, 4, 64, "core", activations=["int8"], weights=["int4"])
    yield _sizes(base, 2, 3, 32, "held")
    yield _sizes(base, 6, 6, 64, "core")


def _blocks() -> Iterator[Chosen]:
    base = "mx-8x8"
    four: dict[str, Any] = {"activations": ["mxfp4"], "weights": ["mxfp4"], "block": 32}
    yield _sizes(base, 2, 2, 64, "core")
    yield _sizes(base, 2, 3, 64, "held core")
    yield _sizes(base, 2, 4, 64, "core", **four)
    yield _sizes(base, 2, 2, 64, **four)
    yield _sizes(base, 3, 4, 64, "held core", **four)
    yield _sizes(base, 4, 4, 64, "core", **four)
    yield _sizes(base, 4, 2, 64, "core")
    yield _sizes(base, 3, 2, 64, "held", **four)
    yield _sizes(base, 2, 2, 64, "core", activations=["mxfp8-e4m3"], weights=["mxfp4"], block=32)
    yield _sizes(base, 3, 3, 64, "core")
    yield _sizes(base, 2, 2, 64)
    yield _sizes(base, 3, 2, 64, "held")


def chosen() -> list[Chosen]:
    """All of them, kind by kind in turn: the first ones are a model of all kinds already."""
    kinds = [list(kind()) for kind in (_systolic, _bit_serial, _lookup, _decoded, _blocks, _stationary)]
    return [kind[place] for place in range(max(map(len, kinds))) for kind in kinds if place < len(kind)]
