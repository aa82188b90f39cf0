"""A day of a region in memory: what schedulers make of the same arrivals and departures."""
