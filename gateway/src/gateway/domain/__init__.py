"""Values and rules of the edge, pure."""
