/* minstrel - train, evaluate and run decoder-only transformers; the whole public API
 *
 *     minstrel_error err;
 *     minstrel_options o = minstrel_default_options();
 *     minstrel_model *m = NULL;
 *
 *     if (minstrel_model_open(&m, "run", &o, &err)) { puts(err.message); return 1; }
 *     minstrel_generate_options g = minstrel_default_generate_options();
 *     g.on_text = print_text;                           // called with each piece of text
 *     if (minstrel_generate(m, "In the beginning", &g, NULL, &err)) puts(err.message);
 *     minstrel_model_free(m);
 *
 * What is not here is not API.  The library never prints, exits, or reads the environment.
 * Every call that can fail returns a minstrel_status and fills *err (which may be NULL) with one
 * line. Objects are used by one thread at a time; different objects may be used by different
 * threads when they were opened apart.  Options structs are made by their minstrel_default_...
 * function. */
#ifndef MINSTREL_H
#define MINSTREL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MINSTREL_VERSION "0.1.0"

typedef enum {
    MINSTREL_OK,
    MINSTREL_MEMORY,      /* out of memory */
    MINSTREL_IO,          /* a file cannot be read or written */
    MINSTREL_FORMAT,      /* a malformed file */
    MINSTREL_INPUT,       /* a value, name or text that does not fit */
    MINSTREL_SHAPE,       /* shapes do not match */
    MINSTREL_UNSUPPORTED, /* known, but not supported by this build or version */
    MINSTREL_DEVICE,      /* the device failed */
    MINSTREL_NONFINITE,   /* a loss or gradient is NaN or infinite */
    MINSTREL_INTERRUPTED  /* a callback asked to stop */
} minstrel_status;

typedef struct {
    minstrel_status status;
    int64_t offset;    /* byte of the file; -1: none */
    char message[240]; /* one line */
    char path[256];    /* file concerned; "": none */
} minstrel_error;

typedef struct minstrel_model minstrel_model;     /* weights, configuration, tokenizer */
typedef struct minstrel_session minstrel_session; /* one timeline of tokens over a model */
typedef struct minstrel_trainer
    minstrel_trainer; /* a run: model, optimizer, schedule, data cursor */

const char *minstrel_version(void);
const char *minstrel_status_text(minstrel_status status);

/* -- options of everything ------------------------------------------------------------------- */

typedef void minstrel_log_fn(void *data, const char *line);

typedef struct {
    size_t size;          /* sizeof this struct: fields may be added at the end */
    const char *backend;  /* "auto", "cpu", "ref", ...; default "auto" */
    int threads;          /* 0: all cores; default 0 */
    minstrel_log_fn *log; /* NULL: silent; default NULL */
    void *log_data;
    const char *cache_type; /* in which sessions, generation, chats and evaluation of the model keep
                               keys and values: "f32", "f16", "bf16" or "q8_0"; default "f32" */
    int pin; /* each thread on a core of its own, the calling thread too, until what was opened is
                freed; MINSTREL_INPUT with more threads than cores, MINSTREL_UNSUPPORTED where the
                system cannot; default 0 */
} minstrel_options;

minstrel_options minstrel_default_options(void);

/* The i-th back end that can be opened here: its name, NULL past the end. */
const char *minstrel_backend(int i);

/* Describes a back end: text of some lines (device, composed ops), from malloc, to *text. */
minstrel_status minstrel_backend_describe(const char *backend, char **text, minstrel_error *err);

/* -- models ---------------------------------------------------------------------------------- */

/* The shape of a model.  In requests 0 (and "" for arch) means: as the preset has it. */
typedef struct {
    size_t size;
    char arch[16];
    int vocab, context, layers, width, heads, kv_heads, head_dim, ffn;
    uint64_t parameters; /* output only */
} minstrel_shape;

minstrel_shape minstrel_default_shape(void);

/* Opens a folder in the Hugging Face layout (a run folder is one; shards are fine) or a .gguf file.
 * Weights of smaller types than f32 stay in these, mapped or in a copy for the CPU. */
