"""Users, sessions, keys, projects, and who may do what."""
