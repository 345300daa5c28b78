/* table - the slots of the reference */
#include "ops/ref/ref.h"

const ms_ops_table ms_ref_ops = {
#define SLOT(name) .name = ms_ref_##name,
    MS_OPS(SLOT)};
