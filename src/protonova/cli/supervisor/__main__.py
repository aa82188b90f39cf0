"""``python -m protonova.cli.supervisor DIR``: the supervisor of the cloud whose state is in DIR.

The plan must have been written before. Exactly one supervisor runs per directory: it holds a lock on a file
for as long as it lives, which the kernel gives back however it ends.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from protonova.cli.layout import StateDirectory
from protonova.cli.supervisor.loop import supervise

ALREADY_RUNNING = 3


def say(text: str) -> None:
    """One line, with the time of day when it goes to a log file."""
    if not sys.stdout.isatty() and os.environ.get("PROTONOVA_LOG_TIME"):
        text = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}"
    print(text, flush=True)


def main() -> int:
    state = StateDirectory.at(sys.argv[1])
    lock = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"a cloud is already running in {state.root}")
        return ALREADY_RUNNING
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return supervise(state, say, [lock])


if __name__ == "__main__":
    sys.exit(main())
