#!/usr/bin/env bash
# A tiny training run and a few tokens under valgrind: no invalid read or write, no leak.
. tests/cli/lib.sh
make_text "$work/text"
if ! command -v valgrind >/dev/null; then
    not_run "valgrind" "it is missing"
    finish
fi
v="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite"
# valgrind does not know AVX-512
check "valgrind train" $v "$minstrel" train --data "$work/text" $tiny --out "$work/run" --steps 2 --backend cpu:base
check "valgrind generate" $v "$minstrel" generate --model "$work/run" --prompt "the" -n 4 --backend cpu:base
printf 'a\n/retry\nb\n/undo\n' >"$work/lines"
talk() { $v "$minstrel" chat --model "$work/run" -n 4 --backend cpu:base <"$work/lines"; }
check "valgrind chat" talk
finish
