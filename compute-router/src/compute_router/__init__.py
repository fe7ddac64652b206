"""Chooses the target of each job, says why, and streams its execution."""
