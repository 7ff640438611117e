"""What lies in the weight scratchpad when: for cycle laws that depend on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hw.control.isa import Destination, Instruction, Opcode
from hw.design import Design


class LoadedWeights:
    """The weight scratchpad as each instruction finds it: the LOADs before it, carried out in program order.

    Tokens see to it that an EXECUTE finds just that, whatever the queues do. What the program itself has stored is not seen.

    Parameters
    ----------
    design : Design
    program : sequence of Instruction
    image : array of uint8
        Memory at the start, the byte at address ``base`` first.
    """

    def __init__(self, design: Design, program: Sequence[Instruction], image: np.ndarray, base: int):
        self._beat, self._image, self._base = design.data_bytes, image, base
        self._content = np.zeros(design.weight_words * design.geometry.weight_bytes, np.uint8)
        self._loads = [
            (index, one.values)
            for index, one in enumerate(program)
            if one.opcode is Opcode.LOAD and one.variant == Destination.WEIGHTS
        ][::-1]

    def before(self, index: int) -> np.ndarray:
        """Its bytes as instruction ``index`` finds them; good until the next is asked for, which must not come earlier."""
        while self._loads and self._loads[-1][0] < index:
            self._load(self._loads.pop()[1])
        return self._content

    def _load(self, fields: dict[str, int]) -> None:
        size = fields["row_bytes"]
        for row in range(fields["rows"]):
            source = fields["memory_address"] + row * fields["memory_stride"] - self._base
            target = (fields["local_address"] + row * fields["local_stride"]) * self._beat
            self._content[target : target + size] = self._image[source : source + size]
