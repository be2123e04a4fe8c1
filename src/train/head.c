/* train/head.c: heads over saved vectors, for people without weights or a fast machine: a map for each side, trained by
 * any registered pair loss on the pairs of a set in seconds.
 *
 *   linear   y = W u + b                           W = I, b = 0 at the start
 *   mlp      y = u + W2 gelu(W1 u + b1) + b2       W2 = 0, b2 = 0 at the start
 *   z = y / |y|,  u the unit vector of the set
 *
 * At the start z = u, so that training can only leave what the encoder knows where the pairs ask for it (Couairon et
 * al. 2022, "Embedding arithmetic of multimodal queries", train such adapters over CLIP; the identity at the start is
 * what residual adapters do, Gao et al. 2021, "CLIP-Adapter"). W - I is what is decayed: a prior at the encoder's own
 * space (as L2-SP, Li et al. 2018), where decay of W itself would pull to nothing.
 *
 * Batches have one size and a fixed order of pairs by seed and epoch; a text that fits several pictures of a batch
 * counts for all of them (pair_batch.match). A run takes seconds: no checkpoints. Rejected: a learned temperature,
 * which a loss with its own temperature, chosen on validation pairs, makes needless for a few hundred pairs. */
#include "train/head.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256 };

/* ---- parameters ---- */

#define AT(field) offsetof(struct head_side, field)
static const struct param_row linear_rows[] = {
    {"weight", AT(map.w), "DD", INIT_ZERO},
    {"bias", AT(map.b), "D", INIT_ZERO},
};
static const struct param_row mlp_rows[] = {
    {"fc1.weight", AT(in.w), "HD", INIT_FAN_IN},
    {"fc1.bias", AT(in.b), "H", INIT_ZERO},
    {"fc2.weight", AT(back.w), "DH", INIT_ZERO},
    {"fc2.bias", AT(back.b), "D", INIT_ZERO},
};
#undef AT
static const char *const prefixes[2] = {"image.", "text."};

static int bind(struct head *h)
{
    const struct param_sizes sizes = {
        .letters = "DH", .sizes = {h->d.width, h->d.hidden}, .width = h->d.width, .layers = 1};
    for (int side = 0; side < 2; side++) {
        struct head_side *s = &h->side[side];
        s->map.has_bias = s->in.has_bias = s->back.has_bias = true;
        TRY(params_bind(&h->params, h->arena, h->d.mlp ? mlp_rows : linear_rows,
                        h->d.mlp ? (int)ARRAY_LEN(mlp_rows) : (int)ARRAY_LEN(linear_rows), s, prefixes[side], &sizes));
    }
    return 0;
}

int head_bind(struct head **out, const struct head_design *d, const struct engine *e, const struct weight_files *w)
{
    struct arena *arena;
    TRY(arena_open(&arena, "head"));
    struct head *h = arena_calloc(arena, 1, sizeof *h);
    if (!h) {
        arena_close(&arena);
        return ERR_MEMORY;
    }
    h->arena = arena;
    h->d = *d;
    if (h->d.hidden == 0)
        h->d.hidden = d->width;
    h->engine = e;
    h->model = h->fingerprint = "";
    int rc = bind(h);
    if (rc == 0 && w)
        rc = params_check(&h->params, w);
    if (rc == 0)
        rc = params_allocate(&h->params, e->real);
    if (rc == 0 && w)
        rc = params_load(&h->params, w, false);
    if (rc < 0)
        head_close(&h);
    else
        *out = h;
    return rc;
}

int head_make(struct head **h, const struct head_design *d, const struct engine *e, uint64_t seed)
{
    const int64_t most = limit_get(LIMIT_WIDTH); /* what is written must open again */
    if (d->width < 1 || d->width > most || d->hidden < 0 || d->hidden > most)
        FAIL(ERR_USAGE, "a head of width %lld with %lld hidden units: expected at most %lld (limit width)",
             (long long)d->width, (long long)d->hidden, (long long)most);
    TRY(head_bind(h, d, e, NULL));
    params_init(&(*h)->params, seed);
    return 0;
}

void head_close(struct head **h)
{
    if (!*h)
        return;
    params_free(&(*h)->params);
    struct arena *arena = (*h)->arena;
    *h = NULL;
    arena_close(&arena);
}

const struct head_design *head_design(const struct head *h)
{
    return &h->d;
}

void head_shift(struct head *h, double v)
{
    for (int side = 0; side < 2 && !h->d.mlp; side++) {
        struct tensor *w = &h->side[side].map.w;
        for (int64_t i = 0; i < h->d.width; i++) {
            int64_t at = i * h->d.width + i;
            if (h->params.real == DT_F64)
                ((double *)w->data)[at] += v;
            else
                ((float *)w->data)[at] = (float)((double)((float *)w->data)[at] + v);
        }
    }
}

