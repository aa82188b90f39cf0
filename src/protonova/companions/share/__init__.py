"""Share v2: shares, access rules, locks. Owns share.sqlite and the directory shares/."""
