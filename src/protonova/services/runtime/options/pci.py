"""PCI devices for guests. Aliases are api's, devices the agents'; one file serves both."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    "pci": [
        cfg.MultiStrOpt(
            "alias",
            default=[],
            deprecated_opts=[cfg.DeprecatedOpt("pci_alias", group="DEFAULT")],
            help="What flavors may ask for by pci_passthrough:alias, as JSON: name; vendor_id and product_id, or "
            "resource_class; device_type (type-PCI, type-PF, type-VF, type-VDPA), numa_policy (legacy, preferred, "
            "required, socket), traits, live_migratable. A name given again is an alternative.",
        ),
        cfg.MultiStrOpt(
            "device_spec",
            default=[],
            deprecated_opts=[
                cfg.DeprecatedOpt("passthrough_whitelist", group="pci"),
                cfg.DeprecatedOpt("pci_passthrough_whitelist", group="DEFAULT"),
            ],
            help="Devices of the host that guests may have, as JSON: vendor_id, product_id, address or devname; "
            "what is said of them: physical_network, trusted, remote_managed, managed, live_migratable, "
            "resource_class, traits.",
        ),
        cfg.BoolOpt(
            "report_in_placement",
            default=False,
            help="Tell placement of these devices: a resource provider for each below that of the host.",
        ),
    ]
}