/* ---- forward ---- */

/* u [n,D] unit rows -> [n,D] */
static struct tensor *forward(const struct head *h, int side, struct tensor *u)
{
    struct head_side *s = (struct head_side *)&h->side[side];
    struct tensor *y = h->d.mlp ? t_linear(t_linear_act(u, &s->in, ACT_GELU), &s->back) : t_linear(u, &s->map);
    return t_l2_normalize(t_add(u, y));
}

/* Row of x times inverse, in the engine's numbers. */
static void put_row(const struct head *h, const float *x, double inverse, void *out, int64_t at)
{
    const int64_t d = h->d.width;
    for (int64_t j = 0; j < d; j++) {
        if (h->params.real == DT_F64)
            ((double *)out)[at * d + j] = (double)x[j] * inverse;
        else
            ((float *)out)[at * d + j] = (float)((double)x[j] * inverse);
    }
}

static int apply_block(const struct head *h, struct tape *t, int side, const float *x, const double *inverse, int64_t n,
                       void *u, float *out)
{
    const int64_t d = h->d.width;
    for (int64_t i = 0; i < n; i++)
        put_row(h, x + i * d, inverse[i], u, i);
    tape_reset(t);
    struct tensor *z = forward(h, side, t_input(t, SHAPE(n, d), u));
    TRY(tape_status(t));
    return dtype_convert(DT_F32, out, h->params.real, z->data, (size_t)(n * d));
}

/* Finite weights may be so large that what they make is not. */
static int check_rows(const float *x, int64_t first, int64_t n, int64_t d)
{
    for (int64_t i = 0; i < n * d; i++)
        if (!isfinite(x[i]))
            FAIL(ERR_NONFINITE,
                 "row %lld is not finite behind the heads: their training diverged or their weights are damaged; train "
                 "them again",
                 (long long)(first + i / d));
    return 0;
}

int head_apply(const struct head *h, int side, const float *x, int64_t n, float *out)
{
    const int64_t d = h->d.width;
    struct tape *t = NULL;
    double *inverse = mem_calloc((size_t)n + 1, sizeof *inverse);
    void *u = mem_calloc((size_t)(BLOCK * d), dtype_size(h->params.real));
    int rc = inverse && u ? tape_open(&t, h->engine, &(struct tape_opt){.record = false}) : ERR_MEMORY;
    if (rc == 0)
        rc = space_inverse_norms(x, n, d, inverse, NULL);
    for (int64_t i = 0; i < n && rc == 0; i += BLOCK) {
        const int64_t rows = n - i < BLOCK ? n - i : BLOCK;
        rc = signal_check();
        if (rc == 0)
            rc = apply_block(h, t, side, x + i * d, inverse + i, rows, u, out + i * d);
        if (rc == 0)
            rc = check_rows(out + i * d, i, rows, d);
    }
    tape_close(&t);
    mem_free(u);
    mem_free(inverse);
    return rc;
}

/* ---- training ---- */

struct fitting {
    const struct head_job *job;
    struct head *h;
    struct tape *tape;
    struct optimizer adam;
    int64_t batch, steps, total, *order;
    double *inverse[2]; /* 1 / length of each row of the set that is trained on */
    void *u[2], *best;
    uint8_t *match;        /* [batch,batch] */
    int64_t *place, *next; /* [texts] 1 + where a text stands in the batch, 0: nowhere; [batch] where else */
    double best_score;
};

