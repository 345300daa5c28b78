#!/usr/bin/env bash
# Trains a small llama on a book and lets it write: ./demo.sh [FILE] [--fresh]
# Without FILE: the King James Bible from Debian's bible-kjv.  A second run builds nothing anew and, with the
# same text, goes straight to writing; --fresh trains again.  About two minutes on two cores.
set -eu
cd "$(dirname "$0")"
book="" fresh=0
for argument in "$@"; do
    case $argument in
        -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
        --fresh) fresh=1 ;;
        -*) echo "demo.sh: unknown option $argument (see ./demo.sh --help)" >&2; exit 2 ;;
        *) book=$argument ;;
    esac
done
if [ -n "$book" ] && [ ! -f "$book" ]; then
    echo "demo.sh: $book: no such file" >&2
    exit 1
fi

if [ -n "$book" ]; then tools/install.sh build; else tools/install.sh demo; fi
make -s

mkdir -p runs
if [ -z "$book" ]; then
    book=runs/kjv.txt
    if [ ! -s "$book" ]; then
        if ! command -v bible >/dev/null; then
            echo "demo.sh: the Bible is Debian's package bible-kjv; elsewhere give a text: ./demo.sh book.txt" >&2
            exit 1
        fi
        # one verse a line, with its reference in front, which is taken off
        bible -f genesis1:1-revelation22:21 | sed -E 's/^[^ ]+ //' >"$book.part"
        mv "$book.part" "$book"
    fi
fi

run=runs/demo-$(basename "$book" .txt)
[ "$fresh" = 1 ] && rm -rf "$run"
if [ ! -s "$run/done" ] || [ "$book" -nt "$run/done" ]; then
    rm -rf "$run"
    echo "training on $book; the held-out loss falls as the model learns" >&2
    ./minstrel train --data "$book" --out "$run" --tokenizer bpe:1024 --preset llama --layers 4 --width 128 --heads 4 \
        --context 192 --batch 5 --steps 1300 --dtype bf16 --lr 5e-3 --min-lr 2e-4 --warmup 100 --dropout 0 --val-fraction 0.05 \
        --eval-every 260 --save-every 650 | tee "$run.result"
    mv "$run.result" "$run/done"
fi
echo
cat "$run/done"
echo
echo "and it writes:"
echo
prompt="And it came to pass"
printf %s "$prompt"
./minstrel generate --model "$run" --prompt "$prompt" -n 150 --temperature 0.7 --top-p 0.9 --seed 2 --quiet
