"""Run the auth service: `python -m auth_service [serve|migrate]`."""

from auth_service.settings import Settings
from service_kit.cli import service_main

if __name__ == "__main__":
    service_main(
        "auth-service",
        Settings,
        "auth_service.bootstrap:auth_service",
        migrate="auth_service",
    )
