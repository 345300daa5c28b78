#!/usr/bin/env bash
# Breaks one line of a backward at a time (mutants.txt): the gradient check of whole models must notice each.
# Works on a copy; prints "ok mutant NAME" or "not ok mutant NAME: ..."; status 1 if any survived.
set -u
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tree" "$work/obj"
cp -r src include tests "$work/tree"
list=$PWD/tests/model/mutants.txt
cd "$work/tree" || exit 1

# The reference alone: no CPU kernels.
cat >src/no_cpu.c <<'C'
#include "ops/cpu/cpu.h"
ms_status ms_cpu_open(ms_device **out, const char *variant, const ms_device_options *o, ms_error *err)
{
    (void)out, (void)variant, (void)o;
    return ms_fail(err, MS_UNSUPPORTED, "not in this build");
}
const char *ms_cpu_variant(int i)
{
    (void)i;
    return NULL;
}
C
flags="-std=c11 -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -O1 -w -Isrc -Iinclude $(pkg-config --cflags libcjson)"
libs="$(pkg-config --libs libcjson cmocka) -lm -pthread"
object() { echo "$work/obj/$(echo "$1" | tr / _).o"; }

sources="src/no_cpu.c tests/model/test_gradcheck.c"
for file in src/base/*.c src/ops/ops.c src/ops/check.c src/ops/compose.c src/ops/devices.c src/ops/ref/*.c \
    src/formats/*.c src/model/*.c src/model/arch/*.c; do
    sources="$sources $file"
done
for file in $sources; do
    cc $flags -c -o "$(object "$file")" "$file" || exit 1
done
cc -o "$work/check" "$work"/obj/*.o $libs || exit 1
"$work/check" quick >/dev/null 2>&1 || { echo "not ok mutants: the code fails unbroken"; exit 1; }

failed=0
while IFS= read -r line; do
    case $line in '' | '#'*) continue ;; esac
    line="$line "
    name=${line%% @ *}; rest=${line#* @ }
    file=${rest%% @ *}; rest=${rest#* @ }
    anchor=${rest%% @ *}; rest=${rest#* @ }
    old=${rest%% @ *}; new=${rest#* @ }; new=${new% }
    cp "$file" "$work/saved"
    if ! ANCHOR=$anchor OLD=$old NEW=$new perl -0pi -e '
            my ($a, $o, $n) = @ENV{qw(ANCHOR OLD NEW)};
            my $from = index($_, $a); exit 1 if $from < 0;
            my $at = index($_, $o, $from); exit 1 if $at < 0;
            substr($_, $at, length $o) = $n;' "$file" || cmp -s "$file" "$work/saved"; then
        echo "not ok mutant $name: its text is not there"
        failed=1
    elif ! cc $flags -c -o "$(object "$file")" "$file" 2>/dev/null ||
         ! cc -o "$work/mutant" "$work"/obj/*.o $libs 2>/dev/null; then
        echo "not ok mutant $name: does not compile"
        failed=1
    elif timeout 60 "$work/mutant" quick >/dev/null 2>&1; then
        echo "not ok mutant $name: survived"
        failed=1
    else
        echo "ok mutant $name"
    fi
    cp "$work/saved" "$file"
    cc $flags -c -o "$(object "$file")" "$file"
done <"$list"
exit "$failed"