minstrel_status minstrel_model_open(minstrel_model **out, const char *path,
                                    const minstrel_options *o, minstrel_error *err);
/* A model of a preset ("llama", ...) with random weights of a seed and a byte tokenizer when vocab
 * is 257. */
minstrel_status minstrel_model_new(minstrel_model **out, const char *preset,
                                   const minstrel_shape *shape, uint64_t seed,
                                   const minstrel_options *o, minstrel_error *err);
void minstrel_model_free(minstrel_model *m);
minstrel_shape minstrel_model_shape(const minstrel_model *m);

/* The shape a preset would give, without making it.  "MODEL/" folders by minstrel_model_open. */
minstrel_status minstrel_preset_shape(const char *preset, const minstrel_shape *wanted,
                                      minstrel_shape *out, minstrel_error *err);
const char *minstrel_preset(int i); /* names; NULL past the end */
const char *minstrel_preset_about(int i);

/* Text for `info`: configuration and the list of tensors, from malloc.  json: one JSON object. */
minstrel_status minstrel_model_describe(const minstrel_model *m, int json, char **text,
                                        minstrel_error *err);
void minstrel_text_free(char *text); /* frees what a function above gave */

/* Tokens of a text (from malloc, minstrel_tokens_free), and the text of tokens (0-terminated). */
minstrel_status minstrel_encode(const minstrel_model *m, const char *text, size_t text_bytes,
                                int32_t **ids, size_t *count, minstrel_error *err);
minstrel_status minstrel_decode(const minstrel_model *m, const int32_t *ids, size_t count,
                                char **text, minstrel_error *err);
void minstrel_tokens_free(int32_t *ids);

/* Converts a model on disk (a folder or a .gguf file) into a folder in the Hugging Face layout, or,
 * where `out` ends in .gguf, into such a file, with its tokenizer.  type of the weights: "f32"
 * (NULL), "f16", "bf16"; in GGUF also "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q6_k".
 * MINSTREL_UNSUPPORTED for families and tokenizers that the other format does not have. */
minstrel_status minstrel_convert(const char *from, const char *out, const char *type,
                                 minstrel_error *err);

/* -- tokenizers ------------------------------------------------------------------------------- */

typedef struct minstrel_tokenizer minstrel_tokenizer;

/* From a tokenizer.json, the folder of a model or a .gguf file.  Any number of threads may encode
 * at once. */
minstrel_status minstrel_tokenizer_open(minstrel_tokenizer **out, const char *path,
                                        minstrel_error *err);
void minstrel_tokenizer_free(minstrel_tokenizer *t);
int minstrel_tokenizer_vocab(const minstrel_tokenizer *t);
/* The token's text in files ("\u0120the", "<|im_end|>"), lent; NULL for an id that has none. */
const char *minstrel_tokenizer_name(const minstrel_tokenizer *t, int32_t id);

/* Byte-level BPE, learnt from text; writes `out` (a tokenizer.json) and tokenizer_config.json
 * beside it. */
typedef struct {
    size_t size;
    int vocab;                   /* tokens in all; default 4096 */
    int min_frequency;           /* of a pair; default 2 */
    const char *pattern;         /* gpt2 gpt4 llama3 qwen2, or a regular expression; default gpt2 */
    const char *const *specials; /* default one: <|endoftext|>; the first one ends a text */
    int special_count;
    int threads; /* 0: all cores */
    int pin;     /* each on a core of its own, as in minstrel_options; default 0 */
} minstrel_tokenizer_options;
minstrel_tokenizer_options minstrel_default_tokenizer_options(void);
minstrel_status minstrel_tokenizer_train(const char *const *path, int paths,
                                         const minstrel_tokenizer_options *o, const char *out,
                                         minstrel_error *err);

