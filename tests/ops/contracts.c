/* contracts - the table, and how it is read */
#include "contracts.h"

#include <stdio.h>
#include <string.h>

static const contract contracts[MS_OP_COUNT] = {
    [MS_OP_embed_fwd] = {"NC qVC PC iN iB2", "", "N%B", "", ""},
    [MS_OP_embed_bwd] = {"VC PC NC iN iB2", "", "N%B", "", ""},
    [MS_OP_norm_fwd] = {"NC N2 NC C C", "y=x", "", "", "y stat x"},
    [MS_OP_norm_bwd] = {"NC C C NC NC N2 C", "dx=dy", "", "", ""},
    [MS_OP_add_norm_fwd] = {"NC NC N2 NC NC C C", "r=x|r=f|y=f|r=x y=f", "", "", "r y stat x f"},
    [MS_OP_add_norm_bwd] = {"NC NC C C NC NC N2 C", "dr=dy|df=dy", "", "", ""},
    [MS_OP_linear_fwd] = {"NY NO NI OI O NO", "", "", "YO", "y u x work"},
    [MS_OP_linear_bwd] = {"NX OI O NO NI OI NX NI", "dx=u", "", "X", ""},
    [MS_OP_linear_stored] = {"NY NI qOI O", "", "", "", "y x"},
    [MS_OP_rope_fwd] = {"NHD BKSD BKSD NJ NM D D PR2 iB2", "", "N%B H%K", "HKDJM", ""},
    [MS_OP_rope_bwd] = {"NM D D NHD BKSD BKSD NM NJ D D PR2 iB2", "", "N%B H%K", "HKDJM", ""},
    [MS_OP_cache_append] = {"cBKSD cBKSD BKTD BKTD iB2", "", "", "", ""},
    [MS_OP_attention_fwd] = {"NHD NH NHD cBKSD cBKSD iB2", "y=q", "N%B H%K", "", "y lse q"},
    [MS_OP_attention_bwd] = {"NHD BKSD BKSD NHD NHD NH NHD BKSD BKSD iB2 NH", "dq=dy", "N%B H%K",
                             "", ""},
    [MS_OP_act_fwd] = {"NF NU", "y=u", "", "FU", ""},
    [MS_OP_act_bwd] = {"NU NF NU", "du=u|du=dy", "", "FU", ""},
    [MS_OP_dropout] = {"NC NC NC", "y=x|y=add", "", "", ""},
    [MS_OP_gather_last] = {"BC NC iB2", "", "N%B", "", ""},
    [MS_OP_cross_entropy] = {"N NV NV iN", "dz=z", "", "", ""},
    [MS_OP_loss_sum] = {"1 N", "", "", "", ""},
    [MS_OP_zero] = {"*", "", "", "", ""},
    [MS_OP_global_norm] = {"1 P", "", "", "", ""},
    [MS_OP_adamw] = {"P P P P 1", "", "", "", ""},
    [MS_OP_sample] = {"iB BV iB8 iBV BV", "", "", "", ""},
};

static const contract *planted[MS_OP_COUNT];

const contract *contract_of(ms_op o)
{
    return planted[o] ? planted[o] : &contracts[o];
}

void contract_plant(ms_op o, const contract *c)
{
    planted[o] = c;
}

bool word_at(const char *list, char separator, int i, char *out, size_t out_bytes)
{
    const char ends[] = {separator, 0};

    for (; *list; i--) {
        size_t length = strcspn(list, ends);

        if (i == 0) {
            snprintf(out, out_bytes, "%.*s", (int)length, list);
            return true;
        }
        list += length + (list[length] == separator);
    }
    return false;
}

bool word_in(const char *list, const char *word)
{
    char one[NAME_BYTES];

    for (int i = 0; word_at(list, ' ', i, one, sizeof one); i++)
        if (strcmp(one, word) == 0) return true;
    return false;
}

int operand_count(ms_op o)
{
    int count;

    ms_op_operands(o, &count);
    return count;
}

const char *operand_name(ms_op o, int i)
{
    int count;

    return ms_op_operands(o, &count)[i].name;
}

int operand_named(ms_op o, const char *name)
{
    for (int i = 0; i < operand_count(o); i++)
        if (strcmp(operand_name(o, i), name) == 0) return i;
    return -1;
}

ms_tensor *operand_of(ms_any_args *args, ms_op o, int i)
{
    return ms_args_operand(args, o, i);
}

bool operand_work(ms_op o, int i)
{
    int count;

    return ms_op_operands(o, &count)[i].role == MS_ROLE_work;
}

bool operand_written(ms_op o, int i)
{
    int count;
    ms_role role = ms_op_operands(o, &count)[i].role;

    return role != MS_ROLE_in && role != MS_ROLE_in_opt && role != MS_ROLE_work;
}

/* The conditions behind "may alias": not when accumulating, or only when element-wise. */
static bool alias_condition(const ms_case *c, int second)
{
    ms_act act;

    switch (c->op) {
    case MS_OP_norm_bwd: return !c->args.norm_bwd.accumulate;
    case MS_OP_add_norm_bwd: return second != 0 || !c->args.add_norm_bwd.accumulate;
    case MS_OP_linear_bwd:
        act = c->args.linear_bwd.act;
        return act != MS_ACT_NONE && act != MS_ACT_SWIGLU;
    default: return true;
    }
}

int alias_set(ms_case *c, int n, int pair[ALIAS_PAIRS][2])
{
    char set[64], one[64], name[NAME_BYTES];

    if (!word_at(contract_of(c->op)->aliases, '|', n, set, sizeof set)) return -1;
    for (int i = 0; i < ALIAS_PAIRS; i++) {
        ms_tensor first, second;

        if (!word_at(set, ' ', i, one, sizeof one)) return i;
        word_at(one, '=', 0, name, sizeof name);
        pair[i][0] = operand_named(c->op, name);
        word_at(one, '=', 1, name, sizeof name);
        pair[i][1] = operand_named(c->op, name);
        first = *operand_of(&c->args, c->op, pair[i][0]);
        second = *operand_of(&c->args, c->op, pair[i][1]);
        if (!ms_present(first) || !ms_present(second)) return 0;
        if (ms_tensor_bytes(first) != ms_tensor_bytes(second)) return 0;
        if (!alias_condition(c, pair[i][0])) return 0;
    }
    return ALIAS_PAIRS;
}

const char *needed_operands(const ms_case *c)
{
    const ms_any_args *a = &c->args;
    bool dx = ms_present(a->linear_bwd.dx), dw = ms_present(a->linear_bwd.dw);

    switch (c->op) {
    case MS_OP_add_norm_bwd: return a->add_norm_bwd.drop.p > 0 ? "df" : "";
    case MS_OP_linear_fwd:
        if (a->linear_fwd.act != MS_ACT_SWIGLU || ms_present(a->linear_fwd.u)) return "";
        return "work";
    case MS_OP_linear_bwd:
        if (!dx) return dw ? "x" : "";
        if (a->linear_bwd.act == MS_ACT_NONE) return dw ? "x w" : "w";
        if (a->linear_bwd.act != MS_ACT_SWIGLU) return dw ? "x w u" : "w u";
        return dw ? "x w u work" : "w u work";
    case MS_OP_rope_fwd: return a->rope_fwd.qk_norm ? "stat" : "";
    case MS_OP_rope_bwd: return a->rope_bwd.qk_norm ? "qkv stat" : "";
    case MS_OP_attention_bwd: return "delta";
    case MS_OP_sample: return "rank prob";
    default: return "";
    }
}
