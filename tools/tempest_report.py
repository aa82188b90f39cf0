"""Reads a stream of tempest's results and writes its section of docs/conformance.md:
tempest_report.py RESULTS LISTED OUTPUT VERSION TITLE

LISTED names all tests that were to run, for tempest tells of a skipped class by one word. Other sections of OUTPUT
stay. Runs in tempest's own environment. The exit status is 1 when a test failed that has no reason to.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import subunit
import testtools
from tempest_reasons import FAILURES, SKIPS

_HEADING = """\
# Conformance

What [tempest](https://docs.openstack.org/tempest) says of a cloud on one machine that `protonova up` starts, with
the companions for everything but compute. `make tempest` writes this; `TEMPEST=<regular expression>` with a `TITLE`
runs another part of it, and each title has its section here.
"""
_OUTCOMES = ("passed", "failed", "skipped")
_PREPARING = re.compile(r"(?:setUp|tearDown)Class \((.+)\)")


class Tally(testtools.StreamResult):
    """Outcomes of tests by id, and why they failed or were skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self._text: dict[str, list[str]] = defaultdict(list)

    def status(self, test_id=None, test_status=None, file_name=None, file_bytes=None, **_) -> None:
        if test_id is None:
            return
        if file_bytes is not None and file_name in ("traceback", "reason"):
            self._text[test_id].append(bytes(file_bytes).decode(errors="replace"))
        outcome = {"success": "passed", "fail": "failed", "skip": "skipped"}.get(test_status)
        if outcome is not None:
            self.outcomes[test_id] = outcome
            self.reasons[test_id] = "".join(self._text.pop(test_id, [])).strip()

    def spread(self, listed: list[str]) -> None:
        """What befell a class as a whole befell each of its tests."""
        for name, outcome in list(self.outcomes.items()):
            if (whole := _PREPARING.fullmatch(name)) is None:
                continue
            reason = self.reasons[name]
            del self.outcomes[name]
            for test in listed:
                if test.startswith(f"{whole[1]}.") and self.outcomes.get(test) != "failed":
                    self.outcomes[test], self.reasons[test] = outcome, reason


def module(test_id: str) -> str:
    return ".".join(part for part in bare(test_id).split(".")[:-1] if part[:1].islower())


def bare(test_id: str) -> str:
    return test_id.partition("[")[0]


def explained(table: list[tuple[str, str]], text: str) -> str:
    """The first explanation whose pattern is in the text; empty when there is none."""
    return next((why for pattern, why in table if re.search(pattern, text)), "")


def section(tally: Tally, title: str, version: str) -> str:
    by_module: dict[str, Counter[str]] = defaultdict(Counter)
    for test, outcome in tally.outcomes.items():
        by_module[module(test)][outcome] += 1
    total = sum(by_module.values(), Counter())
    told = ", ".join(f"{total[outcome]} {outcome}" for outcome in _OUTCOMES)
    lines = [f"## {title}", "", f"tempest {version}, {total.total()} tests: {told}.", ""]
    lines += ["| module | " + " | ".join(_OUTCOMES) + " |", "|---|---:|---:|---:|"]
    for name, counts in sorted(by_module.items()):
        lines.append(f"| `{name}` | " + " | ".join(str(counts[outcome]) for outcome in _OUTCOMES) + " |")
    return "\n".join([*lines, *_failures(tally), *_skips(tally), ""])


def _failures(tally: Tally) -> list[str]:
    failed = sorted(test for test, outcome in tally.outcomes.items() if outcome == "failed")
    if not failed:
        return []
    told = (f"- `{bare(test)}`: {_cause(tally, test) or 'to be looked into'}" for test in failed)
    return ["", "Failed:", "", *told]


def _cause(tally: Tally, test: str) -> str:
    return explained(FAILURES, f"{bare(test)} {tally.reasons[test]}")


def _skips(tally: Tally) -> list[str]:
    """Longest list first."""
    tests: dict[str, list[str]] = defaultdict(list)
    for test, outcome in tally.outcomes.items():
        if outcome == "skipped":
            reason = tally.reasons[test].splitlines()[-1] if tally.reasons[test] else "no reason given"
            tests[explained(SKIPS, reason) or reason].append(test)
    if not tests:
        return []
    lines = ["", "Skipped:", "", "| tests | why | where |", "|---:|---|---|"]
    for reason, skipped in sorted(tests.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        where = ", ".join(
            f"`{name.rpartition('.')[2]}`" for name in sorted({module(test) for test in skipped})
        )
        lines.append(f"| {len(skipped)} | {reason} | {where} |")
    return lines


def put(output: Path, title: str, text: str) -> None:
    """In the place of the section that had the title, else at the end."""
    old = output.read_text() if output.exists() else ""
    sections = re.split(r"^(?=## )", old, flags=re.MULTILINE)[1:]
    mine = [number for number, each in enumerate(sections) if each.startswith(f"## {title}\n")]
    if mine:
        sections[mine[0]] = text
    else:
        sections.append(text)
    output.parent.mkdir(exist_ok=True)
    output.write_text("\n".join([_HEADING, *(each.rstrip() + "\n" for each in sections)]))


def main() -> int:
    results, listed, output = (Path(word) for word in sys.argv[1:4])
    version, title = sys.argv[4:6]
    tally = Tally()
    with results.open("rb") as stream:
        tally.startTestRun()
        subunit.ByteStreamToStreamResult(stream, non_subunit_name="stdout").run(tally)
        tally.stopTestRun()
    tally.spread(listed.read_text().split())
    put(output, title, section(tally, title, version))
    failed = [test for test, outcome in tally.outcomes.items() if outcome == "failed"]
    for test in sorted(failed):
        print(f"\n== {test}\n{tally.reasons[test][-2000:]}")
    total = Counter(tally.outcomes.values())
    print(", ".join(f"{total[outcome]} {outcome}" for outcome in _OUTCOMES))
    return 1 if not total["passed"] or any(not _cause(tally, test) for test in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
