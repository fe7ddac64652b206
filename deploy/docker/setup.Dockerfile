# What runs once before the services: secrets and certificates, then roles and databases.
#
#   docker build -f deploy/docker/setup.Dockerfile -t weir/setup .
FROM python:3.11-slim-bookworm AS libraries
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/runtime.txt deploy/docker/lock_entries.py ./
RUN python lock_entries.py runtime.txt --only asyncpg cffi cryptography pycparser > libraries.txt \
 && python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --quiet --no-deps --require-hashes \
        --requirement libraries.txt

FROM python:3.11-slim-bookworm
# A volume that is mounted on one of these directories for the first time gets its owner.
RUN groupadd --gid 10001 weir \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin weir \
 && for place in vault gateway auth-service job-service cost-service compute-router \
        gpu-worker-cpu gpu-worker-gpu postgres redis databases migrations audit grafana; do \
        install -d -o weir -g weir -m 0750 "/secrets/${place}" || exit 1; \
    done \
 && install -d -o weir -g weir -m 0750 /run/weir
COPY --from=libraries /opt/venv /opt/venv
COPY deploy/local/src/weir_local /opt/weir/weir_local
COPY deploy/compose/weir_compose /opt/weir/weir_compose
ENV PYTHONPATH=/opt/weir PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["/opt/venv/bin/python", "-m", "weir_compose"]
CMD ["hand-out"]
