"""Prints `.env.example` from the settings classes; `make env-example` writes it."""

from __future__ import annotations

import importlib
import sys
import textwrap

from service_kit.settings import ServiceSettings, environment_variables

SERVICES = (
    "gateway",
    "auth_service",
    "job_service",
    "cost_service",
    "compute_router",
    "gpu_worker",
)

HEADING = """\
# Every environment variable that the services read, made from their settings classes
# (`make env-example`). Copy what you change into the environment of that service.
#
# NAME=           has to be given
# # NAME=value    is the default
#
# A secret may also be given as a file: NAME_FILE=/run/secrets/name
"""


def env_example() -> str:
    """Return the text of `.env.example`: what all services share first, then each one's own."""
    common = environment_variables(ServiceSettings)
    shared = {variable.name for variable in common}
    sections = [HEADING, _section("every service", common)]
    for name in SERVICES:
        settings_class = importlib.import_module(f"{name}.settings").Settings
        variables = environment_variables(settings_class)
        own = [variable for variable in variables if variable.name not in shared]
        sections.append(_section(name.replace("_", "-"), own))
    return "\n".join(sections)


def _section(title: str, variables: list) -> str:
    lines = [f"# --- {title} ".ljust(88, "-")]
    for variable in variables:
        note = variable.description + (" (secret)" if variable.secret else "")
        lines += [""] + [f"# {line}" for line in textwrap.wrap(note, 86)]
        default = variable.default if variable.default is not None else ""
        lines.append(f"{variable.name}=" if variable.required else f"# {variable.name}={default}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(env_example())
