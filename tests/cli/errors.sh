#!/usr/bin/env bash
# Bad input: one clear line, status 1 or 2, nothing written over.
. tests/cli/lib.sh
make_text "$work/text"
m=$minstrel

"$m" train --data "$work/text" $tiny --out "$work/run" --steps 4 --quiet >/dev/null 2>&1 || bad "a run" "failed"
before=$(cksum "$work/run/model.safetensors")

refuses "unknown command" 2 "unknown" "$m" trane
refuses "unknown option" 2 "--stepps" "$m" train --stepps 3
refuses "bad number" 2 "many" "$m" train --data "$work/text" --out "$work/x" --steps many
refuses "steps 0" 2 "--steps" "$m" train --data "$work/text" --out "$work/x" --steps 0
refuses "no data" 2 "--data" "$m" train --out "$work/x"
refuses "no out" 2 "--out" "$m" train --data "$work/text"
refuses "what is left over" 2 "stray" "$m" train --data "$work/text" --out "$work/x" stray
refuses "missing file" 1 "nowhere" "$m" train --data "$work/nowhere" --out "$work/x"
: >"$work/empty"
refuses "empty text" 1 "empty" "$m" train --data "$work/empty" --out "$work/x"
printf 'short' >"$work/short"
refuses "shorter than the context" 1 "context" "$m" train --data "$work/short" --out "$work/x"
refuses "heads that do not divide" 1 "kv_heads" "$m" train --data "$work/text" --out "$work/x" --heads 6 --kv-heads 4
refuses "unknown preset" 1 "preset" "$m" train --data "$work/text" --out "$work/x" --preset bert
refuses "unknown schedule" 1 "schedule" "$m" train --data "$work/text" --out "$work/x" --schedule step
refuses "dropout 1" 1 "dropout" "$m" train --data "$work/text" --out "$work/x" --dropout 1
refuses "unknown back end" 1 "back" "$m" train --data "$work/text" --out "$work/x" --backend abacus
refuses "dtype" 1 "expected f32 or bf16" "$m" train --data "$work/text" --out "$work/x" --dtype f16
refuses "bpe" 1 "vocabulary: expected 257" "$m" train --data "$work/text" --out "$work/x" --tokenizer bpe:100
printf "caf\\351 au lait, a text that is not UTF-8\\n" >"$work/latin"
refuses "invalid UTF-8 for chars" 1 "UTF-8" "$m" train --data "$work/latin" --out "$work/x" --tokenizer chars
refuses "a run is there" 1 "--resume" "$m" train --data "$work/text" $tiny --out "$work/run" --steps 4
refuses "no run to resume" 1 "resume" "$m" train --out "$work/none" --resume
refuses "a resume with another batch" 1 "batch" "$m" train --out "$work/run" --resume --batch 7
refuses "a resume with another shape" 1 "layers" "$m" train --out "$work/run" --resume --layers 3
printf '{"text": 5}\n' >"$work/bad.jsonl"
refuses "jsonl without text" 1 "line 1" "$m" train --data "$work/bad.jsonl" --out "$work/x"
printf 'not zstd' >"$work/bad.zst"
refuses "bad zst" 1 "zstd" "$m" train --data "$work/bad.zst" --out "$work/x"
refuses "eval without a model" 1 "nowhere" "$m" eval --model "$work/nowhere" --data "$work/text"
refuses "eval without text" 1 "nowhere" "$m" eval --model "$work/run" --data "$work/nowhere"
refuses "context beyond the model" 1 "context" "$m" eval --model "$work/run" --data "$work/text" --context 999
refuses "prompt longer than the context" 1 "context" "$m" generate --model "$work/run" --prompt "$(head -c 500 "$work/text")"

# A model file of a stranger, cut off and damaged.
broken() { rm -rf "$work/broken"; cp -r "$work/run" "$work/broken"; }
size=$(stat -c %s "$work/run/model.safetensors" 2>/dev/null || stat -f %z "$work/run/model.safetensors")
for keep in 0 7 8 100 $((size / 2)) $((size - 1)); do
    broken; rm "$work/broken/model.safetensors"
    head -c "$keep" "$work/run/model.safetensors" >"$work/broken/model.safetensors"
    refuses "model cut to $keep bytes" 1 "model.safetensors" "$m" generate --model "$work/broken" --prompt a
done
broken; rm "$work/broken/model.safetensors"
{ printf '\377\377\377\377\377\377\377\377'; tail -c +9 "$work/run/model.safetensors"; } >"$work/broken/model.safetensors"
refuses "a header of 2^64 bytes" 1 "header" "$m" generate --model "$work/broken" --prompt a
broken; rm "$work/broken/config.json"; sed 's/"hidden_size":\t*[0-9]*/"hidden_size": 999999999/' "$work/run/config.json" >"$work/broken/config.json"
refuses "an absurd width" 1 "width" "$m" generate --model "$work/broken" --prompt a
broken; rm "$work/broken/config.json"; printf '{"model_type":' >"$work/broken/config.json"
refuses "broken config.json" 1 "JSON" "$m" generate --model "$work/broken" --prompt a
broken; rm "$work/broken/tokenizer.json"; printf '{}' >"$work/broken/tokenizer.json"
refuses "broken tokenizer.json" 1 "tokenizer.json" "$m" generate --model "$work/broken" --prompt a
broken; rm "$work/broken/training.json" "$work/broken"/checkpoints/*/training.json
printf '[]' >"$work/broken/checkpoints/step-000004/training.json"
refuses "broken training.json" 1 "training.json" "$m" train --out "$work/broken" --resume

# A folder that cannot be written, and a disk that is full: the last checkpoint stays.
refuses "out below a file" 1 "folder" "$m" train --data "$work/text" $tiny --out "$work/text/run" --steps 4
cp -r "$work/run" "$work/full"
(ulimit -f 40; trap '' XFSZ; refuses "a full disk" 1 "cannot write" "$m" train --out "$work/full" --resume --steps 40 --save-every 5)
[ "$(cksum <"$work/full/model.safetensors")" = "$(cksum <"$work/run/model.safetensors")" ] &&
    ok "the last checkpoint survives a full disk" || bad "full disk" "the model changed"
check "and the run goes on" "$m" train --out "$work/full" --resume --steps 6
[ "$before" = "$(cksum "$work/run/model.safetensors")" ] && ok "nothing was written over" || bad "written over" "the run"
finish
