"""``protonova config``: a sample of the configuration, with every option, its default and its meaning."""

from __future__ import annotations

import sys

import click


@click.command()
def config() -> None:
    """Print a sample of the configuration file."""
    from oslo_config import cfg, generator

    from protonova.cli.sample import LIBRARIES

    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    namespaces = [word for name in ("protonova", *LIBRARIES) for word in ("--namespace", name)]
    conf(namespaces, project="protonova-sample", default_config_files=[])
    generator.generate(conf, sys.stdout)
