"""Reads a stream of tempest's results and writes docs/conformance.md: tempest_report.py RESULTS OUTPUT VERSION

Runs in tempest's own environment. The exit status is 1 when a test failed.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

import subunit
import testtools

_HEADING = """\
# Conformance

What [tempest](https://docs.openstack.org/tempest) {version} says of a cloud on one machine with simulated guests.
Written by `make tempest`; `TEMPEST=<regular expression>` runs another part of it. Skipped are tests of features
that the generated configuration turns off because no work on them has landed yet, or that tempest itself skips.

"To come" are tests that stop at an action which answers that it is not implemented yet.

| module | passed | failed | to come | skipped |
|---|---:|---:|---:|---:|
"""

# What tempest's client raises on an answer 501.
_NOT_YET = "tempest.lib.exceptions.NotImplemented"


class Tally(testtools.StreamResult):
    """Counts outcomes by module; keeps why a test failed or was skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.failed: dict[str, str] = {}
        self.to_come: list[str] = []
        self._text: dict[str, list[str]] = defaultdict(list)

    def status(self, test_id=None, test_status=None, file_name=None, file_bytes=None, **_) -> None:
        if test_id is None:
            return
        if file_bytes is not None and file_name in ("traceback", "reason"):
            self._text[test_id].append(bytes(file_bytes).decode(errors="replace"))
        outcome = {"success": "passed", "fail": "failed", "skip": "skipped"}.get(test_status)
        if outcome is None:
            return
        why = "".join(self._text.pop(test_id, []))
        if outcome == "failed" and _NOT_YET in why:
            outcome = "to come"
            self.to_come.append(test_id)
        elif outcome == "failed":
            self.failed[test_id] = why
        self.counts[module(test_id)][outcome] += 1


def module(test_id: str) -> str:
    """`tempest.api.compute.x` of a test or of a class's preparation."""
    name = test_id.removeprefix("setUpClass (").removeprefix("tearDownClass (").rstrip(")").partition("[")[0]
    parts = name.split(".")
    kept = [part for part in parts if part[:1].islower() or part[:1] == "_"]
    return ".".join(kept[: len(kept) - 1 if kept and kept[-1] == parts[-1] else len(kept)])


def _row(counts: Counter[str]) -> str:
    return " | ".join(str(counts[outcome]) for outcome in ("passed", "failed", "to come", "skipped"))


def main() -> int:
    results, output, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    tally = Tally()
    with results.open("rb") as stream:
        tally.startTestRun()
        subunit.ByteStreamToStreamResult(stream, non_subunit_name="stdout").run(tally)
        tally.stopTestRun()
    lines = [f"| `{name}` | {_row(counts)} |" for name, counts in sorted(tally.counts.items())]
    total = sum(tally.counts.values(), Counter())
    lines.append(f"| **all** | {_row(total)} |")
    text = _HEADING.format(version=version) + "\n".join(lines) + "\n"
    for heading, names in (("Failed", tally.failed), ("To come", tally.to_come)):
        if names:
            text += f"\n{heading}:\n\n" + "".join(f"- `{name.partition('[')[0]}`\n" for name in sorted(names))
    output.parent.mkdir(exist_ok=True)
    output.write_text(text)
    for name, why in sorted(tally.failed.items()):
        print(f"\n== {name}\n{why[-2000:]}")
    print("\n".join(lines))
    return 1 if tally.failed or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
