#!/usr/bin/env bash
# The command chat: lines from a pipe and from a terminal, its commands, what is refused, how it ends.
. tests/cli/lib.sh
export XDG_STATE_HOME=$work/state

# A model that has learnt to answer, and one that goes on for long.
for i in $(seq 300); do
    printf 'User: hello %d\nAssistant: good day to you.\nUser: bye\nAssistant: farewell, friend.\n' $((i % 5))
done >"$work/talks"
make_text "$work/text"
train() { "$minstrel" train --quiet --layers 2 --width 32 --heads 2 --batch 4 --eval-every 0 --sample-every 0 \
    --threads 1 "$@" >"$work/log" 2>&1 || { cat "$work/log"; bad "a model to talk with" "failed"; finish; }; }
train --data "$work/talks" --context 160 --steps 200 --lr 3e-3 --out "$work/run"
train --data "$work/text" --context 64 --steps 20 --out "$work/short"
cp -r "$work/short" "$work/long"
rm "$work/long/config.json"
sed 's/"max_position_embeddings":[^,]*/"max_position_embeddings": 60000/' "$work/short/config.json" >"$work/long/config.json"

# chat MODEL LINES OPTIONS...: out, err and status of a conversation; LINES as for printf.
chat() {
    local model=$1 lines=$2; shift 2
    printf "$lines" | "$minstrel" chat --model "$work/$model" "$@" >"$work/out" 2>"$work/err"
    status=$?
}
# is NAME TEXT STATUS / says NAME WORDS: of the last conversation.
is() {
    if [ "$(cat "$work/out")" = "$(printf "$2")" ] && [ "$status" = "$3" ]; then ok "$1"
    else bad "$1" "status $status, expected $3; out: $(head -c 300 "$work/out"); err: $(head -c 300 "$work/err")"; fi
}
says() { if grep -qF -- "$2" "$work/err"; then ok "$1"; else bad "$1" "$(head -c 300 "$work/err")"; fi; }

# -- replies -------------------------------------------------------------------------------------

chat run 'hello 3\nbye\nhello 1' -t 0
is "chat: a reply a line" 'good day to you.\nfarewell, friend.\ngood day to you.' 0
if [ ! -s "$work/err" ]; then ok "chat: nothing else is said"; else bad "chat: nothing else is said" "$(cat "$work/err")"; fi
chat run 'hello 3\r\n\n  \n' -t 0
is "chat: line ends of DOS, and empty lines" 'good day to you.' 0
chat run '' -t 0
is "chat: no lines" '' 0
chat run 'hello\\\n 3\nbye\\' -t 0
if [ "$status" = 0 ] && [ "$(wc -l <"$work/out")" -ge 2 ]; then ok "chat: lines that go on"; else bad "chat: lines that go on" "$(cat "$work/err")"; fi
chat run 'hello 3\n' -t 0 -n 4
is "chat: --max-tokens" 'goo' 0
chat run 'hello 3\nhello 3\n' -t 3 --seed 5 -n 30; mv "$work/out" "$work/first"
chat run 'hello 3\nhello 3\n' -t 3 --seed 5 -n 30 --threads 1
check "chat: the same seed, the same words" cmp "$work/first" "$work/out"
chat run 'hello 3\nhello 3\n' -t 3 --seed 6 -n 30
if cmp -s "$work/first" "$work/out"; then bad "chat: another seed, other words" "the same"; else ok "chat: another seed, other words"; fi

chat run 'hello 3\nbye\n/retry\n' -t 0 --json
if command -v python3 >/dev/null; then
    check "chat: --json" python3 - "$work/out" <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
assert [row["message"] for row in rows] == ["hello 3", "bye", "bye"]
assert [row["text"].strip() for row in rows] == ["good day to you.", "farewell, friend.", "farewell, friend."]
assert all(row["stop"] == "eos" and row["tokens"] > 10 and row["log_probability"] < 0 for row in rows)
assert rows[0]["reused_tokens"] == 0 and rows[1]["reused_tokens"] >= rows[0]["prompt_tokens"]
assert rows[2]["reused_tokens"] == rows[2]["prompt_tokens"] - 1
PYTHON
else
    not_run "chat: --json" "python3 is missing"
fi

chat run 'hello 1\nbye\nhello 2\nbye\nhello 3\nbye\nhello 4\nbye\n/stats\n' -t 0
says "chat: a full context forgets" "does not see the oldest"
says "chat: ... and counts it" "out of the context"
if [ "$(wc -l <"$work/out")" = 8 ]; then ok "chat: ... and goes on"; else bad "chat: ... and goes on" "$(cat "$work/out")"; fi

# -- commands ------------------------------------------------------------------------------------

chat run '/help\n'
says "chat: /help" "/retry"
chat run 'hello 3\n/stats\n' -t 0
says "chat: /stats" "template plain; 1 turns"
chat run "hello 3\nbye\n/undo\n/save $work/saved\n" -t 0 --system 'be kind'
is "chat: /undo" 'good day to you.\nfarewell, friend.' 0
if command -v python3 >/dev/null; then
    check "chat: /save" python3 - "$work/saved" <<'PYTHON'
import json, sys
m = json.load(open(sys.argv[1], encoding="utf-8"))["messages"]
assert [x["role"] for x in m] == ["system", "user", "assistant"], m
assert m[0]["content"] == "be kind" and m[1]["content"] == "hello 3" and m[2]["content"].strip() == "good day to you."
PYTHON
else
    not_run "chat: /save" "python3 is missing"
