/* cases - which file has the rows of an op, and what all rows share */
#include "ops/cases/cases.h"

#include <string.h>

static ms_case_fn *rows_of(ms_op o)
{
    switch (o) {
    case MS_OP_embed_fwd:
    case MS_OP_embed_bwd: return ms_cases_embed;
    case MS_OP_norm_fwd:
    case MS_OP_norm_bwd:
    case MS_OP_add_norm_fwd:
    case MS_OP_add_norm_bwd: return ms_cases_norm;
    case MS_OP_linear_fwd:
    case MS_OP_linear_bwd: return ms_cases_linear;
    case MS_OP_linear_stored: return ms_cases_stored;
    case MS_OP_rope_fwd:
    case MS_OP_rope_bwd: return ms_cases_rope;
    case MS_OP_cache_append: return ms_cases_cache;
    case MS_OP_attention_fwd:
    case MS_OP_attention_bwd: return ms_cases_attention;
    case MS_OP_act_fwd:
    case MS_OP_act_bwd:
    case MS_OP_dropout: return ms_cases_activation;
    case MS_OP_gather_last:
    case MS_OP_cross_entropy:
    case MS_OP_loss_sum: return ms_cases_loss;
    case MS_OP_zero:
    case MS_OP_global_norm:
    case MS_OP_adamw: return ms_cases_optimizer;
    case MS_OP_sample: return ms_cases_sample;
    case MS_OP_COUNT: break;
    }
    return NULL;
}

ms_tensor *ms_args_operand(ms_any_args *args, ms_op o, int i)
{
    int count;
    const ms_operand *all = ms_op_operands(o, &count);

    MS_ASSERT(i < count);
    return (ms_tensor *)((char *)args + all[i].offset);
}

/* Every operand once, and what is read and written twice. */
static double bytes_of(ms_case *c)
{
    int count;
    const ms_operand *o = ms_op_operands(c->op, &count);
    double bytes = 0;

    for (int i = 0; i < count; i++) {
        bool twice = o[i].role == MS_ROLE_inout || o[i].role == MS_ROLE_inout_opt;

        bytes += (double)ms_tensor_bytes(*ms_args_operand(&c->args, c->op, i)) * (twice ? 2 : 1);
    }
    return bytes;
}

bool ms_case_get(ms_op o, int i, ms_case *out)
{
    ms_case_fn *rows = rows_of(o);

    memset(out, 0, sizeof *out);
    out->op = o;
    out->step = (ms_step){.seed = {0x243F6A88u, 0x85A308D3u},
                          .counter = 7,
                          .grad_scale = 0.125f,
                          .lr = 1e-3f,
                          .bias1 = 0.19f,
                          .bias2 = 0.0975f,
                          .clip = 0};
    if (!rows || !rows(o, i, out)) return false;
    if (out->bytes == 0) out->bytes = bytes_of(out);
    return true;
}

void ms_case_batch(ms_case *c, ms_batch kind, int B, int T, int S)
{
    MS_ASSERT(B <= MS_CASE_SEQUENCES && T <= S);
    for (int b = 0; b < B; b++) {
        int ragged[] = {T, 0, (T + 1) / 2, 1};
        int length = kind == MS_BATCH_RAGGED ? ragged[b % 4] : T;
        int room = S - length;

        switch (kind) {
        case MS_BATCH_FULL: c->seq[b] = (ms_seq){0, length}; break;
        case MS_BATCH_RAGGED: c->seq[b] = (ms_seq){room * ((b + 2) % 3) / 2, length}; break;
        case MS_BATCH_DECODE: c->seq[b] = (ms_seq){room - b * room / B, length}; break;
        }
    }
}

const char *ms_batch_name(ms_batch kind)
{
    static const char *const names[] = {"full", "ragged", "decode"};

    return names[kind];
}
