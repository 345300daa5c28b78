/* train - a program that trains a model with a loop of its own
 *
 *     train TEXT RUN [STEPS]
 *
 * RUN becomes a model folder, which `generate RUN` and transformers load. */
#include <minstrel.h>

#include <stdio.h>
#include <stdlib.h>

/* Steps until the run is done, with the held-out loss at every tenth part. */
static minstrel_status loop(minstrel_trainer *t, minstrel_error *err)
{
    minstrel_evaluation e;
    minstrel_progress p = {.steps = 1};

    while (p.step < p.steps) {
        minstrel_status status = minstrel_train_step(t, &p, err);

        if (status) return status;
        if (p.step % (p.steps / 10 + 1) != 0 && p.step < p.steps) continue;
        status = minstrel_evaluate(t, &e, err);
        if (status) return status;
        printf("step %lld: loss %.3f, held out %.3f (%.3f bits a byte), %.0f tokens/s\n",
               (long long)p.step, p.loss, e.loss, e.bits_per_byte, p.tokens_per_s);
    }
    return minstrel_save(t, err);
}

int main(int argc, char **argv)
{
    minstrel_options options = minstrel_default_options();
    minstrel_train_options o = minstrel_default_train_options();
    const char *data[1];
    minstrel_trainer *t = NULL;
    minstrel_error err;
    minstrel_status status;

    if (argc < 3) {
        fprintf(stderr, "usage: train TEXT RUN [STEPS]\n");
        return 2;
    }
    data[0] = argv[1];
    o.data = data;
    o.datas = 1;
    o.out = argv[2];
    o.preset = "llama";
    o.shape.layers = 2;
    o.shape.width = 64;
    o.shape.heads = 2;
    o.shape.context = 64;
    o.steps = argc > 3 ? atoll(argv[3]) : 200;
    status = minstrel_trainer_new(&t, &o, &options, &err);
    if (!status) status = loop(t, &err);
    if (status) fprintf(stderr, "train: %s %s\n", err.path, err.message);
    minstrel_trainer_free(t);
    return status ? 1 : 0;
}
