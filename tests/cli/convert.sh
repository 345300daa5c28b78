#!/usr/bin/env bash
# Models between folders and GGUF files through the command line.
. tests/cli/lib.sh
make_text "$work/text"
m=$minstrel

"$m" train --data "$work/text" $tiny --preset llama --tokenizer bpe:300 --out "$work/run" --steps 30 --quiet >/dev/null ||
    bad "train" "failed"
check "to GGUF" "$m" convert --model "$work/run" --out "$work/run.gguf"
check "and back" "$m" convert --model "$work/run.gguf" --out "$work/back"
cmp -s "$work/run/model.safetensors" "$work/back/model.safetensors" && ok "the same weights" ||
    bad "the same weights" "differ"

text() { "$m" generate --model "$1" --prompt "the king" -n 20 --temperature 0 --quiet; }
ids() { "$m" tokenize encode --model "$1" --text "the king's  people, 123 naïve"; }
for model in run.gguf back; do
    [ "$(text "$work/$model")" = "$(text "$work/run")" ] && ok "the same text from $model" ||
        bad "the same text from $model" "$(text "$work/$model")"
    [ "$(ids "$work/$model")" = "$(ids "$work/run")" ] && ok "the same tokens from $model" ||
        bad "the same tokens from $model" "$(ids "$work/$model")"
done
for type in f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q6_k; do
    check "to $type" "$m" convert --model "$work/run" --out "$work/$type.gguf" --type $type
    check "generate from $type" text "$work/$type.gguf"
done
for type in f16 bf16; do
    check "a folder of $type" "$m" convert --model "$work/run" --out "$work/$type" --type $type
    check "generate from a folder of $type" text "$work/$type"
done
check "info of a GGUF file" sh -c "'$m' info --model '$work/q8_0.gguf' | grep -q 'embed .*q8_0'"
check "eval of a GGUF file" "$m" eval --model "$work/q8_0.gguf" --data "$work/text"
check "eval --half" sh -c "'$m' eval --model '$work/run' --data '$work/text' --half --json | grep -q perplexity"
check "fine-tune a GGUF file" "$m" train --init "$work/q8_0.gguf" --data "$work/text" --out "$work/tuned" --steps 3 \
    --batch 2 --eval-every 0 --sample-every 0
check "generate from the tuned model" text "$work/tuned"
for kind in bytes chars; do
    "$m" train --data "$work/text" $tiny --preset gpt2 --tokenizer $kind --out "$work/$kind" --steps 2 --quiet >/dev/null
    check "$kind to GGUF" "$m" convert --model "$work/$kind" --out "$work/$kind.gguf"
    [ "$(text "$work/$kind.gguf")" = "$(text "$work/$kind")" ] && ok "the same text with $kind" ||
        bad "the same text with $kind" "$(text "$work/$kind.gguf")"
done

refuses "no model" 2 "--model" "$m" convert --out "$work/x.gguf"
refuses "no target" 2 "--out" "$m" convert --model "$work/run"
refuses "an unknown type" 1 "q9" "$m" convert --model "$work/run" --out "$work/x.gguf" --type q9
refuses "a type that is only read" 1 "q2_k" "$m" convert --model "$work/run" --out "$work/x.gguf" --type q2_k
refuses "a type that folders lack" 1 "q8_0" "$m" convert --model "$work/run" --out "$work/x" --type q8_0
refuses "a model that is not there" 1 "nowhere" "$m" convert --model "$work/nowhere" --out "$work/x.gguf"
head -c 1000 "$work/run.gguf" >"$work/cut.gguf"
refuses "a file that is cut off" 1 "cut.gguf" "$m" generate --model "$work/cut.gguf" --prompt x
echo "no model" >"$work/no.gguf"
refuses "a file that is none" 1 "no.gguf" "$m" info --model "$work/no.gguf"
finish
