/* adapt/method_prolip.c: ProLIP's head after the fact (Chun et al. 2025): the mean is the frozen vector, the trunk
 * gives the log variance of each number, within bounds, as for PCME++; the sigmoid loss of pairs has the inner product
 * in place of the distance, of means at unit length as theirs are (at their own lengths the score stays below chance);
 * a divergence, and the inclusion of an item in its masked twin.
 *
 * Masked twins are the rows of another set (encoded with parts of pictures and texts hidden). Without one, a share of a
 * vector's numbers is set to the mean, others in each step: an imitation that costs no encoder and teaches less, for
 * a short vector is easily told from a long one.
 *
 * scale and shift start where they explain the frozen vectors, by a logistic regression of what belongs together in
 * batches of pairs. Rejected: the paper's 10 and -10, right for a billion pairs: here every pair of a batch, the wrong
 * ones by far, is judged a stranger at first, and some hundred steps do not move two numbers far; the variances then
 * learn from the right pairs alone. */
#include "adapt/adapter.h"

#include <math.h>
#include <string.h>

static const double INCLUSION_SCALE = 10;

struct own {
    double scale, shift;    /* where a fitting starts */
    const struct set *set;  /* while it is fitted, as the next */
    const float *masked[2]; /* [N,D] rows of the set's masked twin; NULL: imitated */
};

/* ---- the masked set ---- */

static int check_twin(const struct set *s, const struct set *m)
{
    if (m->width != s->width || m->image.n != s->image.n || m->text.n != s->text.n)
        FAIL(
            ERR_MISMATCH,
            "option --masked: set \"%s\" has %lld pictures and %lld texts of width %lld, expected those of set \"%s\": "
            "%lld, %lld and %lld",
            m->path, (long long)m->image.n, (long long)m->text.n, (long long)m->width, s->path, (long long)s->image.n,
            (long long)s->text.n, (long long)s->width);
    TRY_IN(set_check_fingerprint(m, s->model, s->fingerprint), "checking that --masked is of the same model");
    for (int side = 0; side < 2; side++) {
        const struct set_side *a = side == SIDE_TEXT ? &s->text : &s->image,
                              *b = side == SIDE_TEXT ? &m->text : &m->image;
        const char *const names[2] = {"id", side == SIDE_TEXT ? "id" : "path"}; /* captions differ, they are masked */
        int ia = -1, ib = -1;
        for (int k = 0; k < 2 && a->has_meta && b->has_meta && (ia < 0 || ib < 0); k++) {
            ia = table_col(&a->meta, names[k]);
            ib = table_col(&b->meta, names[k]);
        }
        for (int64_t i = 0; i < a->n && ia >= 0 && ib >= 0; i++)
            if (strcmp(table_cell(&a->meta, i, ia), table_cell(&b->meta, i, ib)))
                FAIL(ERR_MISMATCH, "option --masked: %s row %lld of set \"%s\" is \"%.80s\", expected \"%.80s\"",
                     side == SIDE_TEXT ? "text" : "image", (long long)i, m->path, table_cell(&b->meta, i, ib),
                     table_cell(&a->meta, i, ia));
    }
    return vectors_check(m);
}

static int keep_side(struct adapter *a, const struct set_side *side, int which)
{
    size_t n = (size_t)side->n * (size_t)a->d.width;
    float *x = arena_calloc(a->arena, n + 1, sizeof *x);
    if (!x)
        return ERR_MEMORY;
    memcpy(x, side->x, n * sizeof *x);
    ((struct own *)a->own)->masked[which] = x;
    return 0;
}

/* ---- where scale and shift start ---- */

enum { MOST_PAIRS = 2048, RIVALS = 31, ROUNDS = 30 };

/* Newton's method for sum of ln(1 + e^-z) over right pairs and ln(1 + e^z) over others, z = scale c + shift, and a
 * little of (scale - 10)^2, which decides where nothing else does. c [n]; every (RIVALS + 1)th is right. */
