"""`protonova placement …` as an operator has it, on a database of the test's own."""

from __future__ import annotations

import json
import os
from typing import Any

from click.testing import CliRunner

from protonova.cli.main import cli

# Nobody listens there.
NOWHERE = "127.0.0.1:9"


class Command:
    """Runs subcommands; `output` is of the last one. What the environment sets wins over the files."""

    def __init__(self, database_url: str, **environment: str) -> None:
        self._environment = {
            "OS_PLACEMENT_DATABASE__CONNECTION": database_url,
            "OS_API__TARGET": NOWHERE,
            "OS_GRPC__WAIT_SECONDS": "0",
            **environment,
        }
        self.output = ""

    def __call__(self, *words: str, expect: int = 0) -> str:
        answer = CliRunner().invoke(
            cli, ["placement", *words], env={**os.environ, **self._environment}, catch_exceptions=False
        )
        assert answer.exit_code == expect, f"{words}: {answer.exit_code}\n{answer.output}"
        self.output = answer.output
        return answer.output

    def json(self, *words: str, expect: int = 0) -> Any:
        """The document alone: what is said to people goes to standard error."""
        output = self(*words, "--json", expect=expect)
        return json.JSONDecoder().raw_decode(output[output.index("{") :])[0]

    def verdicts(self, expect: int = 0) -> dict[str, str]:
        """Of the upgrade check, but those that are well."""
        found = self.json("upgrade", "check", expect=expect)
        return {each["name"]: each["result"] for each in found["checks"] if each["result"] != "success"}

    def migrated(self, *words: str, expect: int = 0) -> dict[str, tuple[int, int]]:
        """Found and done, of the online data migrations that found something."""
        lines = self("db", "online-data-migrations", *words, expect=expect).splitlines()[1:]
        rows = [line.split() for line in lines]
        return {name: (int(found), int(done)) for name, found, done in rows if found != "0"}
