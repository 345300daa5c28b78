#!/usr/bin/env bash
# The main job through the command line: train, evaluate, resume, the same bits.
. tests/cli/lib.sh
make_text "$work/text"

train() { "$minstrel" train --data "$work/text" $tiny "$@"; }

check "train" train --out "$work/a" --steps 60 --save-every 20
for file in config.json model.safetensors tokenizer.json tokenizer_config.json generation_config.json \
    training.json optimizer.safetensors metrics.jsonl checkpoints/step-000060/model.safetensors; do
    [ -s "$work/a/$file" ] || bad "run folder" "$file is missing"
done
ok "run folder"
[ "$(ls "$work/a/checkpoints" | wc -l)" = 2 ] && ok "two checkpoints are kept" || bad "keep" "$(ls "$work/a/checkpoints")"
first=$(head -1 "$work/a/metrics.jsonl" | sed 's/.*"loss":\([0-9.]*\).*/\1/')
last=$(sed -n 60p "$work/a/metrics.jsonl" | sed 's/.*"loss":\([0-9.]*\).*/\1/')
awk "BEGIN {exit !($last < 0.8 * $first)}" && ok "loss falls" || bad "loss falls" "$first to $last"

check "train again" train --out "$work/b" --steps 60 --save-every 0
cmp -s "$work/a/model.safetensors" "$work/b/model.safetensors" && ok "the same bits each run" || bad "same bits" "differ"
check "two threads" train --out "$work/c" --steps 60 --threads 2
cmp -s "$work/a/model.safetensors" "$work/c/model.safetensors" && ok "the same bits with two threads" ||
    bad "two threads" "differ"
check "recompute" train --out "$work/d" --steps 60 --recompute
cmp -s "$work/a/model.safetensors" "$work/d/model.safetensors" && ok "the same bits with --recompute" ||
    bad "recompute" "differ"

for preset in original gpt2 smollm mistral qwen2 qwen3 nano; do
    check "train $preset with dropout" train --out "$work/$preset" --steps 4 --preset $preset --dropout 0.1 --tokenizer chars
    check "generate with $preset" "$minstrel" generate --model "$work/$preset" --prompt "the king" -n 8 --quiet
done

"$minstrel" train --data - $tiny --out "$work/stdin" --steps 60 --quiet <"$work/text" >/dev/null 2>&1
cmp -s "$work/a/model.safetensors" "$work/stdin/model.safetensors" && ok "standard input" || bad "standard input" "differs"
mkdir "$work/folder" && cp "$work/text" "$work/folder/one.txt"
check "a folder" train --data "$work/folder" --out "$work/of-folder" --steps 2
printf '{"text":"the king said"}\n{"text":"unto the people and the land of the day of the house and the king"}\n' >"$work/x.jsonl"
check ".jsonl" "$minstrel" train --data "$work/x.jsonl" $tiny --context 8 --out "$work/of-jsonl" --steps 2
if command -v zstd >/dev/null; then
    zstd -q "$work/text" -o "$work/text.zst"
    "$minstrel" train --data "$work/text.zst" $tiny --out "$work/zst" --steps 60 --quiet >/dev/null 2>&1
    cmp -s "$work/a/model.safetensors" "$work/zst/model.safetensors" && ok ".zst" || bad ".zst" "differs"
else
    not_run ".zst" "zstd is missing"
fi
for schedule in constant linear cosine rsqrt wsd; do
    check "schedule $schedule" train --out "$work/s-$schedule" --steps 5 --schedule $schedule
done
check "fine-tune" train --init "$work/a" --out "$work/tuned" --steps 3
check "eval" "$minstrel" eval --model "$work/a" --data "$work/text"
"$minstrel" train --data "$work/text" $tiny --out "$work/json" --steps 2 --json 2>/dev/null |
    grep -q '"held_out_loss":[0-9]' && ok "train --json" || bad "train --json" "no loss"
"$minstrel" eval --model "$work/a" --data "$work/text" --json | grep -q '"bits_per_byte":[0-9]' &&
    ok "eval --json" || bad "eval --json" "no result"
"$minstrel" info --preset original --vocab 100 --width 64 --layers 2 --ffn 256 | grep -q 'parameters: 112,996' &&
    ok "112,996 parameters" || bad "parameters" "not 112,996"
"$minstrel" info --preset original --vocab 1000 --width 256 --layers 4 --ffn 1024 --heads 8 |
    grep -q 'parameters: 3,672,552' && ok "3,672,552 parameters" || bad "parameters" "not 3,672,552"
for command in "" train generate eval info bench; do
    "$minstrel" $command --help | grep -q Usage && ok "${command:-minstrel} --help" || bad "help" "$command"
done

# Ctrl-C leaves a checkpoint; a resume ends with the same bytes.
"$minstrel" train --data "$work/text" $tiny --out "$work/int" --steps 3000 >"$work/log" 2>&1 &
job=$!
while [ ! -s "$work/int/metrics.jsonl" ]; do sleep 0.02; done
kill -INT $job; wait $job
[ $? = 1 ] && grep -q 'continue with --resume' "$work/log" && [ -s "$work/int/model.safetensors" ] &&
    ok "Ctrl-C stops with a checkpoint" || bad "Ctrl-C" "$(tail -1 "$work/log")"
finish
