#!/usr/bin/env bash
# Installs what is missing, builds with gcc and clang, runs every suite.
# Ends with "N passed, N failed, N skipped"; status 1 when anything failed.  --quick: without sanitizers and mutants.
set -u
cd "$(dirname "$0")" || exit 1
quick=0
[ "${1:-}" = --quick ] && quick=1
passed=0 failed=0 skipped=0
report=$(mktemp)
trap 'rm -f "$report"' EXIT

headline() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }

# In memory where there is room: thousands of small files are synced.
if [ -z "${TMPDIR:-}" ] && [ "$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 {print $4}')" -gt 2000 ] 2>/dev/null; then
    export TMPDIR=/dev/shm
fi

# Runs a command that passes or fails as a whole.
step() {
    local name=$1; shift
    if "$@" >"$report" 2>&1; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        tail -n 60 "$report"
        echo "not ok $name"
        failed=$((failed + 1))
    fi
}

missing=""
not_run() { missing="$missing
$1"; skipped=$((skipped + 1)); }

# Test programs of one build; run_tests.sh ends with the counts.
suite() {
    local name=$1; shift
    "$@" 2>&1 | tee "$report"
    local counts
    counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$report" | tail -n 1 | tr -dc '0-9 ')
    if [ -z "$counts" ]; then
        echo "not ok $name"
        failed=$((failed + 1))
        return
    fi
    read -r p f s <<<"$counts"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
    while IFS= read -r line; do missing="$missing
$line"; done < <(grep -i 'not run' "$report")
}

# Scripts that print "ok NAME", "not ok NAME", "not run NAME: why".
script() {
    bash "$1" 2>&1 | tee "$report"
    local status=${PIPESTATUS[0]} p f
    p=$(grep -c '^ok ' "$report")
    f=$(grep -c '^not ok ' "$report")
    [ "$status" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    passed=$((passed + p)) failed=$((failed + f))
    while IFS= read -r line; do not_run "$line"; done < <(grep '^not run ' "$report")
}

headline install
tools/install.sh test || { echo "0 passed, 1 failed"; exit 1; }

headline build
step "gcc, warnings are errors" make -j2 CC=gcc WERROR=1 all tests examples
if command -v clang >/dev/null; then
    step "clang, warnings are errors" make -j2 CC=clang WERROR=1 build/release-clang/minstrel
else
    not_run "not run clang: it is missing"
fi
step "a second make does nothing" sh -c 'test "$(make CC=gcc WERROR=1 | grep -vc "Nothing to be done")" = 0'
for std in c99 c11; do
    step "minstrel.h compiles alone as $std" gcc -std=$std -Wall -Wextra -Wpedantic -Werror -Iinclude \
        -fsyntax-only tests/header.c
done
step "minstrel.h compiles alone as C++" g++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -Iinclude \
    -fsyntax-only -xc++ tests/header.c
step "make install" make CC=gcc WERROR=1 install DESTDIR="$PWD/build/installed" PREFIX=/usr

headline layout
step "includes point downwards" tools/layers.sh
step "style" tools/style.sh

headline "test programs"
suite "test programs" make -s CC=gcc WERROR=1 test

headline "the program"
for file in tests/cli/*.sh; do
    case $file in */lib.sh) continue ;; esac
    script "$file"
done

if [ "$quick" = 0 ]; then
    headline "kernels for AArch64"
    tools/install.sh aarch64 || echo "install.sh aarch64 failed"
    script tools/aarch64.sh
    headline "test programs under AddressSanitizer and UBSan"
    step "build with sanitizers" make -j2 CC=gcc WERROR=1 ASAN=1 tests
    suite "sanitizers" make -s CC=gcc WERROR=1 ASAN=1 run-tests
    headline mutants
    script tests/model/mutants.sh
fi

if [ -n "$missing" ]; then
    headline "NOT RUN HERE"
    echo "$missing" | sort -u
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
