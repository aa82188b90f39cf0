"""Keeps the books in order: what operators run when rows disagree, which no service of ours makes them do.

A **mend** finds rows that contradict others and sets right what can be derived; mends are bounded batches, each in
a transaction of its own, take the same locks as claims do, and may be repeated. `mends` lists them. `checks` tells
how the database stands, `healing` mends it and compares it with the cloud.
"""
