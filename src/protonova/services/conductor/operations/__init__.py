"""Everything that is done to a server and takes time: one kind of operation a file.

A step looks first, then acts, and may be repeated; its outcome and the server's new state are committed together.
"""
