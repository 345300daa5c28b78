#!/usr/bin/env bash
# The kernels for AArch64 on another machine: a cross build of the tests of ops, run by qemu on every variant
# with kernels of its own, without the large rows; some 3 minutes.
# Usage: tools/aarch64.sh [OP...]      Debian: tools/install.sh aarch64
set -u
cd "$(dirname "$0")/.." || exit 1
cross=aarch64-linux-gnu-gcc qemu=qemu-aarch64 out=build/release-aarch64-linux-gnu-gcc
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if [ "$(uname -m)" = aarch64 ] || [ "$(uname -m)" = arm64 ]; then
    echo "not run aarch64: this machine is one; make test runs its variants"
    exit 0
fi
for tool in $cross $qemu; do
    command -v $tool >/dev/null || { echo "not run aarch64: $tool is missing (tools/install.sh aarch64)"; exit 0; }
done
if ! echo 'int main(void) { return 0; }' | $cross -x c - -lcmocka -o "$log" 2>/dev/null; then
    echo "not run aarch64: libcmocka is missing for it (tools/install.sh aarch64)"
    exit 0
fi
# The tests of ops take none of the libraries but cmocka.
if make -s -j2 CC=$cross WERROR=1 LDLIBS="-lm -pthread" $out/tests/ops/test_{conformance,simd} >"$log" 2>&1; then
    echo "ok aarch64: cross build"
else
    grep -E 'error|warning' "$log" | head -n 20
    echo "not ok aarch64: cross build"
    exit 1
fi

failures=0
run() {
    local name=$1; shift
    if $qemu -cpu max "$@" >"$log" 2>&1; then
        echo "ok aarch64: $name"
    else
        grep -vE '^\[ +(OK|RUN) ' "$log" | tail -n 20
        echo "not ok aarch64: $name"
        failures=$((failures + 1))
    fi
}
for variant in i8mm base; do # with dot products, and plain NEON
    run "conformance of cpu:$variant" $out/tests/ops/test_conformance --small --device cpu:$variant "$@"
done
[ $# -gt 0 ] || run "vector functions" $out/tests/ops/test_simd
[ "$failures" -eq 0 ]
