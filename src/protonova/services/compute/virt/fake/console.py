"""The serial console of a fake guest: what a small Linux guest would have written."""

from __future__ import annotations

import hashlib

from protonova.services.compute.virt.driver import PowerState

from .store import Record


def render(record: Record) -> bytes:
    """The log since the guest was last started. Made up anew each time, always alike."""
    if not record.boots:
        return b""
    seed = int.from_bytes(hashlib.sha256(f"{record.server_id}/{record.boots}".encode()).digest()[:4], "big")
    memory_kb = record.memory_mb * 1024
    lines: list[tuple[int, str]] = [
        (0, "Linux version 6.1.0-cloud-amd64 (fake@protonova) #1 SMP PREEMPT_DYNAMIC"),
        (0, "Command line: BOOT_IMAGE=/vmlinuz root=LABEL=root ro console=tty0 console=ttyS0,115200"),
        (0, f"DMI: Protonova fake guest {record.server_id}"),
        (9, f"smpboot: Allowing {record.vcpus} CPUs, 0 hotplug CPUs"),
        (21, f"Memory: {memory_kb - memory_kb // 24}K/{memory_kb}K available"),
        (160, f"smp: Brought up 1 node, {record.vcpus} CPU{'s' if record.vcpus > 1 else ''}"),
        (410, "virtio_blk virtio1: [vda] " + f"{max(record.disk_gb, 1) * 2097152} 512-byte logical blocks"),
        (655, "EXT4-fs (vda1): mounted filesystem with ordered data mode. Quota mode: none."),
        (820, "virtio_net virtio0: link is up"),
    ]
    out = []
    clock = 0
    for at, text in lines:
        clock = at * 1000 + seed % 997 if at else 0
        out.append(f"[{clock // 1_000_000:5d}.{clock % 1_000_000:06d}] {text}")
    out.append(f"fake-init: boot {record.boots}, host name {record.hostname or record.name}")
    if image := record.facts.get("rescue"):
        out.append(f"fake-init: rescue from image {image}")
    elif image := record.facts.get("image"):
        out.append(f"fake-init: root disk of image {image}")
    for number, pair in enumerate(filter(None, record.addresses.split(" "))):
        mac, _, address = pair.partition("=")
        out.append(f"fake-init: eth{number} {mac} dhcp {address or 'none'}")
    out.append(f"fake-init: finished after 0.{900 + seed % 90} s")
    out.append("")
    out.append(f"{record.hostname or record.name} login: ")
    text = "\r\n".join(out)
    if record.power_state is PowerState.SHUTDOWN:
        text += "\r\nfake-init: shutting down\r\n[    9.000000] reboot: Power down\r\n"
    elif record.power_state is PowerState.CRASHED:
        text += "\r\n[    9.000000] Kernel panic - not syncing: fake crash\r\n"
    return text.encode()
