"""Public keys, certificates and their fingerprints."""

import base64
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from protonova.services.api import public_keys
from protonova.services.runtime import errors

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def test_the_fingerprint_is_the_md5_of_the_key():
    digest = hashlib.md5(base64.b64decode(ED25519.split()[1])).hexdigest()
    wanted = ":".join(digest[at : at + 2] for at in range(0, 32, 2))
    assert public_keys.ssh_fingerprint(ED25519) == wanted
    assert public_keys.ssh_fingerprint(ED25519 + " me and my comment\n") == wanted


@pytest.mark.parametrize("text", ["", "nonsense", "ssh-rsa", "ssh-rsa AAAA", "ssh-ed25519 !!!!"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(errors.InvalidArgument) as raised:
        public_keys.ssh_fingerprint(text)
    assert raised.value.reason == "KEYPAIR_INVALID"


def test_a_new_pair_belongs_together():
    public, private = public_keys.new_ssh_pair()
    key = serialization.load_ssh_private_key(private.encode(), None)
    own = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert public.startswith(own.decode())
    assert public_keys.ssh_fingerprint(public).count(":") == 15


def test_a_new_certificate_belongs_to_its_key():
    certificate, private = public_keys.new_x509_pair("a-user" * 30)
    key = serialization.load_pem_private_key(private.encode(), None)
    assert x509.load_pem_x509_certificate(certificate.encode()).public_key() == key.public_key()
    assert public_keys.x509_fingerprint(certificate).count(":") == 19
    with pytest.raises(errors.InvalidArgument):
        public_keys.x509_fingerprint(ED25519)
