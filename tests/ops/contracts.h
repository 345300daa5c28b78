/* contracts - what ops.h says about shapes and aliases, written down a second time, for the tests
 *
 * Shapes: a word an operand, in its order; a letter stands for the same number in all words, a
 * digit for itself, a leading i for integers, q for stored, c for cached, * for anything. */
#ifndef TESTS_OPS_CONTRACTS_H
#define TESTS_OPS_CONTRACTS_H

#include "ops/cases/cases.h"

typedef struct {
    const char *words;
    const char *aliases; /* sets of pairs that may be in force together: "r=x|r=x y=f" */
    const char *divides; /* "N%B": B divides N */
    const char *tied;    /* letters that an equation binds to others, such as M = (H + 2K) D */
    const char *rows;    /* operands with a row of their own for each row of the batch, for ops
                              whose rows do not depend on each other; "" for other ops */
} contract;
const contract *contract_of(ms_op o);

/* Puts another contract in place of the written one, which NULL brings back: a contract that asks
 * for more than check.c does is how a check that is too lax looks (test_faults.c). */
void contract_plant(ms_op o, const contract *c);

enum { WORD_BYTES = 8, NAME_BYTES = 16 };

/* The i-th word of a list; false past the end. */
bool word_at(const char *list, char separator, int i, char *out, size_t out_bytes);
bool word_in(const char *list, const char *word);

int operand_named(ms_op o, const char *name); /* -1: none */
const char *operand_name(ms_op o, int i);
int operand_count(ms_op o);
ms_tensor *operand_of(ms_any_args *args, ms_op o, int i);
bool operand_written(ms_op o, int i); /* outputs and results added to, not work */
bool operand_work(ms_op o, int i);

/* The n-th set of aliases that a case may have, as pairs of operands (first, second) that share
 * memory; the count of pairs, 0 for a set that this case may not have, -1 past the end. */
enum { ALIAS_PAIRS = 2 };
int alias_set(ms_case *c, int n, int pair[ALIAS_PAIRS][2]);

/* Names of the optional operands that this case must have. */
const char *needed_operands(const ms_case *c);

#endif
