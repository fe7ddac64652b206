"""How calls come in."""
