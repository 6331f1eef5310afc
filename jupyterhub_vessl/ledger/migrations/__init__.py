"""Alembic's scripts: how the database's tables came to be, one step a file."""
