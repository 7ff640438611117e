"""What table-lookup hardware must give, from the definition: planes of plus and minus one, tables of sums, their quantisation.

A code q of b bits is taken as q' = 2q - (2**b - 1), which is the sum of 2**i times plus or minus one, plus where bit i is set.
With the zero point taken alike, q - z = (q' - z') / 2. Plain NumPy; no Amaranth here.

Reference: LUT Tensor Core, Mo et al., ISCA 2025, section 3 and equations 2 to 6; T-MAC, Wei et al., EuroSys 2025, and
microsoft/T-MAC, ``lut_ctor.cc`` and ``tbl.cc``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim.half import half

GREATEST = 127
"""Of a quantised entry; the least is the same with a minus."""
_FLOAT = np.float32


def reinterpreted(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes of ``bits`` bits, as the odd numbers from 1 - 2**bits to 2**bits - 1."""
    return 2 * np.asarray(codes, dtype=np.int64) - ((1 << bits) - 1)


def indices(codes: np.ndarray, *, bits: int, k: int) -> np.ndarray:
    """Bit planes [bits, ..., K / k] of codes [..., K]: bit j of an index is weight j's, the lowest plane first."""
    codes = np.asarray(codes, dtype=np.int64)
    groups = codes.reshape(*codes.shape[:-1], -1, k)
    return np.stack([((groups >> plane & 1) << np.arange(k)).sum(-1) for plane in range(bits)])


def signs(k: int) -> np.ndarray:
    """Plus or minus one [2**k, k] of every index."""
    return 2 * (np.arange(1 << k)[:, None] >> np.arange(k) & 1) - 1


def table(activations: np.ndarray) -> np.ndarray:
    """All sums [..., 2**k] of plus and minus the integers [..., k]."""
    activations = np.asarray(activations, dtype=np.int64)
    return activations @ signs(activations.shape[-1]).T


