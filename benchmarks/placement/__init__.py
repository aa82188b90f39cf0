"""Placement alone, with as many providers as a large region has: `python -m benchmarks --only placement`.

Started are a placement service and the gateway's Placement API in front of it, nothing else. Providers are written
into the database in bulk; everything measured goes through gRPC or REST.
"""
