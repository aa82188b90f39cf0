"""What becomes of libvirt's complaints."""

from __future__ import annotations

import libvirt

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.libvirt.connection import Connection


def test_a_complaint_of_a_connection_that_was_given_up_meanwhile() -> None:
    connection = libvirt.open("test:///default")
    connection.close()
    complaint = libvirt.libvirtError("Cannot write data: Broken pipe")
    assert isinstance(Connection.translated(complaint, connection), errors.HypervisorUnavailable)
