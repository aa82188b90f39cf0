"""The command: quick to start, and a table of commands that are all there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from protonova.cli.main import COMMANDS, cli

_WITH_SOURCE = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")}


def test_help_lists_every_command() -> None:
    answer = CliRunner().invoke(cli, ["--help"])
    assert answer.exit_code == 0
    assert all(name in answer.output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_can_be_loaded(name: str) -> None:
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
    assert command is not None
    assert command.name in (name, "database", "operations")


def test_help_loads_nothing_but_the_table() -> None:
    program = (
        "import sys; from protonova.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'grpc', 'sqlalchemy', 'oslo_config', 'flask', 'rich', 'yaml', 'requests', 'numpy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=_WITH_SOURCE
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(cli, ["fly"]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "commands"),
    [((), ("db", "upgrade", "heal")), (("db",), ("sync", "version", "online-data-migrations"))],
)
def test_placement_has_commands_of_its_own(words: tuple[str, ...], commands: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(cli, ["placement", *words, "--help"])
    assert answer.exit_code == 0
    assert all(f"  {name} " in answer.output for name in commands)


def test_without_one_all_words_go_to_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    from protonova.services.placement import main

    seen: list[list[str]] = []
    monkeypatch.setattr(main, "main", lambda words: seen.append(words) or 7)
    for words in ([], ["--config-file", "db"], ["--config-dir=x", "upgrade"]):
        assert CliRunner().invoke(cli, ["placement", *words]).exit_code == 7
        assert seen.pop() == words
