"""How often in a row nothing could take a job, so that it is offered less and less often."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("waits", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
