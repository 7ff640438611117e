"""What a family of arrays gives to the rest of the house: the Python side of the contract in docs/architecture.md."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from hw.design import Design, Geometry
from hw.formats import FORMATS, Format
from sim.families.contract import ArrayModel


class ArrayConfig(BaseModel):
    """Base of every family's ``[array]`` keys: unknown keys are mistakes, values do not change, types are not guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Family(ABC):
    """One array of a family: the ``[array]`` keys of a configuration, and the width of the bus it hangs on.

    Parameters
    ----------
    config : instance of the family's ``Config``
    data_bytes : int
        Bytes of a bus beat: 4, 8, 16, 32 or 64.

    Members
    -------
    name, summary : str
        As in a configuration's ``family`` key; one line for listings.
    Config : type
        Model of the ``[array]`` keys.
    geometry : Geometry
        Tile sizes and word widths.
    depth_granule : int
        A GEMM may be cut along K at multiples of this many steps only: the length of a block that shares a scale.

    Raises
    ------
    TypeError, ValueError
        When ``config`` is another family's or ``data_bytes`` is not such a width.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Config: ClassVar[type[ArrayConfig]]

    def __init__(self, config: ArrayConfig, *, data_bytes: int) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(
                f"config of family {self.name} must be a {self.Config.__qualname__}, not {config!r}"
            )
        if operator.index(data_bytes) not in (4, 8, 16, 32, 64):
            raise ValueError(f"data_bytes must be 4, 8, 16, 32 or 64, not {data_bytes!r}")
        self.config: Any = config
        self.data_bytes = operator.index(data_bytes)
        self.geometry = self._geometry()

    @classmethod
    def formats(cls) -> tuple[Format, ...]:
        """The weight formats that arrays of this family can be generated for."""
        return tuple(format for format in FORMATS.values() if cls.name in format.families)

    @property
    def depth_granule(self) -> int:
        """Steps of K at whose multiples a GEMM may be cut."""
        return 1

    @abstractmethod
    def _geometry(self) -> Geometry:
        """Tile sizes and word widths."""

    @abstractmethod
    def core(self, design: Design) -> Any:
        """The Amaranth component with the members of ``hw.interfaces.core_members``; Amaranth is imported here only."""

    @abstractmethod
    def model(self) -> ArrayModel:
        """The simulation model: golden execute and cycle law."""

    @abstractmethod
    def weight_words(self, depth_tiles: int) -> int:
        """Weight words of one column tile that is ``depth_tiles`` deep, scales included."""

    @abstractmethod
    def pack_weights(self, codes: np.ndarray) -> np.ndarray:
        """The weight words (uint8, in the order in which the array takes them) of a part of W.

        ``codes`` is a [K, N] array of int8 whose first row and column lie on tile edges; what is missing to whole tiles
        is filled with zero weights. The words of column tile 0 come first, over the part's whole depth, then tile 1's.
        """
