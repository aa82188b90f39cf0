"""A query in JSON that users hand in as a hint.

A query is a list: an operator and its arguments, which may be queries themselves. `=`, `<`, `>`, `<=`, `>=` compare
the first argument with each of the others, `in` looks for it among them; `and`, `or` and `not` join queries. A text
that begins with `$` is an attribute of the host, with keys within it after dots; arguments a host does not have are
left out.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from protonova.services.runtime import errors
from protonova.services.scheduler.filters import attributes
from protonova.services.scheduler.filters.attributes import ABSENT
from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_JOINING = ("in", "not", "or", "and")
_DEEPEST = 32

Query = list[Any]


class JsonFilter(Filter):
    """The host meets the hint `query`; an empty one is met by all."""

    name = "JsonFilter"
    once = False

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        query = parse(request.hints.get("query"))
        if not query:
            return everyone(hosts)
        names = sorted(_variables(query))
        columns = []
        for name in names:
            found = attributes.find(hosts, name.removeprefix("$").split("."))
            columns.append([ABSENT] * len(hosts) if found is None else found.column())
        # Hosts that do not differ in what is asked for are judged once.
        verdicts: dict[str, bool] = {}
        mask = np.zeros(len(hosts), dtype=np.bool_)
        for row in range(len(hosts)):
            values = [column[row] for column in columns]
            key = repr(values)
            if key not in verdicts:
                verdicts[key] = bool(_evaluate(query, dict(zip(names, values, strict=True))))
            mask[row] = verdicts[key]
        return mask


def parse(hint: Any) -> Query:
    """The query of a hint: JSON, or what it stands for. Raises HINT_INVALID."""
    if hint is None or hint == "":
        return []
    query = hint
    if isinstance(hint, str):
        try:
            query = json.loads(hint)
        except (ValueError, RecursionError):
            raise _invalid("is no JSON") from None
    if not isinstance(query, list):
        raise _invalid("is no list")
    _check(query, 1)
    return query


def _check(query: Query, depth: int) -> None:
    if depth > _DEEPEST:
        raise _invalid(f"is nested deeper than {_DEEPEST}")
    if not query:
        return
    name, *arguments = query
    if not isinstance(name, str) or (name not in _COMPARISONS and name not in _JOINING):
        raise _invalid(f"has the unknown operator {json.dumps(name)[:60]}")
    for argument in arguments:
        if isinstance(argument, list):
            _check(argument, depth + 1)


def _invalid(what: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"The hint query {what}.", reason="HINT_INVALID", hint="query")


def _variables(query: Query) -> set[str]:
    found: set[str] = set()
    for argument in query[1:]:
        if isinstance(argument, list):
            found |= _variables(argument)
        elif isinstance(argument, str) and argument.startswith("$"):
            found.add(argument)
    return found


def _evaluate(query: Query, values: Mapping[str, Any]) -> bool:
    if not query:
        return True
    name = query[0]
    arguments = [_argument(argument, values) for argument in query[1:]]
    arguments = [argument for argument in arguments if argument is not None and argument is not ABSENT]
    if name == "not":
        return any(not argument for argument in arguments)
    if name == "and":
        return all(arguments)
    if name == "or":
        return any(arguments)
    if len(arguments) < 2:
        return False
    first, *others = arguments
    if name == "in":
        return first in others
    try:
        return all(_COMPARISONS[name](first, other) for other in others)
    except TypeError:
        # A number and a text, say: neither is less than the other.
        return False


def _argument(argument: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(argument, list):
        return _evaluate(argument, values)
    if isinstance(argument, str) and argument.startswith("$"):
        return values[argument]
    return argument
