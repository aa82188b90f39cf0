"""Generates Python code and type stubs from the contracts in ``protos/``.

Run as a script (``python tools/contracts.py``) it writes into ``src/``; as a build hook of hatchling it does
the same before a wheel or an editable install is made. Generated code is never committed.
"""

from __future__ import annotations

import importlib.resources
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGET = ROOT / "src"


def generate() -> list[Path]:
    """Writes ``*_pb2.py``, ``*_pb2_grpc.py`` and ``.pyi`` for every contract; returns the contracts."""
    from grpc_tools import protoc

    sources = sorted(PROTOS.rglob("*.proto"))
    plugins = [
        f"--plugin=protoc-gen-{name}={_plugin(f'protoc-gen-{name}')}" for name in ("mypy", "mypy_grpc")
    ]
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    status = protoc.main(
        [
            "protoc",
            f"-I{PROTOS}",
            f"-I{well_known}",
            *plugins,
            f"--python_out={TARGET}",
            f"--grpc_python_out={TARGET}",
            f"--mypy_out=quiet:{TARGET}",
            f"--mypy_grpc_out=quiet:{TARGET}",
            *map(str, sources),
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")
    for directory in {TARGET / source.relative_to(PROTOS).parent for source in sources}:
        for package in (directory, directory.parent):
            (package / "__init__.py").touch()
    return sources


def _plugin(name: str) -> str:
    beside_python = Path(sys.executable).parent / name
    found = str(beside_python) if beside_python.exists() else shutil.which(name)
    if not found:
        raise SystemExit(f"{name} is missing: pip install mypy-protobuf")
    return found


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script, without the build backend
    pass
else:

    class ContractsHook(BuildHookInterface):
        """Lets every build carry freshly generated contracts."""

        def initialize(self, version: str, build_data: dict) -> None:
            generate()


if __name__ == "__main__":
    print(f"{len(generate())} contracts generated")
