"""What the code imports is what the distribution asks for."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "src" / "protonova"
# Modules of a namespace shared by several distributions, or of a distribution that another one always brings.
SHARED = {
    "google": "protobuf",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    words = [*project["dependencies"]]
    for name, extra in project["optional-dependencies"].items():
        if name not in ("dev", "client"):
            words += extra
    return {_normal(re.split(r"[<>=!\[;~ ]", word)[0]) for word in words}


def _imported() -> dict[str, set[str]]:
    """Top-level module → files that import it."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        if path.parent.name == "v1":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(ROOT)))
    return found


def test_every_import_is_declared() -> None:
    distributions = packages_distributions()
    declared = _declared()
    missing = {}
    for module, files in _imported().items():
        if module in sys.stdlib_module_names or module == "protonova":
            continue
        names = {_normal(name) for name in (SHARED.get(module), *distributions.get(module, [])) if name}
        # An extra that is not installed here cannot be looked up; its distributions begin with the module's name.
        if not names & declared and not any(name.startswith(_normal(module)) for name in declared):
            missing[module] = sorted(files)
    assert not missing
