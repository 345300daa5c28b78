/* generate - continue prompts: greedy, sampled, or by beams; one alone or many in a batch */
#ifndef MS_INFER_GENERATE_H
#define MS_INFER_GENERATE_H

#include "model/model.h"
#include "text/tokenizer.h"

typedef enum { MS_STOP_LENGTH, MS_STOP_EOS, MS_STOP_CONTEXT, MS_STOP_ASKED } ms_stop;

typedef struct {
    char *text;   /* 0-terminated, from malloc; UTF-8 (output.h) */
    int32_t *ids; /* from malloc; ends with the end-of-text token when that stopped it */
    size_t count, prompt_tokens;
    double log_probability;
    ms_stop stop;
    double prefill_s, decode_s;
} ms_generated;

typedef struct {
    int max_tokens;
    float temperature;
    int top_k;
    float top_p, min_p;
    uint64_t seed;
    int beams;
    float length_penalty;
    int batch;
    bool ignore_eos;
    /* Called before a prompt and after each of its tokens, with the characters that became whole
     * ("" when none); nonzero stops that prompt. */
    int (*on_text)(void *data, size_t prompt, const char *text, size_t text_bytes);
    void (*on_done)(void *data, size_t prompt, const ms_generated *g); /* g is lent for the call */
    void *data;
} ms_generate_options;

ms_generate_options ms_generate_defaults(void);
/* MS_INPUT names the first number out of its range. */
ms_status ms_generate_check(const ms_generate_options *o, ms_error *err);

/* Continues each prompt; out[i] of prompt i, freed with ms_generated_clear (also after a failure).
 * Sampling draws from (seed, position of the token, stream 0), so a prompt in a batch, in any
 * order, gives the same as alone.  A prompt that ends makes room for the next one. */
ms_status ms_generate(ms_model *m, const ms_tokenizer *t, const char *const *prompt, size_t prompts,
                      const ms_generate_options *o, ms_generated *out, ms_error *err);
void ms_generated_clear(ms_generated *g);

#endif
