#!/usr/bin/env bash
# The command bench: its rows and what it refuses.  It judges no times: those are in bench/.
# MINSTREL: the program, ./minstrel unless given.
set -u
cd "$(dirname "$0")/../.." || exit 1
program=$(realpath "${MINSTREL:-./minstrel}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
wrong=0

ok() {
    local name=$1; shift
    if "$@"; then echo "ok bench: $name"; else echo "not ok bench: $name"; wrong=1; fi
}

# refused STATUS WORDS OPTIONS...: that status, one line on stderr with the words.
refused() {
    local status=$1 words=$2; shift 2
    "$program" bench "$@" >out 2>err
    local got=$?
    [ "$got" = "$status" ] && [ "$(wc -l <err)" = 1 ] && grep -qe "$words" err && return 0
    echo "bench $*: status $got, expected $status; stderr: $(cat err)"
    return 1
}

"$program" bench --runs 3 >table
ok "without a word: three rows and a head" test "$(wc -l <table)" = 4
for row in forward prefill decode; do
    ok "$row of the log's model" grep -q "^$row .*original, 3.67M parameters, 1 x 5 tokens" table
done
"$program" bench train --preset llama --width 32 --layers 2 --heads 2 --tokens 16 --batch 2 --runs 2 >table
ok "a training step" grep -q '^train .*llama.*2 x 16 tokens' table
"$program" bench decode --preset gpt2 --width 32 --layers 2 --heads 2 --tokens 200 --runs 2 --backend ref >table
ok "a decode step behind more tokens than a pass takes, on ref" grep -q '^decode .*200 tokens + 1' table

if command -v python3 >/dev/null; then
    "$program" bench --json --runs 3 forward >json
    ok "--json" python3 -c '
import json
row = json.loads(open("json").read())
assert row["name"] == "forward" and row["runs"] == 3
assert 0 < row["min_s"] <= row["median_s"] <= row["max_s"]
assert abs(row["tokens_per_s"] * row["median_s"] - 5) < 1e-6
flops = row["flops_per_s"] * row["median_s"]
assert 5 * 2 * 3.4e6 < flops < 5 * 2 * 3.8e6, flops'
    "$program" bench ops gather --json >json
    ok "ops, filtered" python3 -c '
import json
rows = [json.loads(line) for line in open("json")]
assert rows and all(row["name"] == "gather_last" for row in rows)'
    "$program" bench ops pool --threads 2 --json >json
    ok "the rows of the pool" python3 -c '
import json
rows = [json.loads(line) for line in open("json")]
assert [row["name"] for row in rows] == ["pool barrier", "pool region"]
assert all(row["label"] == "2 threads" and 0 < row["min_s"] <= row["median_s"] for row in rows)'
else
    echo "not run bench --json: python3 is missing"
fi

while IFS='|' read -r status words options; do
    eval "ok \"refuses $options\" refused $status '$words' $options"
done <<'EOF'
2|what is|nonsense
2|what is|train more
2|what is|ops linear more
2|no model|ops --preset llama
2|one of|forward --preset llama --model run
2|--tokens|forward --tokens -1
2|numeric|forward --tokens x
1|preset|forward --preset nonsense
1|tokens|forward --tokens 100000
1|tokens|decode --tokens 256
1|runs|forward --runs 0
1|batch|forward --batch 0
1|backend|forward --backend nonsense
1|backend|ops --backend nonsense
1|nonsense|ops nonsense
1|no threads|ops --pin --backend ref
1|missing|forward --model missing
EOF
exit $wrong
