#!/usr/bin/env bash
# Tokenizers through the command line: train, encode, decode, and a model that is trained with one.
. tests/cli/lib.sh
make_text "$work/text"
t() { "$minstrel" tokenize "$@"; }
# is NAME EXPECTED COMMAND...    ok when it succeeds and prints this
is() {
    local name=$1 want=$2 got; shift 2
    got=$("$@" 2>"$work/log") || { bad "$name" "$(head -c 200 "$work/log")"; return; }
    [ "$got" = "$want" ] && ok "$name" || bad "$name" "\"$(printf %s "$got" | head -c 200)\", expected \"$want\""
}

mkdir "$work/bpe"
tokenizer=$work/bpe/tokenizer.json
check "train" t train --data "$work/text" --vocab 300 --out "$tokenizer"
[ -s "$tokenizer" ] && [ -s "$work/bpe/tokenizer_config.json" ] && ok "two files" || bad "two files" "$(ls "$work/bpe")"
grep -q '^vocabulary 300' "$work/log" && ok "train says how many" || bad "train says" "$(cat "$work/log")"
is "train --json" '{"vocab":280' sh -c "'$minstrel' tokenize train --data '$work/text' --vocab 280 --out '$work/b.json' --json | cut -d, -f1"
for threads in 1 2 3; do
    t train --data "$work/text" --vocab 300 --out "$work/again.json" --threads $threads --quiet >/dev/null
    cmp -s "$work/again.json" "$tokenizer" && ok "the same file with $threads threads" || bad "$threads threads" "differs"
done
t train --data - --vocab 300 --out "$work/again.json" <"$work/text" >/dev/null 2>&1
cmp -s "$work/again.json" "$tokenizer" && ok "train from standard input" || bad "train from standard input" "differs"
for pattern in gpt2 gpt4 llama3 qwen2 '[a-z]+'; do
    check "train --pattern $pattern" t train --data "$work/text" --vocab 280 --pattern "$pattern" --out "$work/p.json"
done
check "train --special" t train --data "$work/text" --vocab 280 --special '<end>' --special '<a b>' --out "$work/s.json"
is "special tokens come first" "0 1" t encode --model "$work/s.json" --text '<end><a b>'
check "train --min-frequency" t train --data "$work/text" --vocab 4000 --min-frequency 1000000 --out "$work/m.json"
is "no pair is that frequent" 257 sh -c "'$minstrel' tokenize train --data '$work/text' --min-frequency 1000000 --vocab 4000 \
    --out '$work/m.json' --json | sed 's/.*vocab\":\\([0-9]*\\).*/\\1/'"

# encode and decode
ids=$(t encode --model "$tokenizer" --text "the king said")
is "encode a folder" "$ids" t encode --model "$work/bpe" --text "the king said"
is "encode --json" "[$(echo "$ids" | tr ' ' ,)]" t encode --model "$tokenizer" --text "the king said" --json
is "encode standard input" "$ids" sh -c "printf 'the king said' | '$minstrel' tokenize encode --model '$tokenizer'"
printf 'the king said' >"$work/short"
is "encode --file" "$ids" t encode --model "$tokenizer" --file "$work/short"
is "encode --file -" "$ids" sh -c "'$minstrel' tokenize encode --model '$tokenizer' --file - <'$work/short'"
is "encode nothing" "" t encode --model "$tokenizer" --text ""
is "encode nothing --json" "[]" t encode --model "$tokenizer" --text "" --json
is "a special token" 0 t encode --model "$tokenizer" --text '<|endoftext|>'
[ "$(t encode --model "$tokenizer" --text '<|endoftext|>' --plain | wc -w)" -gt 1 ] && ok "--plain" || bad "--plain" "one token"
is "--names" "$(echo "$ids" | tr ' ' '\n')" sh -c "'$minstrel' tokenize encode --model '$tokenizer' --text 'the king said' --names | cut -f1"
is "names" "theĠkingĠsaid" sh -c "'$minstrel' tokenize encode --model '$tokenizer' --text 'the king said' --names | cut -f2 | tr -d '\n'"
is "--count" "tokens $(echo "$ids" | wc -w)  bytes 13 " sh -c "'$minstrel' tokenize encode --model '$tokenizer' --text 'the king said' --count |
    sed 's/ bytes a.*//'"
is "--count --json" "{\"tokens\":$(echo "$ids" | wc -w),\"bytes\":13" sh -c \
    "'$minstrel' tokenize encode --model '$tokenizer' --text 'the king said' --count --json | cut -d, -f1,2"
if command -v python3 >/dev/null; then
    for more in "" --count --names; do
        t encode --model "$tokenizer" --file "$work/short" --json $more | python3 -c 'import json, sys; json.load(sys.stdin)' 2>/dev/null &&
            ok "JSON of encode $more" || bad "JSON of encode $more" "$(t encode --model "$tokenizer" --file "$work/short" --json $more | head -c 100)"
    done
else
    not_run "JSON of encode" "python3 is missing"
fi

