"""The tables of Network. Columns carry the names of the API's attributes.

What must never be given out twice is a key here: an address in its subnet, a MAC address in its network.
"""

_COMMON = """
    id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, project_id TEXT NOT NULL,
    tags TEXT NOT NULL DEFAULT '[]', created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    revision_number INTEGER NOT NULL
"""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS networks ({_COMMON},
    admin_state_up INTEGER NOT NULL, status TEXT NOT NULL, shared INTEGER NOT NULL, mtu INTEGER NOT NULL,
    "router:external" INTEGER NOT NULL, is_default INTEGER NOT NULL, port_security_enabled INTEGER NOT NULL,
    "provider:network_type" TEXT, "provider:physical_network" TEXT, "provider:segmentation_id" INTEGER,
    availability_zone_hints TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS networks_project ON networks (project_id);

CREATE TABLE IF NOT EXISTS subnets ({_COMMON},
    network_id TEXT NOT NULL REFERENCES networks(id), ip_version INTEGER NOT NULL, cidr TEXT NOT NULL,
    gateway_ip TEXT, enable_dhcp INTEGER NOT NULL, allocation_pools TEXT NOT NULL,
    dns_nameservers TEXT NOT NULL, host_routes TEXT NOT NULL, ipv6_ra_mode TEXT, ipv6_address_mode TEXT,
    subnetpool_id TEXT
);
CREATE INDEX IF NOT EXISTS subnets_network ON subnets (network_id);

-- Bounds are packed addresses: they compare as numbers do. `cursor` is the last address given out of the pool.
CREATE TABLE IF NOT EXISTS pools (
    subnet_id TEXT NOT NULL REFERENCES subnets(id) ON DELETE CASCADE,
    first BLOB NOT NULL, last BLOB NOT NULL, cursor BLOB,
    PRIMARY KEY (subnet_id, first)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS ports ({_COMMON},
    network_id TEXT NOT NULL REFERENCES networks(id), mac_address TEXT NOT NULL, admin_state_up INTEGER NOT NULL,
    status TEXT NOT NULL, device_id TEXT NOT NULL, device_owner TEXT NOT NULL,
    port_security_enabled INTEGER NOT NULL, allowed_address_pairs TEXT NOT NULL, extra_dhcp_opts TEXT NOT NULL,
    "binding:host_id" TEXT NOT NULL, "binding:vnic_type" TEXT NOT NULL, "binding:profile" TEXT NOT NULL,
    "binding:vif_type" TEXT NOT NULL, "binding:vif_details" TEXT NOT NULL,
    fixed_ips TEXT NOT NULL DEFAULT '[]', security_groups TEXT NOT NULL DEFAULT '[]',
    UNIQUE (network_id, mac_address)
);
CREATE INDEX IF NOT EXISTS ports_device ON ports (device_id);
CREATE INDEX IF NOT EXISTS ports_project ON ports (project_id);
CREATE INDEX IF NOT EXISTS ports_mac ON ports (mac_address);

CREATE TABLE IF NOT EXISTS addresses (
    subnet_id TEXT NOT NULL REFERENCES subnets(id), address BLOB NOT NULL,
    port_id TEXT NOT NULL REFERENCES ports(id) ON DELETE CASCADE, text TEXT NOT NULL,
    PRIMARY KEY (subnet_id, address)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS addresses_port ON addresses (port_id);
CREATE INDEX IF NOT EXISTS addresses_text ON addresses (text);

-- Bindings a port may change to; the one in force is in the port itself.
CREATE TABLE IF NOT EXISTS standby_bindings (
    port_id TEXT NOT NULL REFERENCES ports(id) ON DELETE CASCADE, host TEXT NOT NULL,
    vnic_type TEXT NOT NULL, profile TEXT NOT NULL,
    PRIMARY KEY (port_id, host)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS security_groups ({_COMMON}, stateful INTEGER NOT NULL, is_default INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS security_groups_project ON security_groups (project_id);
CREATE UNIQUE INDEX IF NOT EXISTS security_groups_default ON security_groups (project_id) WHERE is_default;

CREATE TABLE IF NOT EXISTS security_group_rules ({_COMMON},
    security_group_id TEXT NOT NULL REFERENCES security_groups(id) ON DELETE CASCADE,
    direction TEXT NOT NULL, ethertype TEXT NOT NULL, protocol TEXT,
    port_range_min INTEGER, port_range_max INTEGER, remote_ip_prefix TEXT,
    remote_group_id TEXT REFERENCES security_groups(id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS rules_group ON security_group_rules (security_group_id);
CREATE INDEX IF NOT EXISTS rules_remote ON security_group_rules (remote_group_id);

CREATE TABLE IF NOT EXISTS port_security_groups (
    port_id TEXT NOT NULL REFERENCES ports(id) ON DELETE CASCADE,
    security_group_id TEXT NOT NULL REFERENCES security_groups(id),
    PRIMARY KEY (security_group_id, port_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS port_security_groups_port ON port_security_groups (port_id);

CREATE TABLE IF NOT EXISTS routers ({_COMMON},
    admin_state_up INTEGER NOT NULL, status TEXT NOT NULL, external_gateway_info TEXT NOT NULL,
    routes TEXT NOT NULL, availability_zone_hints TEXT NOT NULL, gateway_port_id TEXT
);

CREATE TABLE IF NOT EXISTS floatingips ({_COMMON},
    floating_network_id TEXT NOT NULL REFERENCES networks(id), floating_ip_address TEXT NOT NULL,
    floating_port_id TEXT NOT NULL, port_id TEXT REFERENCES ports(id), fixed_ip_address TEXT,
    router_id TEXT, status TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS floatingips_port ON floatingips (port_id);
CREATE UNIQUE INDEX IF NOT EXISTS floatingips_fixed ON floatingips (port_id, fixed_ip_address)
    WHERE port_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS quotas (
    project_id TEXT NOT NULL, resource TEXT NOT NULL, most INTEGER NOT NULL, PRIMARY KEY (project_id, resource)
) WITHOUT ROWID;
"""
