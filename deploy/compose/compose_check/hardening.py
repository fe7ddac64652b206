"""What the engine and the kernel say of each container: whose it is and what it may do."""

from typing import Any

from compose_check.commands import CheckFailed
from compose_check.project import RUNNING, Project

_WRITE = "touch /usr/check-was-here"


def check_containers(project: Project) -> int:
    """Return how many containers are hardened as they should be.

    Raises:
        CheckFailed: One of them runs as root, could write to its own files, kept a capability,
            or publishes a port that it should not.
    """
    containers = project.inspect()
    wrong = [
        f"{name}: {complaint}"
        for name, container in sorted(containers.items())
        for complaint in _complaints(container)
    ]
    for service in RUNNING:
        if project.compose("exec", "-T", service, "id", "-u").strip() == "0":
            wrong.append(f"{service}: runs as root")
        try:
            project.compose("exec", "-T", service, "sh", "-c", _WRITE)
        except CheckFailed:
            continue
        wrong.append(f"{service}: could write to /usr")
    if wrong:
        raise CheckFailed("\n".join(wrong))
    return len(containers)


def _complaints(container: dict[str, Any]) -> list[str]:
    host, config = container["HostConfig"], container["Config"]
    service = config["Labels"]["com.docker.compose.service"]
    complaints = {
        "has no user of its own": config["User"].split(":")[0] in ("", "0", "root"),
        "can write to its root": not host["ReadonlyRootfs"],
        "keeps capabilities": host["CapDrop"] != ["ALL"] or bool(host["CapAdd"]),
        "may gain privileges": "no-new-privileges:true" not in (host["SecurityOpt"] or ()),
        "has no limit of memory": not host["Memory"],
        "publishes a port": bool(host["PortBindings"]) and service != "gateway",
        "holds a secret in its environment": any(
            name.endswith(("PASSWORD", "SECRET", "_URL", "_KEY")) and value
            for name, _, value in (entry.partition("=") for entry in config["Env"])
        ),
    }
    return [text for text, found in complaints.items() if found]
