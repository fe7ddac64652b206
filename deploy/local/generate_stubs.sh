#!/bin/sh
# Writes the Python stubs of the given .proto files, with their types, below a directory.
#
#   sh deploy/local/generate_stubs.sh OUTPUT_DIRECTORY PROTO...
set -eu
out=$1
shift
.venv/bin/python -m grpc_tools.protoc -I protos \
    --plugin=protoc-gen-mypy=.venv/bin/protoc-gen-mypy \
    --plugin=protoc-gen-mypy_grpc=.venv/bin/protoc-gen-mypy_grpc \
    "--python_out=$out" "--grpc_python_out=$out" \
    "--mypy_out=quiet:$out" "--mypy_grpc_out=quiet:$out" \
    "$@"
