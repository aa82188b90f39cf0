"""The tables of Identity. A name is unique in its domain; a role assignment exists once."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS domains (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL, enabled INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS projects (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, domain_id TEXT NOT NULL REFERENCES domains(id) ON DELETE CASCADE,
    parent_id TEXT NOT NULL, description TEXT NOT NULL, enabled INTEGER NOT NULL,
    tags TEXT NOT NULL DEFAULT '[]', extra TEXT NOT NULL DEFAULT '{}',
    UNIQUE (domain_id, name)
);
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, domain_id TEXT NOT NULL REFERENCES domains(id) ON DELETE CASCADE,
    enabled INTEGER NOT NULL, password TEXT, default_project_id TEXT, extra TEXT NOT NULL DEFAULT '{}',
    UNIQUE (domain_id, name)
);
CREATE TABLE IF NOT EXISTS groups (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, domain_id TEXT NOT NULL REFERENCES domains(id) ON DELETE CASCADE,
    description TEXT NOT NULL,
    UNIQUE (domain_id, name)
);
CREATE TABLE IF NOT EXISTS memberships (
    group_id TEXT NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS memberships_user ON memberships (user_id);
CREATE TABLE IF NOT EXISTS roles (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, domain_id TEXT, description TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS roles_name ON roles (name, ifnull(domain_id, ''));
CREATE TABLE IF NOT EXISTS implied_roles (
    prior_id TEXT NOT NULL REFERENCES roles(id) ON DELETE CASCADE,
    implied_id TEXT NOT NULL REFERENCES roles(id) ON DELETE CASCADE,
    PRIMARY KEY (prior_id, implied_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS assignments (
    target_kind TEXT NOT NULL, target_id TEXT NOT NULL, actor_kind TEXT NOT NULL, actor_id TEXT NOT NULL,
    role_id TEXT NOT NULL REFERENCES roles(id) ON DELETE CASCADE,
    PRIMARY KEY (target_kind, target_id, actor_kind, actor_id, role_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS assignments_actor ON assignments (actor_id);
CREATE TABLE IF NOT EXISTS regions (
    id TEXT PRIMARY KEY, description TEXT NOT NULL, parent_region_id TEXT
);
CREATE TABLE IF NOT EXISTS services (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, enabled INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS endpoints (
    id TEXT PRIMARY KEY, service_id TEXT NOT NULL REFERENCES services(id) ON DELETE CASCADE,
    region_id TEXT REFERENCES regions(id), interface TEXT NOT NULL, url TEXT NOT NULL, enabled INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS application_credentials (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    name TEXT NOT NULL, description TEXT NOT NULL, secret TEXT NOT NULL, roles TEXT NOT NULL,
    unrestricted INTEGER NOT NULL, expires_at INTEGER,
    UNIQUE (user_id, name)
);
CREATE TABLE IF NOT EXISTS tokens (
    hash BLOB PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    scope_kind TEXT NOT NULL, scope_id TEXT NOT NULL, methods TEXT NOT NULL, audit_ids TEXT NOT NULL,
    application_credential_id TEXT REFERENCES application_credentials(id) ON DELETE CASCADE,
    issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_user ON tokens (user_id);
CREATE INDEX IF NOT EXISTS tokens_expiry ON tokens (expires_at);
CREATE INDEX IF NOT EXISTS tokens_credential ON tokens (application_credential_id);
"""
