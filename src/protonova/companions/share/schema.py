"""The tables of Share."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS shares (
    id TEXT PRIMARY KEY, name TEXT, description TEXT, project_id TEXT NOT NULL, user_id TEXT NOT NULL,
    size INTEGER NOT NULL, status TEXT NOT NULL, is_public INTEGER NOT NULL, metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS shares_project ON shares (project_id, created_at);
CREATE TABLE IF NOT EXISTS access_rules (
    id TEXT PRIMARY KEY, share_id TEXT NOT NULL REFERENCES shares(id) ON DELETE CASCADE,
    access_type TEXT NOT NULL, access_to TEXT NOT NULL, access_level TEXT NOT NULL, metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL, UNIQUE (share_id, access_type, access_to)
);
CREATE TABLE IF NOT EXISTS locks (
    id TEXT PRIMARY KEY, resource_id TEXT NOT NULL, resource_type TEXT NOT NULL, resource_action TEXT NOT NULL,
    lock_reason TEXT, lock_context TEXT NOT NULL, project_id TEXT NOT NULL, user_id TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS locks_resource ON locks (resource_id, resource_action);
"""
