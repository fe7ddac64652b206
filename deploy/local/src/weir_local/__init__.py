"""The embedded launcher: the whole of Weir as processes on one machine."""
