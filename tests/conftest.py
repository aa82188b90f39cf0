"""Which servers tests may use, and what happens to tests whose server is not there.

A test marked `postgresql`, `mariadb`, `redis` or `libvirt` is left out, with a line in the report, where that
server does not answer. With CI=true it fails instead: there nothing may be left out.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_TOOL = Path(__file__).resolve().parent.parent / "tools" / "test_servers.py"
_KILL_POINTS = "kill points"
_NAMES = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "redis": "Redis", "libvirt": "libvirt"}


@functools.cache
def _servers() -> Any:
    spec = importlib.util.spec_from_file_location("test_servers", _TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["test_servers"] = module
    spec.loader.exec_module(module)
    return module.SERVERS


@functools.cache
def server_url(marker: str) -> str:
    """Where the server answers; empty = it does not."""
    server = _servers()[_NAMES[marker]]
    url = os.environ.get(server.variable) or server.usual
    return url if server.answers(url) else ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, name in _NAMES.items():
        if item.get_closest_marker(marker) is None or server_url(marker):
            continue
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"{name} does not answer, and with CI=true nothing may be left out")
        pytest.skip(f"needs {name}: none answers at ${_servers()[name].variable}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Notes at how many kill points which service died in a test."""
    from tests.support import operations

    before = Counter(operations.deaths_died)
    try:
        return (yield)
    finally:
        if died := operations.deaths_died - before:
            item.user_properties.append((_KILL_POINTS, dict(died)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counted: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for name, died in report.user_properties:
                    if name == _KILL_POINTS:
                        counted.update(died)
    if counted:
        told = ", ".join(f"{service} {count}" for service, count in sorted(counted.items()))
        terminalreporter.write_line(f"Services died at {counted.total()} points of operations: {told}.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Whatever was skipped, for whatever reason, was left out."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    report = os.environ.get("PROTONOVA_LEFT_OUT_REPORT")
    if reporter is None or not report:
        return
    with open(report, "a") as lines:
        for skipped in reporter.stats.get("skipped", ()):
            lines.write(f"{skipped.nodeid}: {skipped.longrepr[2]}\n")


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL database of the test's own."""
    import psycopg

    url, name = server_url("postgresql"), f"test_{uuid.uuid4().hex[:16]}"
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{url.rpartition('/')[0]}/{name}"
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def mariadb_url() -> Iterator[str]:
    """A MariaDB database of the test's own."""
    import sqlalchemy as sa

    url, name = server_url("mariadb"), f"test_{uuid.uuid4().hex[:16]}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} CHARACTER SET utf8mb4"))
        try:
            yield f"{url.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
    admin.dispose()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite database of the test's own."""
    return f"sqlite:///{tmp_path / 'test.sqlite'}"


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of the test's own, of each kind we serve in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def redis_url() -> str:
    """A Redis that others use too: keys need a prefix of the test's own."""
    return server_url("redis")
