"""One full training step (forward, backward, AdamW) of a GPT in PyTorch on the CPU.

usage: python3 torch_train.py PRESET DTYPE [STEPS]
  PRESET  medium (6L d384 6H T256 B16 V65), small (4L d128 4H T64 B12 V65), gpt2 (12L d768 12H T64 B4 V50257)
  DTYPE   fp32 | bf16 (autocast)
"""
import math, statistics, sys, time
import torch, torch.nn as nn, torch.nn.functional as F

P = {"medium": (6, 384, 6, 256, 16, 65), "small": (4, 128, 4, 64, 12, 65), "gpt2": (12, 768, 12, 64, 4, 50257)}
L, D, H, T, B, V = P[sys.argv[1]]
bf16 = sys.argv[2] == "bf16"
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 15
bias = sys.argv[1] == "gpt2"
torch.manual_seed(1)


class Block(nn.Module):
    def __init__(s):
        super().__init__()
        s.l1, s.l2 = nn.LayerNorm(D), nn.LayerNorm(D)
        s.qkv, s.o = nn.Linear(D, 3 * D, bias=bias), nn.Linear(D, D, bias=bias)
        s.up, s.down = nn.Linear(D, 4 * D, bias=bias), nn.Linear(4 * D, D, bias=bias)

    def forward(s, x, mask):
        q, k, v = (t.view(B, T, H, D // H).transpose(1, 2) for t in s.qkv(s.l1(x)).split(D, dim=2))
        a = (q @ k.transpose(-2, -1)) * (1 / math.sqrt(D // H))
        a = F.softmax(a.masked_fill(mask, float("-inf")), dim=-1) @ v
        x = x + s.o(a.transpose(1, 2).contiguous().view(B, T, D))
        return x + s.down(F.gelu(s.up(s.l2(x))))


class GPT(nn.Module):
    def __init__(s):
        super().__init__()
        s.te, s.pe = nn.Embedding(V, D), nn.Embedding(T, D)
        s.b = nn.ModuleList(Block() for _ in range(L))
        s.lf, s.head = nn.LayerNorm(D), nn.Linear(D, V, bias=False)
        s.te.weight = s.head.weight
        s.register_buffer("mask", torch.ones(T, T).triu(1).bool())
        for p in s.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)

    def forward(s, i, y):
        x = s.te(i) + s.pe.weight
        for b in s.b:
            x = b(x, s.mask)
        return F.cross_entropy(s.head(s.lf(x)).view(-1, V).float(), y.view(-1))


m = GPT()
n = sum(p.numel() for p in m.parameters())
opt = torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, foreach="foreach" in sys.argv)
data = [(torch.randint(V, (B, T)), torch.randint(V, (B, T))) for _ in range(16)]
tot, parts = [], {"fwd": [], "bwd": [], "opt": []}
for it in range(steps + 3):
    x, y = data[it % 16]
    t0 = time.perf_counter()
    if bf16:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = m(x, y)
    else:
        loss = m(x, y)
    t1 = time.perf_counter()
    opt.zero_grad(set_to_none=True)
    loss.backward()
    t2 = time.perf_counter()
    opt.step()
    float(loss)
    t3 = time.perf_counter()
    if it >= 3:
        tot.append((t3 - t0) * 1e3)
        for k, a in zip(parts, (t1 - t0, t2 - t1, t3 - t2)):
            parts[k].append(a * 1e3)
med = statistics.median(tot)
mm = n - T * D
flop = 6 * B * T * mm + 12 * B * L * T * T * D
print(f"torch {torch.__version__} {sys.argv[1]} {sys.argv[2]} threads={torch.get_num_threads()} params={n/1e6:.2f}M "
      f"median {med:.1f} ms/step min {min(tot):.1f} max {max(tot):.1f}  {B*T/med*1e3:.0f} tok/s  {flop/med*1e-6:.1f} GFLOP/s "
      f"({flop*1e-9:.1f} GF/step; attention counted full, not causal)  "
      + " ".join(f"{k} {statistics.median(v):.1f}" for k, v in parts.items()) + f" loss {float(loss):.3f}")
