/* train/step.c: loss and gradients of one batch with bounded memory. Gradient caching (Gao et al. 2021): the
 * contrastive loss needs all embeddings at once but the encoders do not. So: encode chunks without recording; compute
 * the loss and its gradient with respect to the embeddings on a tiny tape; encode each chunk again, recording, and
 * inject its rows of that gradient. When the batch is one chunk the first pass is recorded and nothing is computed
 * twice.
 *
 * Pictures pass in grains of a few rows, each recorded on a tape of its own: the activations and gradients of a grain's
 * layer stay in the processor's cache, where those of a whole batch do not (SPEED.md). Texts, the loss and the pass
 * without recording have one tape each, because a backward pass consumes a whole tape. tensor/ and loss/ know nothing
 * of chunks. */
#include "train/train.h"

#include <string.h>

struct grain {
    struct tape *tape;
    struct tensor *image; /* [n,E] */
    int64_t from, n;      /* rows of the batch */
};

struct step {
    struct model *m;
    const struct loss_kind *loss;
    const void *loss_opt;
    struct step_opt opt;
    struct tape *text_tape, *loss_tape, *plain_tape;
    struct grain *grains; /* of the chunk recorded last */
    int64_t n_grains, max_grains;
    struct tensor *texts; /* of the same chunk */
    int64_t capacity;
    char *image, *text; /* [capacity, E] in the engine's real type */
};

int step_open(struct step **out, struct model *m, const struct loss_kind *loss, const void *loss_opt,
              const struct step_opt *opt)
{
    TRY(model_check_space(m));
    struct step *s = mem_calloc(1, sizeof *s);
    if (!s)
        return ERR_MEMORY;
    *s = (struct step){.m = m, .loss = loss, .loss_opt = loss_opt, .opt = *opt};
    struct tape_opt record = {.record = true, .low = opt->low}, plain = {.low = opt->low}, exact = {.record = true};
    int rc = params_want_grad(&m->params);
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
    for (int64_t i = 0; i < (*s)->max_grains; i++)
        tape_close(&(*s)->grains[i].tape);
    mem_free((*s)->grains);
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
    size_t sum = arena_peak(tape_arena(s->text_tape)) + arena_peak(tape_arena(s->loss_tape)) +
                 arena_peak(tape_arena(s->plain_tape));
    for (int64_t i = 0; i < s->max_grains; i++)
        sum += arena_peak(tape_arena(s->grains[i].tape));
    return sum;
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

/* The rows of one encoding, from row `i` of the batch on, kept in `all` ([batch,E]: s->image or s->text). */
static int keep(const struct step *s, char *all, int64_t i, const struct tape *t, struct tensor *x, struct tensor **out)
{
    size_t number = dtype_size(s->m->engine->real);
    TRY(tape_status(t));
    if (!x)
        FAIL(ERR_MEMORY, "a training step ran out of memory; try a smaller --chunk");
    memcpy(all + (size_t)(i * s->m->embed) * number, x->data, (size_t)x->n * number);
    *out = x;
    return 0;
}

static int encode_images(struct step *s, struct tape *t, const struct batch *b, int64_t i, int64_t n,
                         struct tensor **out)
{
    tape_reset(t);
    const float *pixels = b->pixels + i * b->channels * b->height * b->width;
    return keep(s, s->image, i, t, model_encode_image(s->m, model_pixels(s->m, t, pixels, n)), out);
}

static int encode_texts(struct step *s, struct tape *t, const struct batch *b, int64_t i, int64_t n,
                        struct tensor **out)
{
    tape_reset(t);
    return keep(s, s->text, i, t, model_encode_text(s->m, t, b->ids + i * b->context, n, b->context), out);
}

static int reserve_grains(struct step *s, int64_t n)
{
    struct tape_opt record = {.record = true, .low = s->opt.low};
    if (n <= s->max_grains)
        return 0;
    struct grain *v = mem_grow(s->grains, (size_t)s->max_grains * sizeof *v, (size_t)n * sizeof *v);
    if (!v)
        return ERR_MEMORY;
    s->grains = v;
    while (s->max_grains < n) {
        struct grain g = {0};
        TRY(tape_open(&g.tape, s->m->engine, &record));
        s->grains[s->max_grains++] = g;
    }
    return 0;
}

/* The chunk [i, i + n) on tapes that a backward pass can follow. */
static int encode_recorded(struct step *s, const struct batch *b, int64_t i, int64_t n)
{
    s->n_grains = (n + MODEL_GRAIN - 1) / MODEL_GRAIN;
    TRY(reserve_grains(s, s->n_grains));
    for (int64_t k = 0; k < s->n_grains; k++) {
        struct grain *g = &s->grains[k];
        g->from = i + k * MODEL_GRAIN;
        g->n = i + n - g->from < MODEL_GRAIN ? i + n - g->from : MODEL_GRAIN;
        TRY(encode_images(s, g->tape, b, g->from, g->n, &g->image));
    }
    return encode_texts(s, s->text_tape, b, i, n, &s->texts);
}

static int encode_plain(struct step *s, const struct batch *b, int64_t i, int64_t n)
{
    struct tensor *x;
    for (int64_t at = i; at < i + n; at += MODEL_GRAIN)
        TRY(encode_images(s, s->plain_tape, b, at, i + n - at < MODEL_GRAIN ? i + n - at : MODEL_GRAIN, &x));
    return encode_texts(s, s->plain_tape, b, i, n, &x);
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
                               .logit_bias = s->m->logit_bias,
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

/* The gradient of the embeddings goes back through the chunk recorded last, whose first row is i. A loss that looks at
 * one side alone leaves the other without a gradient. */
static int inject(struct step *s, const struct tensor *image, const struct tensor *text, int64_t i)
{
    size_t row = (size_t)s->m->embed * dtype_size(s->m->engine->real);
    for (int64_t k = 0; image->grad && k < s->n_grains; k++)
        TRY(tape_backward_from(s->grains[k].image, (const char *)image->grad + (size_t)s->grains[k].from * row));
    if (text->grad)
        TRY(tape_backward_from(s->texts, (const char *)text->grad + (size_t)i * row));
    return 0;
}

int step_run(struct step *s, const struct batch *b, int64_t epoch, int64_t step, uint64_t seed, double *loss)
{
    struct tensor *image, *text;
    int64_t chunk = s->opt.chunk > 0 && s->opt.chunk < b->n ? s->opt.chunk : b->n;
    /* Statistics of a grain are not those of the batch, and a second pass would count them twice. */
    if (s->m->batch_statistics && (chunk < b->n || b->n > MODEL_GRAIN))
        FAIL(ERR_UNSUPPORTED,
             "batch statistics over %lld pictures in parts of %lld; expected one part of at most %d, or running "
             "statistics (model_train_mode)",
             (long long)b->n, (long long)(chunk < MODEL_GRAIN ? chunk : MODEL_GRAIN), MODEL_GRAIN);
    TRY(reserve(s, b->n));
    if (chunk == b->n)
        TRY(encode_recorded(s, b, 0, b->n));
    for (int64_t i = 0; chunk < b->n && i < b->n; i += chunk)
        TRY(encode_plain(s, b, i, b->n - i < chunk ? b->n - i : chunk));
    TRY(loss_gradient(s, b, epoch, step, seed, loss, &image, &text));
    if (chunk == b->n)
        return inject(s, image, text, 0);
    for (int64_t i = 0; i < b->n; i += chunk) {
        TRY(encode_recorded(s, b, i, b->n - i < chunk ? b->n - i : chunk));
        TRY(inject(s, image, text, i));
    }
    return 0;
}
