#!/bin/sh
# Puts the engine and the small model into /opt/engine, while the image of gpu-worker is built.
#
#   sh install_engine.sh cpu
#   sh install_engine.sh cuda <index of CUDA wheels>
set -eu
engine="$1"
cuda_wheels="${2:-}"

case "${engine}" in
    cpu) ;;
    cuda)
        if [ -z "${cuda_wheels}" ]; then
            echo "ENGINE=cuda needs CUDA_WHEELS, the package index that has xllamacpp built for CUDA:" \
                "the wheels on PyPI are for CPUs. See docs/compose.md, \"With a GPU\"." >&2
            exit 1
        fi
        ;;
    *)
        echo "ENGINE is ${engine}; it can be cpu or cuda." >&2
        exit 1
        ;;
esac

install() {
    python -m pip --python /opt/venv/bin/python install --quiet --no-deps --target /opt/engine "$@"
}

python lock_entries.py runtime.txt --only xllamacpp > xllamacpp.txt
python lock_entries.py runtime.txt --only nvidia-ml-py > engine.txt
if [ "${engine}" = cpu ]; then
    install --require-hashes --requirement engine.txt --requirement model.txt \
        --requirement xllamacpp.txt
else
    install --require-hashes --requirement engine.txt --requirement model.txt \
        --requirement cuda.txt
    # The CUDA build of the same version has no hash in our lock: its index is the operator's choice.
    install --index-url "${cuda_wheels}" "$(sed -n 's/^\(xllamacpp==[^ ;]*\).*/\1/p' xllamacpp.txt)"
fi
