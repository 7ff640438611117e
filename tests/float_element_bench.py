"""What a bit-serial element for fp16 activations is fed, as an array feeds it, and what must come out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.pe.element_times import SCALE_BITS, fp16_times

CONTROLS = ("significance", "last", "scale_bit", "finish")


@dataclass
class Group:
    """Operands of one result: activations and terms are [slices, lanes]."""

    activations: np.ndarray
    sign: np.ndarray
    exponent: np.ndarray
    man: np.ndarray
    significance: np.ndarray
    scale: int
    gaps: tuple[int, ...] = ()
    """Slices before which a cycle without terms comes."""

    @property
    def operands(self) -> tuple:
        return self.activations, self.sign, self.exponent, self.man, self.significance

    def lanes(self, step: int) -> dict[str, int]:
        """Members of a slice."""
        activations, terms = 0, 0
        for lane, activation in enumerate(self.activations[step]):
            sign, exponent, man = (int(values[step, lane]) for values in (self.sign, self.exponent, self.man))
            activations |= int(activation) << 16 * lane
            terms |= (sign | exponent << 1 | man << 3) << 4 * lane
        return {"activations": activations, "terms": terms}


def stimulus(groups: list[Group], *, lanes: int) -> tuple[list[dict[str, int]], list[int]]:
    """Inputs in each cycle, and the cycles of the results: each group begins in the cycle after the one before."""
    random = np.random.default_rng(0)
    slices: list[dict[str, int]] = []
    due: dict[int, dict[str, int]] = {}
    results = []
    for group in groups:
        for step, power in enumerate(group.significance):
            for _ in range(group.gaps.count(step)):
                # Terms without man are nothing, whatever the rest is.
                nothing = sum(int(random.integers(8)) << 4 * lane for lane in range(lanes))
                activations = int.from_bytes(random.bytes(2 * lanes), "little")
                slices.append({"activations": activations, "terms": nothing})
            cycle = len(slices) + fp16_times(lanes).significance
            due.setdefault(cycle, {})["significance"] = int(power)
            slices.append(group.lanes(step))
        last = len(slices) - 1 + fp16_times(lanes).last
        due.setdefault(last, {})["last"] = 1
        first = last + fp16_times(lanes).scale
        for bit in range(8):
            due.setdefault(first + bit, {})["scale_bit"] = group.scale >> (7 - bit) & 1
        due[first + 7]["finish"] = 1
        results.append(first + SCALE_BITS - 1 + fp16_times(lanes).result)
    slices += [{}] * (results[-1] + 2 - len(slices))
    return [inputs | due.get(cycle, {}) for cycle, inputs in enumerate(slices)], results


def check(inputs: list[dict[str, int]], outputs: list[dict[str, int]], due: list[int]) -> list[int]:
    """The results: each in its cycle and nothing in any other, and for the neighbours the inputs of a cycle ago."""
    for before, after in zip(inputs, outputs[1:], strict=False):
        for name in ("activations", "terms", *CONTROLS):
            assert after[f"{name}_next"] == before.get(name, 0), name
    assert [cycle for cycle, seen in enumerate(outputs) if seen["valid"]] == due
    assert not any(seen["result"] for seen in outputs if not seen["valid"])
    return [seen["result"] for seen in outputs if seen["valid"]]
