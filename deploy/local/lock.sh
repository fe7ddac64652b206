#!/bin/sh
# Writes the lock files: every version with its hashes, for every platform, no host named.
#
#   sh deploy/local/lock.sh PYPROJECT...
set -eu
compile() {
    .venv/bin/python -m uv pip compile --quiet --system-certs --universal --python-version 3.11 \
        --generate-hashes --no-header --no-annotate \
        --no-emit-package weir-service-kit --no-emit-package weir-protos "$@"
}
compile --upgrade "$@" --output-file requirements/runtime.txt
compile --upgrade "$@" requirements/dev.in --constraint requirements/runtime.txt \
    --output-file requirements/dev.txt
compile --upgrade requirements/bootstrap.in --output-file requirements/bootstrap.txt
compile --no-deps requirements/model.in --output-file requirements/model.txt
compile --upgrade requirements/peers.in --output-file requirements/peers.txt
