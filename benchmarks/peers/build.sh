#!/bin/sh
# Makes the environment of the comparison: benchmarks/peers/build.sh FOLDER [PYTHON]
# About a quarter of an hour on two cores, most of it the compiling of mmcv: its wheels are for older torches, and
# mmcv-lite lacks operations that mmsegmentation imports.
set -eu
folder=$1
python=${2:-python3}
here=$(cd "$(dirname "$0")" && pwd)
"$python" -m venv "$folder"
pip="$folder/bin/python -m pip install --quiet"
$pip --requirement "$here/requirements.txt"
MMCV_WITH_OPS=1 FORCE_CUDA=0 MAX_JOBS=$(nproc) $pip --no-build-isolation --no-binary mmcv mmcv==2.1.0
"$folder/bin/python" -c "import mmcv.ops, mmseg, torch; print(torch.__version__, mmcv.__version__, mmseg.__version__)"
echo "compare with: $folder/bin/python -m benchmarks.peers.compare"
