"""What a family of arrays gives to the rest of the house: the Python side of the contract in docs/architecture.md."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from itertools import product
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from gen.errors import RequestError
from hw.design import Design, Geometry
from hw.formats import Format, Operand
from sim import golden
from sim.families.contract import ArrayModel


class ArrayConfig(BaseModel):
    """Base of every family's ``[array]`` keys: unknown keys are mistakes, values do not change, types are not guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    added: ClassVar[tuple[str, ...]] = ()
    """Keys that came after others were in use: at its default such a key is not of a configuration's digest."""

    def identity(self) -> dict[str, Any]:
        """What the digest is of."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump().items()
            if name not in self.added or value != fields[name].default
        }


class Family(ABC):
    """One array of a family: the ``[array]`` keys of a configuration, and the width of the bus it hangs on.

    Parameters
    ----------
    config : instance of the family's ``Config``
    data_bytes : int
        Bytes of a bus beat: 4, 8, 16, 32 or 64.
    single : bool
        One EXECUTE at a time, for a design that issues in order (``Geometry.single``).

    Members
    -------
    name, summary : str
        As in a configuration's ``family`` key; one line for listings.
    Config : type
        Model of the ``[array]`` keys.
    activations, weights : tuple of Format
        What arrays of this family can be generated for.
    geometry : Geometry
        Tile sizes and word widths.
    pairs : tuple of (Format, Format)
        Formats of activations and weights that this array was generated for; a pair's place is EXECUTE's ``variant``.

    Raises
    ------
    TypeError, ValueError
        When ``config`` is another family's or ``data_bytes`` is not such a width.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Config: ClassVar[type[ArrayConfig]]
    activations: ClassVar[tuple[Format, ...]]
    weights: ClassVar[tuple[Format, ...]]

    def __init__(self, config: ArrayConfig, *, data_bytes: int, single: bool = False) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(
                f"config of family {self.name} must be a {self.Config.__qualname__}, not {config!r}"
            )
        if operator.index(data_bytes) not in (4, 8, 16, 32, 64):
            raise ValueError(f"data_bytes must be 4, 8, 16, 32 or 64, not {data_bytes!r}")
        self.config: Any = config
        self.data_bytes, self.single = operator.index(data_bytes), single
        self.geometry = self._geometry()

    @property
    def pairs(self) -> tuple[tuple[Format, Format], ...]:
        """Activations and weights, by ``variant``; as many as ``geometry.variants``."""
        return tuple(product(self.activations, self.weights))

    @property
    def aliases(self) -> dict[str, str]:
        """Further names for formats of weights, by which a user may ask for them."""
        return {}

    def variant(self, activations: str | None = None, weights: str | None = None) -> int:
        """The first variant whose formats have these names; None stands for any.

        Raises ``RequestError`` when this array was not generated for them.
        """
        taken = self.aliases.get(weights or "", weights)
        for number, pair in enumerate(self.pairs):
            if activations in (None, pair[0].name) and taken in (None, pair[1].name):
                return number
        sides = [
            list(dict.fromkeys(format.name for format in side)) for side in zip(*self.pairs, strict=True)
        ]
        if weights is None:
            raise RequestError(
                f"activations {activations!r}: must be one of {', '.join(sides[0])} for this array"
            )
        if activations is None:
            raise RequestError(
                f"weights {weights!r}: must be one of {', '.join(sides[1])} for this array{self._length(weights)}"
            )
        there = ", ".join(f"{a.name} x {w.name}" for a, w in self.pairs)
        raise RequestError(
            f"formats {activations} x {weights} (activations x weights): must be one of {there} for this array"
            f"{self._length(weights)}"
        )

    def _length(self, weights: str) -> str:
        """A hint, for ``weights`` that are there with groups of another length."""
        name, colon, length = weights.partition(":g")
        if (
            not colon
            or "group" not in self.Config.model_fields
            or self._taken(weights)
            or not self._taken(name)
        ):
            return ""
        return f" (its groups are as long as array.group = {self.config.group}, not {length})"

    def _taken(self, weights: str) -> bool:
        """Whether there are weights of that name."""
        return weights in self.aliases or any(weights == format.name for _, format in self.pairs)

    @abstractmethod
    def _geometry(self) -> Geometry:
        """Tile sizes and word widths."""

    @abstractmethod
    def core(self, design: Design) -> Any:
        """The Amaranth component with the members of ``hw.interfaces.core_members``; Amaranth is imported here only."""

    @abstractmethod
    def model(self) -> ArrayModel:
        """The simulation model: golden execute, cycle law, and what operands take of memory."""

    def golden(self, x: Operand, w: Operand) -> np.ndarray:
        """What the accumulators hold of a GEMM when all is added, [M, N] of ``geometry.sums``; mathematics, not the model's code.

        int32: the exact sum, wrapped. A family whose sums are float32 says in its own method what they are: which parts of K
        are results of their own, how each is rounded, and that they are added in rising order of K, in float32. Parts end where
        ``depth_granule`` allows K to be cut, so that the order is the same however the compiler cuts.
        """
        if self.geometry.sums != "int32":
            raise NotImplementedError(f"family {self.name} must say what its {self.geometry.sums} sums are")
        return golden.gemm(x.integers(), w.integers())

    def sum_unit(self, format: Format) -> int:
        """Logarithm to base 2 of what a 1 in the sums is worth, as far as that is due to an operand of ``format``.

        Its unit, since sums count units; 0 for a format without a scale, whose values are what is added.
        """
        return format.unit if format.scale else 0

    def settings(self, variant: int) -> tuple[tuple[int, int], ...]:
        """Settings that programs of ``variant`` need, with their values (unsigned, 32 bits): CONFIGUREs before all EXECUTEs.

        Empty for an array without settings.
        """
        return ()

    @abstractmethod
    def depth_granule(self, variant: int) -> int:
        """A GEMM may be cut along K at multiples of this: where tile, activation word and block of shared scale all end."""

    @abstractmethod
    def pack_activations(self, x: Operand, variant: int | None = None) -> np.ndarray:
        """The rows of X as they lie in memory: uint8 [M, ``model().activation_bytes(variant, K)``].

        ``variant`` is that of the EXECUTEs; None stands for any that has the operand's format, where it makes no difference.
        """

    @abstractmethod
    def pack_weights(self, w: Operand, variant: int | None = None) -> np.ndarray:
        """The weight words (uint8, in the order in which the array takes them) of a part of W; ``variant`` as above.

        The part's first row and column lie on edges of tile and granule; what is missing to whole tiles is filled with
        zero weights. The words of column tile 0 come first, over the part's whole depth, then tile 1's.
        """
