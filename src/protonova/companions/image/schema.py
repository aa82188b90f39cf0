"""The tables of Image. `upload` is the random id of the upload that may finish a row in status saving."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, name TEXT, status TEXT NOT NULL, visibility TEXT NOT NULL, owner TEXT,
    protected INTEGER NOT NULL, os_hidden INTEGER NOT NULL,
    container_format TEXT, disk_format TEXT, min_disk INTEGER NOT NULL, min_ram INTEGER NOT NULL,
    size INTEGER, virtual_size INTEGER, checksum TEXT, os_hash_algo TEXT, os_hash_value TEXT,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    properties TEXT NOT NULL, upload TEXT
);
CREATE INDEX IF NOT EXISTS images_created ON images (created_at, id);
CREATE TABLE IF NOT EXISTS image_tags (
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, value TEXT NOT NULL,
    PRIMARY KEY (image_id, value)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS image_members (
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, member_id TEXT NOT NULL,
    status TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    PRIMARY KEY (image_id, member_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS image_members_member ON image_members (member_id);
"""