same() {
    cmp -s "$work/out" "$2" && ok "$1" || bad "$1" "differs"
}
t encode --model "$tokenizer" --file "$work/text" >"$work/ids"
t decode --model "$tokenizer" --file "$work/ids" >"$work/out"; same "decode" "$work/text"
t encode --model "$tokenizer" --file "$work/text" --json | t decode --model "$tokenizer" >"$work/out"; same "decode JSON" "$work/text"
t encode --model "$tokenizer" --file "$work/text" --binary >"$work/ids32"
t decode --model "$tokenizer" --file "$work/ids32" --binary >"$work/out"; same "--binary" "$work/text"
[ "$(wc -c <"$work/ids32")" = $((4 * $(wc -w <"$work/ids"))) ] && ok "four bytes an id" || bad "four bytes an id" "$(wc -c <"$work/ids32")"
head -c 20000 /dev/urandom >"$work/noise" && t encode --model "$tokenizer" --file "$work/noise" --plain | t decode --model "$tokenizer" >"$work/out"
same "any bytes there and back" "$work/noise"
is "decode nothing" "" sh -c "printf '' | '$minstrel' tokenize decode --model '$tokenizer'"

# bad input
refuses "no command" 2 "train, encode or decode" "$minstrel" tokenize
refuses "another command" 2 "encoed" "$minstrel" tokenize encoed
refuses "what is left over" 2 "stray" "$minstrel" tokenize encode stray
refuses "unknown option" 2 "--modle" "$minstrel" tokenize encode --modle x
refuses "no model" 2 "--model" "$minstrel" tokenize encode --text a
refuses "no data" 2 "--data" "$minstrel" tokenize train --out "$work/x.json"
refuses "no out" 2 "--out" "$minstrel" tokenize train --data "$work/text"
refuses "a model that is not there" 1 "nowhere" "$minstrel" tokenize encode --model "$work/nowhere" --text a
refuses "a file that is not there" 1 "nowhere" "$minstrel" tokenize encode --model "$tokenizer" --file "$work/nowhere"
refuses "data that is not there" 1 "nowhere" "$minstrel" tokenize train --data "$work/nowhere" --out "$work/x.json"
refuses "a vocabulary too small" 1 "expected 257" "$minstrel" tokenize train --data "$work/text" --vocab 256 --out "$work/x.json"
refuses "a number that is none" 2 "many" "$minstrel" tokenize train --data "$work/text" --vocab many --out "$work/x.json"
refuses "a pattern that is none" 1 "pattern" "$minstrel" tokenize train --data "$work/text" --pattern '(' --out "$work/x.json"
refuses "a special token twice" 1 "twice" "$minstrel" tokenize train --data "$work/text" --special a1 --special a1 --out "$work/x.json"
: >"$work/empty"
refuses "an empty text" 1 "empty" "$minstrel" tokenize train --data "$work/empty" --out "$work/x.json"
refuses "out where no folder is" 1 "cannot write" "$minstrel" tokenize train --data "$work/text" --out "$work/no/x.json"
[ ! -e "$work/x.json" ] && ok "nothing is written" || bad "nothing is written" "x.json is there"
decodes() { printf '%s' "$1" | t decode --model "$tokenizer"; }
for ids in "1 x" "-1" "1.5" "99999999999" '{"a":1}' "0x10"; do
    refuses "decode $ids" 1 "expected token ids" decodes "$ids"
done
refuses "decode an id out of range" 1 "expected 0 to 299" decodes "1 300"
cut() { printf '\1\0\0\0\2' | t decode --model "$tokenizer" --binary; }
refuses "--binary of five bytes" 1 "bytes" cut
printf '{"model":{"type":"Unigram"}}' >"$work/unigram.json"
refuses "another kind of tokenizer" 1 "Unigram" "$minstrel" tokenize encode --model "$work/unigram.json" --text a
head -c 1000 "$tokenizer" >"$work/cut.json"
refuses "a file that is cut off" 1 "JSON" "$minstrel" tokenize encode --model "$work/cut.json" --text a

# models
train() { "$minstrel" train --data "$work/text" $tiny "$@"; }
check "train a model with bpe:300" train --out "$work/run" --steps 40 --tokenizer bpe:300
[ "$(grep -o '"vocab_size":[^,]*' "$work/run/config.json" | tr -dc 0-9)" = 300 ] && ok "of 300 tokens" ||
    bad "of 300 tokens" "$(grep vocab_size "$work/run/config.json")"
is "the tokenizer of a model" "$(t encode --model "$tokenizer" --text "the king")" t encode --model "$work/run" --text "the king"
check "generate" "$minstrel" generate --model "$work/run" --prompt "the king" -n 20 --quiet
"$minstrel" generate --model "$work/run" --prompt "the king" -n 20 --temperature 0 --quiet >"$work/one" 2>/dev/null
"$minstrel" generate --model "$work/run" --prompt "the king" -n 20 --temperature 0 --quiet >"$work/two" 2>/dev/null
[ -s "$work/one" ] && cmp -s "$work/one" "$work/two" && ok "the same text twice" || bad "the same text twice" "differs"
check "train a model with a tokenizer.json" train --out "$work/run2" --steps 2 --tokenizer "$tokenizer"
check "train again with bpe:300" train --out "$work/run3" --steps 40 --tokenizer bpe:300
cmp -s "$work/run/model.safetensors" "$work/run3/model.safetensors" && ok "the same bits each run" || bad "the same bits" "differ"
check "eval" "$minstrel" eval --model "$work/run" --data "$work/text"
finish
