"""Jobs from admission to settlement."""
