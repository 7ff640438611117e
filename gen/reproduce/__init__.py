"""Results of papers, worked out anew: a module for each paper, by the name that ``gatemill reproduce`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from gen.progress import Progress

PAPERS = {
    "bit-weight": "gen.reproduce.bit_weight",
    "bitmod": "gen.reproduce.bitmod",
    "lut-tensor-core": "gen.reproduce.lut_tensor_core",
    "olive": "gen.reproduce.olive",
}
"""Where each paper's module is; imported when it is asked for."""


class Paper(Protocol):
    """What a paper's module has."""

    def document(self, progress: Progress) -> dict[str, Any]:
        """Everything as plain data; ``claims`` has rows of claim, published, ours, holds and why.

        ``holds`` is None where ours is measured by another rule than what is published.
        """

    def render(self, document: Mapping[str, Any]) -> Any:
        """The document for people."""

    def picture(self, document: Mapping[str, Any]) -> bytes:
        """The document as an SVG."""


def load(name: str) -> Paper:
    """The module of a paper.

    Raises ``ValueError`` when there is none of that name.
    """
    if name not in PAPERS:
        raise ValueError(f"paper must be one of {', '.join(sorted(PAPERS))}, not {name!r}")
    return cast(Paper, import_module(PAPERS[name]))
