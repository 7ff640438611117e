"""The array families, by name. Adding one takes its own files and one line here; nothing else knows a family's name."""

from __future__ import annotations

from importlib import import_module

from gen.families.contract import Family

FAMILIES = {
    "bit-serial": "gen.families.bit_serial:BitSerialFamily",
    "decoded": "gen.families.decoded:DecodedFamily",
    "lookup": "gen.families.lookup:LookupFamily",
    "systolic": "gen.families.systolic:Systolic",
}
"""Where each family's class is; imported when it is asked for."""

DEFAULT = "systolic"
"""The family of a configuration that names none."""


def load_family(name: str) -> type[Family]:
    """The class of the family ``name``.

    Raises ``ValueError`` when there is none of that name.
    """
    if name not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(sorted(FAMILIES))}, not {name!r}")
    module, _, attribute = FAMILIES[name].partition(":")
    return getattr(import_module(module), attribute)


__all__ = ["DEFAULT", "FAMILIES", "Family", "load_family"]
