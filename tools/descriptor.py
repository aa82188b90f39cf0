"""The compiled descriptor of all contracts, as text: what shows in review when a contract changes.

``protos/descriptor.txtpb`` is committed. ``--write`` brings it up to date (refusing breaking changes unless
``--allow-breaking``), ``--check`` fails when it differs from the contracts.
"""

from __future__ import annotations

import importlib.resources
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
RECORDED = PROTOS / "descriptor.txtpb"


def compiled() -> str:
    """The descriptor of the contracts as they are now; files by name, comments left out."""
    from google.protobuf import descriptor_pb2, text_format
    from grpc_tools import protoc

    sources = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    with tempfile.NamedTemporaryFile() as output:
        well_known = importlib.resources.files("grpc_tools") / "_proto"
        arguments = [
            "protoc", f"-I{PROTOS}", f"-I{well_known}", f"--descriptor_set_out={output.name}",
            "--include_imports", *sources,
        ]  # fmt: skip
        if protoc.main(arguments) != 0:
            raise SystemExit("the contracts do not compile")
        found = descriptor_pb2.FileDescriptorSet.FromString(Path(output.name).read_bytes())
    ordered = descriptor_pb2.FileDescriptorSet(file=sorted(found.file, key=_by_dependency(found)))
    return text_format.MessageToString(ordered)


def _by_dependency(found) -> object:
    """Imports before importers, as readers of a set expect; by name among equals."""
    files = {file.name: file for file in found.file}

    def depth(name: str) -> int:
        return max((depth(needed) + 1 for needed in files[name].dependency if needed in files), default=0)

    return lambda file: (depth(file.name), file.name)


def breaking() -> str:
    """What buf says against the recorded descriptor; empty = nothing breaks, or buf is not there."""
    if not RECORDED.exists():
        return ""
    command = [str(ROOT / "tools" / "buf.sh"), "breaking", "--against", str(RECORDED)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode in (0, 3) else done.stdout + done.stderr


def main() -> int:
    current = compiled()
    recorded = RECORDED.read_text() if RECORDED.exists() else ""
    if "--write" not in sys.argv:
        if current == recorded:
            return 0
        print("The contracts differ from protos/descriptor.txtpb; run `make contracts`.")
        return 1
    if "--allow-breaking" not in sys.argv and (found := breaking()):
        print(f"{found}These changes break callers: they belong into a v2.")
        return 1
    if current != recorded:
        RECORDED.write_text(current)
        print(f"{RECORDED.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
