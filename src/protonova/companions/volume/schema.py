"""The tables of Volume. The statuses of a volume are moved by compare-and-set only."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS volume_types (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT, is_public INTEGER NOT NULL,
    extra_specs TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS volume_type_projects (
    volume_type_id TEXT NOT NULL REFERENCES volume_types(id) ON DELETE CASCADE, project_id TEXT NOT NULL,
    PRIMARY KEY (volume_type_id, project_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS volumes (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, description TEXT, project_id TEXT NOT NULL, user_id TEXT NOT NULL,
    size INTEGER NOT NULL, status TEXT NOT NULL, previous_status TEXT, availability_zone TEXT NOT NULL,
    volume_type_id TEXT NOT NULL REFERENCES volume_types(id), snapshot_id TEXT, source_volid TEXT, image_id TEXT,
    bootable INTEGER NOT NULL, multiattach INTEGER NOT NULL, readonly INTEGER,
    metadata TEXT NOT NULL, image_metadata TEXT NOT NULL, migration_status TEXT,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS volumes_project ON volumes (project_id, created_at);
CREATE TABLE IF NOT EXISTS snapshots (
    id TEXT PRIMARY KEY, volume_id TEXT NOT NULL REFERENCES volumes(id), name TEXT NOT NULL, description TEXT,
    project_id TEXT NOT NULL, user_id TEXT NOT NULL, size INTEGER NOT NULL, status TEXT NOT NULL,
    metadata TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS snapshots_volume ON snapshots (volume_id);
CREATE INDEX IF NOT EXISTS snapshots_project ON snapshots (project_id, created_at);
CREATE TABLE IF NOT EXISTS attachments (
    id TEXT PRIMARY KEY, volume_id TEXT NOT NULL REFERENCES volumes(id) ON DELETE CASCADE,
    instance_uuid TEXT, status TEXT NOT NULL, mode TEXT NOT NULL, mountpoint TEXT, host TEXT,
    connector TEXT, attached_at INTEGER, created_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS attachments_volume ON attachments (volume_id);
CREATE INDEX IF NOT EXISTS attachments_instance ON attachments (instance_uuid);
CREATE TABLE IF NOT EXISTS quotas (
    project_id TEXT NOT NULL, resource TEXT NOT NULL, most INTEGER NOT NULL, PRIMARY KEY (project_id, resource)
) WITHOUT ROWID;
"""