enum {
    MINSTREL_ENCODE_TEXT = 0,     /* nothing in the text is special: what strangers write */
    MINSTREL_ENCODE_SPECIALS = 1, /* "<|im_start|>" is that token */
    MINSTREL_ENCODE_FRAME = 2     /* with the tokens that the model expects around a text */
};
minstrel_status minstrel_tokenizer_encode(const minstrel_tokenizer *t, const char *text,
                                          size_t text_bytes, int flags, int32_t **ids,
                                          size_t *count, minstrel_error *err);
/* The bytes of tokens (terminated; may hold NUL and what is no UTF-8), from malloc. */
minstrel_status minstrel_tokenizer_decode(const minstrel_tokenizer *t, const int32_t *ids,
                                          size_t count, char **text, size_t *text_bytes,
                                          minstrel_error *err);

/* -- sessions: token by token ---------------------------------------------------------------- */

/* Room for `context` tokens; 0: what the model allows.  The model outlives the session. */
minstrel_status minstrel_session_new(minstrel_session **out, minstrel_model *m, int context,
                                     minstrel_error *err);
void minstrel_session_free(minstrel_session *s);
/* Appends tokens; logits (vocab floats, lent until the next call) follow the last.  MINSTREL_INPUT
 * when an id is out of range, nothing is given, or the context is full: then nothing is appended.
 */
minstrel_status minstrel_session_append(minstrel_session *s, const int32_t *ids, size_t count,
                                        const float **logits, minstrel_error *err);
int minstrel_session_length(const minstrel_session *s);
/* Forgets all but the first `length` tokens. */
minstrel_status minstrel_session_rewind(minstrel_session *s, int length, minstrel_error *err);

/* -- generation ------------------------------------------------------------------------------ */

typedef enum {
    MINSTREL_STOP_LENGTH,  /* max_tokens reached */
    MINSTREL_STOP_EOS,     /* the end-of-text token */
    MINSTREL_STOP_CONTEXT, /* the context is full */
    MINSTREL_STOP_ASKED    /* on_text returned nonzero */
} minstrel_stop;

typedef struct {
    char *text;   /* generated text without the prompt, from malloc; always UTF-8: bytes that
                                   are no character, and NUL, stand there as U+FFFD */
    int32_t *ids; /* its tokens, the end-of-text token included, from malloc */
    size_t count;
    size_t prompt_tokens;
    double log_probability; /* of the generated tokens under the model */
    minstrel_stop stop;
    double prefill_s, decode_s;
} minstrel_text;

/* Text as it comes, whole UTF-8 characters (prompt: which of several prompts); called before a
 * prompt and after each token, with "" when no character became whole.  Nonzero stops the prompt.
 */
typedef int minstrel_text_fn(void *data, size_t prompt, const char *text, size_t text_bytes);
/* Called when a prompt has ended; text is lent for the call. */
typedef void minstrel_done_fn(void *data, size_t prompt, const minstrel_text *text);

typedef struct {
    size_t size;
    int max_tokens;       /* default 256 */
    float temperature;    /* 0: greedy; default 1 */
    int top_k;            /* 0: all; default 0 */
    float top_p;          /* 1: all; default 1 */
    float min_p;          /* 0: all; default 0 */
    uint64_t seed;        /* default 1 */
    int beams;            /* 1: no beam search (which ignores the sampling fields); default 1 */
    float length_penalty; /* beam score: log probability / length^penalty; default 1 */
    int batch;            /* prompts at once in minstrel_generate_all; default 1 */
    int ignore_eos;       /* default 0 */
    minstrel_text_fn *on_text; /* default NULL */
    void *data;
    minstrel_done_fn *on_done; /* default NULL */
} minstrel_generate_options;

minstrel_generate_options minstrel_default_generate_options(void);

/* Continues a prompt.  *out may be NULL (when on_text is used); freed with minstrel_text_clear.
 * MINSTREL_INPUT: empty prompt for a model without a bos token, a prompt longer than the context,
 * a character without a token. */
minstrel_status minstrel_generate(minstrel_model *m, const char *prompt,
                                  const minstrel_generate_options *g, minstrel_text *out,
                                  minstrel_error *err);
