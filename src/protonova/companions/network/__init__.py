"""Network v2.0: networks, subnets, ports and what belongs to them. Owns network.sqlite."""
