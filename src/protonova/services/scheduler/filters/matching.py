"""The little language of extra specs that are compared with what a host or an aggregate has.

A value is an operator and operands: `=` (a number at least), `==` `!=` `>=` `<=` (numbers), `s==` `s!=` `s>=` `s>`
`s<=` `s<` (texts), `<in>` (part of the text), `<all-in>` (all items), `<or>` (one of). Without an operator the
texts must be equal.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

_NUMBERS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
}
_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s>=": operator.ge,
    "s>": operator.gt,
    "s<=": operator.le,
    "s<": operator.lt,
}


def matches(found: object, wanted: str) -> bool:
    """Whether a value that was found is what an extra spec wants."""
    words = wanted.split()
    if not words:
        return str(found) == wanted
    first, rest = words[0], words[1:]
    if first == "<or>":
        return str(found) in [word for word in rest if word != "<or>"]
    if first == "<all-in>":
        items = found if isinstance(found, list | tuple | set | frozenset) else str(found)
        return all(word in items for word in rest if word != "<all-in>")
    if first == "<in>":
        return bool(rest) and rest[0] in str(found)
    if first in _NUMBERS:
        return bool(rest) and _as_numbers(_NUMBERS[first], found, rest[0])
    if first in _TEXTS:
        return bool(rest) and _TEXTS[first](str(found), rest[0])
    return str(found) == wanted


def _as_numbers(compare: Callable[[float, float], bool], found: object, wanted: str) -> bool:
    try:
        return compare(float(str(found)), float(wanted))
    except ValueError:
        return False
