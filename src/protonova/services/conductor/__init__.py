"""One cell: its servers, block devices, actions and faults, its hosts and compute services; every operation that
changes a server runs here. Nobody else opens the cell database."""