/* Many prompts, `batch` at a time; out has one element a prompt.  Each equals its run alone. */
minstrel_status minstrel_generate_all(minstrel_model *m, const char *const *prompt, size_t prompts,
                                      const minstrel_generate_options *g, minstrel_text *out,
                                      minstrel_error *err);
void minstrel_text_clear(minstrel_text *t);

/* -- conversations --------------------------------------------------------------------------- */

typedef struct minstrel_chat minstrel_chat; /* a conversation with a model */

typedef struct {
    size_t size;
    const char *system; /* system prompt; NULL: what the template has without; default NULL */
    const char *template_name; /* "chatml", "llama3", "plain", ...; NULL: the model's own, which is
                                  "plain" (User: ... Assistant: ...) where it has none */
    int context;               /* tokens kept; 0: what the model allows; default 0 */
    int max_tokens;            /* of a reply; 0: as the context has room; default 0 */
    float temperature;         /* 0: greedy; default 0.7 */
    int top_k;                 /* 0: all; default 0 */
    float top_p;               /* 1: all; default 0.95 */
    float min_p;               /* 0: all; default 0 */
    uint64_t seed;             /* default 1 */
    minstrel_text_fn *on_text; /* replies as they come (prompt: number of the turn, from 0); called
                                  while a message is read, too.  Nonzero stops the reply. */
    void *data;
    minstrel_log_fn *log; /* is told when old turns leave the context */
    void *log_data;
} minstrel_chat_options;

minstrel_chat_options minstrel_default_chat_options(void);

typedef struct {
    const char *text;     /* UTF-8, without what ended it; lent until the conversation changes */
    size_t prompt_tokens; /* of the conversation in front of it */
    size_t reused_tokens; /* of them: did not have to be read again */
    size_t tokens;        /* drawn, with the one that ended the reply */
    double log_probability;
    minstrel_stop stop; /* MINSTREL_STOP_EOS: whatever ends a reply in the model's template */
    double prefill_s, decode_s;
} minstrel_reply;

typedef struct {
    const char *template_name;
    size_t turns, forgotten;  /* of them: the oldest, which have left the context */
    int context, used_tokens; /* of the context */
} minstrel_chat_state;

/* Texts in the options are copied.  The model outlives the chat.  MINSTREL_UNSUPPORTED: the model's
 * chat template is not known; MINSTREL_INPUT: the template takes no system prompt, or needs one. */
minstrel_status minstrel_chat_new(minstrel_chat **out, minstrel_model *m,
                                  const minstrel_chat_options *o, minstrel_error *err);
void minstrel_chat_free(minstrel_chat *c);

/* Adds a message and draws the reply.  *out may be NULL.  A full context forgets the oldest turns
 * and says so in the log; the system prompt stays.  A reply that on_text stopped keeps what was
 * shown; when that is nothing, the message is taken back.  On failure the conversation is as it
 * was before. */
minstrel_status minstrel_chat_say(minstrel_chat *c, const char *text, minstrel_reply *out,
                                  minstrel_error *err);
/* Draws the last reply again, with other random numbers; the old one stays on failure. */
minstrel_status minstrel_chat_retry(minstrel_chat *c, minstrel_reply *out, minstrel_error *err);
/* Takes the last turn back. */
minstrel_status minstrel_chat_undo(minstrel_chat *c, minstrel_error *err);
void minstrel_chat_clear(minstrel_chat *c); /* all turns; the system prompt stays */
/* Another system prompt (NULL: none) for the same turns. */
minstrel_status minstrel_chat_set_system(minstrel_chat *c, const char *system, minstrel_error *err);
/* Message i, the system prompt first if there is one: *role is "system", "user" or "assistant", the
 * result its text, both lent until the conversation changes; NULL past the end. */
const char *minstrel_chat_message(const minstrel_chat *c, size_t i, const char **role);
minstrel_chat_state minstrel_chat_look(const minstrel_chat *c);

/* -- evaluation ------------------------------------------------------------------------------ */