/* First of the set's pairs of a picture. */
static int64_t pairs_from(const struct set *s, int64_t image)
{
    int64_t lo = 0, hi = s->n_pairs;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (s->pairs[mid].image < image)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Known pairs within the batch: a picture's texts are looked up among the batch's, each of which may stand there more
 * than once (next). */
static void fill_match(struct fitting *f, const int64_t *order)
{
    const struct set *s = f->job->set;
    const struct set_pair *p = f->job->pairs;
    memset(f->match, 0, (size_t)(f->batch * f->batch));
    for (int64_t j = 0; j < f->batch; j++) {
        f->next[j] = f->place[p[order[j]].text];
        f->place[p[order[j]].text] = j + 1;
    }
    for (int64_t i = 0; i < f->batch; i++) {
        const int64_t image = p[order[i]].image;
        f->match[i * f->batch + i] = 1;
        for (int64_t k = pairs_from(s, image); k < s->n_pairs && s->pairs[k].image == image; k++)
            for (int64_t j = f->place[s->pairs[k].text]; j > 0; j = f->next[j - 1])
                f->match[i * f->batch + j - 1] = 1;
    }
    for (int64_t j = 0; j < f->batch; j++)
        f->place[p[order[j]].text] = 0;
}

static int one_step(struct fitting *f, const int64_t *order, int64_t epoch, int64_t step, double *loss)
{
    const struct head_job *job = f->job;
    const struct train_opt *o = job->opt;
    struct head *h = f->h;
    const int64_t d = h->d.width;
    struct tensor *z[2];
    TRY(signal_check());
    tape_reset(f->tape);
    params_zero_grad(&h->params);
    for (int side = 0; side < 2; side++) {
        const float *x = side ? job->set->text.x : job->set->image.x;
        for (int64_t i = 0; i < f->batch; i++) {
            const struct set_pair *p = &job->pairs[order[i]];
            int64_t row = side ? p->text : p->image;
            put_row(h, x + row * d, f->inverse[side][row], f->u[side], i);
        }
        z[side] = forward(h, side, t_input(f->tape, SHAPE(f->batch, d), f->u[side]));
    }
    fill_match(f, order);
    struct pair_batch b = {
        .image = z[0], .text = z[1], .match = f->match, .epoch = epoch, .step = step, .seed = (uint64_t)o->seed};
    struct tensor *l = job->loss->build(&b, job->loss_opt);
    TRY(tape_status(f->tape));
    TRY(tape_backward(l));
    *loss = t_value(l);
    double norm = sqrt(h->engine->sum_squares(h->engine, h->params.grad, h->params.n_slab));
    if (!isfinite(*loss) || !isfinite(norm))
        FAIL(ERR_NONFINITE, "step %lld: the loss is %g, its gradient's norm %g; take a smaller --lr", (long long)step,
             *loss, norm);
    struct optimizer_opt adam = {o->beta1, o->beta2, o->eps, o->weight_decay};
    optimizer_step(&f->adam, h->engine, &h->params, &adam,
                   o->lr * schedule_cosine(step, o->warmup, f->total, o->final_lr),
                   o->clip_norm > 0 && norm > o->clip_norm ? o->clip_norm / norm : 1);
    return 0;
}

static bool is_judged(const struct fitting *f, int64_t epoch, int64_t step)
{
    const int64_t every = f->job->judge_every > 0 ? f->job->judge_every : 1;
    return epoch < 0 || (epoch + 1) % every == 0 || step >= f->total;
}

/* The judge's word, the best weights, a line of the log. */
static int end_epoch(struct fitting *f, int64_t epoch, int64_t step, double loss, struct train_result *out)
{
    const struct params *p = &f->h->params;
    double score = NAN;
    json_t *event = json_pack("{s:s, s:I, s:I, s:o}", "event", "epoch", "epoch", (json_int_t)epoch, "step",
                              (json_int_t)step, "loss", json_number(loss));
    int rc = event ? 0 : err_set(ERR_MEMORY, "no memory for a progress event");
    if (rc == 0 && f->job->judge && is_judged(f, epoch, step))
        rc = f->job->judge(f->job->ctx, f->h, epoch, event, &score);
    if (rc == 0 && f->job->log) {
        rc = str_add_json(f->job->log, event, JSON_REAL_PRECISION(9));
        str_add_c(f->job->log, '\n');
    }
    json_decref(event);
    if (rc == 0 && isfinite(score) && !(score <= f->best_score)) {
        f->best_score = score;
        out->best = score;
        out->best_epoch = epoch;
        memcpy(f->best, p->data, (size_t)p->n_slab * dtype_size(p->real));
    }
    return rc;
}

static int loop(struct fitting *f, struct train_result *out)
{
    const struct train_opt *o = f->job->opt;
    struct progress *bar = NULL;
    int64_t done = 0;
    if (!f->job->quiet)
        TRY(progress_open(&bar, "train", f->total, "steps"));
    int rc = end_epoch(f, -1, 0, NAN, out);
    for (int64_t epoch = 0; epoch < o->epochs && done < f->total && rc == 0; epoch++) {
        struct rng r = rng_stream((uint64_t)o->seed, RNG_SHUFFLE, (uint32_t)epoch, 0);
        double sum = 0;
        int64_t k = 0;
        for (int64_t i = 0; i < f->job->n_pairs; i++)
            f->order[i] = i;
        rng_shuffle(&r, f->order, f->job->n_pairs);
        for (; k < f->steps && done < f->total && rc == 0; k++, done++) {
            double loss = 0;
            rc = one_step(f, f->order + k * f->batch, epoch, done, &loss);
            sum += loss;
            progress_add(bar, 1);
        }
        out->final_loss = k > 0 ? sum / (double)k : (double)NAN;
        progress_note(bar, "epoch %lld  loss %.4f", (long long)epoch, out->final_loss);
        if (rc == 0)
            rc = end_epoch(f, epoch, done, out->final_loss, out);
    }
    progress_close(&bar);
    out->steps = done;
    if (rc == 0 && isfinite(out->best) && strcmp(o->keep, "last"))
        memcpy(f->h->params.data, f->best, (size_t)f->h->params.n_slab * dtype_size(f->h->params.real));
    return rc;
}

/* Only the rows that are trained on are looked at: others may be anything. */
static int measure_rows(struct fitting *f, int side)
{
    const struct set *s = f->job->set;
    const int64_t n = side ? s->text.n : s->image.n, d = s->width;
    f->inverse[side] = mem_calloc((size_t)n + 1, sizeof(double));
    if (!f->inverse[side])
        return ERR_MEMORY;
    for (int64_t k = 0; k < f->job->n_pairs; k++) {
        int64_t row = side ? f->job->pairs[k].text : f->job->pairs[k].image;
        if (row < 0 || row >= n)
            FAIL(ERR_DATA, "set \"%s\": pair %lld names %s row %lld, expected 0 to %lld", s->path, (long long)k,
                 side ? "text" : "image", (long long)row, (long long)n - 1);
        if (space_inverse_norms((side ? s->text.x : s->image.x) + row * d, 1, d, &f->inverse[side][row], NULL) < 0)
            FAIL(ERR_NONFINITE, "set \"%s\": %s row %lld is zero or not finite, and has no direction", s->path,
                 side ? "text" : "image", (long long)row);
    }
    return 0;
}

static int open_fitting(struct fitting *f)
{
    const struct head_job *job = f->job;
    const int64_t n = job->n_pairs, wanted = job->opt->batch;
    const size_t real = dtype_size(f->h->params.real);
    if (n < 2)
        FAIL(ERR_USAGE, "%lld pairs of set \"%s\" to train on, expected at least 2: a pair is learned from the others",
             (long long)n, job->set->path);
    f->steps = (n + wanted - 1) / wanted; /* batches of one size, at most the wanted one */
    f->batch = n / f->steps;
    if (f->batch < 2) {
        f->batch = 2;
        f->steps = n / 2;
    }
    f->total = f->steps * job->opt->epochs;
    if (job->opt->max_steps > 0 && job->opt->max_steps < f->total)
        f->total = job->opt->max_steps;
    TRY(measure_rows(f, 0));
    TRY(measure_rows(f, 1));
    TRY(params_want_grad(&f->h->params));
    TRY(optimizer_open(&f->adam, &f->h->params));
    TRY(tape_open(&f->tape, f->h->engine, &(struct tape_opt){.record = true}));
    f->u[0] = mem_calloc((size_t)(f->batch * f->h->d.width), real);
    f->u[1] = mem_calloc((size_t)(f->batch * f->h->d.width), real);
    f->order = mem_calloc((size_t)n, sizeof *f->order);
    f->match = mem_calloc((size_t)f->batch, (size_t)f->batch);
    f->place = mem_calloc((size_t)job->set->text.n + 1, sizeof *f->place);
    f->next = mem_calloc((size_t)f->batch, sizeof *f->next);
    f->best = mem_calloc((size_t)f->h->params.n_slab, real);
    return f->u[0] && f->u[1] && f->order && f->match && f->place && f->next && f->best ? 0 : ERR_MEMORY;
}

int head_fit(const struct head_job *job, struct train_result *out)
{
    struct fitting f = {.job = job, .h = job->head, .best_score = NAN};
    double began = clock_seconds();
    *out = (struct train_result){.final_loss = NAN, .best = NAN, .best_epoch = -1};
    TRY(head_check_set(job->head, job->set, true));
    int rc = open_fitting(&f);
    if (rc == 0)
        rc = loop(&f, out);
    double seconds = clock_seconds() - began;
    out->pairs_per_second = seconds > 0 ? (double)(out->steps * f.batch) / seconds : 0;
    out->interrupted = rc == ERR_INTERRUPTED;
    tape_close(&f.tape);
    optimizer_close(&f.adam);
    for (int side = 0; side < 2; side++) {
        mem_free(f.inverse[side]);
        mem_free(f.u[side]);
    }
    mem_free(f.order);
    mem_free(f.match);
    mem_free(f.place);
    mem_free(f.next);
    mem_free(f.best);
    return rc;
}
