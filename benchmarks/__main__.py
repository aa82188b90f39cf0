"""`python -m benchmarks`: runs the figures and prints them, as JSON and as a table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import actions, figures, many_servers
from benchmarks.cloud import running
from benchmarks.figures import Line, Site
from benchmarks.placement.figures import figures as placement
from benchmarks.scheduler.figures import figures as scheduler

# On a cloud; its footprint is taken before it has been filled with thousands of servers.
GROUPS = {
    "idle": figures.idle,
    "actions": actions.figures,
    "throughput": figures.throughput,
    "footprint": figures.footprint,
    "listing": figures.listing,
    "density": figures.density,
}
# On processes of their own.
APART = {
    "placement": placement,
    "scheduler": scheduler,
    "wide": figures.wide,
    "evacuation": actions.evacuation,
    "many": many_servers.figures,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument(
        "--only", action="append", choices=(*GROUPS, *APART), help="groups to run; default: all"
    )
    parser.add_argument("--json", type=Path, help="also write the JSON there")
    parser.add_argument("--keep", action="store_true", help="keep the state directory, with its logs")
    words = parser.parse_args()
    databases = ("sqlite", "postgresql") if words.database == "both" else (words.database,)
    results: dict[str, list[Line]] = {}
    wanted = words.only or (*GROUPS, *APART)
    for database in databases:
        results[database] = [figures.machine()]
        if on_cloud := [measure for name, measure in GROUPS.items() if name in wanted]:
            with running(database, keep=words.keep) as cloud:
                print(f"measuring on {database}: {cloud.state}", file=sys.stderr)
                site = Site.prepare(cloud)
                for measure in on_cloud:
                    results[database] += measure(site)
        for name, measure_apart in APART.items():
            if name in wanted:
                print(f"measuring {name} on {database}", file=sys.stderr)
                results[database] += measure_apart(database)
    document = {
        database: [
            {
                "name": line.name,
                "value": round(line.value, 3),
                "unit": line.unit,
                "target": line.target,
                "met": line.met,
            }
            for line in lines
        ]
        for database, lines in results.items()
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    print(text)
    if words.json:
        words.json.write_text(text + "\n")
    _table(results)


def _table(results: dict[str, list[Line]]) -> None:
    marks = {True: "met", False: "MISSED", None: ""}
    for database, lines in results.items():
        print(f"\n{database}")
        for line in lines:
            target = f"{line.target} {line.unit}" if line.target else ""
            print(f"  {line.name:50} {line.value:10.2f} {line.unit:4} {target:12} {marks[line.met]}")


if __name__ == "__main__":
    main()
