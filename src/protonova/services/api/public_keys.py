"""What a key pair is made of: public keys and certificates, their fingerprints, and new pairs.

SSH keys are known by the MD5 of the key, X.509 certificates by the SHA-1 of the certificate, both as hex pairs:
that is how clients of the Compute API compare them. Neither digest protects anything here.
"""

from __future__ import annotations

import base64
import datetime
import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from protonova.services.runtime import errors

_PRINCIPAL_NAME = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_TEN_YEARS = datetime.timedelta(days=3650)


def ssh_fingerprint(public_key: str) -> str:
    """Raises KEYPAIR_INVALID for what is not one public key in OpenSSH's form."""
    parts = public_key.split()
    try:
        serialization.load_ssh_public_key(" ".join(parts[:2]).encode())
        key = base64.b64decode(parts[1], validate=True)
    except (ValueError, IndexError, UnsupportedAlgorithm):
        raise invalid("public_key", "is not a public SSH key") from None
    return _hex_pairs(hashlib.md5(key, usedforsecurity=False).digest())


def x509_fingerprint(certificate: str) -> str:
    """Raises KEYPAIR_INVALID for what is not a PEM certificate."""
    try:
        parsed = x509.load_pem_x509_certificate(certificate.encode())
        return _hex_pairs(parsed.fingerprint(hashes.SHA1()))  # noqa: S303
    except (ValueError, UnsupportedAlgorithm):
        raise invalid("public_key", "is not a PEM certificate") from None


def new_ssh_pair() -> tuple[str, str]:
    """A new Ed25519 pair: public half for authorized_keys, private half in OpenSSH's form."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return f"{public.decode()} Generated-by-Protonova", private.decode()


def new_x509_pair(user_id: str) -> tuple[str, str]:
    """A new certificate by which a user logs in to Windows guests, and its private key in PKCS#8."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (user_id or "user")[:64])])
    now = datetime.datetime.now(datetime.UTC)
    principal = f"{user_id}@localhost".encode()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _TEN_YEARS)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.OtherName(_PRINCIPAL_NAME, _utf8_string(principal))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def invalid(field: str, rule: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Keypair data is invalid: {field} {rule}.", reason="KEYPAIR_INVALID", field=field
    )


def _utf8_string(text: bytes) -> bytes:
    """DER of a UTF8String."""
    if len(text) < 0x80:
        return bytes([0x0C, len(text)]) + text
    length = len(text).to_bytes((len(text).bit_length() + 7) // 8, "big")
    return bytes([0x0C, 0x80 | len(length)]) + length + text


def _hex_pairs(digest: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in digest)
