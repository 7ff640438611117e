"""Constraints between parameters: a small language of arithmetic and comparisons, read from its syntax tree.

Nothing of a constraint is ever executed as Python. There are numbers, texts, ``true`` and ``false``, names with dots, ``+ - * /
// %``, comparisons (chained, too), ``in`` a list, ``and``, ``or``, ``not``. Text, tree and numbers are bounded.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

LONGEST, MOST_NODES, LARGEST = 400, 120, 1 << 64
"""Characters and nodes of a constraint; bound of the numbers that occur."""

Value = int | float | str | bool
Evaluation = Callable[[Mapping[str, Value]], Any]


def _same(value: Value, other: Value) -> bool:
    """1 is not true."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_EQUAL: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: _same,
    ast.NotEq: lambda value, other: not _same(value, other),
    ast.In: lambda value, others: any(_same(value, other) for other in others),
    ast.NotIn: lambda value, others: not any(_same(value, other) for other in others),
}
_WORDS = {"true": True, "false": False}


class Constraint:
    """A condition on the parameters of a point.

    Parameters
    ----------
    text : str
        For example ``array.rows * array.columns <= 64 and array.rows <= array.columns``.

    Members
    -------
    names : frozenset of str
        Parameters that occur.

    Raises
    ------
    ValueError
        The text is not of the language, or too long.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise ValueError(f"constraint must be at most {LONGEST} characters long, not {len(text)}")
        self.text = text
        names: set[str] = set()
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            if sum(1 for _ in ast.walk(tree)) > MOST_NODES:
                raise ValueError(f"constraint must have at most {MOST_NODES} parts: {text!r}")
            self._holds = _compile(tree, names)
        except (SyntaxError, RecursionError, MemoryError, OverflowError) as error:
            raise ValueError(f"constraint must be a comparison of parameters, not {text!r}") from error
        self.names = frozenset(names)

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether parameters with these ``values`` are wanted.

        Raises ``ValueError`` when it cannot be said: a division by 0, a number beyond bounds, text among numbers.
        """
        try:
            result = self._holds(values)
        except (ZeroDivisionError, OverflowError, TypeError) as error:
            raise ValueError(f"constraint {self.text!r} must have a value: {error}") from None
        if not isinstance(result, bool):
            raise ValueError(f"constraint {self.text!r} must be true or false, not {result!r}")
        return result


def _compile(node: ast.expr, names: set[str]) -> Evaluation:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            _bounded(value)
            return lambda _: value
        case ast.Name() | ast.Attribute():
            return _name(".".join(_parts(node)), names)
        case ast.UnaryOp(op=ast.USub() | ast.Not() as op, operand=operand):
            inner, minus = _compile(operand, names), isinstance(op, ast.USub)
            return lambda values: -_number(inner(values)) if minus else not _truth(inner(values))
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            sides = _compile(node.left, names), _compile(node.right, names)
            function = _ARITHMETIC[type(op)]
            return lambda values: _bounded(function(*(_number(side(values)) for side in sides)))
        case ast.BoolOp(op=op, values=nodes):
            parts = [_compile(one, names) for one in nodes]
            among = all if isinstance(op, ast.And) else any
            return lambda values: among(_truth(part(values)) for part in parts)
        case ast.Compare():
            return _comparison(node, names)
    raise ValueError(f"constraint must not have {ast.unparse(node)!r} in it")


def _comparison(node: ast.Compare, names: set[str]) -> Evaluation:
    operators = [type(one) for one in node.ops]
    parts = [_compile(node.left, names)]
    for kind, right in zip(operators, node.comparators, strict=True):
        if kind in (ast.In, ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple):
                raise ValueError(f"constraint must have a list after 'in', not {ast.unparse(right)!r}")
            parts.append(_list([_compile(one, names) for one in right.elts]))
        elif kind in _ORDER or kind in _EQUAL:
            parts.append(_compile(right, names))
        else:
            raise ValueError(f"constraint must not have {ast.unparse(node)!r} in it")

    def holds(values: Mapping[str, Value]) -> bool:
        found = [part(values) for part in parts]
        return all(
            _ORDER[kind](_number(left), _number(right)) if kind in _ORDER else _EQUAL[kind](left, right)
            for kind, left, right in zip(operators, found, found[1:], strict=False)
        )

    return holds


def _list(parts: list[Evaluation]) -> Evaluation:
    return lambda values: [part(values) for part in parts]


def _name(name: str, names: set[str]) -> Evaluation:
    if name in _WORDS:
        return lambda _: _WORDS[name]
    names.add(name)
    return lambda values: values[name]


def _parts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield from _parts(node.value)
        yield node.attr
    elif isinstance(node, ast.Name):
        yield node.id
    else:
        raise ValueError(f"constraint must not have {ast.unparse(node)!r} in it")


def _bounded(value: Any) -> Any:
    if isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise OverflowError(f"numbers must be at most {LARGEST}")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value
