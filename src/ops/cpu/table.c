/* table - the slots of this variant */
#include "ops/cpu/kernel.h"

const ms_ops_table CPU(ops) = {
#define SLOT(name) .name = CPU(name),
    MS_OPS(SLOT)};
