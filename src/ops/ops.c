/* ops - running an op: check, then the slot; names and operands by reflection */
#include "ops/ops.h"

#define RUN(name)                                                                                  \
    void ms_run_##name(ms_queue *q, const ms_##name##_args *a)                                     \
    {                                                                                              \
        if (q->error.status) return;                                                               \
        if (ms_check_##name(q->device, a, &q->error)) return;                                      \
        q->device->ops->name(q, a);                                                                \
    }
MS_OPS(RUN)

const char *ms_op_name(ms_op o)
{
    static const char *const names[] = {
#define NAME(name) #name,
        MS_OPS(NAME)};

    return (unsigned)o < MS_OP_COUNT ? names[o] : "unknown op";
}

const char *ms_act_name(ms_act act)
{
    static const char *const names[] = {
#define ACT_NAME(name, text) text,
        MS_ACT_MAP(ACT_NAME)};

    return (unsigned)act < MS_ACT_COUNT ? names[act] : "unknown activation";
}

bool ms_op_is_composed(const ms_ops_table *t, ms_op o)
{
    switch (o) {
#define COMPOSED(name)                                                                             \
    case MS_OP_##name: return t->name == ms_composed_##name;
        MS_COMPOSED_OPS(COMPOSED)
    default: return false;
    }
}

/* -- operands -------------------------------------------------------------------------------- */

/* ARGS names the struct that the list of tensors stands in. */
#define OPERAND(field, role) {#field, offsetof(ARGS, field), MS_ROLE_##role},

#define ARGS ms_embed_fwd_args
static const ms_operand embed_fwd_operands[] = {MS_EMBED_FWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_embed_bwd_args
static const ms_operand embed_bwd_operands[] = {MS_EMBED_BWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_norm_fwd_args
static const ms_operand norm_fwd_operands[] = {MS_NORM_FWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_norm_bwd_args
static const ms_operand norm_bwd_operands[] = {MS_NORM_BWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_add_norm_fwd_args
static const ms_operand add_norm_fwd_operands[] = {MS_ADD_NORM_FWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_add_norm_bwd_args
static const ms_operand add_norm_bwd_operands[] = {MS_ADD_NORM_BWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_linear_fwd_args
static const ms_operand linear_fwd_operands[] = {MS_LINEAR_FWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_linear_bwd_args
static const ms_operand linear_bwd_operands[] = {MS_LINEAR_BWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_linear_stored_args
static const ms_operand linear_stored_operands[] = {MS_LINEAR_STORED_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_rope_fwd_args
static const ms_operand rope_fwd_operands[] = {MS_ROPE_FWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_rope_bwd_args
static const ms_operand rope_bwd_operands[] = {MS_ROPE_BWD_TENSORS(OPERAND)};
#undef ARGS
#define ARGS ms_cache_append_args
static const ms_operand cache_append_operands[] = {MS_CACHE_APPEND_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_attention_fwd_args
static const ms_operand attention_fwd_operands[] = {MS_ATTENTION_FWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_attention_bwd_args
static const ms_operand attention_bwd_operands[] = {MS_ATTENTION_BWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_act_fwd_args
static const ms_operand act_fwd_operands[] = {MS_ACT_FWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_act_bwd_args
static const ms_operand act_bwd_operands[] = {MS_ACT_BWD_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_dropout_args
static const ms_operand dropout_operands[] = {MS_DROPOUT_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_gather_last_args
static const ms_operand gather_last_operands[] = {MS_GATHER_LAST_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_cross_entropy_args
static const ms_operand cross_entropy_operands[] = {MS_CROSS_ENTROPY_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_loss_sum_args
static const ms_operand loss_sum_operands[] = {MS_LOSS_SUM_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_zero_args
static const ms_operand zero_operands[] = {MS_ZERO_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_global_norm_args
static const ms_operand global_norm_operands[] = {MS_GLOBAL_NORM_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_adamw_args
static const ms_operand adamw_operands[] = {MS_ADAMW_TENSORS(OPERAND)};
#undef ARGS

#define ARGS ms_sample_args
static const ms_operand sample_operands[] = {MS_SAMPLE_TENSORS(OPERAND)};
#undef ARGS

const ms_operand *ms_op_operands(ms_op o, int *count)
{
    static const struct {
        const ms_operand *operand;
        int count;
    } lists[] = {
#define LIST(name) {name##_operands, (int)(sizeof name##_operands / sizeof(ms_operand))},
        MS_OPS(LIST)};

    *count = (unsigned)o < MS_OP_COUNT ? lists[o].count : 0;
    return (unsigned)o < MS_OP_COUNT ? lists[o].operand : NULL;
}
