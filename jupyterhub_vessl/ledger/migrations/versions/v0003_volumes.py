"""The storage registry."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NAME, BIG = sa.String(255), sa.BigInteger()


def upgrade() -> None:
    op.create_table(
        "volumes",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("slot", sa.String(600)),
        *(sa.Column(title, NAME, nullable=False) for title in ("organization", "name", "title")),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("cluster", NAME, nullable=False),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("teams", sa.Text(), nullable=False),
        *(sa.Column(title, NAME, nullable=False) for title in ("mount_path", "claim")),
        *(sa.Column(title, sa.Boolean(), nullable=False) for title in ("adopted", "declared")),
        sa.Column("created_by", NAME, nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        *(sa.Column(title, sa.String(20), nullable=False) for title in ("state", "backing")),
        *(sa.Column(title, sa.Text(), nullable=False) for title in ("reason", "seen_on", "request")),
        sa.Column("ended_ms", BIG),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volumes")),
        sa.UniqueConstraint("slot", name=op.f("uq_volumes_slot")),
    )
    op.create_index(op.f("ix_volumes_organization_name"), "volumes", ["organization", "name"])
