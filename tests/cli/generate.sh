#!/usr/bin/env bash
# The command generate: where prompts come from, what goes where, what is refused, and how it ends.
# MINSTREL: the program, ./minstrel unless given.
set -u
cd "$(dirname "$0")/../.." || exit 1
program=$(realpath "${MINSTREL:-./minstrel}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
wrong=0

# ok NAME COMMAND...: a line for a command that has to succeed.
ok() {
    local name=$1; shift
    if "$@"; then echo "ok generate: $name"; else echo "not ok generate: $name"; wrong=1; fi
}

generate() { "$program" generate --model run --quiet "$@"; }

# refused STATUS WORDS OPTIONS...: that status, nothing on stdout, one line on stderr with the words.
refused() {
    local status=$1 words=$2; shift 2
    "$program" generate "$@" >out 2>err </dev/null
    local got=$?
    [ "$got" = "$status" ] && [ ! -s out ] && [ "$(wc -l <err)" = 1 ] && grep -qe "$words" err && return 0
    echo "generate $*: status $got, expected $status; stderr: $(cat err)"
    return 1
}

for i in $(seq 400); do printf 'the cat sat on the mat, the dog ate the caf\303\251 %d.\n' $((i % 7)); done >text
train() { "$program" train --data text --quiet --layers 2 --width 32 --heads 2 --context 64 --batch 4 "$@" >log 2>&1; }
train --out run --tokenizer chars --steps 120 || { cat log; echo "not ok generate: a run to work with"; exit 1; }
train --out raw --tokenizer bytes --steps 1 || { cat log; echo "not ok generate: a second run"; exit 1; }

# -- what comes out ------------------------------------------------------------------------------

# gives FILE OPTIONS...: stdout equals the file.
gives() { local file=$1; shift; generate "$@" | cmp - "$file"; }
gives_other() { local file=$1; shift; ! generate "$@" | cmp -s - "$file"; }

generate -p 'the cat' -n 30 -t 0 >greedy
generate -p 'the cat' -n 30 >drawn
ok "30 characters and a newline" test "$(wc -m <greedy)" = 31
ok "greedy twice the same" gives greedy -p 'the cat' -n 30 -t 0
ok "top-k 1 is greedy" gives greedy -p 'the cat' -n 30 --top-k 1
ok "the same seed, the same text" gives drawn -p 'the cat' -n 30
ok "another seed, another text" gives_other drawn -p 'the cat' -n 30 --seed 2
ok "one thread, the same text" gives drawn -p 'the cat' -n 30 --threads 1
(printf 'the cat'; cat greedy) >echoed
ok "--echo" gives echoed -p 'the cat' -n 30 -t 0 --echo
printf 'the cat\n' >prompt
ok "a prompt from a file" gives greedy -f prompt -n 30 -t 0
ok "a prompt from standard input" gives greedy -p - -n 30 -t 0 <prompt
generate -p 'the cat' -n 30 -t 0 --cache-type f16 >f16
ok "a cache of f16" test "$(wc -m <f16)" = 31
generate -p 'the cat' -n 30 --beams 3 --cache-type bf16 >bf16
ok "beams over a cache of bf16" test "$(wc -m <bf16)" = 31
ok "an unknown type of cache" refused 1 'expected f32, f16, bf16 or q8_0' --model run -p a --cache-type q4_0
ok "heads that are no whole blocks" refused 1 'multiple of its block' --model run -p a --cache-type q8_0
generate -p 'the cat' -n 30 --beams 3 >beams
ok "beams" test "$(wc -m <beams)" = 31
ok "beams twice the same" gives beams -p 'the cat' -n 30 --beams 3 --seed 9
echo >newline
ok "no tokens" gives newline -p 'the cat' -n 0

generate --prompts - -n 40 --batch 3 >many <<'EOF'
the cat
a
the dog ate the
on
EOF
: >alone
n=0
for line in 'the cat' 'a' 'the dog ate the' 'on'; do
    [ $((n++)) -gt 0 ] && echo
    echo "==> $line <=="
    generate -p "$line" -n 40
done >alone
ok "many prompts, each as alone, in order" cmp many alone

"$program" generate --model run -p 'the cat' -n 5 >out 2>err
ok "speeds on standard error" grep -q 'tokens/s' err
generate -p 'the cat' -n 5 >out 2>err
ok "--quiet" test ! -s err

if command -v python3 >/dev/null; then
    printf 'the cat\na\non\n' >lines
    generate --prompts lines -n 20 --batch 2 --json >json
    ok "--json" python3 - <<'EOF'
import json
rows = [json.loads(line) for line in open("json", encoding="utf-8")]
assert [row["prompt"] for row in rows] == ["the cat", "a", "on"]
for row in rows:
    assert row["tokens"] == len(row["ids"]) == len(row["text"]) == 20
    assert row["stop"] == "length" and row["log_probability"] < 0
    assert row["prompt_tokens"] == len(row["prompt"])
EOF
    "$program" generate --model raw -q --prompts lines -n 60 -t 3 --json >json
    ok "--json of bytes that are no text" python3 -c '
import json
for line in open("json", encoding="utf-8", errors="strict"): json.loads(line)'
    "$program" generate --model raw -q -p the -n 60 -t 3 >raw.txt
    ok "text is UTF-8 whatever the model writes" python3 -c 'open("raw.txt", encoding="utf-8").read()'
else
    echo "not run generate --json: python3 is missing"
fi

if script --version 2>/dev/null | grep -q util-linux; then
    escape=$(printf '\033[31mthe')
    script -qec "'$program' generate --model raw -q -n 3 --echo -p '$escape'" /dev/null >shown
    ok "no escape sequence reaches a terminal" sh -c "grep -q '\[31mthe' shown && ! grep -q '$(printf '\033')' shown"
else
    echo "not run generate on a terminal: util-linux's script is missing"
fi

# -- what is refused -----------------------------------------------------------------------------

printf 'the\0cat' >nul
: >empty
long=$(printf 'the cat sat on the mat, the cat sat on the mat, the cat sat on the mat')
while IFS='|' read -r status words options; do
    eval "ok \"refuses $options\" refused $status '$words' $options"
done <<EOF
2|--model|-p a
2|a prompt is missing|--model run
2|expected one of|--model run -p a -f prompt
2|numeric|--model run -p a -n x
2|unknown option|--model run -p a --nonsense
2|what is|--model run -p a b
1|temperature|--model run -p a -t -0.5
1|temperature|--model run -p a -t nan
1|top-k|--model run -p a --top-k -1
1|top-p|--model run -p a --top-p 0
1|top-p|--model run -p a --top-p 1.5
1|min-p|--model run -p a --min-p 2
1|beams|--model run -p a --beams 0
1|length penalty|--model run -p a --length-penalty inf
1|batch|--model run -p a --batch 0
1|tokens|--model run -p a -n -1
1|empty|--model run -p ''
1|empty|--model run -f empty
1|no prompts|--model run --prompts empty
1|NUL|--model run -f nul
1|No such file|--model run -f missing
1|no token|--model run -p 'Q'
1|Is a directory|--model run -f .
1|context|--model run -p '$long'
1|missing|--model missing -p a
EOF
ok "a bad prompt among others is named" refused 1 'prompt 2' --model run --prompts <(printf 'a\nQ\n')

# -- how it ends ---------------------------------------------------------------------------------

generate -p 'the cat' -n 30 2>err | true
status=${PIPESTATUS[0]}
ok "a closed pipe is one line" test "$status $(wc -l <err)" = "1 1"
generate -p 'the cat' -n 30 >&- 2>err
ok "a closed standard output is one line" test "$? $(wc -l <err)" = "1 1"
if [ -e /dev/full ]; then
    generate -p 'the cat' -n 30 >/dev/full 2>err
    ok "a full disk is one line" test "$? $(wc -l <err)" = "1 1"
else
    echo "not run generate on a full disk: there is no /dev/full"
fi

# Thousands of prompts, stopped after the first answer: the text so far stays whole.
for i in $(seq 4000); do echo "the cat"; done >lines
"$program" generate --model run -q --prompts lines -n 50 >out 2>err &
pid=$!
for i in $(seq 200); do [ -s out ] && break; sleep 0.05; done
kill -INT $pid
wait $pid
ok "Ctrl-C ends it with status 1 and one line" test "$? $(wc -l <err)" = "1 1"
ok "... after whole lines" test -z "$(tail -c 1 out | tr -d '\n')"
ok "... and before the end" test "$(grep -c '^==>' out)" -lt 4000

exit $wrong
