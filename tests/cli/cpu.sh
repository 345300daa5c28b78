#!/usr/bin/env bash
# --cpu: kernels of another instruction set; --dtype bf16: the same training, its products rounded.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/cli/lib.sh
make_text "$work/text"
tiny="--data $work/text --layers 2 --width 32 --heads 2 --context 32 --batch 4 --steps 40 --eval-every 40 --sample-every 0 --tokenizer chars --quiet"

loss_of() { sed -n 's/.*"held_out_loss":\([0-9.]*\).*/\1/p' "$work/$1/metrics.jsonl" | tail -n 1; }
# near NAME A B LIMIT: the losses of two runs differ by at most LIMIT.
near() {
    local a b
    a=$(loss_of "$2") b=$(loss_of "$3")
    if [ -n "$a" ] && [ -n "$b" ] && awk "BEGIN {d = $a - $b; exit !(d < $4 && d > -$4)}"; then
        ok "$1"
    else
        bad "$1" "held-out loss $a and $b"
    fi
}

check "training in f32" "$minstrel" train $tiny --out "$work/f32"
check "training in bf16" "$minstrel" train $tiny --dtype bf16 --out "$work/bf16"
near "bf16 learns what f32 learns" f32 bf16 0.02
if cmp -s "$work/f32/model.safetensors" "$work/bf16/model.safetensors"; then
    bad "bf16 rounds" "the weights of both runs are the same"
else
    ok "bf16 rounds"
fi
check "bf16 again" "$minstrel" train $tiny --dtype bf16 --threads 1 --out "$work/again"
check "bf16: the same bits on one thread" cmp "$work/bf16/model.safetensors" "$work/again/model.safetensors"

for cpu in scalar base; do
    check "--cpu $cpu" "$minstrel" train $tiny --cpu $cpu --out "$work/$cpu"
    near "--cpu $cpu learns the same" f32 $cpu 0.005
done
refuses "--cpu: no such name" 1 "mmx" "$minstrel" train $tiny --cpu mmx --out "$work/none"
case $(uname -m) in
    x86_64) other=i8mm ;;
    *)      other=avx2 ;;
esac
refuses "--cpu: of another machine" 1 "$other" "$minstrel" train $tiny --cpu $other --out "$work/none"

# --pin: the same bits; refused in one line where threads outnumber the cores, or the system cannot.
for command in train generate eval chat bench tokenize; do
    check "$command --help names --pin" sh -c "'$minstrel' $command --help | grep -q -e '--pin .*core of its own'"
done
if [ "$(uname)" = Linux ]; then
    check "training with --pin" "$minstrel" train $tiny --pin --out "$work/pin"
    check "--pin: the same bits" cmp "$work/f32/model.safetensors" "$work/pin/model.safetensors"
    check "a tokenizer with --pin" "$minstrel" tokenize train --data "$work/text" --vocab 300 --pin --out "$work/pin.json"
    refuses "--pin: more threads than cores" 1 "pin: 1000 threads, but this process has" \
        "$minstrel" train $tiny --pin --threads 1000 --out "$work/none"
else
    refuses "--pin: not on this system" 1 "pin: this system cannot" "$minstrel" train $tiny --pin --out "$work/none"
fi
refuses "--cpu with a back end" 2 "one of --backend and --cpu" "$minstrel" train $tiny --cpu base --backend ref --out "$work/none"
finish
