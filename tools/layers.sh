#!/usr/bin/env bash
# Checks that includes point downwards only (ARCHITECTURE.md, "Layers").  Prints each wrong edge; status 1 if any.
set -u
cd "$(dirname "$0")/.." || exit 1

# What a folder may include, besides itself.
allowed() {
    case $1 in
        src/cli)                  echo "minstrel.h base/file.h" ;;
        src)                      echo "minstrel.h train infer model ops ops/cases formats text data base" ;;
        src/train)                echo "infer model ops formats text data base" ;;
        src/infer)                echo "model text ops base" ;;
        src/model | src/model/*)  echo "model ops formats base" ;;
        src/ops)                  echo "ops/ref ops/cpu ops/cases base" ;;
        src/ops/cpu | src/ops/cpu/*) echo "ops ops/cpu ops/cpu/x86 ops/cpu/arm base" ;;
        src/ops/*)                echo "ops base" ;;
        src/data)                 echo "text base" ;;
        src/text)                 echo "formats base" ;;
        src/formats)              echo "base" ;;
        src/base)                 echo "" ;;
        *)                        echo "" ;;
    esac
}

wrong=0
while IFS=: read -r file line include; do
    folder=$(dirname "$file")
    own=${folder#src/}
    target=${include#*\"}; target=${target%%\"*}
    ok=0
    for rule in $own $(allowed "$folder"); do
        [ "$target" = "$rule" ] && ok=1
        [ "$(dirname "$target")" = "$rule" ] && ok=1
    done
    [ "$folder" = src ] && [ "$(dirname "$target")" = . ] && ok=1
    # only devices.c knows the back ends, only bench.c the case rows
    case $file:$target in
        src/ops/devices.c:* | src/ops/bench.[ch]:ops/cases/*) ;;
        src/ops/*.[ch]:ops/ref/* | src/ops/*.[ch]:ops/cpu/*)
            [ "$folder" = src/ops ] && ok=0 ;;
    esac
    if [ "$ok" = 0 ]; then
        echo "$file:$line: $folder must not include \"$target\""
        wrong=1
    fi
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' src --include='*.c' --include='*.h')
[ "$wrong" = 0 ] && echo "layers: includes point downwards"
exit "$wrong"
