#!/usr/bin/env python3
"""golden - a second opinion on the model: every preset in PyTorch, its numbers as small files.

Written from the papers and design of the presets, not from the C code.  Needs Debian's python3-torch.
Writes tests/golden/PRESET/{config.json,model.safetensors,expected.safetensors}:

  tokens, targets (B, T) i32     target -1 is ignored
  logits (B, T, V), loss (1)     in float64
  grad.NAME                      gradient of each stored tensor, in float64, kept as float32
  losses (20)                    of 20 AdamW steps on the same batch, in float64
  lrs (20)                       their learning rates
"""
import json
import math
import os
import struct
import sys

import torch

VOCAB, CONTEXT, LAYERS, WIDTH, HEADS, BATCH, ROWS, STEPS = 61, 24, 2, 32, 4, 2, 17, 20
BETA1, BETA2, EPS, DECAY, CLIP = 0.9, 0.95, 1e-8, 0.1, 1.0

# norm, place, positions, feed-forward, kv heads, biases (qkv, others, head), tied, theta, eps
PRESETS = {
    "original": dict(norm="layer", post=True, pos="sin", act="gelu", kv=4, qkv=True, bias=True, head_bias=True,
                     tied=False, eps=1e-5, ffn=48),
    "gpt2": dict(norm="layer", post=False, pos="learned", act="gelu_tanh", kv=4, qkv=True, bias=True,
                 head_bias=False, tied=True, eps=1e-5, ffn=48),
    "llama": dict(norm="rms", post=False, pos="rope", act="swiglu", kv=2, qkv=False, bias=False, head_bias=False,
                  tied=False, eps=1e-5, ffn=40, theta=10000.0),
    "qwen2": dict(norm="rms", post=False, pos="rope", act="swiglu", kv=2, qkv=True, bias=False, head_bias=False,
                  tied=False, eps=1e-6, ffn=40, theta=1e6),
    "qwen3": dict(norm="rms", post=False, pos="rope", act="swiglu", kv=2, qkv=False, bias=False, head_bias=False,
                  tied=False, eps=1e-6, ffn=40, theta=1e6, qk_norm=True, head_dim=12),
    "nano": dict(norm="plain", post=False, pos="rope", act="relu2", kv=4, qkv=False, bias=False, head_bias=False,
                 tied=False, eps=1e-6, ffn=48, theta=10000.0, qk_norm=True),
}


def head_dim(p):
    return p.get("head_dim", WIDTH // HEADS)


# -- names and shapes on disk ---------------------------------------------------------------------


def tensors(name):
    """Ordered (stored name, shape, kind); kind: matrix, one (norm weight) or zero (bias)."""
    p = PRESETS[name]
    C, D, H, K, F = WIDTH, head_dim(p), HEADS, p["kv"], p["ffn"]
    out = []
    if name == "gpt2":
        out += [("transformer.wte.weight", (VOCAB, C), "matrix"), ("transformer.wpe.weight", (CONTEXT, C), "matrix")]
        for l in range(LAYERS):
            b = f"transformer.h.{l}."
            out += [(b + "ln_1.weight", (C,), "one"), (b + "ln_1.bias", (C,), "zero"),
                    (b + "attn.c_attn.weight", (C, 3 * C), "matrix"), (b + "attn.c_attn.bias", (3 * C,), "zero"),
                    (b + "attn.c_proj.weight", (C, C), "matrix"), (b + "attn.c_proj.bias", (C,), "zero"),
                    (b + "ln_2.weight", (C,), "one"), (b + "ln_2.bias", (C,), "zero"),
                    (b + "mlp.c_fc.weight", (C, F), "matrix"), (b + "mlp.c_fc.bias", (F,), "zero"),
                    (b + "mlp.c_proj.weight", (F, C), "matrix"), (b + "mlp.c_proj.bias", (C,), "zero")]
        return out + [("transformer.ln_f.weight", (C,), "one"), ("transformer.ln_f.bias", (C,), "zero")]

    def norm(n, width):
        if p["norm"] == "plain":
            return []
        return [(n + ".weight", (width,), "one")] + ([(n + ".bias", (width,), "zero")] if p["norm"] == "layer" else [])

    def linear(n, o, i, bias):
        return [(n + ".weight", (o, i), "matrix")] + ([(n + ".bias", (o,), "zero")] if bias else [])

    out.append(("model.embed_tokens.weight", (VOCAB, C), "matrix"))
    for l in range(LAYERS):
        b = f"model.layers.{l}."
        out += norm(b + "input_layernorm", C)
        out += linear(b + "self_attn.q_proj", H * D, C, p["qkv"])
        out += linear(b + "self_attn.k_proj", K * D, C, p["qkv"])
        out += linear(b + "self_attn.v_proj", K * D, C, p["qkv"])
        if p.get("qk_norm") and p["norm"] != "plain":
            out += [(b + "self_attn.q_norm.weight", (D,), "one"), (b + "self_attn.k_norm.weight", (D,), "one")]
        out += linear(b + "self_attn.o_proj", C, H * D, p["bias"])
        out += norm(b + "post_attention_layernorm", C)
        if p["act"] == "swiglu":
            out += linear(b + "mlp.gate_proj", F, C, p["bias"])
        out += linear(b + "mlp.up_proj", F, C, p["bias"]) + linear(b + "mlp.down_proj", C, F, p["bias"])
    return out + norm("model.norm", C) + linear("lm_head", VOCAB, C, p["head_bias"])


# -- the model ------------------------------------------------------------------------------------


def normalise(p, x, w, name):
    if p["norm"] == "layer":
        return torch.nn.functional.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], p["eps"])
    y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + p["eps"])
    return y if p["norm"] == "plain" else y * w[name + ".weight"]


