"""A picture of a placed design: each tile of the part in the colour of the module that most of its cells belong to."""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from fpga.parts import Part

_PLACE = re.compile(r"X(\d+)/?Y(\d+)/")
MOST = 16
"""Modules that are told apart."""
LEAST = 0.01
"""Share of all cells that makes a module worth a colour of its own."""
EMPTY = 0.95
"""Grey of a tile without cells; 1 is white."""
_UNSEEN = re.compile(r"VCC|GND|IO|PLL|DCC|GB|OSC|GSR", re.IGNORECASE)


def places(netlist: Mapping) -> list[tuple[str, int, int]]:
    """Path of its module, column and row of each cell of logic, memory and multiplication in what nextpnr wrote."""
    (module,) = netlist["modules"].values()
    result = []
    for name, cell in module["cells"].items():
        found = _PLACE.match(cell["attributes"].get("NEXTPNR_BEL", ""))
        if found and not _UNSEEN.search(cell["type"]) and not name.startswith("$"):
            result.append((name.rpartition(".")[0], int(found[1]), int(found[2])))
    return result


def groups(paths: Iterable[str], most: int = MOST) -> list[str]:
    """Modules that divide the cells of ``paths``: the largest is divided again while they are no more than ``most``.

    A part of it that has less than ``LEAST`` of all cells stays with it.
    """
    sizes = Counter(paths)
    parts, whole = {""}, sum(sizes.values())
    while True:
        owned = _owned(sizes, parts)
        for part, _ in sorted(owned.items(), key=lambda one: (-one[1], one[0])):
            children: Counter[str] = Counter()
            for path, size in sizes.items():
                if group_of(path, parts) == part != path:
                    children[_child(path, part)] += size
            worth = {child for child, size in children.items() if size >= LEAST * whole}
            if worth and len(parts | worth) <= most + 1:
                parts |= worth
                break
        else:
            return sorted(part for part, size in owned.items() if size)


def group_of(path: str, parts: Iterable[str]) -> str:
    """The innermost of ``parts`` that ``path`` lies in."""
    return max((part for part in parts if _under(path, part)), key=len)


def _owned(sizes: Mapping[str, int], parts: set[str]) -> Counter[str]:
    owned: Counter[str] = Counter()
    for path, size in sizes.items():
        owned[group_of(path, parts)] += size
    return owned


def _under(path: str, part: str) -> bool:
    return not part or path == part or path.startswith(part + ".")


def _child(path: str, part: str) -> str:
    rest = path.removeprefix(part).removeprefix(".")
    return ".".join(filter(None, (part, rest.partition(".")[0])))


def draw(netlist: Mapping, title: str, part: Part) -> bytes:
    """The picture of all of ``part``, PNG: the fuller a tile, the stronger its colour; what is empty is grey.

    Raises ``IndexError`` when a cell lies beyond the part.
    """
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    cells = places(netlist)
    modules = groups(path for path, _, _ in cells) or [""]
    tiles: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for path, x, y in cells:
        tiles[x, y][group_of(path, modules)] += 1
    colours = {module: np.array(colormaps["tab20"](place)[:3]) for place, module in enumerate(modules)}
    picture = np.full((part.rows, part.columns, 3), EMPTY)
    fullest = max((sum(count.values()) for count in tiles.values()), default=1)
    for (x, y), count in tiles.items():
        strength = 0.35 + 0.65 * sum(count.values()) / fullest
        picture[y, x] = 1 - strength * (1 - colours[count.most_common(1)[0][0]])
    figure = Figure(figsize=(11, 1.5 + 7.5 * part.rows / part.columns))
    axes = figure.subplots()
    axes.imshow(picture, interpolation="nearest", origin="upper")
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("column")
    axes.set_ylabel("row")
    sizes = Counter(group_of(path, modules) for path, _, _ in cells)
    handles = [
        Patch(color=tuple(colours[module]), label=f"{module or 'top'} ({sizes[module]:,})")
        for module in sorted(modules, key=lambda module: -sizes[module])
    ]
    figure.legend(
        handles=handles, loc="outside right upper", fontsize=8, frameon=False, title="module (cells)"
    )
    figure.set_layout_engine("constrained")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return file.getvalue()
