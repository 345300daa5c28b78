# lib - what the scripts of this folder share; run from the top folder of the project
#   ok NAME / bad NAME: why / not_run NAME why     one line each; finish gives the exit status
#   check NAME COMMAND...                          ok when the command succeeds
#   refuses NAME STATUS TEXT COMMAND...            ok when it ends with STATUS, prints one line on stderr that
#                                                  holds TEXT, and does not crash
minstrel=${MINSTREL:-$PWD/minstrel}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

ok() { echo "ok $1"; }
bad() { echo "not ok $1: $2"; failures=$((failures + 1)); }
not_run() { echo "not run $1: $2"; }
finish() { [ "$failures" -eq 0 ]; exit; }

check() {
    local name=$1; shift
    if "$@" >"$work/log" 2>&1; then ok "$name"; else tail -n 5 "$work/log"; bad "$name" "failed"; fi
}

refuses() {
    local name=$1 want=$2 text=$3 status; shift 3
    "$@" >"$work/out" 2>"$work/log"
    status=$?
    if [ "$status" -ne "$want" ]; then
        bad "$name" "status $status, expected $want: $(head -c 200 "$work/log")"
    elif ! grep -qF -- "$text" "$work/log"; then
        bad "$name" "no \"$text\" in: $(head -c 200 "$work/log")"
    elif [ "$(grep -c '^minstrel' "$work/log")" -ne 1 ]; then
        bad "$name" "expected one line: $(head -c 300 "$work/log")"
    else
        ok "$name"
    fi
}

# A text with some structure, and a model that trains in a second.
make_text() {
    awk 'BEGIN {srand(7); split("the a king said unto people and of day house went not came land", w, " ");
         for (i = 0; i < 4000; i++) printf "%s%s", w[int(rand() * 14) + 1], i % 11 == 10 ? ".\n" : " "}' >"$1"
}
tiny="--layers 2 --width 32 --heads 2 --context 32 --batch 4 --eval-every 0 --sample-every 0 --threads 1"
