"""An estimate: what is asked for, and the answer as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fpga.flow.report import Use
from fpga.flow.steps import DoesNotFit
from gen.config import Config
from gen.cost import Cost
from gen.errors import RequestError
from gen.estimate import asic, fitted, fpga, measured, toggles, work
from gen.estimate.fpga import Effort
from gen.estimate.targets import PART_OF, check, is_part, liberty_file
from gen.models.work import Work

MEASURED, FITTED = "measured", "fitted"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be estimated.

    Parameters
    ----------
    config : Config
    target : str
        One of ``gen.estimate.targets``.
    effort : Effort
        Of what is measured.
    method : str
        ``measured``, or ``fitted``: at once, from the model.
    every_way : bool
        Also with and without DSP blocks and wide LUTs.
    work : Work or None
        Whose cycles and bits moved are told.
    activations, weights : str or None
        Formats of the work; the first that the array was generated for if they are not given.
    clock_mhz : float or None
        That speeds are worked out with; otherwise the one that is reached.
    toggles : tuple of int or None
        M, K and N of a product that is simulated to count how often signals change.

    Raises
    ------
    RequestError
        There is no such target, or it cannot be placed.
    """

    config: Config
    target: str
    effort: Effort = field(default_factory=Effort)
    method: str = MEASURED
    every_way: bool = False
    work: Work | None = None
    activations: str | None = None
    weights: str | None = None
    clock_mhz: float | None = None
    toggles: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        try:
            check(self.target)
        except ValueError as error:
            raise RequestError(str(error)) from None
        if self.method == FITTED and (self.effort.seeds or self.every_way):
            raise RequestError(
                "seeds and variants must be left out with the fitted model, which places nothing"
            )
        if is_part(self.target):
            return
        if (file := liberty_file(self.target)) is not None:
            asic.content(file)
        wanted = {
            "seeds": bool(self.effort.seeds), "variants": self.every_way, "quick": not self.effort.flatten,
        }  # fmt: skip
        for what, asked in wanted.items():
            if asked:
                raise RequestError(
                    f"{what} must be left out unless the target is one of {', '.join(PART_OF)}"
                )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The answer: ``document`` is plain data, as ``gatemill estimate --json`` prints it."""

    request: Request
    document: dict[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        from gen.estimate import page

        return page.html(self.document)


def estimate(request: Request, notify: Callable[[str], None] = lambda _: None) -> Estimate:
    """Measure what ``request`` asks for, or work it out from the fitted model.

    Raises as :func:`gen.estimate.measured.measure` and :func:`gen.estimate.toggles.measure`, and ``RequestError`` when the work
    cannot be compiled. ``notify`` is told what takes long.
    """
    # What cannot be compiled is told before anything takes minutes.
    cost, toggled = _cost(request), _toggles(request, notify)
    if request.method == FITTED:
        return Estimate(request=request, document=_whole(request, _fitted(request), cost, toggled))
    found = measured.measure(request.config, request.target, request.effort)
    ways = {}
    if request.every_way and isinstance(found, fpga.Measured):
        ways = measured.variants(request.config, request.target, request.effort, found)
    figures = measured.figures(found)
    answer = {
        **_area(found),
        "fmax_mhz": figures.get("fmax_mhz"),
        "clock": _clock(found),
        "modules": measured.modules(found),
        "method": MEASURED,
        "flow": found.flow,
        "variants": [_variant(name, one) for name, one in ways.items()],
        "errors": None,
        "beyond": [],
    }
    return Estimate(request=request, document=_whole(request, answer, cost, toggled))


def _whole(
    request: Request, answer: dict[str, Any], cost: Cost | None, toggled: dict[str, Any] | None
) -> dict[str, Any]:
    """With what was asked for, and the work at the clock that is known now."""
    reached = answer["fmax_mhz"]
    clock = request.clock_mhz or reached or work.ASSUMED_MHZ
    origin = "given" if request.clock_mhz else answer["method"] if reached else "assumed"
    return {
        "configuration": request.config.name,
        "digest": request.config.digest,
        "target": request.target,
        "part": PART_OF[request.target].name if is_part(request.target) else None,
        **answer,
        "clock_mhz": clock,
        "clock_origin": origin,
        "workload": None if cost is None else _at(cost, clock),
        "toggles": toggled,
    }


def _fitted(request: Request) -> dict[str, Any]:
    """From the model."""
    told, part = fitted.answer(request.config, request.target), PART_OF[request.target]
    available = {"lut": part.luts, "ff": part.flip_flops, "dsp": part.dsps, "bram": part.block_rams}
    use = {measured.RESOURCES[name]: Use(used=told[name], available=most) for name, most in available.items()}
    return {
        **area(use),
        "fmax_mhz": told["fmax_mhz"],
        "clock": None,
        "modules": [{"module": name, **one} for name, one in told["modules"].items()],
        "method": FITTED,
        "flow": fitted.FLOW,
        "variants": [],
        "errors": told["errors"],
        "beyond": told["beyond"],
    }


def _cost(request: Request) -> Cost | None:
    if request.work is None:
        return None
    return work.predict(
        request.config, request.work, activations=request.activations, weights=request.weights
    )


def _toggles(request: Request, notify: Callable[[str], None]) -> dict[str, Any] | None:
    if request.toggles is None:
        return None
    found = toggles.measure(
        request.config,
        request.toggles,
        activations=request.activations,
        weights=request.weights,
        notify=notify,
    )
    return found.as_dict(request.effort.depth)


def _at(cost: Cost, clock_mhz: float) -> dict[str, Any]:
    """At a clock that was not known when it was predicted."""
    return replace(cost, clock_mhz=clock_mhz).as_dict()


def _area(found: measured.Measured) -> dict[str, Any]:
    """All figures of an area: those that a target does not have are None."""
    if isinstance(found, fpga.Measured):
        return area(found.use)
    none = {"lut": None, "ff": found.flip_flops, "dsp": None, "bram": None, "use": None}
    return none | {"gates": _gates(found)}


def area(use: Mapping[str, Use]) -> dict[str, Any]:
    """Of a part: counts, and what they are of what there is."""
    uses = {name: use.get(kind, measured.NONE) for name, kind in measured.RESOURCES.items()}
    shares = {
        name: {
            "used": one.used,
            "available": one.available,
            "percent": one.percent if one.available else None,
        }
        for name, one in uses.items()
    }
    return {**{name: one.used for name, one in uses.items()}, "use": shares, "gates": None}


def _gates(found: asic.Gates) -> dict[str, Any]:
    return {
        "transistors": None if found.transistors is None else found.transistors.total,
        "nand2": found.nand2,
        "flip_flops": found.flip_flops,
        "levels": found.levels,
        "area_um2": found.area_um2,
        "delay_ns": found.delay_ns,
        "memories": found.macros,
        "memory_bits": found.memory_bits,
    }


def _clock(found: measured.Measured) -> dict[str, Any] | None:
    """Of all seeds."""
    if not isinstance(found, fpga.Measured) or not found.frequencies:
        return None
    return {
        "slowest": min(found.frequencies), "median": found.fmax_mhz, "fastest": max(found.frequencies),
        "seeds": list(found.seeds),
    }  # fmt: skip


def _variant(name: str, found: fpga.Measured | DoesNotFit) -> dict[str, Any]:
    if isinstance(found, DoesNotFit):
        return {"variant": name, **dict.fromkeys(measured.RESOURCES), "flow": None, "reason": str(found)}
    return {"variant": name, **measured.figures(found), "flow": found.flow, "reason": None}
