/* prepare - paths of raw text to a training and a held-out shard, in a folder of the run */
#ifndef MS_DATA_PREPARE_H
#define MS_DATA_PREPARE_H

#include "base/log.h"
#include "text/tokenizer.h"

typedef struct {
    const char *const *path; /* --data */
    int paths;
    const char *const *held_out; /* --val-data; when given nothing is split off */
    int held_outs;
    double held_out_fraction; /* the last part of the token stream; default 0.1 */
    const char *tokenizer;    /* "bytes", "chars", or the path of a tokenizer.json */
} ms_prepare_options;

/* Reads everything once (twice for chars; standard input is kept in a file first), writes
 * FOLDER/train.tokens and FOLDER/held_out.tokens and FOLDER/tokenizer.json, and gives the
 * tokenizer. Documents are joined with the end-of-text token where the tokenizer has one. A path
 * that is a shard is used as it is (then --tokenizer must be a file). */
ms_status ms_prepare(const ms_prepare_options *o, const char *folder, ms_tokenizer **out,
                     const ms_log *log, ms_error *err);

#endif
