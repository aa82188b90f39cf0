"""PCI devices: what operators say of them, and whether those that a guest asks for can be had near its NUMA cells.

Pure, on the messages of the contract alone. Api reads aliases here; the scheduler asks to sort out hosts, by a view
that may be old; the agent of a host asks to decide, by what its guests hold. Both must come to the same answer from
the same facts, so the answer is made here, in none of them.
"""
