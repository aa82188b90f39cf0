"""Limits of a project (or user) that has none of its own; -1 = unlimited."""

from __future__ import annotations

from oslo_config import cfg

_LIMITS = {
    "instances": (10, "Servers of a project."),
    "cores": (20, "VCPUs of a project."),
    "ram": (51200, "Memory of a project, MiB."),
    "metadata_items": (128, "Metadata entries of a server or image."),
    "injected_files": (5, "Personality files of a server."),
    "injected_file_content_bytes": (10240, "Bytes of a personality file."),
    "injected_file_path_length": (255, "Bytes of a personality file's path."),
    "key_pairs": (100, "Key pairs of a user."),
    "server_groups": (10, "Server groups of a project."),
    "server_group_members": (10, "Members of a server group."),
}

OPTIONS: dict[str, list[cfg.Opt]] = {
    "quota": [
        cfg.IntOpt(name, default=default, min=-1, help=help_) for name, (default, help_) in _LIMITS.items()
    ]
}
