/* train/step.c: loss and gradients of one batch with bounded memory. Gradient caching (Gao et al. 2021): the
 * contrastive loss needs all embeddings at once but the encoders do not. So: encode chunks without recording; compute
 * the loss and its gradient with respect to the embeddings on a tiny tape; encode each chunk again, recording, and
 * inject its rows of that gradient. When the batch is one chunk the first pass is recorded and nothing is computed
 * twice.
 *
 * Three tapes, because a backward pass consumes a whole tape: pictures, texts, loss. tensor/ and loss/ know nothing of
 * chunks. */
#include "train/train.h"

#include <string.h>

struct step {
    struct model *m;
    const struct loss_kind *loss;
    const void *loss_opt;
    struct step_opt opt;
    struct tape *image_tape, *text_tape, *loss_tape, *plain_tape;
    int64_t capacity;
    char *image, *text; /* [capacity, E] in the engine's real type */
};

int step_open(struct step **out, struct model *m, const struct loss_kind *loss, const void *loss_opt,
              const struct step_opt *opt)
{
    struct step *s = mem_calloc(1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    *s = (struct step){.m = m, .loss = loss, .loss_opt = loss_opt, .opt = *opt};
    struct tape_opt record = {.record = true, .low = opt->low}, plain = {.low = opt->low}, exact = {.record = true};
    int rc = params_want_grad(&m->params);
    if (rc == 0)
        rc = tape_open(&s->image_tape, m->engine, &record);
    if (rc == 0)
        rc = tape_open(&s->text_tape, m->engine, &record);
    if (rc == 0)
        rc = tape_open(&s->loss_tape, m->engine, &exact);
    if (rc == 0)
        rc = tape_open(&s->plain_tape, m->engine, &plain);
    if (rc < 0)
        step_close(&s);
    else
        *out = s;
    return rc;
}

void step_close(struct step **s)
{
    if (!*s)
        return;
    tape_close(&(*s)->image_tape);
    tape_close(&(*s)->text_tape);
    tape_close(&(*s)->loss_tape);
    tape_close(&(*s)->plain_tape);
    mem_free((*s)->image);
    mem_free((*s)->text);
    mem_free(*s);
    *s = NULL;
}

size_t step_peak_bytes(const struct step *s)
{
    return arena_peak(tape_arena(s->image_tape)) + arena_peak(tape_arena(s->text_tape)) +
           arena_peak(tape_arena(s->loss_tape)) + arena_peak(tape_arena(s->plain_tape));
}

static int reserve(struct step *s, int64_t n)
{
    if (n <= s->capacity)
        return 0;
    size_t bytes = (size_t)(n * s->m->embed) * dtype_size(s->m->engine->real);
    mem_free(s->image);
    mem_free(s->text);
    s->capacity = 0;
    s->image = mem_alloc(bytes);
    s->text = mem_alloc(bytes);
    if (!s->image || !s->text)
        return ERR_MEMORY;
    s->capacity = n;
    return 0;
}

/* The batch's pixels from row i on, in the engine's real type. */
static struct tensor *pixels_of(struct tape *t, const struct batch *b, int64_t i, int64_t n)
{
    int64_t each = b->channels * b->height * b->width;
    const float *data = b->pixels + i * each;
    if (tape_engine(t)->real == DT_F32)
        return t_input(t, SHAPE(n, b->channels, b->height, b->width), data);
    struct tensor *x = t_new(t, SHAPE(n, b->channels, b->height, b->width));
    if (x && dtype_convert(tape_engine(t)->real, x->data, DT_F32, data, (size_t)(n * each)) < 0)
        return NULL;
    return x;
}

static int encode(struct step *s, struct tape *image_tape, struct tape *text_tape, const struct batch *b, int64_t i,
                  int64_t n, struct tensor **image, struct tensor **text)
{
    tape_reset(image_tape);
    if (text_tape != image_tape)
        tape_reset(text_tape);
    *image = model_encode_image(s->m, pixels_of(image_tape, b, i, n));
    *text = model_encode_text(s->m, text_tape, b->ids + i * b->context, n, b->context);
    TRY(tape_status(image_tape));
    TRY(tape_status(text_tape));
    if (!*image || !*text)
        FAIL(ERR_MEMORY, "a training step ran out of memory; try a smaller --chunk");
    return 0;
}

static void keep(struct step *s, int64_t i, int64_t n, const struct tensor *image, const struct tensor *text)
{
    size_t row = (size_t)s->m->embed * dtype_size(s->m->engine->real);
    memcpy(s->image + (size_t)i * row, image->data, (size_t)n * row);
    memcpy(s->text + (size_t)i * row, text->data, (size_t)n * row);
}

static int loss_gradient(struct step *s, const struct batch *b, int64_t epoch, int64_t step, uint64_t seed,
                         double *loss, struct tensor **image, struct tensor **text)
{
    struct tape *t = s->loss_tape;
    tape_reset(t);
    *image = t_input_grad(t, SHAPE(b->n, s->m->embed), s->image);
    *text = t_input_grad(t, SHAPE(b->n, s->m->embed), s->text);
    struct pair_batch pairs = {.image = *image,
                               .text = *text,
                               .logit_scale = s->m->logit_scale,
                               .match = b->match,
                               .epoch = epoch,
                               .step = step,
                               .seed = seed};
    struct tensor *l = s->loss->build(&pairs, s->loss_opt);
    TRY(tape_status(t));
    if (!l)
        FAIL(ERR_MEMORY, "the loss of %lld pairs ran out of memory", (long long)b->n);
    TRY(tape_backward(l));
    *loss = t_value(l);
    return 0;
}

static int inject(struct step *s, struct tensor *image, struct tensor *text, const struct tensor *all_image,
                  const struct tensor *all_text, int64_t i)
{
    size_t row = (size_t)s->m->embed * dtype_size(s->m->engine->real);
    /* A loss that looks at one side alone leaves the other without a gradient. */
    if (all_image->grad)
        TRY(tape_backward_from(image, (const char *)all_image->grad + (size_t)i * row));
    if (all_text->grad)
        TRY(tape_backward_from(text, (const char *)all_text->grad + (size_t)i * row));
    return 0;
}

int step_run(struct step *s, const struct batch *b, int64_t epoch, int64_t step, uint64_t seed, double *loss)
{
    struct tensor *image, *text, *all_image, *all_text;
    int64_t chunk = s->opt.chunk > 0 && s->opt.chunk < b->n ? s->opt.chunk : b->n;
    TRY(reserve(s, b->n));
    if (chunk == b->n) {
        TRY(encode(s, s->image_tape, s->text_tape, b, 0, b->n, &image, &text));
        keep(s, 0, b->n, image, text);
        TRY(loss_gradient(s, b, epoch, step, seed, loss, &all_image, &all_text));
        return inject(s, image, text, all_image, all_text, 0);
    }
    for (int64_t i = 0; i < b->n; i += chunk) {
        int64_t n = b->n - i < chunk ? b->n - i : chunk;
        TRY(encode(s, s->plain_tape, s->plain_tape, b, i, n, &image, &text));
        keep(s, i, n, image, text);
    }
    TRY(loss_gradient(s, b, epoch, step, seed, loss, &all_image, &all_text));
    for (int64_t i = 0; i < b->n; i += chunk) {
        int64_t n = b->n - i < chunk ? b->n - i : chunk;
        TRY(encode(s, s->image_tape, s->text_tape, b, i, n, &image, &text));
        TRY(inject(s, image, text, all_image, all_text, i));
    }
    return 0;
}
