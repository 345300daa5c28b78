/* generate - a program that embeds Minstrel: continues a prompt and prints it as it comes
 *
 *     generate MODEL [PROMPT]
 *
 * Then the same model one token at a time, for a program that looks at the logits itself. */
#include <minstrel.h>

#include <stdio.h>
#include <string.h>

static int print_text(void *data, size_t prompt, const char *text, size_t text_bytes)
{
    (void)prompt;
    fwrite(text, 1, text_bytes, data);
    fflush(data);
    return ferror((FILE *)data); /* nobody reads any more: stop */
}

/* The likeliest next token of a prompt, by a session of our own. */
static minstrel_status print_next(minstrel_model *m, const char *prompt, size_t prompt_bytes,
                                  minstrel_error *err)
{
    minstrel_session *s = NULL;
    int32_t *ids = NULL, best = 0;
    char *text = NULL;
    size_t count;
    const float *logits;
    minstrel_status status = minstrel_session_new(&s, m, 0, err);

    if (!status) status = minstrel_encode(m, prompt, prompt_bytes, &ids, &count, err);
    if (!status) status = minstrel_session_append(s, ids, count, &logits, err);
    if (!status) {
        for (int i = 1; i < minstrel_model_shape(m).vocab; i++)
            if (logits[i] > logits[best]) best = i;
        status = minstrel_decode(m, &best, 1, &text, err);
    }
    if (!status) printf("The likeliest next token is %d, \"%s\".\n", (int)best, text);
    minstrel_text_free(text);
    minstrel_tokens_free(ids);
    minstrel_session_free(s);
    return status;
}

int main(int argc, char **argv)
{
    const char *prompt = argc > 2 ? argv[2] : "And ";
    minstrel_options options = minstrel_default_options();
    minstrel_generate_options g = minstrel_default_generate_options();
    minstrel_model *m = NULL;
    minstrel_text text = {0};
    minstrel_error err;
    minstrel_status status;
    size_t prompt_bytes;

    if (argc < 2) {
        fprintf(stderr, "usage: generate MODEL [PROMPT]\n");
        return 2;
    }
    prompt_bytes = strlen(prompt);
    status = minstrel_model_open(&m, argv[1], &options, &err);
    if (!status) {
        g.max_tokens = 100;
        g.temperature = 0.8f;
        g.on_text = print_text;
        g.data = stdout;
        printf("%s", prompt);
        status = minstrel_generate(m, prompt, &g, &text, &err);
    }
    if (!status) {
        printf("\n\n%zu tokens, log probability %.3f.\n", text.count, text.log_probability);
        minstrel_text_clear(&text);
        status = print_next(m, prompt, prompt_bytes, &err);
    }
    if (status) fprintf(stderr, "generate: %s\n", err.message);
    minstrel_model_free(m);
    return status ? 1 : 0;
}
