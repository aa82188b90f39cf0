"""What a resource of the Network API is made of: its attributes, told once.

From them follow what a request may say, what defaults hold, what is shown to whom and how it is kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from flask import request

from protonova.companions import clock, store, web
from protonova.companions.caller import Caller
from protonova.companions.fault import Fault, bad, forbidden
from protonova.companions.network import values
from protonova.companions.network.fault import invalid

REQUIRED: Any = object()


@dataclass(frozen=True)
class Attribute:
    rule: values.Check
    default: Any = None
    create: bool = True
    update: bool = True
    privileged: bool = False  # set only by administrators and services
    hidden: bool = False  # and seen only by them
    kept: bool = True  # in a column of its own name

    def fresh(self) -> Any:
        return self.default.copy() if isinstance(self.default, (list, dict)) else self.default


def _common() -> dict[str, Attribute]:
    return {
        "name": Attribute(values.text(), ""),
        "description": Attribute(values.text(), ""),
        "tags": Attribute(values.tags, [], create=False, update=False),
    }


@dataclass(frozen=True)
class Kind:
    singular: str
    plural: str
    title: str  # as in <title>NotFound
    own: dict[str, Attribute]
    flags: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()  # kept as JSON
    has_status: bool = False
    attributes: dict[str, Attribute] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", {**_common(), **self.own})

    def missing(self, ident: str) -> Fault:
        return Fault(404, f"{self.title} {ident} could not be found.", f"{self.title}NotFound")

    def requested(self, who: Caller) -> tuple[list[dict[str, Any]], bool]:
        """The resources a create request asks for, complete with defaults; and whether it was a bulk request."""
        body = web.document()
        if self.plural in body:
            entries, bulk = body[self.plural], True
            if not isinstance(entries, list) or not entries:
                raise bad(f"'{self.plural}' must be a list with at least one entry.")
        else:
            entries, bulk = [body.get(self.singular)], False
        return [self._completed(who, entry) for entry in entries], bulk

    def _completed(self, who: Caller, entry: Any) -> dict[str, Any]:
        if not isinstance(entry, dict):
            raise bad(f"The request must hold an object '{self.singular}'.")
        wanted = {"project_id": _owner(who, entry)}
        for name, value in entry.items():
            if name not in ("project_id", "tenant_id"):
                wanted[name] = self._value(who, name, value, creating=True)
        for name, attribute in self.attributes.items():
            if name not in wanted:
                if attribute.default is REQUIRED:
                    raise bad(f"'{name}' is required to create a {self.singular}.")
                wanted[name] = attribute.fresh()
        return wanted

    def changes(self, who: Caller) -> dict[str, Any]:
        """The attributes an update request changes."""
        given = web.document(self.singular)
        return {name: self._value(who, name, value, creating=False) for name, value in given.items()}

    def _value(self, who: Caller, name: str, value: Any, *, creating: bool) -> Any:
        attribute = self.attributes.get(name)
        if attribute is None:
            raise bad(f"Unrecognized attribute(s) '{name}'.")
        if not (attribute.create if creating else attribute.update):
            raise bad(f"'{name}' cannot be {'given' if creating else 'changed'}.")
        kept = attribute.rule(name, value)
        if attribute.privileged and not who.is_privileged and (not creating or kept != attribute.default):
            raise forbidden(f"Setting '{name}' needs the role admin.")
        return kept

    def stored(self, values_: Mapping[str, Any]) -> store.Row:
        """Values as the columns keep them."""
        row = dict(values_)
        for name in self.flags & row.keys():
            row[name] = int(row[name])
        for name in self.documents & row.keys():
            row[name] = orjson.dumps(row[name]).decode()
        return row

    def loaded(self, row: store.Row) -> dict[str, Any]:
        """A row as values again, and in the words of the API."""
        body = dict(row)
        for name in self.flags:
            body[name] = bool(body[name])
        for name in self.documents:
            body[name] = orjson.loads(body[name])
        body["tenant_id"] = body["project_id"]
        body["created_at"] = clock.zulu(body["created_at"])
        body["updated_at"] = clock.zulu(body["updated_at"])
        return body

    def presented(self, who: Caller, body: dict[str, Any]) -> dict[str, Any]:
        """What the caller may see of it and asked to see."""
        chosen = request.args.getlist("fields")
        if not who.is_privileged:
            body = {
                name: value
                for name, value in body.items()
                if not ((attribute := self.attributes.get(name)) and attribute.hidden)
            }
        return {name: body[name] for name in chosen if name in body} if chosen else body


def _owner(who: Caller, entry: dict[str, Any]) -> str:
    given = [entry[name] for name in ("project_id", "tenant_id") if name in entry]
    if not given:
        return who.project_id
    owner = given[0]
    if not isinstance(owner, str) or len(owner) > 255 or any(other != owner for other in given):
        raise invalid("'project_id' and 'tenant_id' must be one and the same id.")
    if owner != who.project_id and not who.is_privileged:
        raise bad("Creating for another project needs the role admin.")
    return owner


def born(ident: str | None = None) -> dict[str, Any]:
    """What every new resource starts with."""
    now = clock.now()
    return {"id": ident or web.new_id(), "created_at": now, "updated_at": now, "revision_number": 1}


def touched(row: store.Row) -> dict[str, Any]:
    return {"updated_at": clock.now(), "revision_number": row["revision_number"] + 1}


Special = Mapping[str, Callable[[store.Where, list[str]], None]]
