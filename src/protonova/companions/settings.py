"""What an operator may choose about the companions. Nothing here is read from the environment; `main` does that."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    state_dir: Path
    public_url: str  # where clients reach the gateway, e.g. http://127.0.0.1:8774
    admin_password: str
    demo_password: str
    service_password: str
    region: str = "RegionOne"
    # Where compute and placement answer; empty means behind public_url.
    compute_url: str = ""
    placement_url: str = ""
    # Where image data is sent and fetched; a server that streams uploads faithfully, or behind public_url.
    image_url: str = ""
    token_seconds: int = 4 * 3600
    service_users: tuple[str, ...] = ("nova", "placement", "glance", "neutron", "cinder", "manila")
    # How a bound port tells the compute host to plug it.
    vif_type: str = "bridge"
    bridge_prefix: str = "pnbr"
    mac_prefix: str = "fa:16:3e"
    # `driver_volume_type` of every connection; a volume is a file on this machine either way.
    volume_driver: str = "file"
    volume_host: str = "companion@files"
    availability_zone: str = "nova"
    # Limits of a project that has none of its own; -1 is none.
    network_quota: dict[str, int] = field(
        default_factory=lambda: {
            "network": 100,
            "subnet": 100,
            "subnetpool": -1,
            "port": -1,
            "router": 10,
            "floatingip": 50,
            "security_group": 10,
            "security_group_rule": 100,
            "rbac_policy": 10,
        }
    )
    volume_quota: dict[str, int] = field(
        default_factory=lambda: {
            "volumes": 1000,
            "snapshots": 1000,
            "gigabytes": 10000,
            "per_volume_gigabytes": -1,
            "backups": 0,
            "backup_gigabytes": 0,
            "groups": 0,
        }
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "state_dir", Path(self.state_dir))
        object.__setattr__(self, "public_url", self.public_url.rstrip("/"))
        object.__setattr__(self, "compute_url", self.compute_url or f"{self.public_url}/v2.1")
        object.__setattr__(self, "image_url", self.image_url or f"{self.public_url}/image")
        object.__setattr__(self, "placement_url", self.placement_url or f"{self.public_url}/placement")
