"""A real, empty disk image: what there is to boot where guests are only simulated."""

from __future__ import annotations

import struct

_CLUSTER_BITS = 16
_CLUSTER = 1 << _CLUSTER_BITS
_MAGIC = 0x514649FB
_VERSION = 3
_HEADER_BYTES = 104
_REFCOUNT_ORDER = 4


def qcow2(virtual_bytes: int = 1 << 20) -> bytes:
    """A qcow2 image in which nothing has been written yet.

    Four clusters: header, refcount table, refcount block, first-level table. The first-level table is all
    zeros: every read finds zeros.
    """
    reach = _CLUSTER * (_CLUSTER // 8)
    entries = -(-virtual_bytes // reach)
    header = struct.pack(
        ">IIQIIQIIQQIIQQQQII",
        _MAGIC,
        _VERSION,
        0,  # no backing file
        0,
        _CLUSTER_BITS,
        virtual_bytes,
        0,  # not encrypted
        entries,
        3 * _CLUSTER,
        1 * _CLUSTER,
        1,  # clusters of the refcount table
        0,  # no snapshots
        0,
        0,  # no incompatible features
        0,
        0,
        _REFCOUNT_ORDER,
        _HEADER_BYTES,
    )
    table = struct.pack(">Q", 2 * _CLUSTER)
    counts = struct.pack(">4H", 1, 1, 1, 1)
    return b"".join(part.ljust(_CLUSTER, b"\0") for part in (header, table, counts, b""))
