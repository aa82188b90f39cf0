"""Names and host names of new servers."""

import pytest

from protonova.services.api.creation import names
from protonova.services.runtime import errors


@pytest.mark.parametrize(
    ("name", "count", "wanted"),
    [("web", 1, ["web"]), ("web", 3, ["web-1", "web-2", "web-3"])],
)
def test_several_servers_are_numbered(name, count, wanted):
    assert names.of_servers(name, count) == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Web Server_1.example", "web-server-1-example"),
        ("--odd--", "odd"),
        ("übung", "bung"),
        ("a" * 80, "a" * 63),
        ("日本", "server-77"),
    ],
)
def test_a_hostname_is_one_label(name, wanted):
    assert names.hostname(name, "77") == wanted


@pytest.mark.parametrize(
    ("hostname", "count", "cause"),
    [("ok.example.org", 1, None), ("", 5, None), ("a_b", 1, "syntax"), ("ok", 2, "several_servers")],
)
def test_given_hostnames_are_checked(hostname, count, cause):
    if cause is None:
        names.check_hostname(hostname, count)
        return
    with pytest.raises(errors.InvalidArgument) as raised:
        names.check_hostname(hostname, count)
    assert (raised.value.reason, raised.value.facts["cause"]) == ("HOSTNAME_INVALID", cause)
