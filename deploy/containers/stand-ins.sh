#!/usr/bin/env bash
# Builds local stand-ins for the official base images, for a machine that reaches no container
# registry, and leaves a private dockerd running.
#
#   deploy/containers/stand-ins.sh DATA_DIR RUN_DIR
#
# DATA_DIR keeps the images. RUN_DIR gets the socket, the log and the pid: `docker.sock`,
# `dockerd.log`, `dockerd.pid`; its path must be short. Stop it with: kill "$(cat RUN_DIR/dockerd.pid)"
# Needs root and, of Debian: docker.io, iptables, mmdebstrap.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(mkdir -p "$1" && cd "$1" && pwd)
run=$(mkdir -p "$2" && cd "$2" && pwd)
export DOCKER_HOST="unix://$run/docker.sock"

if ! docker info >/dev/null 2>&1; then
  # Addresses of its own, so that it takes none from a network that is there.
  setsid dockerd --data-root "$data" --exec-root "$run/exec" --pidfile "$run/dockerd.pid" \
    --host "$DOCKER_HOST" --bip 10.213.0.1/24 \
    --default-address-pool base=10.214.0.0/16,size=24 \
    >"$run/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 150); do
    docker info >/dev/null 2>&1 && break
    sleep .2
  done
fi
docker info >/dev/null || { tail -n 20 "$run/dockerd.log" >&2; exit 1; }

if ! docker image inspect debian:bookworm-slim >/dev/null 2>&1; then
  # The certificates that this machine trusts go along, where its network re-signs TLS.
  # shellcheck disable=SC2016 # $1 is mmdebstrap's
  mmdebstrap -q --variant=minbase --include=ca-certificates --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --customize-hook='mkdir -p "$1/usr/local/share/ca-certificates"; cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || :; chroot "$1" update-ca-certificates >/dev/null' \
    bookworm - /etc/apt/sources.list.d/debian.sources |
    docker import -c 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
fi

# The names are those in docker-compose.yml and in the Dockerfiles.
for pair in \
  python=python:3.11-slim-bookworm \
  redis=redis:7-alpine \
  postgres=postgres:16-alpine \
  prom=prom/prometheus:v3.5.0; do
  tag=${pair#*=}
  docker image inspect "$tag" >/dev/null 2>&1 ||
    DOCKER_BUILDKIT=0 docker build -q -t "$tag" "$here/${pair%%=*}"
done
