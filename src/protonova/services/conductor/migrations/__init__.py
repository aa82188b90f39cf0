"""The schema of the cell database, revision by revision."""
