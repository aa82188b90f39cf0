"""Volume v3: volumes, snapshots, attachments. Owns volume.sqlite and the directory volumes/."""