def half_table(activations: np.ndarray) -> np.ndarray:
    """The sums [..., 2**(k - 1)] with plus the last activation; the others are these with a minus.

    Four activations of 8 bits so give sums of 10 bits; with minus the last, +512 (of four times -128) would take one more.
    """
    whole = table(activations)
    return whole[..., whole.shape[-1] // 2 :]


def recoded(index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Entry of the half table, and whether it is negated: done to static weights, so that hardware need not invert an index."""
    index = np.asarray(index, dtype=np.int64)
    half = 1 << k - 1
    negative = index < half
    return np.where(negative, ~index, index) & half - 1, negative


def looked_up(half: np.ndarray, entry: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Sums [...] from half tables [..., 2**(k - 1)]."""
    found = np.take_along_axis(half, np.asarray(entry)[..., None], -1)[..., 0]
    return np.where(negative, -found, found)


def group_sum(
    activations: np.ndarray, codes: np.ndarray, *, bits: int, k: int, zero: int | None = None
) -> int:
    """Sum of activations times q' - z', by lookups; z' is that of code ``zero``, without it nothing.

    That is twice the sum of activations times q - z.
    """
    half = half_table(np.asarray(activations).reshape(-1, k))
    total = 0
    for plane, index in enumerate(indices(codes, bits=bits, k=k)):
        total += int(looked_up(half, *recoded(index, k)).sum()) << plane
    if zero is not None:
        # All plus: the last entry is the sum of the activations.
        total -= int(half[:, -1].sum()) * int(reinterpreted(np.array(zero), bits))
    return total


def group_result(
    activations: np.ndarray, codes: np.ndarray, *, bits: int, k: int, scale: int, zero: int | None = None
) -> int:
    """A group's sum, scaled."""
    return scale * group_sum(activations, codes, bits=bits, k=k, zero=zero)


def float_result(sums: npt.ArrayLike, scales: npt.ArrayLike) -> np.ndarray:
    """float32 of sums, of integers or in fp16, times fp16 scales, rounded once to nearest even; +0 for any zero.

    float64 holds the products of integers below 2**42. They are multiples of 2**-24, hence zero or normal, and so is any sum of
    them.
    """
    product = np.asarray(sums, dtype=np.float64) * np.asarray(scales, dtype=np.float64)
    return (product + 0.0).astype(_FLOAT)


def ternary_sum(activations: np.ndarray, weights: np.ndarray) -> int:
    """Of weights -1, 0 and 1."""
    return int(np.asarray(activations, dtype=np.int64) @ np.asarray(weights, dtype=np.int64))


def float_table(activations: np.ndarray) -> np.ndarray:
    """float32 sums [groups, 16] of float32 activations [groups, 4], in T-MAC's order; the even ones are the odd ones negated."""
    x = np.asarray(activations, dtype=_FLOAT)
    entries = np.zeros((len(x), 16), dtype=_FLOAT)
    for index in range(1, 16, 2):
        total = x[:, 0]
        for place in (1, 2, 3):
            total = total + x[:, place] if index >> place & 1 else total - x[:, place]
        entries[:, index] = total
    entries[:, ::2] = -entries[:, ::-2]
    return entries


def _inverse(scales: np.ndarray) -> np.ndarray:
    safe = np.where(scales == 0, _FLOAT(1), scales)
    return np.where(scales == 0, _FLOAT(0), _FLOAT(1) / safe).astype(_FLOAT)


def quantised_tables(activations: np.ndarray, *, tables_per_scale: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 tables [groups, 16] and float32 scales of float32 activations [K].

    A scale is the greatest entry there can be in its tables, by 127; entries are rounded to even. With T-MAC ``tables_per_scale``
    is 16 for activation groups of 64; with the LUT tensor core 1.
    """
    x = np.asarray(activations, dtype=_FLOAT).reshape(-1, 4)
    if len(x) % tables_per_scale:
        raise ValueError(f"tables_per_scale must divide {len(x)} tables, not {tables_per_scale!r}")
    size = np.abs(x)
    most = ((size[:, 0] + size[:, 1]) + (size[:, 2] + size[:, 3])).reshape(-1, tables_per_scale).max(1)
    scales = most / _FLOAT(GREATEST)
    each = np.repeat(_inverse(scales), tables_per_scale)[:, None]
    codes = np.clip(np.rint(float_table(x) * each), -GREATEST - 1, GREATEST).astype(np.int8)
    return codes, scales


def quantised_group_sums(
    activations: np.ndarray, codes: np.ndarray, *, bits: int, offsets: npt.ArrayLike = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums [M, N] of a group of activations [M, K] and codes [K, N] by ``quantised_tables`` with one scale; int64.

    K is a multiple of four, at most 64 as T-MAC has it. Of each plane, times 2**plane, the entries that its bits select; less
    ``offsets`` [N] (z' of a zero point, 1 for two's complement) times the sum of the last entries, in which all is plus. Then
    those sums [M], and float32 scales [M].
    """
    codes = np.asarray(codes, dtype=np.int64)
    index = indices(codes.T, bits=bits, k=4)
    weights, sums, totals, scales = 1 << np.arange(bits), [], [], []
    for x in np.asarray(activations, dtype=_FLOAT):
        tables, scale = quantised_tables(x, tables_per_scale=len(x) // 4)
        totals.append(tables[:, -1].sum(dtype=np.int64))
        scales.append(scale[0])
        planes = plane_sums(tables, index).astype(np.int64)
        sums.append(np.tensordot(weights, planes, axes=1) - np.asarray(offsets) * totals[-1])
    return np.array(sums), np.array(totals), np.array(scales, dtype=_FLOAT)


def quantised_results(
    sums: np.ndarray, table_scales: np.ndarray, scales: npt.ArrayLike, *, doubled: bool
) -> np.ndarray:
    """float32 [M, N] of such sums, half of them if they are ``doubled``: times the tables' scales [M], rounded; times fp16
    ``scales`` [N], rounded again; to nearest even, and +0 for any zero.

    float64 holds both products. A table's scale is 0 or from 2**-24 / 127 to 2**19 / 127, so that no result is subnormal or too
    great.
    """
    values = float_result(np.asarray(sums) * (0.5 if doubled else 1.0), table_scales[:, None])
    return float_result(values, scales)


def biases(activations: np.ndarray, *, tables_per_scale: int) -> np.ndarray:
    """float32 minus the sum of the activations under each scale, added up in the order of T-MAC's eight lanes."""
    all_minus = float_table(np.asarray(activations, dtype=_FLOAT).reshape(-1, 4))[:, 0]
    lanes = all_minus.reshape(-1, tables_per_scale // 8, 8)
    fours = lanes[..., 4:] + lanes[..., :4]
    each = (fours[..., 0] + fours[..., 2]) + (fours[..., 1] + fours[..., 3])
    total = np.zeros(len(lanes), dtype=_FLOAT)
    for part in range(each.shape[1]):
        total = total + each[:, part]
    return total


def plane_sums(tables: np.ndarray, index: np.ndarray) -> np.ndarray:
    """int32 sums [...] of full tables' [groups, 2**k] entries at indices [..., groups]."""
    return np.asarray(tables, dtype=np.int32)[np.arange(len(tables)), index].sum(-1, dtype=np.int32)


def fused(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> np.ndarray:
    """float32 a × b + c, rounded once: the float64 sum is made odd where it is not exact, so that it may be rounded again."""
    product = np.asarray(a, dtype=np.float64) * np.asarray(b, dtype=np.float64)
    addend = np.asarray(c, dtype=np.float64)
    total = product + addend
    part = total - product
    error = (product - (total - part)) + (addend - part)
    even = np.abs(total).view(np.int64) & 1 == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & even, odd, total).astype(_FLOAT)


def tmac(
    activations: np.ndarray,
    codes: np.ndarray,
    scales: np.ndarray,
    *,
    bits: int,
    tables_per_scale: int,
    zeros: np.ndarray | None = None,
) -> np.ndarray:
    """T-MAC's float32 products [M] of codes [M, K] and activations [K]; ``scales`` and ``zeros`` [M, groups] as it stores them.

    A group of weights is one of activations too. By planes: half the lowest, once the next, then twice and four times.
    """
    tables, table_scales = quantised_tables(activations, tables_per_scale=tables_per_scale)
    bias = biases(activations, tables_per_scale=tables_per_scale)
    index = indices(codes, bits=bits, k=4)
    planes = np.zeros((bits, len(codes)), dtype=_FLOAT)
    for group in range(len(table_scales)):
        part = slice(group * tables_per_scale, (group + 1) * tables_per_scale)
        sums = plane_sums(tables[part], index[..., part]).astype(_FLOAT)
        for plane in range(bits):
            value = fused(sums[plane], table_scales[group], bias[group] * _FLOAT(plane == 0))
            planes[plane] = fused(value, scales[:, group], planes[plane])
        if zeros is not None:
            planes[0] = fused(zeros[:, group], _FLOAT(2) * bias[group], planes[0])
    total = planes[0] * _FLOAT(0.5)
    for plane in range(1, bits):
        total = total + planes[plane] * _FLOAT(1 << plane - 1)
    return total


def half_float_table(activations: np.ndarray) -> np.ndarray:
    """float16 sums [..., 8] of float16 [..., 4] with minus the first, bit j of the entry being activation j + 1's sign.

    Each is the exact sum, rounded once: four halves lie within 2**-24 and 2**18, so that float64 holds it. The published RTL
    takes the first weight as the sign, not the last.
    """
    x = np.asarray(activations, dtype=np.float16).astype(np.float64)
    entries = np.stack(
        [-x[..., 0] + sum((1 if j >> i & 1 else -1) * x[..., i + 1] for i in range(3)) for j in range(8)], -1
    )
    with np.errstate(over="ignore"):
        return entries.astype(np.float16)


def half_float_codes(codes: np.ndarray, *, bits: int) -> np.ndarray:
    """Codes [..., 4, N] recoded for that table: where a plane's first bit is set the others are inverted."""
    codes = np.asarray(codes)
    mask = (1 << bits) - 1
    first = codes[..., :1, :]
    return np.concatenate([first, (codes[..., 1:, :] ^ first) & mask], -2)


def half_float_sums(
    entries: np.ndarray, recoded_codes: np.ndarray, start: np.ndarray, *, bits: int
) -> np.ndarray:
    """float16 [..., M, N]: ``start`` and the entries of every plane, the lowest first, times 2**plane, added one by one.

    ``entries`` [..., M, 8], ``recoded_codes`` [..., 4, N]. Unlike the published RTL a zero entry stays zero in every plane, and
    what is too great becomes infinity.
    """
    total: np.ndarray = np.asarray(start, dtype=np.float16)
    codes = np.asarray(recoded_codes)
    for plane in range(bits):
        bit = codes >> plane & 1
        index = bit[..., 1, :] + 2 * bit[..., 2, :] + 4 * bit[..., 3, :]
        shape = np.broadcast_shapes(index[..., None, :].shape, total.shape)
        found = np.take_along_axis(entries, np.broadcast_to(index[..., None, :], shape).astype(np.int64), -1)
        found = np.where(bit[..., 0, :][..., None, :] == 1, -found, found)
        with np.errstate(over="ignore", invalid="ignore"):
            total = total + found * np.float16(1 << plane)
    return total


def half_group_sums(
    activations: np.ndarray, codes: np.ndarray, *, bits: int, zeros: np.ndarray | None = None
) -> np.ndarray:
    """float16 sums [M, N] of a group of float16 activations [M, K] and codes [K, N]: from zero, each four of K after the other.

    With the codes of zero points ``zeros`` [N] the total is then taken off, times 2**plane, where a zero point's bit is set, and
    added where it is not; plane by plane, the lowest first, each product and each sum rounded. The total is the float16 sum, from
    zero, each four of K after the other, of the entries with plus four times. Such sums are twice what weights q - z give.

    K is a multiple of four; activations of zero leave sums as they are.
    """
    x = np.asarray(activations, dtype=np.float16)
    codes = np.asarray(codes, dtype=np.int64)
    total: np.ndarray = np.zeros((len(x), codes.shape[1]), dtype=np.float16)
    with np.errstate(invalid="ignore"):
        entries = half_float_table(x.reshape(len(x), -1, 4))
    for place in range(entries.shape[1]):
        recoded_codes = half_float_codes(codes[4 * place : 4 * place + 4], bits=bits)
        total = half_float_sums(entries[:, place], recoded_codes, total, bits=bits)
    if zeros is None:
        return total
    with np.errstate(over="ignore", invalid="ignore"):
        plus = np.zeros((len(x), 1), dtype=np.float16)
        for place in range(entries.shape[1]):
            # With minus the first and minus the others: the entry, negated.
            plus = plus - entries[:, place, :1]
        for plane in range(bits):
            sign = np.where(np.asarray(zeros) >> plane & 1, -1, 1).astype(np.float16)
            total = total + plus * np.float16(1 << plane) * sign
    return total


def half_float_results(sums: np.ndarray, scales: np.ndarray, *, doubled: bool = False) -> np.ndarray:
    """float32 of float16 sums times fp16 scales (as of ``half``): exact, and +0 for any zero; of ``doubled`` ones the half.

    An infinite sum counts as what its bit pattern would be with an exponent like the others, 2**16; any NaN as 1.5 times that.
    """
    patterns = np.asarray(sums, dtype=np.float16).view(np.uint16)
    values = half(np.where(patterns & 0x7FFF > 0x7C00, 0x7E00, patterns))
    return float_result(values / (1 + doubled), scales)
