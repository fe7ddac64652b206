"""Other services and Redis, behind the ports of the use cases."""
