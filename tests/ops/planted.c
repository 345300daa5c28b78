/* planted - tables with one slot replaced */
#include "planted.h"

static const ms_ops_table *truth;
static ms_op damaged;
static fault_fn *planted;

void run_truly(ms_queue *q, ms_any_args *a)
{
    switch (damaged) {
#define RUN(name)                                                                                  \
    case MS_OP_##name: truth->name(q, &a->name); break;
        MS_OPS(RUN)
#undef RUN
    case MS_OP_COUNT: break;
    }
}

#define FAULTY(name)                                                                               \
    static void faulty_##name(ms_queue *q, const ms_##name##_args *a)                              \
    {                                                                                              \
        ms_any_args copy = {.name = *a};                                                           \
                                                                                                   \
        planted(q, &copy);                                                                         \
    }
MS_OPS(FAULTY)
#undef FAULTY

static void replace(ms_ops_table *t, ms_op o)
{
    switch (o) {
#define REPLACE(name)                                                                              \
    case MS_OP_##name: t->name = faulty_##name; break;
        MS_OPS(REPLACE)
#undef REPLACE
    case MS_OP_COUNT: break;
    }
}

static void set_tables(const conform_setup *s, const ms_ops_table *table)
{
    for (int i = 0; i < CONFORM_DEVICES; i++)
        if (s->device[i]) s->device[i]->ops = table;
}

void conform_planted(const conform_setup *s, ms_op o, fault_fn *fault, conform_result *r)
{
    ms_ops_table table = *s->device[0]->ops;

    truth = s->device[0]->ops;
    damaged = o;
    planted = fault;
    replace(&table, o);
    set_tables(s, &table);
    conform_op(s, o, r);
    set_tables(s, truth);
}
