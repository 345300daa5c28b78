#!/usr/bin/env bash
# SIGKILL at 50 random moments: resuming ends with the same bytes as one uninterrupted run.
. tests/cli/lib.sh
make_text "$work/text"
options="--data $work/text $tiny --dropout 0.1 --accumulate 2 --steps 300 --save-every 7 --quiet"

train() { "$minstrel" train $options "$@"; }

train --out "$work/whole" >/dev/null 2>&1 || bad "uninterrupted run" "failed"
start=$(date +%s%N); train --out "$work/timed" >/dev/null 2>&1; took=$((($(date +%s%N) - start) / 1000000))
RANDOM=11
kills=0 tries=0
while [ "$kills" -lt 50 ] && [ $((tries += 1)) -le 200 ]; do
    # Runs finish only when enough kills were survived: a fresh run starts when one came through.
    [ -d "$work/run" ] && resume=--resume || resume=
    "$minstrel" train $options --out "$work/run" $resume >/dev/null 2>&1 &   # no shell in between
    job=$!
    sleep "$(awk "BEGIN {printf \"%.3f\", $RANDOM / 32768 * $took / 4000}")"
    kill -KILL $job 2>/dev/null && kills=$((kills + 1))
    wait $job 2>/dev/null
    if [ -d "$work/run" ] && ! "$minstrel" info --model "$work/run" >/dev/null 2>"$work/log"; then
        [ -e "$work/run/training.json" ] && bad "after kill $kills the run opens" "$(cat "$work/log")"
    fi
    if [ -s "$work/run/model.safetensors" ] && cmp -s "$work/run/model.safetensors" "$work/whole/model.safetensors"; then
        rm -rf "$work/run"
    fi
done
[ "$kills" -eq 50 ] || bad "kills" "only $kills in $tries tries"
[ -d "$work/run" ] && resume=--resume || resume=
train --out "$work/run" $resume >/dev/null 2>&1
cmp -s "$work/run/model.safetensors" "$work/whole/model.safetensors" &&
    ok "the same bytes after $kills kills" || bad "kills" "model.safetensors differs after $kills kills"
cmp -s "$work/run/optimizer.safetensors" "$work/whole/optimizer.safetensors" &&
    ok "the same moments after $kills kills" || bad "kills" "optimizer.safetensors differs"
[ "$(ls -A "$work/run/checkpoints" | wc -l)" = 2 ] && ok "no left-overs" || bad "left-overs" "$(ls -A "$work/run/checkpoints")"
finish
