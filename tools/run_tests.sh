#!/usr/bin/env bash
# Runs test programs (cmocka) one after the other; a line for each, the output of those that fail.
# Usage: tools/run_tests.sh PROGRAM...   Ends with "N passed, N failed[, N skipped]"; status 1 if any failed.
set -u
passed=0 failed=0 skipped=0
for program in "$@"; do
    log=$(mktemp)
    "$program" >"$log" 2>&1
    status=$?
    ok=$(grep -c '^\[       OK \]' "$log")
    bad=$(grep -c '^\[  FAILED  \] [A-Za-z_]' "$log")
    not_run=$(grep -c '^\[  SKIPPED \] [A-Za-z_]' "$log")
    listed=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
    [ "$listed" -gt 0 ] && bad=$listed
    [ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + not_run))
    printf '%-52s %3d passed, %d failed, %d skipped\n' "${program#build/}" "$ok" "$bad" "$not_run"
    [ "$bad" -gt 0 ] && tail -n 60 "$log"
    grep -i '^ *not run' "$log"
    rm -f "$log"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
