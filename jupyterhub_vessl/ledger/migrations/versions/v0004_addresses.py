"""Where the tcp ports of a workspace are reached."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("addresses", sa.Text(), nullable=False, server_default="{}"))
