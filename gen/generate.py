"""From a configuration to the accelerator: the Amaranth component, its Verilog, its files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import UnusedElaboratable

from gen import manifest, rtlil, verilog
from gen.config import Config
from hw.accelerator import Accelerator


@dataclass(frozen=True, kw_only=True)
class Generated:
    """An accelerator's Verilog and the files that a user gets."""

    top: str
    verilog: str
    files: dict[str, bytes]


def top_name(config: Config) -> str:
    """Name of the top module: an identifier whatever the configuration's name."""
    return "gatemill_" + config.name.replace("-", "_")


def accelerator(config: Config) -> Accelerator:
    """The component, not yet elaborated."""
    design = config.design()
    return Accelerator(design=design, core=config.instance.core(design))


def generate(config: Config, *, notify: Callable[[str], None] = lambda _: None) -> Generated:
    """Verilog and manifest; deterministic byte for byte. ``notify`` is told when that takes unusually long."""
    component, top = accelerator(config), top_name(config)
    try:
        text = verilog.to_verilog(component, name=top, notify=notify)
    except KeyboardInterrupt:
        # Given up half way: Amaranth need not warn of parts that were made and not used.
        warnings.simplefilter("ignore", UnusedElaboratable)
        raise
    files = {f"{top}.v": text.encode()}
    files[f"{top}.json"] = manifest.manifest(config, top=top, ports=_ports(component), files=files)
    return Generated(top=top, verilog=text, files=files)


def _ports(component: Accelerator) -> list[dict[str, Any]]:
    clock = [{"name": name, "direction": "input", "bits": 1} for name in ("clk", "rst")]
    return clock + [
        {"name": name, "direction": direction.value, "bits": len(value)}
        for name, (value, direction) in rtlil.ports(component).items()
    ]
