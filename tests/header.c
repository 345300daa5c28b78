/* header - minstrel.h compiles alone, as C99, C11 and C++; its example is real */
#include "minstrel.h"

#include <stdio.h>

static int print_text(void *data, size_t prompt, const char *text, size_t text_bytes)
{
    (void)data;
    (void)prompt;
    return fwrite(text, 1, text_bytes, stdout) != text_bytes;
}

int main(void)
{
    minstrel_error err;
    minstrel_options o = minstrel_default_options();
    minstrel_model *m = NULL;
    minstrel_generate_options g = minstrel_default_generate_options();

    if (minstrel_model_open(&m, "run", &o, &err)) {
        puts(err.message);
        return 1;
    }
    g.on_text = print_text;
    if (minstrel_generate(m, "In the beginning", &g, NULL, &err)) puts(err.message);
    minstrel_model_free(m);
    return 0;
}