fi
chat run "hello 3\n/system\n/clear\n/save $work/saved\n" -t 0 --system 'be kind'
if [ "$(tr -d ' \t\n' <"$work/saved")" = '{"messages":[]}' ]; then ok "chat: /clear and /system"; else bad "chat: /clear and /system" "$(cat "$work/saved")"; fi
chat run '/quit\nhello 3\n' -t 0
is "chat: /quit" '' 0
chat run ' /quit\n/quit\n' -t 0 -q -n 3
if [ "$status" = 0 ] && [ -s "$work/out" ]; then ok "chat: a blank in front makes it a message"; else bad "chat: a blank in front makes it a message" "$(cat "$work/err")"; fi

# -- what is refused: one line, and the conversation goes on ---------------------------------------

while IFS='|' read -r line words; do
    chat run "$line\nhello 3\n" -t 0
    is "chat: goes on behind $line" 'good day to you.' 1
    says "chat: refuses $line" "$words"
done <<'LINES'
/nonsense|"/nonsense" is unknown
/|unknown
/save|FILE is missing
/save /nowhere/at/all|No such file
/undo|no turn
/retry|no reply
/clear now|what is "now"
a\377|UTF-8
a\000b|NUL
LINES
chat run "$(head -c 300 "$work/text" | tr '\n' ' ')\nhello 3\n" -t 0
is "chat: goes on behind a message that is too long" 'good day to you.' 1
says "chat: refuses a message that is too long" "context of 160"

r() { refuses "chat: $1" "$2" "$3" "$minstrel" chat "${@:4}" </dev/null; }
r "no model" 2 "--model"
r "missing model" 1 "nowhere" --model "$work/nowhere"
r "what is left over" 2 "stray" --model "$work/run" stray
r "bad number" 2 "many" --model "$work/run" -n many
r "negative length" 1 "tokens" --model "$work/run" -n -1
r "temperature" 1 "temperature" --model "$work/run" -t -1
r "top-p" 1 "top-p" --model "$work/run" --top-p 0
r "context beyond the model" 1 "context" --model "$work/run" --context 161
r "unknown template" 1 "nonsense" --model "$work/run" --template nonsense
r "a template without a system prompt" 1 "system" --model "$work/run" --template mistral-v0.1 --system x
train --data "$work/text" --context 64 --steps 1 --tokenizer chars --out "$work/chars"
chat chars 'the king\n'
is "chat: a character without a token" '' 1

# -- how it ends ---------------------------------------------------------------------------------

printf 'hello 3\n' | "$minstrel" chat --model "$work/run" 2>"$work/err" >&-
if [ "$? $(wc -l <"$work/err")" = "1 1" ]; then ok "chat: a closed standard output is one line"; else bad "chat: a closed standard output" "$(cat "$work/err")"; fi

mkfifo "$work/lines"
"$minstrel" chat --model "$work/long" -t 0 -q <"$work/lines" >"$work/out" 2>"$work/err" &
pid=$!
exec 9>"$work/lines"
echo "the king" >&9
for i in $(seq 200); do [ -s "$work/out" ] && break; sleep 0.05; done
kill -INT $pid
wait $pid
status=$?
exec 9>&-
if [ "$status $(wc -l <"$work/err")" = "1 1" ] && grep -q stopped "$work/err" && [ -z "$(tail -c 1 "$work/out" | tr -d '\n')" ]; then
    ok "chat: Ctrl-C without a terminal ends it with one line"
else
    bad "chat: Ctrl-C without a terminal" "status $status: $(cat "$work/err")"
fi

# What a terminal shows of these keys, one group after the other.
keys() {
    local model=$1; shift
    { sleep 1; for group in "$@"; do printf "$group"; sleep 1; done; } |
        TERM=xterm SHELL=/bin/sh script -qec "exec '$minstrel' chat --model '$work/$model' -t 0" /dev/null >"$work/out" 2>&1
    status=$?
    tr -d '\r' <"$work/out" >"$work/err"
}
if script --version 2>/dev/null | grep -q util-linux; then
    keys run 'hello 3\n' '/nonsense\n' '\004'
    says "chat: on a terminal" "good day to you."
    says "chat: ... with a greeting" "/help lists commands"
    if [ "$status" = 0 ]; then ok "chat: Ctrl-D leaves with status 0"; else bad "chat: Ctrl-D leaves" "$status"; fi
    if grep -q 'hello' "$XDG_STATE_HOME/minstrel/history" 2>/dev/null; then ok "chat: lines are remembered"; else bad "chat: lines are remembered" "no history"; fi
    keys long 'the king\n' '\003' '/stats\n' '\003' '/quit\n'
    says "chat: Ctrl-C stops the reply" "what is shown counts"
    says "chat: ... and not the program" "1 turns"
    says "chat: Ctrl-C at the prompt says how to leave" "Ctrl-D or /quit"
    if [ "$status" = 0 ]; then ok "chat: /quit leaves with status 0"; else bad "chat: /quit leaves" "$status"; fi
    XDG_STATE_HOME=/dev/null/state keys run '/quit\n'
    if [ "$status" = 0 ] && ! grep -q '/dev/null' "$work/err"; then ok "chat: without a place for the history"; else bad "chat: without a place for the history" "$(cat "$work/err")"; fi
else
    not_run "chat on a terminal" "util-linux's script is missing"
fi
finish
