"""Boxes with text and wires with arrows, as SVG: what the documents' pictures are made of. No Matplotlib: text stays text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_STYLE = """  <defs>
    <marker id="tip" markerWidth="9" markerHeight="9" refX="8" refY="4.5" orient="auto">
      <path d="M0,0 L9,4.5 L0,9 z" fill="#3e4c59"/>
    </marker>
  </defs>
  <style>
    text { font-size: 14px; fill: #1f2933; text-anchor: middle; }
    .small { font-size: 12px; fill: #52606d; }
    .bold { font-weight: bold; }
    .block { stroke: #3e4c59; stroke-width: 1.2; }
    .control { fill: #e4e7eb; }
    .mover { fill: #cfe0f3; }
    .memory { fill: #fbe6c2; }
    .array { fill: #cdeadb; }
    .wire { stroke: #3e4c59; stroke-width: 1.4; fill: none; marker-end: url(#tip); }
  </style>
"""
LINE = 17
"""Pixels from a line of text to the next."""

Point = tuple[int, int]


class Drawing:
    """Boxes with text in them, wires with an arrow, text."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="\'DejaVu Sans\', Verdana, sans-serif">\n'
            f"  <title>{escape(title)}</title>\n{_STYLE}"
            f'  <rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        ]

    def text(self, x: int, y: int, text: str, kind: str = "small") -> None:
        """One line, its middle at ``x``; ``kind``: of ``small`` and ``bold``."""
        self._parts.append(f'  <text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>\n')

    def box(self, x: int, y: int, width: int, height: int, kind: str, lines: Sequence[str]) -> None:
        """``lines`` in the middle, the first in bold; ``kind``: of ``control``, ``mover``, ``memory``, ``array``."""
        self._parts.append(
            f'  <rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" class="block {kind}"/>\n'
        )
        first = y + height // 2 + 5 - LINE * (len(lines) - 1) // 2
        for place, line in enumerate(lines):
            self.text(x + width // 2, first + LINE * place, line, "small" if place else "bold")

    def bar(self, x: int, y: int, width: int, height: int, share: float, kind: str) -> None:
        """A frame of which ``share`` (0 to 1) is filled from the left; ``kind`` as of a box."""
        self._parts.append(
            f'  <rect x="{x}" y="{y}" width="{width}" height="{height}" fill="none" stroke="#cbd2d9"/>\n'
            f'  <rect x="{x}" y="{y}" width="{round(width * share)}" height="{height}" class="block {kind}"/>\n'
        )

    def dot(self, x: int, y: int, kind: str) -> None:
        """A mark with its middle there; ``kind`` as of a box."""
        self._parts.append(f'  <circle cx="{x}" cy="{y}" r="5" class="block {kind}"/>\n')

    def rule(self, *points: Point) -> None:
        """From point to point, thin."""
        path = " L ".join(f"{x} {y}" for x, y in points)
        self._parts.append(f'  <path d="M {path}" stroke="#cbd2d9" fill="none"/>\n')

    def wire(self, *points: Point) -> None:
        """From point to point, an arrow at the last."""
        path = " L ".join(f"{x} {y}" for x, y in points)
        self._parts.append(f'  <path d="M {path}" class="wire"/>\n')

    def svg(self) -> str:
        """The picture."""
        return "".join(self._parts) + "</svg>\n"


def bits(number: int) -> str:
    """A width in words."""
    return f"{number} bits"
