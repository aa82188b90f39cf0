"""Where the fake hypervisors of a process keep guests and images, so that these survive a restart of the agent.

One SQLite file serves all hosts of a process. A host reads its guests once, when it is opened, and holds them
in memory; each change is one small statement, whatever the number of guests. A power failure of the machine
may cost the last changes: guests that exist only here are gone then anyway.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path

from protonova.common.v1.numa_pb2 import GuestTopology
from protonova.common.v1.pci_pb2 import GuestDevices, PciDevice
from protonova.services.compute.virt.driver import PowerState

_SCHEMA = """
CREATE TABLE IF NOT EXISTS guests (
    host TEXT NOT NULL, server_id TEXT NOT NULL, name TEXT NOT NULL, hostname TEXT NOT NULL,
    power_state INTEGER NOT NULL, vcpus INTEGER NOT NULL, memory_mb INTEGER NOT NULL,
    disk_gb INTEGER NOT NULL, boots INTEGER NOT NULL, addresses TEXT NOT NULL,
    PRIMARY KEY (host, server_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS images (
    host TEXT NOT NULL, image_id TEXT NOT NULL, PRIMARY KEY (host, image_id)
);
CREATE TABLE IF NOT EXISTS snapshots (
    host TEXT NOT NULL, server_id TEXT NOT NULL, snapshot_id TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (host, server_id, snapshot_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS topologies (
    host TEXT NOT NULL, server_id TEXT NOT NULL, topology BLOB NOT NULL, PRIMARY KEY (host, server_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plugs (
    host TEXT NOT NULL, server_id TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, seen_as TEXT NOT NULL,
    PRIMARY KEY (host, server_id, kind, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asides (
    host TEXT NOT NULL, server_id TEXT NOT NULL, label TEXT NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (host, server_id, label)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS passing (
    host TEXT NOT NULL, server_id TEXT NOT NULL, PRIMARY KEY (host, server_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS devices (
    host TEXT NOT NULL, server_id TEXT NOT NULL, devices BLOB NOT NULL, PRIMARY KEY (host, server_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (
    host TEXT NOT NULL, server_id TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (host, server_id)
) WITHOUT ROWID
"""


@dataclass
class Record:
    """One fake guest."""

    server_id: str
    name: str
    hostname: str
    power_state: PowerState
    vcpus: int
    memory_mb: int
    disk_gb: int
    boots: int = 0
    addresses: str = ""  # "fa:16:3e:…=10.0.0.5 …"
    topology: GuestTopology | None = None  # as it lies on the host
    volumes: dict[str, str] = field(default_factory=dict)  # names ("/dev/vdb") by volume id
    ports: dict[str, str] = field(default_factory=dict)  # "fa:16:3e:…=10.0.0.5" by port id
    shares: dict[str, str] = field(default_factory=dict)  # tags by share id
    devices: tuple[PciDevice, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)  # what its disks hold, by name
    # On its way to or from another host: to every call but those about that, it is not here.
    passing: bool = False

    @property
    def given(self) -> tuple[GuestTopology | None, tuple[PciDevice, ...]]:
        """What it has of the host alone."""
        return self.topology, self.devices

    def to_bytes(self) -> bytes:
        facts = {name: getattr(self, name) for name in _PLAIN}
        topology = "" if self.topology is None else self.topology.SerializeToString().hex()
        devices = GuestDevices(devices=self.devices).SerializeToString().hex()
        state = int(self.power_state)
        return json.dumps({**facts, "power_state": state, "topology": topology, "devices": devices}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        facts = json.loads(data)
        topology, devices = facts.pop("topology"), facts.pop("devices")
        facts["power_state"] = PowerState(facts["power_state"])
        record = cls(**facts)
        if topology:
            record.topology = GuestTopology.FromString(bytes.fromhex(topology))
        record.devices = tuple(GuestDevices.FromString(bytes.fromhex(devices)).devices)
        return record

    @property
    def shared_vcpus(self) -> int:
        """CPUs without a host CPU of their own."""
        if self.topology is None:
            return self.vcpus
        return self.vcpus - sum(len(cell.dedicated_cpus) for cell in self.topology.cells)


_PLAIN = (
    "server_id",
    "name",
    "hostname",
    "vcpus",
    "memory_mb",
    "disk_gb",
    "boots",
    "addresses",
    "volumes",
    "ports",
    "shares",
    "facts",
)
_PLUGS = ("volumes", "ports", "shares")
_OF_GUESTS = ("guests", "topologies", "devices", "plugs", "facts", "passing", "snapshots")


class Store:
    def __init__(self, path: str) -> None:
        self._guard = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)

    def load(self, host: str) -> dict[str, Record]:
        with self._guard:
            rows = self._db.execute(
                "SELECT server_id, name, hostname, power_state, vcpus, memory_mb, disk_gb, boots, addresses"
                " FROM guests WHERE host = ?",
                (host,),
            ).fetchall()
            topologies = dict(
                self._db.execute(
                    "SELECT server_id, topology FROM topologies WHERE host = ?", (host,)
                ).fetchall()
            )
            plugs = self._db.execute(
                "SELECT server_id, kind, id, seen_as FROM plugs WHERE host = ?", (host,)
            ).fetchall()
            passing = self._db.execute("SELECT server_id FROM passing WHERE host = ?", (host,)).fetchall()
            devices = dict(
                self._db.execute("SELECT server_id, devices FROM devices WHERE host = ?", (host,)).fetchall()
            )
            facts = dict(
                self._db.execute("SELECT server_id, facts FROM facts WHERE host = ?", (host,)).fetchall()
            )
        found = {row[0]: Record(row[0], row[1], row[2], PowerState(row[3]), *row[4:]) for row in rows}
        for (server_id,) in passing:
            if server_id in found:
                found[server_id].passing = True
        for server_id, topology in topologies.items():
            if server_id in found:
                found[server_id].topology = GuestTopology.FromString(topology)
        for server_id, kept in facts.items():
            if server_id in found:
                found[server_id].facts = json.loads(kept)
        for server_id, kind, device, seen_as in plugs:
            if server_id in found:
                getattr(found[server_id], kind)[device] = seen_as
        for server_id, some in devices.items():
            if server_id in found:
                found[server_id].devices = tuple(GuestDevices.FromString(some).devices)
        return found

    def save(self, host: str, record: Record) -> None:
        with self._guard:
            self._write(host, record)

    def _write(self, host: str, record: Record) -> None:
        if record.devices:
            self._db.execute(
                "INSERT OR REPLACE INTO devices VALUES (?, ?, ?)",
                (host, record.server_id, GuestDevices(devices=record.devices).SerializeToString()),
            )
        if record.topology is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO topologies VALUES (?, ?, ?)",
                (host, record.server_id, record.topology.SerializeToString()),
            )
        change = "DELETE FROM passing WHERE host = ? AND server_id = ?"
        if record.passing:
            change = "INSERT OR IGNORE INTO passing VALUES (?, ?)"
        self._db.execute(change, (host, record.server_id))
        self._db.execute(
            "INSERT OR REPLACE INTO guests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                host,
                record.server_id,
                record.name,
                record.hostname,
                int(record.power_state),
                record.vcpus,
                record.memory_mb,
                record.disk_gb,
                record.boots,
                record.addresses,
            ),
        )

    def save_facts(self, host: str, record: Record) -> None:
        with self._guard:
            self._db.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)",
                (host, record.server_id, json.dumps(record.facts)),
            )

    def put_plug(self, host: str, server_id: str, kind: str, device: str, seen_as: str) -> None:
        """`kind` is `volumes`, `ports` or `shares`."""
        with self._guard:
            values = (host, server_id, kind, device, seen_as)
            self._db.execute("INSERT OR REPLACE INTO plugs VALUES (?, ?, ?, ?, ?)", values)

    def drop_plug(self, host: str, server_id: str, kind: str, device: str) -> None:
        with self._guard:
            query = "DELETE FROM plugs WHERE host = ? AND server_id = ? AND kind = ? AND id = ?"
            self._db.execute(query, (host, server_id, kind, device))

    def remove(self, host: str, server_id: str) -> None:
        with self._guard:
            for table in _OF_GUESTS:
                self._db.execute(f"DELETE FROM {table} WHERE host = ? AND server_id = ?", (host, server_id))  # noqa: S608

    def load_asides(self, host: str) -> dict[tuple[str, str], Record]:
        with self._guard:
            rows = self._db.execute(
                "SELECT server_id, label, record FROM asides WHERE host = ?", (host,)
            ).fetchall()
        return {(row[0], row[1]): Record.from_bytes(row[2]) for row in rows}

    def set_aside(self, host: str, label: str, record: Record) -> None:
        """In one transaction with its removal, so that a guest is never in both places or in neither."""
        with self._guard:
            self._db.execute("BEGIN IMMEDIATE")
            key = (host, record.server_id)
            self._db.execute(
                "INSERT OR REPLACE INTO asides VALUES (?, ?, ?, ?)", (*key, label, record.to_bytes())
            )
            for table in _OF_GUESTS:
                self._db.execute(f"DELETE FROM {table} WHERE host = ? AND server_id = ?", key)  # noqa: S608
            self._db.execute("COMMIT")

    def bring_back(self, host: str, label: str, record: Record) -> None:
        """The opposite of `set_aside`, in one transaction as well."""
        with self._guard:
            self._db.execute("BEGIN IMMEDIATE")
            self._write(host, record)
            self._db.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)",
                (host, record.server_id, json.dumps(record.facts)),
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO plugs VALUES (?, ?, ?, ?, ?)",
                [
                    (host, record.server_id, kind, device, seen_as)
                    for kind in _PLUGS
                    for device, seen_as in getattr(record, kind).items()
                ],
            )
            self._db.execute(
                "DELETE FROM asides WHERE host = ? AND server_id = ? AND label = ?",
                (host, record.server_id, label),
            )
            self._db.execute("COMMIT")

    def discard(self, host: str, server_id: str, label: str) -> None:
        with self._guard:
            self._db.execute(
                "DELETE FROM asides WHERE host = ? AND server_id = ? AND label = ?", (host, server_id, label)
            )

    def has_image(self, host: str, image_id: str) -> bool:
        with self._guard:
            query = "SELECT 1 FROM images WHERE host = ? AND image_id = ?"
            return self._db.execute(query, (host, image_id)).fetchone() is not None

    def put_image(self, host: str, image_id: str) -> None:
        with self._guard:
            self._db.execute("INSERT OR IGNORE INTO images VALUES (?, ?)", (host, image_id))

    def snapshot(self, host: str, server_id: str, snapshot_id: str) -> bytes | None:
        with self._guard:
            query = "SELECT content FROM snapshots WHERE host = ? AND server_id = ? AND snapshot_id = ?"
            row = self._db.execute(query, (host, server_id, snapshot_id)).fetchone()
            return None if row is None else bytes(row[0])

    def put_snapshot(self, host: str, server_id: str, snapshot_id: str, content: bytes) -> None:
        with self._guard:
            values = (host, server_id, snapshot_id, content)
            self._db.execute("INSERT OR IGNORE INTO snapshots VALUES (?, ?, ?, ?)", values)

    def drop_snapshot(self, host: str, server_id: str, snapshot_id: str) -> None:
        with self._guard:
            query = "DELETE FROM snapshots WHERE host = ? AND server_id = ? AND snapshot_id = ?"
            self._db.execute(query, (host, server_id, snapshot_id))

    def close(self) -> None:
        with self._guard:
            self._db.close()


class _Shared:
    """Stores by path, shared by the hosts of this process and closed with the last of them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: dict[str, tuple[Store, int]] = {}

    def open(self, path: Path | None) -> tuple[str, Store]:
        key = ":memory:" if path is None else str(path.resolve())
        with self._guard:
            if path is None:
                return "", Store(key)
            store, users = self._open.get(key) or (None, 0)
            if store is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                store = Store(key)
            self._open[key] = (store, users + 1)
            return key, store

    def release(self, key: str, store: Store) -> None:
        with self._guard:
            if key:
                _, users = self._open[key]
                if users > 1:
                    self._open[key] = (store, users - 1)
                    return
                del self._open[key]
        store.close()


SHARED = _Shared()
