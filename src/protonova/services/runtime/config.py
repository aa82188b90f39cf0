"""Configuration: one oslo.config object per process, made by `load` and handed down; there is no global one.

Values come, strongest first, from overrides in code, the command line, the environment
(`OS_<GROUP>__<OPTION>`), and INI files. Options common to all processes stand in `options/`; a service adds
its own with `register` when its module is imported.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from protonova.services.runtime import options

Conf = cfg.ConfigOpts

DEFAULT_FILES = ("/etc/protonova/protonova.conf",)
# Modules that register options of their own, for the sample file.
_SERVICES = ("api", "conductor", "scheduler", "placement", "compute")

_registered: list[tuple[str, list[cfg.Opt]]] = []
_live: weakref.WeakValueDictionary[int, cfg.ConfigOpts] = weakref.WeakValueDictionary()


def register(group: str, opts: Sequence[cfg.Opt]) -> None:
    """Adds a service's options to every configuration, present and future."""
    _registered.append((group, list(opts)))
    for conf in list(_live.values()):
        conf.register_opts(opts, group=_section(group))


def load(args: Sequence[str] = (), files: Sequence[str] | None = None, **overrides: Any) -> Conf:
    """Reads the configuration.

    `files` None = the ones named by --config-file, else the default one where it exists. An override is
    `group__option=value`, `option=value` for DEFAULT, or `group={"option": value, …}`.
    """
    conf = cfg.ConfigOpts()
    for group, opts in (*options.groups(), *_registered):
        conf.register_opts(opts, group=_section(group))
    if files is None:
        files = [name for name in DEFAULT_FILES if Path(name).is_file()]
    conf(list(args), project="protonova", default_config_files=list(files), default_config_dirs=[])
    _live[id(conf)] = conf
    for name, value in overrides.items():
        if isinstance(value, Mapping):
            for option, inner in value.items():
                conf.set_override(option, inner, group=_section(name))
        else:
            group, separator, option = name.rpartition("__")
            conf.set_override(option, value, group=_section(group) if separator else None)
    return conf


def list_opts() -> Iterator[tuple[str, list[cfg.Opt]]]:
    """For `oslo-config-generator --namespace protonova`."""
    for service in _SERVICES:
        try:
            importlib.import_module(f"protonova.services.{service}.options")
        except ModuleNotFoundError:
            continue
    merged: dict[str, list[cfg.Opt]] = {}
    for group, opts in (*options.groups(), *_registered):
        merged.setdefault(group, []).extend(opts)
    yield from merged.items()


def _section(group: str) -> str | None:
    return None if group in ("", "DEFAULT") else group
