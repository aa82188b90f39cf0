"""The servers that tests run against: found, or as root on Debian installed and started.

Each is looked for where its variable points, else at its usual place on loopback. One that runs already is used and
not changed. PostgreSQL and MariaDB that are installed here get an account ``protonova_test`` of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT = "protonova_test"


def answers_postgresql(url: str) -> bool:
    try:
        import psycopg

        with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=3) as connection:
            connection.execute("SELECT 1")
    except Exception:  # noqa: BLE001 - whatever is wrong with it, tests cannot use it
        return False
    return True


def answers_mariadb(url: str) -> bool:
    try:
        import pymysql

        place = urlsplit(url)
        pymysql.connect(
            host=place.hostname or "127.0.0.1",
            port=place.port or 3306,
            user=place.username,
            password=place.password or "",
            connect_timeout=3,
        ).close()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, tests cannot use it
        return False
    return True


def answers_redis(url: str) -> bool:
    place = urlsplit(url)
    try:
        with socket.create_connection(
            (place.hostname or "127.0.0.1", place.port or 6379), timeout=3
        ) as found:
            found.sendall(b"PING\r\n")
            return found.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def answers_libvirt(uri: str) -> bool:
    if not shutil.which("virsh") or not shutil.which("qemu-system-x86_64"):
        return False
    virsh = ["virsh", "-q", "-c", uri, "uri"]
    return subprocess.run(virsh, capture_output=True, check=False).returncode == 0


def install_postgresql() -> str:
    # The package makes a database cluster in the locale it finds; in "C" one would know of no encoding.
    _apt("postgresql", LC_ALL="C.UTF-8")
    for version in sorted(Path("/etc/postgresql").iterdir(), reverse=True):
        _quietly("pg_ctlcluster", version.name, "main", "start")
    sql = (
        f"DO $$ BEGIN CREATE ROLE {ACCOUNT} SUPERUSER LOGIN PASSWORD '{ACCOUNT}'; "
        "EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    _until(lambda: _quietly("runuser", "-u", "postgres", "--", "psql", "-qc", sql))
    return f"postgresql+psycopg://{ACCOUNT}:{ACCOUNT}@127.0.0.1:5432/postgres"


def install_mariadb() -> str:
    _apt("mariadb-server")
    if not _quietly("mariadb", "-e", "SELECT 1"):
        if Path("/run/systemd/system").is_dir():
            _quietly("systemctl", "start", "mariadb")
        else:
            Path("/run/mysqld").mkdir(exist_ok=True)
            shutil.chown("/run/mysqld", "mysql", "mysql")
            _background("mariadbd", "--user=mysql")
    sql = (
        f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{ACCOUNT}';"
        f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'localhost' IDENTIFIED BY '{ACCOUNT}';"
        f"GRANT ALL ON *.* TO '{ACCOUNT}'@'%' WITH GRANT OPTION;"
        f"GRANT ALL ON *.* TO '{ACCOUNT}'@'localhost' WITH GRANT OPTION"
    )
    _until(lambda: _quietly("mariadb", "-e", sql))
    return f"mysql+pymysql://{ACCOUNT}:{ACCOUNT}@127.0.0.1:3306/mysql"


def install_redis() -> str:
    _apt("redis-server")
    _quietly("redis-server", "--daemonize", "yes", "--bind", "127.0.0.1", "--save", "")
    url = "redis://127.0.0.1:6379/0"
    _until(lambda: answers_redis(url))
    return url


def install_libvirt() -> str:
    subprocess.run([str(ROOT / "tools" / "prepare-host.sh"), "--venv", sys.prefix], check=False)
    return "qemu:///system"


@dataclass(frozen=True)
class Wanted:
    """A server tests want: the variable that points to it, where it usually is, how it comes to be."""

    variable: str
    usual: str
    answers: Callable[[str], bool]
    install: Callable[[], str]


SERVERS = {
    "PostgreSQL": Wanted(
        "PROTONOVA_TEST_POSTGRESQL_URL",
        "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
        answers_postgresql,
        install_postgresql,
    ),
    "MariaDB": Wanted(
        "PROTONOVA_TEST_MARIADB_URL",
        "mysql+pymysql://root@127.0.0.1:3306/mysql",
        answers_mariadb,
        install_mariadb,
    ),
    "Redis": Wanted("PROTONOVA_TEST_REDIS_URL", "redis://127.0.0.1:6379/0", answers_redis, install_redis),
    "libvirt": Wanted("PROTONOVA_TEST_LIBVIRT_URI", "qemu:///system", answers_libvirt, install_libvirt),
}


def provide(*, install: bool) -> dict[str, str]:
    """Variable → URL of every server that answers."""
    able = install and os.geteuid() == 0 and shutil.which("apt-get") is not None
    found = {}
    for name, server in SERVERS.items():
        given = os.environ.get(server.variable)
        url = given or server.usual
        if not server.answers(url) and not given and able:
            print(f"making {name} ready", flush=True)
            try:
                url = server.install()
            except (subprocess.CalledProcessError, OSError, TimeoutError) as error:
                print(f"{name} could not be made ready: {_why(error)}", flush=True)
        if server.answers(url):
            found[server.variable] = url
            print(f"{name}: {urlsplit(url).hostname or url}")
        else:
            print(f"{name}: none found ({server.variable} may point to one)")
    return found


def _apt(package: str, **variables: str) -> None:
    """Installs a package; where there is no systemd it must not try to start its daemon."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **variables}
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    command = [*apt, "install", "-y", "--no-install-recommends", package]
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not Path("/run/systemd/system").is_dir() and not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0:
            subprocess.run([*apt, "update"], env=environment, capture_output=True, check=True)
            subprocess.run(command, env=environment, capture_output=True, check=True)
    finally:
        if ours:
            policy.unlink()


def _why(error: Exception) -> str:
    """What went wrong, with the last words of a command that failed."""
    said: list[str] = []
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        said = error.stderr.decode(errors="replace").splitlines()[-5:]
    return "\n  ".join([str(error) or type(error).__name__, *said])


def _quietly(*command: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def _background(*command: str) -> None:
    subprocess.Popen(command, stdin=-3, stdout=-3, stderr=-3, start_new_session=True)


def _until(done: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)


if __name__ == "__main__":
    for variable, url in provide(install=True).items():
        print(f"export {variable}={url}")
