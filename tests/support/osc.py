"""The stock command line in this process: a shell is started once, so that a command costs little."""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from openstackclient.shell import OpenStackShell


class _Said(logging.Handler):
    """Keeps what commands complain of."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Typed:
    """Runs commands as a cloud of clouds.yaml; `compute` is the version of the Compute API for all of them,
    `version` that of the Placement API for one."""

    def __init__(self, clouds: Path, cloud: str, compute: str = "") -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OS_")},
            "OS_CLIENT_CONFIG_FILE": str(clouds),
            "OS_CLOUD": cloud,
            # The newest that the companion speaks: the client asks for the newest it knows, and for no other.
            "OS_SHARE_API_VERSION": "2.82",
            **({"OS_COMPUTE_API_VERSION": compute} if compute else {}),
        }
        self._shell: OpenStackShell | None = None
        self._said = _Said()

    def __call__(self, line: str, version: str = "1.39", code: int = 0) -> Any:
        """The rows of a command that shows something, None for one that does not; what a failing one complained of.
        Words are separated by blanks."""
        words = line.split()
        self._said.lines.clear()
        root = logging.getLogger()
        root.addHandler(self._said)
        try:
            with mock.patch.dict(os.environ, self._environment, clear=True):
                result, shown = self._run(version, words)
        finally:
            root.removeHandler(self._said)
        assert result == code, f"{line}: {result} {self._said.lines}"
        if code:
            return " ".join(self._said.lines)
        return json.loads(shown) if shown and "-f json" in line else None

    def _run(self, version: str, words: list[str]) -> tuple[int, str]:
        if self._shell is None:
            shell = OpenStackShell()
            shell.stdout = io.StringIO()
            # Any command makes it ready.
            assert shell.run(["resource", "provider", "list"]) == 0
            self._shell = shell
        self._shell.stdout = output = io.StringIO()
        # The client of a service is made once in a process; its version is what counts.
        self._shell.client_manager.placement.negotiate_api_version(version)
        try:
            result: int = self._shell.run_subcommand(words)
        except SystemExit as error:
            raise AssertionError(f"{words} cannot be parsed") from error
        return result, output.getvalue()


@contextmanager
def typed(clouds: Path, cloud: str, compute: str = "") -> Iterator[Typed]:
    """Leaves logging and warnings, which the shell arranges as it likes, as they were."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        try:
            yield Typed(clouds, cloud, compute)
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
