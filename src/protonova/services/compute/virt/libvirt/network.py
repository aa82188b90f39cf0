"""Flat networks: a Linux bridge for each, and addresses by DHCP to the guests of this host.

This module owns one directory for each bridge it serves:

    BRIDGE/hosts/SERVER.PORT   one file for each port here, read by dnsmasq: MAC and address
    BRIDGE/subnets/NAME        one file for each subnet seen
    BRIDGE/dnsmasq.conf, pid   its DHCP server, which outlives the agent and is found again by its pid file
    BRIDGE/made                the bridge was made by us and goes when nothing uses it

DHCP answers only the MACs of this host's ports, so any number of hosts can serve one network. Files are the
only state: every method looks at them and at the kernel, and can be repeated.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import FixedIP, NicSpec

from .settings import reachable_by_others

LOG = logging.getLogger(__name__)

METADATA_ADDRESS = "169.254.169.254"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_SYS = Path("/sys/class/net")
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"


def bridge_name(nic: NicSpec) -> str:
    """The bridge of a port: the one its binding names, else one of the network's own."""
    return nic.bridge or f"pnb{nic.network_id.replace('-', '')[:11]}"


class FlatNetworks:
    def __init__(self, directory: Path, *, gateway: bool = True, metadata: bool = False) -> None:
        self._directory = directory
        self._gateway = gateway
        self._metadata = metadata
        self._guard = threading.Lock()
        self._warned = False

    def plug(self, server_id: str, nic: NicSpec) -> None:
        """Make the network of a port ready for the guest to start."""
        bridge = bridge_name(nic)
        if not _NAME.fullmatch(bridge) or bridge in (".", ".."):
            raise errors.NetworkUnavailable(f"{bridge!r} cannot be the name of a bridge")
        home = self._directory / bridge
        with self._alone():
            for part in ("hosts", "subnets"):
                (home / part).mkdir(parents=True, exist_ok=True)
            self._make_bridge(home, bridge, nic)
            served = [ip for ip in nic.fixed_ips if ip.dhcp and _version(ip) == 4]
            for ip in served:
                self._know_subnet(home, ip, nic.mtu)
            addresses = [f"{nic.mac},{ip.address},infinite\n" for ip in served]
            changed = _write(home / "hosts" / f"{server_id}.{nic.port_id}", "".join(addresses))
            if served:
                self._serve(home, bridge, changed)

    def unplug(self, server_id: str, port_id: str = "*") -> None:
        """Forget the ports of a guest, or one of them, and the networks only it used."""
        for home in sorted(self._directory.glob("*")):
            if any((home / "hosts").glob(f"{server_id}.{port_id}")):
                with self._alone():
                    for file in (home / "hosts").glob(f"{server_id}.{port_id}"):
                        file.unlink(missing_ok=True)
                    self._tidy(home)

    def tidy(self) -> None:
        """Remove what a crash may have left: networks without a port. Serve again those that have some."""
        for home in sorted(self._directory.glob("*")):
            if home.is_dir():
                with self._alone():
                    if any((home / "hosts").glob("*")) and any((home / "subnets").glob("*")):
                        if (_SYS / home.name).exists():
                            self._serve(home, home.name, False)
                    else:
                        self._tidy(home)

    # -- bridge ---------------------------------------------------------------------------------------------

    def _make_bridge(self, home: Path, bridge: str, nic: NicSpec) -> None:
        if not (_SYS / bridge).exists():
            (home / "made").touch()
            _ip(
                "link", "add", "name", bridge, "address", _mac(bridge), "type", "bridge", "forward_delay", "0"
            )
        elif not (_SYS / bridge / "bridge").exists():
            raise errors.NetworkUnavailable(f"{bridge} exists on this host and is not a bridge")
        if (home / "made").exists():
            if (_SYS / bridge / "mtu").read_text().strip() != str(nic.mtu):
                _ip("link", "set", bridge, "mtu", str(nic.mtu))
            _quieten(bridge)
        if not int((_SYS / bridge / "flags").read_text(), 16) & 1:
            _ip("link", "set", bridge, "up")

    def _know_subnet(self, home: Path, ip: FixedIP, mtu: int) -> None:
        network = _network(ip)
        facts = {
            "cidr": str(network),
            "gateway": ip.gateway,
            "dns": list(ip.dns),
            "routes": [list(route) for route in ip.routes],
            "mtu": mtu,
        }
        _write(home / "subnets" / str(network).replace("/", "_"), json.dumps(facts))
        bridge = home.name
        held = _addresses(bridge)
        if self._gateway and ip.gateway:
            wanted = [f"{ip.gateway}/{network.prefixlen}"]
            if self._metadata:
                wanted.append(f"{METADATA_ADDRESS}/32")
        else:
            # DHCP needs some address to speak from; one that is never routed does
            wanted = [f"{_link_local(bridge)}/32"]
        for address in wanted:
            if address not in held:
                _ip("address", "replace", address, "dev", bridge)

    # -- DHCP -----------------------------------------------------------------------------------------------

    def _serve(self, home: Path, bridge: str, hosts_changed: bool) -> None:
        program = shutil.which("dnsmasq", path=_PATH)
        if program is None:
            if not self._warned:
                LOG.warning("dnsmasq is not installed: guests on this host get no address by DHCP")
                self._warned = True
            return
        changed = _write(home / "dnsmasq.conf", self._configuration(home))
        pid = _running(home)
        if pid is not None and not changed:
            if hosts_changed:
                # new files are noticed, but what was taken away only on this signal
                _signal(pid, signal.SIGHUP)
            return
        if pid is not None:
            _end(pid)
        try:
            subprocess.run(
                [program, f"--conf-file={home / 'dnsmasq.conf'}"],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=20,
                start_new_session=True,
                cwd="/",
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            text = getattr(error, "stderr", "") or str(error)
            raise errors.NetworkUnavailable(f"DHCP on {bridge} does not start: {text.strip()}") from error

    def _configuration(self, home: Path) -> str:
        bridge = home.name
        lines = [
            "port=0",  # addresses only, no names
            "bind-interfaces",
            f"interface={bridge}",
            "except-interface=lo",
            f"pid-file={home / 'pid'}",
            f"dhcp-hostsdir={home / 'hosts'}",
            "leasefile-ro",  # every address is fixed: there is nothing to remember
            "dhcp-authoritative",
            "dhcp-ignore=tag:!known",
            "no-ping",
            "log-facility=" + str(home / "log"),
        ]
        if not reachable_by_others(home):
            lines.append("user=root")
        for number, file in enumerate(sorted((home / "subnets").iterdir())):
            facts = json.loads(file.read_text())
            network = ipaddress.ip_network(facts["cidr"])
            tag = f"subnet{number}"
            lines.append(f"dhcp-range=set:{tag},{network.network_address},static,{network.netmask},86400s")
            routes = [(str(a), str(b)) for a, b in facts["routes"]]
            if facts["gateway"]:
                lines.append(f"dhcp-option=tag:{tag},option:router,{facts['gateway']}")
                if self._gateway and self._metadata:
                    routes.append((f"{METADATA_ADDRESS}/32", facts["gateway"]))
                if routes:  # a client that heeds this option looks at no other route
                    routes.append(("0.0.0.0/0", facts["gateway"]))
            else:
                lines.append(f"dhcp-option=tag:{tag},option:router")
            if routes:
                flat = ",".join(f"{to},{via}" for to, via in routes)
                lines.append(f"dhcp-option=tag:{tag},option:classless-static-route,{flat}")
            if facts["dns"]:
                lines.append(f"dhcp-option=tag:{tag},option:dns-server,{','.join(facts['dns'])}")
            lines.append(f"dhcp-option=tag:{tag},option:mtu,{facts['mtu']}")
            if not (self._gateway and facts["gateway"]):
                lines.append(f"shared-network={bridge},{network.network_address}")
        return "\n".join(lines) + "\n"

    # -- the end --------------------------------------------------------------------------------------------

    def _tidy(self, home: Path) -> None:
        if any((home / "hosts").glob("*")):
            pid = _running(home)
            if pid is not None:
                _signal(pid, signal.SIGHUP)
            return
        pid = _running(home)
        if pid is not None:
            _end(pid)
        bridge = home.name
        if (home / "made").exists() and (_SYS / bridge / "bridge").exists():
            if any((_SYS / bridge / "brif").iterdir()):
                return  # somebody else's port is on it; the next tidy looks again
            _ip("link", "delete", bridge)
        shutil.rmtree(home, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time, also among processes."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._guard, (self._directory / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _version(ip: FixedIP) -> int:
    try:
        return ipaddress.ip_address(ip.address).version
    except ValueError:
        raise errors.NetworkUnavailable(f"{ip.address!r} is not an address") from None


def _network(ip: FixedIP) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(ip.cidr or f"{ip.address}/24", strict=False)
    except ValueError:
        raise errors.NetworkUnavailable(f"{ip.cidr!r} is not a subnet") from None


def _mac(bridge: str) -> str:
    """A steady address: without one a bridge takes the lowest of its ports' and changes it with them."""
    digest = hashlib.sha256(f"{os.uname().nodename}/{bridge}".encode()).hexdigest()
    return "fe:" + ":".join(digest[i : i + 2] for i in range(0, 10, 2))


def _link_local(bridge: str) -> str:
    digest = hashlib.sha256(f"{os.uname().nodename}/{bridge}".encode()).digest()
    return f"169.254.{1 + digest[0] % 168}.{1 + digest[1] % 254}"


def _quieten(bridge: str) -> None:
    """The host itself takes no IPv6 address from the guests' network."""
    switch = Path("/proc/sys/net/ipv6/conf") / bridge / "disable_ipv6"
    try:
        if switch.read_text().strip() != "1":
            switch.write_text("1")
    except OSError:
        LOG.debug("IPv6 of %s cannot be switched off", bridge)


def _write(path: Path, text: str) -> bool:
    """Whether the file had to be changed."""
    try:
        if path.read_text() == text:
            return False
    except FileNotFoundError:
        pass
    draft = path.with_name(f".{path.name}.part")  # dnsmasq passes over names that start with a dot
    draft.write_text(text)
    draft.replace(path)
    return True


def _ip(*arguments: str) -> str:
    program = shutil.which("ip", path=_PATH)
    if program is None:
        raise errors.NetworkUnavailable("the program ip (package iproute2) is not installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode == 0:
        return done.stdout
    if os.geteuid() != 0:
        done.stderr += " (the agent needs CAP_NET_ADMIN to make networks)"
    raise errors.NetworkUnavailable(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _addresses(bridge: str) -> set[str]:
    return {
        f"{address['local']}/{address['prefixlen']}"
        for link in json.loads(_ip("-json", "address", "show", "dev", bridge))
        for address in link.get("addr_info", ())
    }


def _running(home: Path) -> int | None:
    """The DHCP server of this network, known by its command line and not by a number alone."""
    try:
        pid = int((home / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(home / "dnsmasq.conf").encode() in command else None


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise errors.NetworkUnavailable(f"the DHCP server {pid} belongs to somebody else") from error


def _end(pid: int) -> None:
    """Stop a process that is not our child, and see it gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        import select

        # `select` knows the first 1,024 files only.
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal(pid, number)
            if ended.poll(5000):
                return
    finally:
        os.close(handle)
