"""What users and administrators read of a server for which there was no host."""

from __future__ import annotations

from protonova.scheduler.v1.scheduler_pb2 import Explanation, HostVerdict, Selection
from protonova.services.api import no_host

PLAIN = "No valid host was found. There are not enough hosts available."


def test_stages_are_in_the_message_and_hosts_in_the_details():
    verdicts = [
        HostVerdict(host="a", stage="ComputeFilter", reason="Hosts whose service is up."),
        HostVerdict(host="b", stage="placement", reason="short of 2 VCPU, 1 free"),
        HostVerdict(host="c"),
    ]
    explanation = Explanation(words="Of 3 hosts ComputeFilter left none.", verdicts=verdicts)
    fault = no_host.fault(Selection(failure="No valid host was found. Of 3 …", explanation=explanation))
    assert (fault.code, fault.message) == (500, f"{PLAIN} Of 3 hosts ComputeFilter left none.")
    assert fault.details.splitlines() == [
        "No valid host was found. Of 3 …",
        "a: ComputeFilter: Hosts whose service is up.",
        "b: placement: short of 2 VCPU, 1 free",
        "c: passes now",
    ]


def test_without_an_explanation_the_message_is_the_plain_one():
    fault = no_host.fault(Selection(failure="Every host is full."))
    assert (fault.message, fault.details) == (PLAIN, "Every host is full.")


def test_a_message_is_as_long_as_a_fault_may_be():
    fault = no_host.fault(Selection(explanation=Explanation(words="x" * 400)))
    assert len(fault.message) == 255
    assert fault.message.endswith("x…")
