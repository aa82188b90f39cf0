"""NUMA cells, dedicated CPUs and pages: does a guest fit into a host, and how.

Pure, on the messages of the contract alone. The scheduler asks to sort out hosts, by a view that may be old; the
agent of a host asks to decide, by what its guests hold. Both must come to the same answer from the same facts, so
the answer is made here, in neither of them.
"""