typedef struct {
    uint64_t tokens;     /* targets counted */
    uint64_t text_bytes; /* bytes of text they stand for */
    double loss;         /* mean, nats a token */
    double perplexity;   /* exp(loss) */
    double bits_per_byte;
    double seconds;
} minstrel_evaluation;

typedef struct {
    size_t size;
    int context; /* tokens a window; 0: the model's; default 0 */
    int batch;   /* windows at a time; default 8 */
    int half;    /* as llama.cpp's perplexity: only the second half of each window counts, and its
                    first token is bos where the model wants one; context 0 is then at most 512;
                    default 0 */
} minstrel_evaluate_options;
minstrel_evaluate_options minstrel_default_evaluate_options(void);

/* Loss over text files, folders, .jsonl, .zst: windows of tokens, each token predicted from those
 * before it in its window. */
minstrel_status minstrel_evaluate_paths(minstrel_model *m, const char *const *path, int paths,
                                        const minstrel_evaluate_options *o,
                                        minstrel_evaluation *out, minstrel_error *err);

/* -- training -------------------------------------------------------------------------------- */

/* Numbers below their range (as minstrel_default_train_options makes them: -1) mean "not given": a
 * new run takes the default, a resume what the run has. */
typedef struct {
    size_t size;
    /* the model: one of preset, config, init */
    const char *preset;     /* default "llama" */
    const char *config;     /* a config.json: shape from there; default NULL */
    const char *init;       /* a model to fine-tune: a folder or a .gguf; default NULL */
    minstrel_shape shape;   /* on top of preset or config */
    const char *initialise; /* "xavier", "normal" (deviation 0.02, as GPT-2); default "xavier" */
    /* the data */
    const char *const *data; /* paths */
    int datas;
    const char *const *held_out; /* default none: split off */
    int held_outs;
    double held_out_fraction; /* default 0.1 */
    const char *tokenizer;    /* "bytes", "chars", "bpe:N" (learnt from the data), FILE; default
                                 "bytes", or that of init */
    /* the run */
    const char *out;           /* run folder */
    int resume;                /* continue the run in `out` */
    uint64_t seed;             /* 0: not given; default 1 */
    const char *sample_prompt; /* default: the first characters of the held-out text */
    int64_t steps;             /* default 1000 */
    int batch;                 /* sequences a micro-step; default 8 */
    int accumulate;            /* micro-steps a step; default 1 */
    double lr;                 /* default 1e-3 */
    double min_lr;             /* default lr / 10 */
    int64_t warmup;            /* steps; default steps / 20 */
    int64_t decay;             /* wsd: steps of decay at the end; default steps / 5 */
    const char *schedule;      /* constant linear cosine rsqrt wsd; default "cosine" */
    double weight_decay;       /* default 0.1; norms and biases do not decay */
    double beta1, beta2, eps;  /* default 0.9, 0.95, 1e-8 */
    double clip;               /* largest global norm; default 1; 0: none */
    double dropout;            /* default 0 */
    int recompute;             /* keep only layer inputs; default 0 */
    int64_t eval_every;        /* steps; default steps / 10; 0: only at the end */
    int64_t save_every;        /* steps; default steps / 5; 0: only at the end */
    int64_t
        sample_every;  /* steps between samples of text in the log; default eval_every; 0: none */
    int keep;          /* snapshots; default 2 */
    const char *dtype; /* of matrix products: "f32", "bf16" (weights, sums and everything else stay
                          f32); NULL: f32, in a resume as the run has it */
} minstrel_train_options;

/* What a step reports. */
typedef struct {
    int64_t step, steps; /* done, of */
    double loss;         /* mean of the step's targets */
    double grad_norm, lr;
    double tokens_per_s, seconds, left_s;
    uint64_t tokens; /* trained on so far */
} minstrel_progress;

minstrel_train_options minstrel_default_train_options(void);

/* Prepares the data, makes or loads the model, opens or resumes the run.  Refuses a run folder that
 * already holds a run unless resume. */
