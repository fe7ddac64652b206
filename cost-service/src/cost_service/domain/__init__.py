"""Values and rules, pure."""