static void regress(struct own *p, const double *c, int64_t n)
{
    p->scale = 10;
    p->shift = -10;
    for (int turn = 0; turn < ROUNDS; turn++) {
        double g[2] = {1e-3 * (p->scale - 10), 1e-3 * (p->shift + 10)}, h[3] = {1e-3, 0, 1e-3};
        for (int64_t i = 0; i < n; i++) {
            double y = 1 / (1 + exp(-(p->scale * c[i] + p->shift))), e = y - (i % (RIVALS + 1) == 0), w = y * (1 - y);
            g[0] += e * c[i];
            g[1] += e;
            h[0] += w * c[i] * c[i];
            h[1] += w * c[i];
            h[2] += w;
        }
        double det = h[0] * h[2] - h[1] * h[1];
        if (!(det > 1e-12))
            break;
        /* at most 5 a turn: far off, the curvature of the tails is no guide */
        p->scale -= fmin(fmax((h[2] * g[0] - h[1] * g[1]) / det, -5), 5);
        p->shift -= fmin(fmax((h[0] * g[1] - h[1] * g[0]) / det, -5), 5);
    }
    p->scale = fmin(fmax(p->scale, 0.1), 1000); /* vectors that know nothing of their pairs */
    p->shift = fmin(fmax(p->shift, -1000), 1000);
}

static double cosine(const struct adapter *a, const struct set *s, int64_t image, int64_t text, void *x, void *y)
{
    int64_t d = a->d.width;
    double sum = 0, xx = 0, yy = 0;
    bool wide = a->engine->real == DT_F64;
    vectors_put(a, SIDE_IMAGE, s->image.x + image * d, x, 0);
    vectors_put(a, SIDE_TEXT, s->text.x + text * d, y, 0);
    for (int64_t j = 0; j < d; j++) {
        double u = wide ? ((double *)x)[j] : (double)((float *)x)[j];
        double v = wide ? ((double *)y)[j] : (double)((float *)y)[j];
        sum += u * v;
        xx += u * u;
        yy += v * v;
    }
    return xx > 0 && yy > 0 ? sum / (sqrt(xx) * sqrt(yy)) : 0;
}

static int start(struct adapter *a, const struct fit_in *in)
{
    const struct set *s = in->s;
    int64_t n = in->split->n_train < MOST_PAIRS ? in->split->n_train : MOST_PAIRS, d = a->d.width;
    double *c = mem_calloc((size_t)(n * (RIVALS + 1) + 2 * d), sizeof *c), *x = c + n * (RIVALS + 1), *y = x + d;
    if (!c)
        return ERR_MEMORY;
    struct rng r = rng_stream((uint64_t)in->o->seed, RNG_SAMPLE, 0, UINT64_MAX);
    for (int64_t i = 0; i < n; i++) {
        const struct set_pair *p =
            &in->split->train[n < in->split->n_train ? (int64_t)rng_below(&r, (uint64_t)in->split->n_train) : i];
        for (int k = 0; k <= RIVALS; k++) {
            const struct set_pair *q = k ? &in->split->train[rng_below(&r, (uint64_t)in->split->n_train)] : p;
            c[i * (RIVALS + 1) + k] = cosine(a, s, p->image, q->text, x, y);
        }
    }
    regress(a->own, c, n * (RIVALS + 1));
    mem_free(c);
    return 0;
}

static int plan(struct adapter *a, const struct fit_in *in)
{
    struct set *m = NULL;
    struct own *p = a->own = arena_calloc(a->arena, 1, sizeof *p);
    if (!p)
        return ERR_MEMORY;
    p->set = in->s;
    TRY(start(a, in));
    if (!in->o->masked)
        return 0;
    TRY_IN(set_open(&m, in->o->masked), "opening the set of --masked");
    int rc = check_twin(in->s, m);
    if (rc == 0)
        rc = keep_side(a, &m->image, SIDE_IMAGE);
    if (rc == 0)
        rc = keep_side(a, &m->text, SIDE_TEXT);
    set_close(&m);
    return rc;
}

