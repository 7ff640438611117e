"""Model files: equal to the reference reader, malformed ones are refused fast."""

from __future__ import annotations

import random
import struct
import time

import gguf
import numpy as np
import pytest

from gen.errors import RequestError
from gen.models.file import ModelFile, ModelFileError
from gen.models.llama import Llama
from tests.test_models import small_model


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.gguf")


def test_agrees_with_the_reference_reader(small):
    ours, theirs = ModelFile(small), gguf.GGUFReader(small)
    assert {t.name: (t.data_offset, t.n_bytes, t.tensor_type) for t in theirs.tensors} == {
        t.name: (t.offset, t.bytes, t.type) for t in ours.tensors.values()
    }
    for tensor in theirs.tensors:
        np.testing.assert_array_equal(
            ours.read(tensor.name), gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        )
    values = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert ours.values == values


def outcome(path, data):
    """Read a whole model from ``data``: None, or our error; anything else escapes."""
    path.write_bytes(data)
    started = time.perf_counter()
    result = None
    try:
        model = Llama(ModelFile(path))
        for name in model.file.tensors:
            model.file.read(name)
        model.tokenizer.decode(model.tokenizer.encode("abc"))
    except (ModelFileError, RequestError) as error:
        result = error
    assert time.perf_counter() - started < 5
    return result


def header_bytes(path):
    return min(tensor.offset for tensor in ModelFile(path).tensors.values())


def test_truncated_files_are_refused(small, tmp_path):
    data = small.read_bytes()
    places = [*range(0, header_bytes(small), 97), len(data) // 2, len(data) - 64]
    kept = [place for place in places if outcome(tmp_path / "m", data[:place]) is None]
    assert kept == []


def test_mutated_headers_end_fast_in_success_or_our_error(small, tmp_path):
    seed = 20_240
    print("seed", seed)
    dice, data, end = random.Random(seed), small.read_bytes(), header_bytes(small)
    refused = 0
    for _ in range(400):
        mutant = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 8))):
            place = dice.randrange(end)
            if dice.random() < 0.5:
                mutant[place] = dice.randrange(256)
            else:
                extreme = dice.choice(
                    (0, 1, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 62, (1 << 63) + 5, (1 << 64) - 1)
                )
                mutant[place : place + 8] = struct.pack("<Q", extreme)
        refused += outcome(tmp_path / "m", bytes(mutant)) is not None
    assert 100 < refused < 400


def number(key, value):
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<II", 4, value)


def tensor(name="t", dimensions=(32,), kind=0, offset=0):
    return (
        struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(dimensions))
        + struct.pack(f"<{len(dimensions)}Q", *dimensions) + struct.pack("<IQ", kind, offset)
    )  # fmt: skip


def made(values=(), tensors=(), *, version=3, magic=b"GGUF", counts=None, room=4096):
    counts = counts or (len(tensors), len(values))
    return magic + struct.pack("<IQQ", version, *counts) + b"".join(values) + b"".join(tensors) + bytes(room)


HUGE = 1 << 60


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"GGU", "magic at byte 0 must be at most 3 bytes long, not 4"),
        (made(magic=b"GGML"), "must begin with b'GGUF'"),
        (made(version=1), "version must be one of 2, 3, not 1"),
        (made(counts=(HUGE, 0)), "room for 128 tensors"),
        (made(counts=(0, HUGE)), "room for 315 metadata values"),
        (made([number("a", 1), number("a", 1)]), "'a' must occur once"),
        (made([struct.pack("<Q", 70_000)], room=80_000), "must be at most 65535 bytes long, not 70000"),
        (made([struct.pack("<Q", 1) + b"a" + struct.pack("<IQ", 8, HUGE)]), "bytes long, not 1152921504606846976"),
        (made([struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 4, HUGE)]), "must have at most 4096 items"),
        (made([struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 8, HUGE)]), "must have at most 512 strings"),
        (made([struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 9, 1)]), "array of numbers or strings"),
        (made([struct.pack("<Q", 1) + b"a" + struct.pack("<I", 99)]), "must be of type 0 to 12, not 99"),
        (made([struct.pack("<Q", 1) + b"\xff" + struct.pack("<II", 4, 1)]), "must be UTF-8"),
        (made([number("general.alignment", 24)]), "general.alignment must be a power of two"),
        (made(tensors=[tensor(name="n" * 65)]), "must be at most 64 bytes long, not 65"),
        (made(tensors=[tensor(dimensions=())]), "must have 1 to 4 dimensions, not 0"),
        (made(tensors=[tensor(dimensions=(1,) * 5)]), "must have 1 to 4 dimensions, not 5"),
        (made(tensors=[tensor(dimensions=(32, 0))]), "dimensions of at least 1"),
        (made(tensors=[tensor(dimensions=(1 << 33, 1 << 33))]), "must end within the file's"),
        (made(tensors=[tensor(kind=3, dimensions=(33,))]), "a multiple of 32 elements, not 33"),
        (made(tensors=[tensor(kind=4)]), "a type that GGUF defines, not 4"),
        (made(tensors=[tensor(offset=8)]), "must lie at a multiple of 32, not at 8"),
        (made(tensors=[tensor(offset=HUGE)]), "must end within the file's"),
        (made(tensors=[tensor(), tensor()]), "'t' must occur once"),
        (made(tensors=[tensor(), tensor("u", offset=32)]), "'t' and 'u' must not overlap"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_with_one_reason(tmp_path, data, words):
    error = outcome(tmp_path / "m", data)
    assert error is not None
    assert words in str(error)
    assert "\n" not in str(error)


def test_a_model_that_lacks_something_is_refused(tmp_path):
    error = outcome(tmp_path / "m", made([number("llama.block_count", 1)], [tensor()]))
    assert "general.architecture must be llama, not None" in str(error)
