"""Run the job service: `python -m job_service [serve|migrate]`."""

from job_service.settings import Settings
from service_kit.cli import service_main

if __name__ == "__main__":
    service_main(
        "job-service", Settings, "job_service.bootstrap:job_service", migrate="job_service"
    )