static int bind(struct adapter *a)
{
    TRY(capsule_bind_trunk(a));
    return capsule_bind_match(a);
}

static void init(struct adapter *a, uint64_t seed)
{
    capsule_init(a, seed);
    const struct own *p = a->own;
    capsule_fill(a, &a->scale, log(p->scale)); /* its exponential is the factor */
    capsule_fill(a, &a->shift, p->shift);
}

/* ---- the objective ---- */

static void heads(const struct adapter *a, int side, struct tensor *x, struct tensor *hidden, struct tensor *keep,
                  struct ggd_side *g, struct tensor **log_var)
{
    *g = (struct ggd_side){.mean = x};
    *log_var = capsule_log_var(a, capsule_out(a, side, hidden, keep));
}

/* [n,D]: the twins of the batch's rows */
static struct tensor *twins(const struct adapter *a, int side, struct tensor *x, double share, struct rng *r)
{
    const struct own *p = a->own;
    struct tensor *y = t_new(x->tape, x->n_dims, x->shape);
    for (int64_t i = 0; y && i < x->shape[0]; i++)
        if (p->masked[side])
            vectors_put(a, side, p->masked[side] + a->row[side][i] * a->d.width, y->data, i);
        else
            for (int64_t k = i * a->d.width; k < (i + 1) * a->d.width; k++)
                t_put(y, k, rng_uniform(r) < share ? 0 : t_get(x, k));
    return y;
}

static struct tensor *loss(const struct adapter *a, const struct adapt_opt *o, struct tensor *const x[2],
                           struct tensor *const keep[2], struct rng *r)
{
    struct tensor *log_var[2], *wide[2], *inside = NULL;
    struct ggd_side g;
    if (!x[0] || !x[1])
        return NULL;
    struct tape *t = x[0]->tape;
    double d = (double)a->d.width, n = (double)x[0]->shape[0];
    for (int side = 0; side < 2; side++) {
        heads(a, side, x[side], capsule_hidden(a, side, x[side]), keep[side], &g, &log_var[side]);
        /* from N(0, 1/D), which is how unit vectors lie */
        wide[side] = pcme_divergence(t_scale(x[side], sqrt(d), 0), t_scale(log_var[side], 1, log(d)));
    }
    struct tensor *sum = prolip_loss(t_l2_normalize(x[0]), t_l2_normalize(x[1]), log_var[0], log_var[1],
                                     t_use(t, (struct tensor *)&a->scale), t_use(t, (struct tensor *)&a->shift),
                                     batch_shared(a, ((struct own *)a->own)->set, t, x[0]->shape[0]));
    sum = t_add(sum, t_scale(t_add(wide[0], wide[1]), o->vib / n, 0));
    for (int side = 0; side < 2 && o->inclusion > 0; side++) {
        struct tensor *y = twins(a, side, x[side], o->mask_share, r), *log_var_y;
        heads(a, side, y, capsule_hidden(a, side, y), keep[side], &g, &log_var_y);
        inside = prolip_inclusion_loss(x[side], log_var[side], y, log_var_y, INCLUSION_SCALE);
        sum = t_add(sum, t_scale(inside, o->inclusion, 0));
    }
    if (o->inclusion_pair > 0) {
        inside = prolip_inclusion_loss(x[0], log_var[0], x[1], log_var[1], INCLUSION_SCALE);
        sum = t_add(sum, t_scale(inside, o->inclusion_pair, 0));
    }
    return sum;
}

const struct method method_prolip = {
    .name = "prolip",
    .help = "Gaussians by the sigmoid loss of pairs, masked items wider (Chun et al. 2025)",
    .sides = 1u << SIDE_IMAGE | 1u << SIDE_TEXT,
    .whole = true,
    .fixed_mean = true,
    .plan = plan,
    .bind = bind,
    .init = init,
    .heads = heads,
    .loss = loss,
};
