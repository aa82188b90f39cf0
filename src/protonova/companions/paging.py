"""Sorted pages: rows in an order that is total (the id comes last), and the condition "after this row"."""

from collections.abc import Collection, Iterable, Mapping

from protonova.companions import store
from protonova.companions.fault import bad

Order = list[tuple[str, bool]]  # column, ascending


def pairs(text: str, default_direction: str) -> list[tuple[str, str]]:
    """`name:asc,size` as keys with their directions."""
    split = (part.strip().partition(":") for part in text.split(",") if part.strip())
    return [(name, direction or default_direction) for name, _, direction in split]


def order(
    wanted: Iterable[tuple[str, str]], sortable: Collection[str], renamed: Mapping[str, str] | None = None
) -> Order:
    """Keys and directions as columns; the id is appended, in the direction of the last."""
    chosen: Order = []
    for name, direction in wanted:
        if name not in sortable:
            raise bad(f"'{name}' is not something to sort by.")
        if direction.lower() not in ("asc", "desc"):
            raise bad(f"A sort direction is asc or desc, not '{direction}'.")
        column = (renamed or {}).get(name, name)
        if column not in [known for known, _ in chosen]:
            chosen.append((column, direction.lower() == "asc"))
    if "id" not in [column for column, _ in chosen]:
        chosen.append(("id", chosen[-1][1] if chosen else True))
    return chosen


def _key(column: str) -> str:
    # NULL does not compare; as the empty string it has a place in the order.
    return f'"{column}"' if column in ("id", "created_at") else f"ifnull(\"{column}\", '')"


def clause(sorting: Order) -> str:
    return "ORDER BY " + ", ".join(f"{_key(column)} {'ASC' if up else 'DESC'}" for column, up in sorting)


def after(where: store.Where, sorting: Order, row: store.Row) -> None:
    """Add the condition that a row comes after the given one."""
    alternatives, values = [], []
    for at, (column, up) in enumerate(sorting):
        parts = [f"{_key(before)} = ?" for before, _ in sorting[:at]]
        parts.append(f"{_key(column)} {'>' if up else '<'} ?")
        alternatives.append(f"({' AND '.join(parts)})")
        values += ["" if row[name] is None else row[name] for name, _ in sorting[: at + 1]]
    where.add(" OR ".join(alternatives), *values)


def turned(sorting: Order) -> Order:
    return [(column, not up) for column, up in sorting]
