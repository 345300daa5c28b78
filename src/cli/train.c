/* train - trains a model on text, or goes on with a run */
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static minstrel_train_options t;
static const char **data, **held_out;
static long long seed = -1, steps = -1, warmup = -1, decay = -1, eval_every = -1, save_every = -1,
                 sample_every = -1;

static struct poptOption table[] = {
    {"data", 0, POPT_ARG_ARGV, &data, 0,
     "text to train on: file, folder, .jsonl, .zst, token shard, - for standard input; may be "
     "repeated",
     "PATH"},
    {"val-data", 0, POPT_ARG_ARGV, &held_out, 0,
     "held-out text (default: the last part of the data)", "PATH"},
    {"val-fraction", 0, POPT_ARG_DOUBLE, &t.held_out_fraction, 0,
     "part that is held out (default 0.1)", "X"},
    {"out", 'o', POPT_ARG_STRING, &t.out, 0, "folder of the run", "RUN"},
    {"resume", 0, POPT_ARG_NONE, &t.resume, 0, "continue the run in --out bit for bit", NULL},
    {"preset", 0, POPT_ARG_STRING, &t.preset, 0,
     "original, gpt2, llama, smollm, mistral, qwen2, qwen3 or nano (default llama)", "NAME"},
    {"config", 0, POPT_ARG_STRING, &t.config, 0, "a config.json instead of a preset", "FILE"},
    {"init", 0, POPT_ARG_STRING, &t.init, 0,
     "fine-tune this model: a folder or a .gguf; --context may be shorter than its own", "MODEL"},
    {"initialise", 0, POPT_ARG_STRING, &t.initialise, 0,
     "xavier or normal (GPT-2's; default xavier)", "HOW"},
    {"tokenizer", 0, POPT_ARG_STRING, &t.tokenizer, 0,
     "bytes, chars, bpe:N (N tokens, learnt from the data) or a tokenizer.json (default bytes)",
     "KIND"},
    CLI_SHAPE,
    {"steps", 0, POPT_ARG_LONGLONG, &steps, 0, "optimizer steps (default 1000)", "N"},
    {"batch", 0, POPT_ARG_INT, &t.batch, 0, "sequences a micro-step (default 8)", "N"},
    {"accumulate", 0, POPT_ARG_INT, &t.accumulate, 0, "micro-steps a step (default 1)", "N"},
    {"lr", 0, POPT_ARG_DOUBLE, &t.lr, 0, "learning rate (default 1e-3)", "X"},
    {"min-lr", 0, POPT_ARG_DOUBLE, &t.min_lr, 0, "learning rate at the end (default lr / 10)", "X"},
    {"warmup", 0, POPT_ARG_LONGLONG, &warmup, 0, "steps of warm-up (default steps / 20)", "N"},
    {"schedule", 0, POPT_ARG_STRING, &t.schedule, 0,
     "constant, linear, cosine, rsqrt or wsd (default cosine)", "KIND"},
    {"decay", 0, POPT_ARG_LONGLONG, &decay, 0, "wsd: steps of decay at the end (default steps / 5)",
     "N"},
    {"weight-decay", 0, POPT_ARG_DOUBLE, &t.weight_decay, 0, "of matrices (default 0.1)", "X"},
    {"beta1", 0, POPT_ARG_DOUBLE, &t.beta1, 0, "AdamW (default 0.9)", "X"},
    {"beta2", 0, POPT_ARG_DOUBLE, &t.beta2, 0, "AdamW (default 0.95)", "X"},
    {"eps", 0, POPT_ARG_DOUBLE, &t.eps, 0, "AdamW (default 1e-8)", "X"},
    {"clip", 0, POPT_ARG_DOUBLE, &t.clip, 0, "largest gradient norm, 0: none (default 1)", "X"},
    {"dropout", 0, POPT_ARG_DOUBLE, &t.dropout, 0,
     "of embedding, branches and attention (default 0)", "P"},
    {"seed", 0, POPT_ARG_LONGLONG, &seed, 0,
     "of initial weights, data order and dropout (default 1)", "N"},
    {"recompute", 0, POPT_ARG_VAL, &t.recompute, 1,
     "keep only layer inputs: less memory, more time", NULL},
    {"dtype", 0, POPT_ARG_STRING, &t.dtype, 0,
     "of matrix products: f32, or bf16 (weights, sums and moments stay f32; default f32)", "TYPE"},
    {"eval-every", 0, POPT_ARG_LONGLONG, &eval_every, 0,
     "steps (default steps / 10), 0: at the end only", "N"},
    {"save-every", 0, POPT_ARG_LONGLONG, &save_every, 0,
     "steps (default steps / 5), 0: at the end only", "N"},
    {"sample-every", 0, POPT_ARG_LONGLONG, &sample_every, 0,
     "steps between samples of text (default as --eval-every), 0: none", "N"},
    {"sample-prompt", 0, POPT_ARG_STRING, &t.sample_prompt, 0, "what the samples go on from",
     "TEXT"},
    {"keep", 0, POPT_ARG_INT, &t.keep, 0, "checkpoints to keep (default 2)", "N"},
    CLI_COMMON};

static const char usage[] =
    "--data PATH... --out RUN [options]\n\n"
    "Prepares the data, trains, and writes RUN: config.json, model.safetensors, tokenizer.json, "
    "metrics.jsonl,\n"
    "checkpoints/.  Ctrl-C stops with a checkpoint; --resume goes on as if it had never "
    "stopped.\n\n"
    "Example: minstrel train --data book.txt --out runs/book --layers 6 --width 256 --steps 5000\n";

