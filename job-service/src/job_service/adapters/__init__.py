"""Databases, Redis and other services, behind the ports of the use cases."""
