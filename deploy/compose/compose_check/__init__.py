"""`make compose-check`: builds the images, brings the stack up, uses and disturbs it, ends it."""
