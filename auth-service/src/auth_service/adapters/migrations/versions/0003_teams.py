"""Teams, their members, and the team that a project belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "teams",
        sa.Column("team_id", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner_user_id", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.PrimaryKeyConstraint("team_id", name="pk_teams"),
        sa.ForeignKeyConstraint(
            ["owner_user_id"], ["users.user_id"], name="fk_teams_owner_user_id_users"
        ),
        sa.UniqueConstraint(
            "owner_user_id", "request_id", name="uq_teams_owner_user_id_request_id"
        ),
    )
    op.create_table(
        "team_members",
        sa.Column("team_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("team_id", "user_id", name="pk_team_members"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.team_id"], name="fk_team_members_team_id_teams"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.user_id"], name="fk_team_members_user_id_users"
        ),
    )
    op.create_index("ix_team_members_user_id", "team_members", ["user_id"])
    op.add_column("projects", sa.Column("team_id", _ID))
    op.create_foreign_key(
        "fk_projects_team_id_teams", "projects", "teams", ["team_id"], ["team_id"]
    )


def downgrade() -> None:
    op.drop_constraint("fk_projects_team_id_teams", "projects")
    op.drop_column("projects", "team_id")
    op.drop_table("team_members")
    op.drop_table("teams")
