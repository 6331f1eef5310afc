"""What Alembic runs: the service passes its own connection, so there is one place that says which database."""

from alembic import context

from jupyterhub_vessl.ledger.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
