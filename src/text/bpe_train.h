/* bpe_train - learns a byte-level BPE vocabulary from text
 *
 * The same merges as Hugging Face's BpeTrainer with the same settings: special tokens first, then
 * the 256 bytes in the order of their characters, then merges, the most frequent pair first, among
 * equals the one of lower ids.  The result does not depend on the number of threads. */
#ifndef MS_TEXT_BPE_TRAIN_H
#define MS_TEXT_BPE_TRAIN_H

#include "text/tokenizer.h"

typedef struct {
    int vocab;                   /* tokens in all; at least the specials and 256 */
    int min_frequency;           /* of a pair; default 2 */
    const char *pattern;         /* "gpt2", "gpt4", "llama3", "qwen2" or a regular expression */
    const char *const *specials; /* ids from 0; the first one ends a text */
    int special_count;
    int threads; /* 0: all cores */
    bool pin;    /* each on a core of its own */
} ms_bpe_options;
ms_bpe_options ms_bpe_options_default(void); /* 4096, gpt2's pattern, MS_END_OF_TEXT */

typedef struct ms_bpe_trainer ms_bpe_trainer;
ms_status ms_bpe_trainer_new(ms_bpe_trainer **out, const ms_bpe_options *o, ms_error *err);
/* Counts the words of a document. */
ms_status ms_bpe_trainer_add(ms_bpe_trainer *t, const char *text, size_t size_bytes, ms_error *err);
/* Learns.  Fewer tokens than asked for when no pair is left.  Frees the trainer in every case. */
ms_status ms_bpe_trainer_finish(ms_bpe_trainer *t, ms_tokenizer **out, ms_error *err);
void ms_bpe_trainer_free(ms_bpe_trainer *t);

#endif
