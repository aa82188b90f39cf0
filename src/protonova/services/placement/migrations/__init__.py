"""The alembic environment of the placement database."""
