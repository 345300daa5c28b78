"""llama.cpp through llama-cpp-python: prefill and decode of a GGUF file, as its llama-bench times them.

usage: python3 llama.py MODEL.gguf THREADS [PROMPT [TOKENS [ROUNDS]]]
"""
import ctypes, statistics, sys, time
import llama_cpp as L

path, threads = sys.argv[1], int(sys.argv[2])
prompt, tokens, rounds = (int(a) for a in (sys.argv[3:] + ["512", "128", "3"][len(sys.argv) - 3:]))
L.llama_log_set(ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *a: None), None)
L.llama_backend_init()
mp = L.llama_model_default_params()
model = L.llama_model_load_from_file(path.encode(), mp)
cp = L.llama_context_default_params()
cp.n_ctx = cp.n_batch = cp.n_ubatch = max(prompt, tokens) + 8
cp.n_threads = cp.n_threads_batch = threads
ctx = L.llama_init_from_model(model, cp)
vocab = L.llama_n_vocab(L.llama_model_get_vocab(model)) if hasattr(L, "llama_model_get_vocab") else 1000


def clear():
    L.llama_memory_clear(L.llama_get_memory(ctx), True) if hasattr(L, "llama_get_memory") else L.llama_kv_self_clear(ctx)


def run(ids):
    array = (L.llama_token * len(ids))(*ids)
    if L.llama_decode(ctx, L.llama_batch_get_one(array, len(ids))):
        sys.exit("llama_decode failed")


def rate(ids_at_once, count):
    clear()
    start = time.perf_counter()
    for i in range(0, count, ids_at_once):
        run([(7 * (i + j) + 1) % vocab for j in range(min(ids_at_once, count - i))])
    L.llama_synchronize(ctx)
    return count / (time.perf_counter() - start)


rate(16, 16)
for name, once, count in (("prefill", prompt, prompt), ("decode", 1, tokens)):
    r = [rate(once, count) for _ in range(rounds)]
    print(f"llama.cpp {name} {count} tokens, {threads} threads: median {statistics.median(r):.1f} min {min(r):.1f} max {max(r):.1f} tok/s")
