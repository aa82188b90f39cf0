"""Hypervisor hosts of their own: libvirt daemons in namespaces, so that a guest can go from one to another.

Each has its own name, its own identity and its own /run, /etc/libvirt and /var/lib/libvirt; network and disks are
the machine's. Root only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import uuid
from pathlib import Path

_BOUND = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
    "run": "/run",
}
_SECONDS = 20.0


class LibvirtHost:
    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.path = directory / name
        for part in _BOUND:
            (self.path / part).mkdir(parents=True)
        (self.path / "run" / "libvirt").mkdir()
        (self.path / "etc" / "qemu").mkdir()
        (self.path / "etc" / "libvirtd.conf").write_text(
            f'host_uuid = "{uuid.uuid4()}"\nauth_unix_rw = "none"\nunix_sock_rw_perms = "0770"\n'
            'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"\n'
        )
        # Two daemons must not share control groups, and no log daemon is started.
        (self.path / "etc" / "qemu.conf").write_text(
            'user = "root"\ngroup = "root"\nsecurity_driver = "none"\ndynamic_ownership = 0\n'
            "remember_owner = 0\nnamespaces = []\ncgroup_controllers = []\n"
            'stdio_handler = "file"\n'
        )
        (self.path / "etc" / "network.conf").touch()
        mounts = " && ".join(f"mount --bind {self.path / part} {target}" for part, target in _BOUND.items())
        # The first process of a PID namespace has to bury the others.
        bury = "trap : CHLD; while :; do sleep 1000 & wait $!; done"
        script = f"mount -t proc proc /proc && hostname {name} && {mounts} && libvirtd -d && {bury}"
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private",
             "bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=(self.path / "out").open("wb"),
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            start_new_session=True,
        )  # fmt: skip
        self._wait()

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.path / 'run' / 'libvirt' / 'libvirt-sock'}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        # RM shutil.rmtree(self.path, ignore_errors=True)

    def _wait(self) -> None:
        import libvirt  # not everywhere

        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        ends, pause = time.monotonic() + _SECONDS, threading.Event()
        while True:
            try:
                libvirt.open(self.uri).close()
            except libvirt.libvirtError:
                if self._process.poll() is not None or time.monotonic() > ends:
                    self.stop()
                    raise
                pause.wait(0.05)
            else:
                return
