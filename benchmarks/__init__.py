"""What a whole cloud does in a second, and what it costs: `make bench`.

Each run starts a cloud of its own (fake driver, ten hosts) beside whatever else runs, measures through the public
REST API only, and stops it again. Figures and targets stand in `figures.py`.
"""
