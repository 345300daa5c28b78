#!/usr/bin/env bash
# Checks the limits of STYLE.md that a machine can.  Prints each breach; status 1 if any.
set -u
cd "$(dirname "$0")/.." || exit 1
wrong=0
breach() { echo "$*"; wrong=1; }

mapfile -t sources < <(git ls-files '*.c' '*.h')

while IFS= read -r line; do breach "$line: over 100 columns"; done < <(
    awk 'length > 100 {print FILENAME ":" FNR}' "${sources[@]}")
while IFS= read -r line; do breach "$line: tab or trailing blank"; done < <(
    awk '/\t|[ \t]$/ {print FILENAME ":" FNR}' "${sources[@]}")

# Functions start with a line "...)" followed by "{" in column 1 and end with "}" in column 1.
while IFS= read -r line; do breach "$line"; done < <(
    awk 'FNR == 1 {start = 0}
         /^\{/ {start = FNR}
         /^\}/ && start {
             n = FNR - start - 1
             limit = FILENAME ~ /^src\/ops\/(ref|cpu|cuda|metal)\// ? 120 : 70
             if (FILENAME !~ /^tests\// && n > limit)
                 print FILENAME ":" start ": a function of " n " lines, at most " limit
             start = 0
         }' "${sources[@]}")

# The library never prints, exits, aborts or reads the environment (status.c has the assert).
while IFS= read -r line; do breach "$line: not in the library"; done < <(
    git ls-files 'src/*.c' 'src/*.h' | grep -v -e '^src/cli/' -e '^src/base/status.c' |
    xargs -r grep -nE '(^|[^_[:alnum:]])(exit|abort|printf|fprintf|puts|perror|getenv|system)[[:space:]]*\(' |
    cut -d: -f1,2)

for script in $(git ls-files '*.sh' .ci/run); do
    bash -n "$script" || breach "$script: does not parse"
done

if command -v clang-format >/dev/null; then
    for file in "${sources[@]}"; do
        clang-format --dry-run --Werror "$file" >/dev/null 2>&1 || breach "$file: differs from clang-format (make format)"
    done
else
    echo "not run: clang-format is missing"
fi
[ "$wrong" = 0 ] && echo "style: within the limits"
exit "$wrong"
