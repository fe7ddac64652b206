"""The statement that takes work from the queue, a turn for each project.

It costs the same however much one project has waiting: projects are found by skipping from one to
the next in `ix_jobs_queue`, and of each no more jobs are looked at than may be taken.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from job_service.adapters.tables import jobs

# So many jobs more than wanted are looked at: other replicas may have some of them locked just now.
LOCKED_BY_OTHERS: Final = 32

_DUE: Final = "state IN ('pending', 'retrying') AND kind = 'queued' AND available_at <= now()"
# The same for a job that was found by its id: written so that it fits none of the partial indexes,
# each of which looks empty to a planner that was not told yet.
_STILL_DUE: Final = _DUE.replace("state", "coalesce(state, '')")
# Of the jobs of one project. It is asked for in full everywhere, so that no other index will do.
_OWN_ORDER: Final = "priority DESC, created_at"
# In the order of `jobs.c`, whichever the order of the table.
_COLUMNS: Final = ", ".join(jobs.c.keys())

# `waiting` has each project with a due job. `turns` are those whose turn it is: fewest running
# first, then from `after` on in the order of their ids. `ranked` gives each job the place in which
# it would run if every project added one at a time. Nothing is locked but what is taken, and that
# is looked at again once it is locked. A limit that the planner can't know makes it read the index
# in order rather than sort, also where it has not heard yet that a project has very many jobs.
CLAIM: Final = text(
    f"""
    WITH RECURSIVE waiting AS (
        (SELECT project_id FROM jobs WHERE {_DUE} ORDER BY project_id, {_OWN_ORDER} LIMIT 1)
        UNION ALL
        SELECT next.project_id FROM waiting CROSS JOIN LATERAL (
            SELECT project_id FROM jobs
            WHERE {_DUE} AND project_id > waiting.project_id
            ORDER BY project_id, {_OWN_ORDER} LIMIT 1
        ) next
    ), running AS MATERIALIZED (
        SELECT project_id, count(*) AS jobs FROM jobs
        WHERE state = 'running' AND kind = 'queued'
        GROUP BY project_id
    ), turns AS MATERIALIZED (
        SELECT project_id, coalesce(running.jobs, 0) AS running
        FROM waiting LEFT JOIN running USING (project_id)
        ORDER BY 2, project_id <= :after, project_id
        LIMIT :reach
    ), ranked AS MATERIALIZED (
        SELECT first.job_id, row_number() OVER (
            ORDER BY turns.running + first.place, turns.project_id <= :after, turns.project_id
        ) AS turn
        FROM turns CROSS JOIN LATERAL (
            SELECT job_id, row_number() OVER (ORDER BY {_OWN_ORDER}) AS place
            FROM jobs
            WHERE {_DUE} AND project_id = turns.project_id
            ORDER BY {_OWN_ORDER}
            LIMIT (SELECT CAST(:reach AS bigint))
        ) first
        ORDER BY turn
        LIMIT :reach
    ), due AS MATERIALIZED (
        SELECT job_id, turn FROM ranked JOIN jobs USING (job_id)
        WHERE {_STILL_DUE}
        ORDER BY turn
        LIMIT :limit
        FOR UPDATE OF jobs SKIP LOCKED
    ), claimed AS (
        UPDATE jobs SET
            state = 'running',
            attempt = jobs.attempt + 1,
            lease_token = gen_random_uuid()::text,
            lease_expires_at = now() + :lease,
            started_at = coalesce(jobs.started_at, now()),
            next_retry_at = NULL,
            dispatched_target = NULL,
            client_task_id = NULL,
            usage_counted = 0,
            decision = NULL,
            executed_target = NULL,
            executed_model = NULL,
            event_seq = jobs.event_seq + 1
        FROM due WHERE jobs.job_id = due.job_id
        RETURNING jobs.*, due.turn
    ), opened AS (
        INSERT INTO attempts (job_id, attempt, admission)
        SELECT job_id, attempt, admission FROM claimed
    ), told AS (
        INSERT INTO lifecycle_events (job_id, seq, type, details)
        SELECT job_id, event_seq, 'running',
               jsonb_build_object('attempt', attempt, 'retry_count', retry_count)
        FROM claimed
    )
    SELECT {_COLUMNS} FROM claimed ORDER BY turn
    """  # noqa: S608 -- constants of this module
).columns(*jobs.c)
