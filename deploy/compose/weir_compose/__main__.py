"""python -m weir_compose hand-out | databases | admin-password"""

import asyncio
import sys
from pathlib import Path

from weir_compose.bundles import Vault
from weir_compose.handing_out import hand_out

SECRETS = Path("/secrets")
"""The vault and the bundles: a volume on each of its directories."""
OWN = Path("/run/weir")
"""Where every container finds what was handed to it."""


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code."""
    match arguments:
        case ["hand-out"]:
            for name, files in Vault(SECRETS / "vault").bundles().items():
                hand_out(files, SECRETS / name)
        case ["databases"]:
            # Only this command needs, and has, a database.
            from weir_compose.preparing import prepare

            asyncio.run(prepare(OWN))
        case ["admin-password"]:
            print(Vault(SECRETS / "vault").admin_password())
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
