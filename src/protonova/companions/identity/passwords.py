"""Passwords at rest are scrypt hashes.

A password that was right once is remembered for the life of the process, as a keyed digest, so that services which
authenticate over and over do not pay for scrypt each time.
"""

import base64
import hashlib
import hmac
import secrets

_COST, _BLOCK, _PARALLEL = 2**12, 8, 1
_REMEMBERED_MOST = 4096
_key = secrets.token_bytes(32)
_remembered: set[bytes] = set()


def hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    digest = _derive(password, salt, _COST, _BLOCK, _PARALLEL)
    parts = base64.b64encode(salt).decode(), base64.b64encode(digest).decode()
    return f"scrypt${_COST}${_BLOCK}${_PARALLEL}${parts[0]}${parts[1]}"


def matches(password: str, stored: str | None) -> bool:
    if not stored:
        return False
    memory = hmac.digest(_key, stored.encode() + b"\0" + password.encode("utf-8", "surrogatepass"), "sha256")
    if memory in _remembered:
        return True
    _, cost, block, parallel, salt, digest = stored.split("$")
    derived = _derive(password, base64.b64decode(salt), int(cost), int(block), int(parallel))
    if not hmac.compare_digest(derived, base64.b64decode(digest)):
        return False
    if len(_remembered) >= _REMEMBERED_MOST:
        _remembered.clear()
    _remembered.add(memory)
    return True


def _derive(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost, r=block, p=parallel, dklen=32)
