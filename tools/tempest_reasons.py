"""Why tests of tempest fail or are skipped on a cloud of ours, where it is not ours to mend.

Pairs of a pattern, searched for in tempest's own words (of a failure: the test's name and its traceback), and what
to say. The first that is found counts.
"""

FAILURES = [
    (
        r"ServerActionsV293TestJSON\.test_rebuild_volume_backed_server",
        "the test logs in to its guest whether one can or not; with real guests it passes",
    ),
]

_NO_GUEST = "the test logs in to its guest or waits for it to boot; guests are simulated"
_NEUTRON = "what nova-network did; with a network service the test asks for nothing"

SKIPS = [
    (r"[Vv]alidation (must|should|tests are|is required)", _NO_GUEST),
    (r"^Instance validation", _NO_GUEST),
    (r"^Neutron (allows|does not check)|nova-network", _NEUTRON),
    (
        r"VNC Console|SPICE console|[Ss]erial console",
        "no proxy carries consoles yet: there are tokens, no bytes",
    ),
    (r"certified_image_ref", "signatures of images are not verified: there is no key manager"),
    (r"barbican", "needs a key manager (Barbican)"),
    (r"Metadata API must", "the cloud of this run has no metadata service; guests read their drive"),
    (r"Only owner network", "the network of this run is shared, not the project's own"),
    (r"trunk", "the network companion has no trunks"),
    (r"auto-allocated-topology", "the network companion makes no topologies by itself"),
    (
        r"launchpad\.net/bugs/(\d+) is resolved",
        "tempest skips it, for a bug of others or of its own",
    ),
]
