#!/usr/bin/env bash
# Minstrel beside its peers, in turns, on this machine; a peer that is missing is said to be.
#   bench/compare.sh train [small | medium | gpt2]...   PyTorch (Debian: python3-torch libopenblas0-openmp), f32 and bf16
#   bench/compare.sh log                                the log's model, 5 tokens: PyTorch
#   bench/compare.sh decode MODEL.gguf...               llama.cpp (PYTHON with llama_cpp): decode of 128, prefill of 512
# ROUNDS=3 THREADS=2 PYTHON=/usr/bin/python3
set -u
cd "$(dirname "$0")/.." || exit 1
rounds=${ROUNDS:-3} threads=${THREADS:-2} python=${PYTHON:-/usr/bin/python3}
export OMP_NUM_THREADS=$threads ATEN_CPU_CAPABILITY=${ATEN_CPU_CAPABILITY:-avx512}
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE # they may halve OpenBLAS
openblas=$(ls -d /usr/lib/*/openblas-openmp 2>/dev/null | head -n 1) # the pthread one fights PyTorch's threads

ours() { ./minstrel bench "$@" --threads "$threads" | tail -n 1; }
torch() {
    "$python" -c 'import torch' 2>/dev/null || { echo "not run PyTorch: $python has no torch"; return; }
    LD_LIBRARY_PATH=$openblas "$python" "$@"
}

train() {
    local shape steps runs
    case $1 in
        small)  shape="--layers 4 --width 128 --heads 4 --context 64 --batch 12 --vocab 65" steps=60 runs=60 ;;
        medium) shape="--layers 6 --width 384 --heads 6 --context 256 --batch 16 --vocab 65" steps=6 runs=5 ;;
        gpt2)   shape="--layers 12 --width 768 --heads 12 --context 64 --batch 4 --vocab 50257" steps=6 runs=5 ;;
        *) echo "compare: train small, medium or gpt2" >&2; exit 2 ;;
    esac
    for dtype in f32 bf16; do
        for ((i = 0; i < rounds; i++)); do
            ours train --preset gpt2 $shape --runs "$runs" --dtype $dtype
            torch bench/peers/torch_train.py "$1" ${dtype/f32/fp32} $steps
        done
    done
}

what=${1:-}
[ $# -gt 0 ] && shift
case $what in
    train) [ $# -gt 0 ] || set -- small medium gpt2
           for name in "$@"; do train "$name"; done ;;
    log)   for ((i = 0; i < rounds; i++)); do
               ours forward --runs 300
               torch bench/peers/torch_infer.py seed
           done ;;
    decode)
        for model in "$@"; do
            for ((i = 0; i < rounds; i++)); do
                ours decode --model "$model" --tokens 64 --runs 128
                ours prefill --model "$model" --tokens 512 --runs 5
                if "$python" -c 'import llama_cpp' 2>/dev/null; then
                    "$python" bench/peers/llama.py "$model" "$threads" 512 128 1
                else
                    echo "not run llama.cpp: $python has no llama_cpp"
                fi
            done
        done ;;
    *) sed -n '2,6s/^# //p' "$0" >&2; exit 2 ;;
esac