def rotate(x, theta):
    """x (B, H, T, D): pairs (j, j + D/2) turned by t theta^(-2j/D)."""
    T, D = x.shape[-2:]
    angle = torch.arange(T, dtype=torch.float64)[:, None] * theta ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    lo, hi = x[..., : D // 2], x[..., D // 2:]
    return torch.cat([lo * cos - hi * sin, hi * cos + lo * sin], -1)


def attention(p, q, k, v):
    """q (B, T, H, D), k and v (B, T, K, D) -> (B, T, H*D)."""
    B, T, H, D = q.shape
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    k, v = (t.repeat_interleave(H // t.shape[1], 1) for t in (k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(D)
    scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, H * D)


def heads(p, w, prefix, q, k, v):
    D = head_dim(p)
    q, k, v = (t.unflatten(-1, (-1, D)) for t in (q, k, v))
    if p.get("qk_norm"):
        q = q * torch.rsqrt(q.pow(2).mean(-1, keepdim=True) + p["eps"])
        k = k * torch.rsqrt(k.pow(2).mean(-1, keepdim=True) + p["eps"])
        if p["norm"] != "plain":
            q, k = q * w[prefix + "q_norm.weight"], k * w[prefix + "k_norm.weight"]
    if p["pos"] == "rope":
        q, k = (rotate(t.transpose(1, 2), p["theta"]).transpose(1, 2) for t in (q, k))
    return attention(p, q, k, v)


def activate(p, gate, up):
    F = torch.nn.functional
    return {"gelu": lambda: F.gelu(up), "gelu_tanh": lambda: F.gelu(up, approximate="tanh"),
            "relu2": lambda: F.relu(up).square(), "swiglu": lambda: F.silu(gate) * up}[p["act"]]()


def linear(w, name, x):
    return torch.nn.functional.linear(x, w[name + ".weight"], w.get(name + ".bias"))


def sinusoid(T, dtype):
    position = torch.arange(T, dtype=torch.float64)[:, None]
    rate = 10000.0 ** (-torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)
    table = torch.empty(T, WIDTH, dtype=torch.float64)
    table[:, 0::2], table[:, 1::2] = (position * rate).sin(), (position * rate).cos()
    return table.to(dtype)


def forward_gpt2(p, w, tokens):
    def conv(name, x):  # stored (in, out)
        return x @ w[name + ".weight"] + w[name + ".bias"]

    x = w["transformer.wte.weight"][tokens] + w["transformer.wpe.weight"][: tokens.shape[1]]
    for l in range(LAYERS):
        b = f"transformer.h.{l}."
        q, k, v = conv(b + "attn.c_attn", normalise(p, x, w, b + "ln_1")).chunk(3, -1)
        x = x + conv(b + "attn.c_proj", heads(p, w, b, q, k, v))
        h = conv(b + "mlp.c_fc", normalise(p, x, w, b + "ln_2"))
        x = x + conv(b + "mlp.c_proj", activate(p, None, h))
    return normalise(p, x, w, "transformer.ln_f") @ w["transformer.wte.weight"].T


def forward(name, w, tokens):
    p = PRESETS[name]
    if name == "gpt2":
        return forward_gpt2(p, w, tokens)
    x = w["model.embed_tokens.weight"][tokens]
    if p["pos"] == "sin":
        x = x * math.sqrt(WIDTH) + sinusoid(tokens.shape[1], x.dtype)

    def attend(l, h):
        a = f"model.layers.{l}.self_attn."
        return linear(w, a + "o_proj", heads(p, w, a, linear(w, a + "q_proj", h), linear(w, a + "k_proj", h),
                                             linear(w, a + "v_proj", h)))

    def feed(l, h):
        m = f"model.layers.{l}.mlp."
        gate = linear(w, m + "gate_proj", h) if p["act"] == "swiglu" else None
        return linear(w, m + "down_proj", activate(p, gate, linear(w, m + "up_proj", h)))

    for l in range(LAYERS):
        n1, n2 = f"model.layers.{l}.input_layernorm", f"model.layers.{l}.post_attention_layernorm"
        if p["post"]:
            x = normalise(p, x + attend(l, x), w, n1)
            x = normalise(p, x + feed(l, x), w, n2)
        else:
            x = x + attend(l, normalise(p, x, w, n1))
            x = x + feed(l, normalise(p, x, w, n2))
    return linear(w, "lm_head", normalise(p, x, w, "model.norm"))


# -- numbers --------------------------------------------------------------------------------------


def loss_of(name, w, tokens, targets):
    logits = forward(name, w, tokens)
    return logits, torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten().long(), ignore_index=-1)


def learning_rate(step):
    return 1e-3 * min(1.0, (step + 1) / 5)


def train(name, w, tokens, targets):
    """Losses of STEPS AdamW steps; matrices decay."""
    w = {n: t.detach().clone().requires_grad_() for n, t in w.items()}
    matrix = [t for t in w.values() if t.dim() == 2]
    other = [t for t in w.values() if t.dim() != 2]
    adam = torch.optim.AdamW([dict(params=matrix, weight_decay=DECAY), dict(params=other, weight_decay=0.0)],
                             lr=1e-3, betas=(BETA1, BETA2), eps=EPS)
    losses = []
    for step in range(STEPS):
        for group in adam.param_groups:
            group["lr"] = learning_rate(step)
        adam.zero_grad()
        loss = loss_of(name, w, tokens, targets)[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(w.values(), CLIP)
        adam.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


# -- files ----------------------------------------------------------------------------------------

DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int32: "I32"}


def write_safetensors(path, named):
    header, data, at = {}, [], 0
    for name, tensor in named.items():
        raw = tensor.detach().contiguous().numpy().tobytes()
        header[name] = dict(dtype=DTYPES[tensor.dtype], shape=list(tensor.shape), data_offsets=[at, at + len(raw)])
        data.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def config(name):
    p = PRESETS[name]
    if name == "gpt2":
        return dict(model_type="gpt2", vocab_size=VOCAB, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS,
                    n_head=HEADS, n_inner=p["ffn"], layer_norm_epsilon=p["eps"], activation_function="gelu_new")
    own = name in ("original", "nano")
    c = dict(model_type="minstrel" if own else name, vocab_size=VOCAB, max_position_embeddings=CONTEXT,
             hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=p["kv"],
             head_dim=head_dim(p), intermediate_size=p["ffn"], tie_word_embeddings=p["tied"])
    c["norm_eps" if own else "rms_norm_eps"] = p["eps"]
    if own:
        c["arch"] = name
    else:
        c["hidden_act"] = "silu"
    if "theta" in p:
        c["rope_theta"] = p["theta"]
    return c


def make(name, folder):
    g = torch.Generator().manual_seed(20 + list(PRESETS).index(name))
    w = {}
    for n, shape, kind in tensors(name):
        noise = torch.randn(shape, generator=g) * (0.15 if kind == "matrix" else 0.2)
        w[n] = noise + (1 if kind == "one" else 0)
    tokens = torch.randint(0, VOCAB, (BATCH, ROWS), generator=g, dtype=torch.int32)
    targets = torch.randint(0, VOCAB, (BATCH, ROWS), generator=g, dtype=torch.int32)
    targets[0, 3], targets[1, -4:] = -1, -1
    wide = {n: t.double().requires_grad_() for n, t in w.items()}
    logits, loss = loss_of(name, wide, tokens.long(), targets)
    loss.backward()
    expected = dict(tokens=tokens, targets=targets, logits=logits.detach(), loss=loss.detach().reshape(1))
    expected.update({"grad." + n: t.grad.float() for n, t in wide.items()})
    expected["losses"] = train(name, {n: t.double() for n, t in w.items()}, tokens.long(), targets)
    expected["lrs"] = torch.tensor([learning_rate(s) for s in range(STEPS)], dtype=torch.float64)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config(name), f, indent=1)
        f.write("\n")
    write_safetensors(os.path.join(folder, "model.safetensors"), w)
    write_safetensors(os.path.join(folder, "expected.safetensors"), expected)
    print(f"{name}: loss {loss.item():.6f}, after {STEPS} steps {expected['losses'][-1].item():.6f}")


if __name__ == "__main__":
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "tests", "golden")
    for preset in PRESETS:
        make(preset, os.path.join(root, preset))
