#!/usr/bin/env bash
# Runs each fuzz target of tests/fuzz for some seconds, from small files that ./minstrel makes.
# Usage: tools/fuzz.sh SECONDS [TARGET...]   Findings stay in build/fuzz/findings; status 1 if there are any.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:?usage: tools/fuzz.sh SECONDS [safetensors | tokenizer | config | gguf]...}
shift
targets=("$@")
[ $# -gt 0 ] || targets=(safetensors tokenizer config gguf)
minstrel=${MINSTREL:-$PWD/minstrel}
findings=$PWD/build/fuzz/findings
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
failures=0

command -v clang >/dev/null || { echo "not run fuzz: clang is missing"; exit 1; }
{ [ -x "$minstrel" ] || make minstrel; } >"$TMPDIR/log" 2>&1 && make fuzz >>"$TMPDIR/log" 2>&1 ||
    { tail -n 20 "$TMPDIR/log"; echo "not ok fuzz: the build failed"; exit 1; }

# Seeds: models of 8 columns, each file into the corpus of its target.
corpus=$TMPDIR/corpus
mkdir -p "$corpus"/{safetensors,tokenizer,config,gguf} "$findings"
awk 'BEGIN {for (i = 0; i < 400; i++) printf "the %d king%s", i % 7, i % 5 ? " " : "\n"}' >"$TMPDIR/text"
tiny="--layers 1 --width 8 --heads 2 --kv-heads 2 --ffn 8 --context 8 --batch 2 --eval-every 0 --sample-every 0 --steps 1 --threads 1"
for preset in original gpt2 llama mistral qwen2 qwen3 nano; do
    for kind in bytes chars bpe:300; do
        out=$TMPDIR/$preset-$kind
        "$minstrel" train --data "$TMPDIR/text" $tiny --preset $preset --tokenizer $kind --out "$out" --quiet >/dev/null 2>&1 ||
            { echo "not ok fuzz: no seed of $preset with $kind"; exit 1; }
        cp "$out/config.json" "$corpus/config/$preset-$kind"
        cat "$out/tokenizer.json" <(printf '\0') "$out/tokenizer_config.json" >"$corpus/tokenizer/$preset-$kind"
        [ $kind = chars ] || continue
        cp "$out/model.safetensors" "$corpus/safetensors/$preset"
        "$minstrel" convert --model "$out" --out "$corpus/gguf/$preset.gguf" >/dev/null 2>&1
    done
done
"$minstrel" convert --model "$TMPDIR/llama-bpe:300" --out "$corpus/gguf/bpe.gguf" >/dev/null 2>&1
cp tests/fuzz/seeds/tokenizer/* "$corpus/tokenizer/" 2>/dev/null
# The words of the readers, as libFuzzer's dictionary has them.
grep -ohE '"[A-Za-z0-9_.|<>]+"' src/text/*.c src/model/config*.c src/formats/*.c src/model/gguf_names.c src/model/arch/*.c |
    sort -u | awk '{print "w" NR "=" $0}' >"$TMPDIR/words"

for target in "${targets[@]}"; do
    log=$TMPDIR/$target.log
    nice -n 10 build/fuzz/tests/fuzz/fuzz_$target -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=4096 \
        -dict="$TMPDIR/words" -artifact_prefix="$findings/$target-" -print_final_stats=1 "$corpus/$target" >"$log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    cover=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
    if [ $status -eq 0 ]; then
        echo "ok fuzz $target: ${runs:-0} runs, $cover"
    else
        grep -aE 'SUMMARY|ERROR|runtime error|Test unit written' "$log" | head -n 5
        grep -aE '^ +#[0-9]+ .* in ' "$log" | head -n 12
        echo "not ok fuzz $target: status $status after ${runs:-?} runs, $cover; see $findings"
        failures=$((failures + 1))
    fi
done
[ "$failures" -eq 0 ]
