#!/usr/bin/env bash
# Builds environments of heavy or old peers under .oracles/, and prints the variables that name
# them to `make test-slow` and `make bench` (the Makefile passes them on by itself).
#
# SMALGOS_ORACLE_SDK: a Python that has the original's SDK, the last of its second line.
# SMALGOS_ORACLE_XGBOOST17, ..21, ..30: Pythons that have older versions of xgboost.
# SMALGOS_ORACLE_TEXT: a Python that has fasttext and gensim.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

build() {  # folder, what to install
    local folder=.oracles/$1 wanted=$2
    if [ ! -f "$folder/.have" ] || [ "$(cat "$folder/.have")" != "$wanted" ]; then
        rm -rf "$folder"
        "$python" -m venv "$folder"
        # shellcheck disable=SC2086  # several packages in one word
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check $wanted
        echo "$wanted" > "$folder/.have"
    fi
}

build sdk 'sagemaker==2.257.6 scipy'
.oracles/sdk/bin/python -W ignore -c 'import sagemaker.amazon.common' >/dev/null 2>&1

build xgboost17 'xgboost==1.7.6 numpy<2 scipy<1.14'
build xgboost21 'xgboost-cpu==2.1.4 numpy<2 scipy<1.14'
build xgboost30 'xgboost-cpu==3.0.5 numpy<2 scipy<1.14'
build text 'fasttext-numpy2-wheel==0.9.2 gensim==4.4.0'

echo "SMALGOS_ORACLE_SDK=$PWD/.oracles/sdk/bin/python"
for version in 17 21 30; do
    echo "SMALGOS_ORACLE_XGBOOST$version=$PWD/.oracles/xgboost$version/bin/python"
done
echo "SMALGOS_ORACLE_TEXT=$PWD/.oracles/text/bin/python"
