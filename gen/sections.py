"""The tables of a configuration around the array: what a user may ask for there is bounded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from hw.control.isa import FETCH_BUFFER
from hw.design import Issue


class Section(BaseModel):
    """A table of the configuration: no unknown keys, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True)
class OneOf:
    """Annotation of an integer that must be one of ``values``."""

    values: tuple[int, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return {"type": "integer", "enum": list(self.values)}

    def _check(self, value: int) -> int:
        if value not in self.values:
            raise PydanticCustomError("one_of", "not one of the values")
        return value


class Bus(Section):
    """The AXI4 master."""

    data_width: Annotated[int, OneOf((32, 64, 128, 256, 512))] = Field(
        default=64, description="bits of a bus beat"
    )
    address_width: int = Field(
        default=32,
        ge=16,
        le=64,
        description="bits of a memory address; fewer than 32 with in-order issue alone",
    )
    burst_beats: int = Field(default=256, ge=1, le=256, description="most beats in a burst")
    outstanding: int = Field(default=4, ge=1, le=16, description="most read bursts under way")


class Memory(Section):
    """The memories on the chip."""

    activations_kib: int = Field(default=64, ge=1, le=4096, description="KiB of activations")
    weights_kib: int = Field(default=32, ge=1, le=4096, description="KiB of weights")
    accumulators: Annotated[int, OneOf(tuple(1 << i for i in range(2, 17)))] = Field(
        default=1024, description="results per column of the array, both halves together"
    )
    parameters: int = Field(
        default=256,
        ge=16,
        le=65536,
        multiple_of=16,
        description="output features whose bias and scale are on the chip",
    )


class Output(Section):
    """The way out."""

    lanes: Annotated[int, OneOf((1, 2, 4, 8, 16))] = Field(
        default=1, description="results requantised and written per cycle"
    )


class ControlUnit(Section):
    """Fetch, queues and counters. With in-order issue the other keys mean nothing: there is none of what they say."""

    issue: Issue = Field(
        default="queues", description="three queues at the same time, or one instruction after the other"
    )
    prefetch: Annotated[int, OneOf((1, FETCH_BUFFER))] = Field(
        default=FETCH_BUFFER, description="instructions fetched ahead of their use"
    )
    queue_depth: int = Field(
        default=8, ge=0, le=32, description="instructions that wait behind each unit's next one"
    )
    counters: bool = Field(
        default=True, description="all counters; otherwise cycles alone, and the others read 0"
    )
