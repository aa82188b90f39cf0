"""The log of a process: one line a record, with the request it belongs to."""

from __future__ import annotations

import logging
import logging.handlers
import time
from pathlib import Path

from protonova.services.runtime import context
from protonova.services.runtime.config import Conf


def setup(name: str, conf: Conf) -> None:
    """Sends everything to `<log_dir>/<name>.log`, which may be rotated from outside, or to standard error."""
    handler: logging.Handler
    if conf.log_dir:
        Path(conf.log_dir).mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.WatchedFileHandler(Path(conf.log_dir) / f"{name}.log")
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(name))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    set_levels(conf)


def set_levels(conf: Conf) -> None:
    logging.getLogger().setLevel(logging.DEBUG if conf.debug else logging.INFO)
    for pair in conf.default_log_levels:
        logger, _, level = pair.partition("=")
        logging.getLogger(logger.strip()).setLevel(level.strip() or "INFO")


class _Formatter(logging.Formatter):
    """Time in UTC, level, process, request id, logger, text."""

    converter = time.gmtime  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        super().__init__(
            f"%(asctime)s.%(msecs)03dZ %(levelname)s {name} [%(request)s] %(name)s: %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )

    def format(self, record: logging.LogRecord) -> str:
        record.request = context.current().request_id or "-"
        return super().format(record)
