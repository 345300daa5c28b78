#!/usr/bin/env bash
# The programs of examples/: built against the library, run as their comments say.
. tests/cli/lib.sh
make_text "$work/text"
if ! make -s examples >"$work/log" 2>&1; then
    cat "$work/log"
    bad "examples" "they do not build"
    finish
fi
build=$(make -s -p -n examples | sed -n 's/^BUILD := //p' | tail -1)

"$build/examples/train" "$work/text" "$work/run" 30 >"$work/out" && [ -s "$work/run/model.safetensors" ] &&
    grep -q '^step 30: loss' "$work/out" && ok "examples/train" || bad "examples/train" "$(cat "$work/out")"
"$build/examples/generate" "$work/run" "the king" >"$work/out" && grep -q '^the king' "$work/out" &&
    grep -q 'likeliest next token' "$work/out" && ok "examples/generate" || bad "examples/generate" "$(cat "$work/out")"
"$build/examples/generate" "$work/nowhere" 2>"$work/err"
[ $? = 1 ] && grep -q 'not a model folder' "$work/err" && ok "examples/generate without a model" ||
    bad "examples/generate without a model" "$(cat "$work/err")"
"$build/examples/train" "$work/text" "$work/run" 2>"$work/err"
[ $? = 1 ] && grep -q 'holds a run at step 30' "$work/err" && ok "examples/train over a run" ||
    bad "examples/train over a run" "$(cat "$work/err")"
finish
