"""What `docker-compose.yml` runs once before the services: secrets, then databases."""
