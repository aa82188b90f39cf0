"""What clients of 2.35 and before ask of us and is other services': they are asked with the caller's own token, so
that it is theirs to say what the caller may see and do."""

from __future__ import annotations

LAST = "2.35"