/* -- arguments ------------------------------------------------------------------------------- */

static int count(const char **list)
{
    int n = 0;

    while (list && list[n]) n++;
    return n;
}

/* What a number must not be when it is given; table: option, value, lowest. */
static int check_numbers(void)
{
    const struct {
        const char *name;
        double value, lowest;
    } number[] = {{"steps", (double)steps, 1},
                  {"batch", t.batch, 1},
                  {"accumulate", t.accumulate, 1},
                  {"lr", t.lr, 0},
                  {"min-lr", t.min_lr, 0},
                  {"warmup", (double)warmup, 0},
                  {"decay", (double)decay, 0},
                  {"weight-decay", t.weight_decay, 0},
                  {"beta1", t.beta1, 0},
                  {"beta2", t.beta2, 0},
                  {"eps", t.eps, 0},
                  {"clip", t.clip, 0},
                  {"dropout", t.dropout, 0},
                  {"seed", (double)seed, 1},
                  {"eval-every", (double)eval_every, 0},
                  {"save-every", (double)save_every, 0},
                  {"sample-every", (double)sample_every, 0},
                  {"keep", t.keep, 1}};

    for (size_t i = 0; i < sizeof number / sizeof *number; i++)
        if (number[i].value != -1 && !(number[i].value >= number[i].lowest))
            return cli_usage("--%s: expected at least %g, got %g", number[i].name, number[i].lowest,
                             number[i].value);
    return CLI_OK;
}

static int parse(int argc, const char **argv)
{
    int status;

    t = minstrel_default_train_options();
    status = cli_parse("train", usage, table, argc, argv, NULL);
    if (!status) status = check_numbers();
    if (status) return status;
    if (!t.out) return cli_usage("--out RUN is missing");
    if (!data && !t.resume) return cli_usage("--data PATH is missing");
    t.data = data;
    t.datas = count(data);
    t.held_out = held_out;
    t.held_outs = count(held_out);
    t.shape = cli_shape;
    t.seed = seed > 0 ? (uint64_t)seed : 0;
    t.steps = steps;
    t.warmup = warmup;
    t.decay = decay;
    t.eval_every = eval_every;
    t.save_every = save_every;
    t.sample_every = sample_every;
    return CLI_OK;
}

/* -- progress -------------------------------------------------------------------------------- */

static const char *time_left(double s, char out[32])
{
    if (s >= 3600)
        snprintf(out, 32, "%dh%02dm", (int)(s / 3600), (int)(s / 60) % 60);
    else
        snprintf(out, 32, "%dm%02ds", (int)(s / 60), (int)s % 60);
    return out;
}

static uint64_t tokens; /* trained on so far */

/* A terminal shows one line that changes; elsewhere a line comes every few seconds. */
static int on_step(void *unused, const minstrel_progress *p)
{
    static time_t last;
    char left[32];
    bool shown = cli_progress_shown();
    time_t now = time(NULL);

    (void)unused;
    tokens = p->tokens;
    if (cli_stop_asked()) return 1;
    if (cli_shared.quiet || (!shown && now - last < 5 && p->step != p->steps)) return 0;
    last = now;
    time_left(p->left_s, left);
    if (shown)
        cli_progress("step %lld/%lld  loss %.4f  %.0f tokens/s  %s left", (long long)p->step,
                     (long long)p->steps, p->loss, p->tokens_per_s, left);
    else
        fprintf(stderr, "step %lld/%lld  loss %.4f  %.0f tokens/s  %s left\n", (long long)p->step,
                (long long)p->steps, p->loss, p->tokens_per_s, left);
    return 0;
}

static double clock_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void print_result(long long done, const minstrel_evaluation *e, double seconds)
{
    bool held = isfinite(e->loss);

    if (cli_shared.json) {
        printf("{\"steps\":%lld,\"tokens\":%llu,", done, (unsigned long long)tokens);
        if (held)
            printf("\"held_out_loss\":%.6f,\"bits_per_byte\":%.6f,", e->loss, e->bits_per_byte);
        else
            printf("\"held_out_loss\":null,\"bits_per_byte\":null,");
        printf("\"seconds\":%.1f}\n", seconds);
        return;
    }
    printf("steps %lld  tokens %llu  ", done, (unsigned long long)tokens);
    if (held) printf("held-out loss %.4f  bits per byte %.4f  ", e->loss, e->bits_per_byte);
    printf("seconds %.1f\n", seconds);
}

int cli_train(int argc, const char **argv)
{
    minstrel_trainer *trainer = NULL;
    minstrel_evaluation e;
    minstrel_error err;
    minstrel_options o;
    double start = clock_s();
    long long done;
    int status = parse(argc, argv);

    if (status) return status;
    o = cli_options();
    cli_catch_signals();
    if (minstrel_trainer_new(&trainer, &t, &o, &err)) return cli_error(&err);
    status = minstrel_train(trainer, on_step, NULL, &e, &err) ? cli_error(&err) : CLI_OK;
    done = minstrel_trainer_step(trainer);
    minstrel_trainer_free(trainer);
    if (status) return status;
    cli_progress("%s", "");
    print_result(done, &e, clock_s() - start);
    return CLI_OK;
}
