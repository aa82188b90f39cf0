"""Who is calling: taken from X-Auth-Token, once per request."""

from flask import g, request

from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, forbidden
from protonova.companions.identity import tokens


class Caller:
    def __init__(self, token: tokens.Token) -> None:
        self.token = token
        self.user_id: str = token.user["id"]
        self.project_id: str = token.project["id"] if token.project else ""
        self.roles = frozenset(token.role_names)
        self.is_admin = "admin" in self.roles
        self.is_service = "service" in self.roles

    @property
    def is_privileged(self) -> bool:
        """An administrator, or another service of the cloud."""
        return self.is_admin or self.is_service

    def require_admin(self) -> None:
        if not self.is_admin:
            raise forbidden("This action needs the role admin.")

    def require_member(self) -> None:
        """Changing anything needs more than the right to read."""
        if not (self.roles & {"admin", "manager", "member", "service"}):
            raise forbidden("This action needs the role member.")

    def owns(self, project_id: str | None) -> bool:
        return self.is_admin or (bool(project_id) and project_id == self.project_id)


def authenticate() -> Caller:
    text = request.headers.get("X-Auth-Token", "")
    token = cloud().identity.read(lambda db: tokens.find(db, text)) if text else None
    if token is None:
        uri = f"{cloud().settings.public_url}/identity"
        raise Fault(
            401,
            "A valid token in X-Auth-Token is required.",
            headers={"WWW-Authenticate": f'Keystone uri="{uri}"'},
        )
    who = Caller(token)
    g.caller = who
    return who


def caller() -> Caller:
    found = getattr(g, "caller", None)
    return found if found is not None else authenticate()
