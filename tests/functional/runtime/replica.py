"""A whole service process that runs journeys: `python -m tests.functional.runtime.replica URL DIRECTORY
[ARG…]`."""

from __future__ import annotations

import sys
from pathlib import Path

from protonova.services.runtime import config, process
from protonova.services.runtime.config import Conf
from protonova.services.runtime.server import Server
from tests.support.journeys import Journeys


def main(url: str, directory: str, *args: str) -> int:
    world = Journeys(url, Path(directory))

    def build(conf: Conf, server: Server) -> None:
        engine = world.engine(world.db, lease_seconds=60)
        engine.start()
        server.on_stop(world.db.close)
        server.on_stop(lambda: engine.stop(conf.graceful_shutdown_timeout))

    return process.run("conductor", config.load(args), build, listen="127.0.0.1:0")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