minstrel_status minstrel_trainer_new(minstrel_trainer **out, const minstrel_train_options *t,
                                     const minstrel_options *o, minstrel_error *err);
void minstrel_trainer_free(minstrel_trainer *t);

/* One optimizer step: batch * accumulate windows forward and backward, clip, AdamW, metrics.jsonl.
 * MINSTREL_NONFINITE names the first bad tensor; the weights are then as before the step. */
minstrel_status minstrel_train_step(minstrel_trainer *t, minstrel_progress *out,
                                    minstrel_error *err);

/* Held-out loss of the weights as they are. */
minstrel_status minstrel_evaluate(minstrel_trainer *t, minstrel_evaluation *out,
                                  minstrel_error *err);

/* Writes a snapshot and publishes it at the top of the run folder. */
minstrel_status minstrel_save(minstrel_trainer *t, minstrel_error *err);

/* All steps that are left, with evaluations, samples and snapshots as the options say.
 * on_step: called after each step; nonzero stops cleanly, with a snapshot. */
typedef int minstrel_step_fn(void *data, const minstrel_progress *p);
minstrel_status minstrel_train(minstrel_trainer *t, minstrel_step_fn *on_step, void *data,
                               minstrel_evaluation *final, minstrel_error *err);

/* For programs with a loop of their own: gradients of given tokens, without data or schedule.
 * id, target: (batch, context); target -1 is ignored.  *loss: mean over the targets that count. */
minstrel_status minstrel_zero_gradients(minstrel_trainer *t, minstrel_error *err);
minstrel_status minstrel_add_gradients(minstrel_trainer *t, const int32_t *id,
                                       const int32_t *target, double *loss, minstrel_error *err);
minstrel_status minstrel_apply_gradients(minstrel_trainer *t, double lr, double *grad_norm,
                                         minstrel_error *err);
/* The trainer's model, lent: to generate with while training. */
minstrel_model *minstrel_trainer_model(minstrel_trainer *t);
int64_t minstrel_trainer_step(const minstrel_trainer *t);

/* -- benches --------------------------------------------------------------------------------- */

typedef struct {
    const char *name;  /* "linear_fwd", "forward", "train step" */
    const char *label; /* shape in words */
    double median_s, min_s, max_s;
    int runs;
    double tokens_per_s;             /* 0: has no tokens */
    double flops_per_s, bytes_per_s; /* 0: not counted */
    double read_share; /* bytes_per_s over the measured rate of reading main memory, above 1
                                   when caches serve; 0: not measured */
    double flop_share; /* flops_per_s over the measured rate of the units that do them (bf16 for a
                          training step of bf16, else f32); 0: not measured */
} minstrel_bench_row;
typedef void minstrel_bench_fn(void *data, const minstrel_bench_row *row);

/* Times "pool barrier" and "pool region", what threads cost that do nothing, and every op on the
 * case rows; filter: "pool", or part of an op's name, whose rows beyond the caches are timed, too;
 * NULL: all. */
minstrel_status minstrel_bench_ops(const char *filter, const minstrel_options *o,
                                   minstrel_bench_fn *fn, void *data, minstrel_error *err);
/* Times passes over a model with random weights or of a folder.  what: "forward": `tokens` tokens
 * with the loss of each, "prefill": the same as a prompt, "decode": one token behind them, "train":
 * a whole step. */
typedef struct {
    size_t size;
    const char *what;
    const char *preset; /* or */
    const char *model;  /* a folder */
    minstrel_shape shape;
    int batch, tokens, runs; /* default 1, 5 (train: the context), 20 */
    const char *dtype;       /* of matrix products when training, "f32" or "bf16"; NULL: f32 */
} minstrel_bench_options;
minstrel_bench_options minstrel_default_bench_options(void);
minstrel_status minstrel_bench(const minstrel_bench_options *b, const minstrel_options *o,
                               minstrel_bench_fn *fn, void *data, minstrel_error *err);

#ifdef __cplusplus
}
#endif

#endif
