/* choose/select_typical.c: typical rows (Hacohen et al. 2022, "Active learning on a budget: opposite strategies suit
 * high and low budgets", TypiClust): the pool and what is labelled are cut into as many clusters as there will be
 * labels, and from the largest cluster without a label the row with the highest typicality is taken, 1 over its mean
 * distance to its twenty nearest rows of the cluster. With few labels, far rows are odd rows, and learning starts from
 * the usual ones.
 *
 * Clusters are k-means on the sphere (Dhillon and Modha 2001), started by k-centre, which needs no luck: a fixed number
 * of rounds. At most 500 clusters, as the authors have it; then clusters give more than one row. */
#include "choose/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 10, NEAREST = 20, CLUSTERS = 500, CHUNK = 256 };

struct typical {
    struct select_work *w;
    int64_t k;
    float *centre;                     /* [k,d] */
    int64_t *cluster, *size, *covered; /* [n] of each row; [k] rows, and labels among them */
    double *typicality;
};

/* The k-centre order of the pool, whatever is labelled, gives the first centres. */
static int start(struct typical *t)
{
    struct select_work *w = t->w;
    struct select_opt opt = *w->opt;
    struct select_in in = *w->in;
    struct select_row *rows = mem_calloc((size_t)t->k + 1, sizeof *rows);
    int64_t *place = mem_calloc((size_t)select_side(in.set, in.side)->n + 1, sizeof *place), n = 0;
    int rc = rows && place ? 0 : ERR_MEMORY;
    opt.strategy = SELECT_CORESET;
    opt.budget = t->k;
    in.n_labelled = 0;
    if (rc == 0)
        rc = select_rows(&in, &opt, rows, &n);
    for (int64_t i = 0; i < w->n && rc == 0; i++)
        place[in.pool[i]] = i;
    for (int64_t c = 0; c < n; c++)
        memcpy(t->centre + c * w->d, w->x + place[rows[c].row] * w->d, (size_t)w->d * sizeof(float));
    t->k = n;
    mem_free(rows);
    mem_free(place);
    return rc;
}

static int assign(struct typical *t)
{
    const struct select_work *w = t->w;
    float *s = mem_calloc((size_t)(CHUNK * t->k), sizeof *s);
    if (!s)
        return ERR_MEMORY;
    for (int64_t i = 0; i < w->n; i += CHUNK) {
        const int64_t m = w->n - i < CHUNK ? w->n - i : CHUNK;
        kernel_gemm_f32(false, true, m, t->k, w->d, 1, w->x + i * w->d, w->d, t->centre, w->d, 0, s, t->k);
        for (int64_t a = 0; a < m; a++) {
            int64_t best = 0;
            for (int64_t c = 1; c < t->k; c++)
                if (s[a * t->k + c] > s[a * t->k + best])
                    best = c;
            t->cluster[i + a] = best;
        }
    }
    mem_free(s);
    return signal_check();
}

/* Mean directions; an empty cluster keeps its centre. */
static int move(struct typical *t)
{
    const int64_t d = t->w->d;
    double *sum = mem_calloc((size_t)(t->k * d), sizeof *sum);
    if (!sum)
        return ERR_MEMORY;
    for (int64_t i = 0; i < t->w->n; i++)
        for (int64_t j = 0; j < d; j++)
            sum[t->cluster[i] * d + j] += (double)t->w->x[i * d + j];
    for (int64_t c = 0; c < t->k; c++) {
        double norm = 0;
        for (int64_t j = 0; j < d; j++)
            norm += sum[c * d + j] * sum[c * d + j];
        for (int64_t j = 0; j < d && norm > 1e-12; j++)
            t->centre[c * d + j] = (float)(sum[c * d + j] / sqrt(norm));
    }
    mem_free(sum);
    return 0;
}

/* Of the rows of one cluster: 1 / mean distance to the nearest others of it. */
static int measure(struct typical *t, int64_t c)
{
    const struct select_work *w = t->w;
    const int64_t n = t->size[c];
    int64_t *at = mem_calloc((size_t)n + 1, sizeof *at), m = 0;
    double *near = mem_calloc(NEAREST, sizeof *near);
    if (!at || !near) {
        mem_free(at);
        mem_free(near);
        return ERR_MEMORY;
    }
    for (int64_t i = 0; i < w->n; i++)
        if (t->cluster[i] == c)
            at[m++] = i;
    for (int64_t a = 0; a < m; a++) {
        int k = 0;
        for (int64_t b = 0; b < m; b++) {
            double dot = a == b ? 1 : space_dot(w->x + at[a] * w->d, w->x + at[b] * w->d, w->d);
            double v = sqrt(fmax(0, 2 - 2 * dot));
            if (a == b || (k == NEAREST && v >= near[k - 1]))
                continue;
            int p = k < NEAREST ? k++ : NEAREST - 1;
            for (; p > 0 && near[p - 1] > v; p--)
                near[p] = near[p - 1];
            near[p] = v;
        }
        double sum = 0;
        for (int p = 0; p < k; p++)
            sum += near[p];
        t->typicality[at[a]] = k > 0 ? (double)k / fmax(sum, 1e-12) : 0;
    }
    mem_free(at);
    mem_free(near);
    return signal_check();
}

/* Which clusters the labelled rows lie in. */
static int cover(struct typical *t)
{
    const struct select_in *in = t->w->in;
    const int64_t d = t->w->d;
    const float *x = select_side(in->set, in->side)->x;
    for (int64_t i = 0; i < in->n_labelled; i++) {
        int64_t best = 0;
        double top = -INFINITY;
        TRY(signal_check());
        for (int64_t c = 0; c < t->k; c++) {
            double v = space_dot(x + in->labelled[i] * d, t->centre + c * d, d);
            if (v > top) {
                top = v;
                best = c;
            }
        }
        t->covered[best]++;
    }
    return 0;
}

/* The most typical row of a cluster that is no copy of a chosen one; -1: none is left. */
static int64_t most_typical(const struct typical *t, int64_t c)
{
    int64_t best = -1;
    for (int64_t i = 0; i < t->w->n; i++)
        if (t->cluster[i] == c && !select_is_copy(t->w, i) && (best < 0 || t->typicality[i] > t->typicality[best]))
            best = i;
    return best;
}

/* Fewest labels first, then the largest. */
static int pick(struct typical *t)
{
    while (t->w->n_out < t->w->opt->budget) {
        int64_t c = -1;
        TRY(signal_check());
        for (int64_t k = 0; k < t->k; k++)
            if (t->size[k] > 0 &&
                (c < 0 || t->covered[k] < t->covered[c] || (t->covered[k] == t->covered[c] && t->size[k] > t->size[c])))
                c = k;
        if (c < 0)
            break; /* nothing but copies is left */
        int64_t i = most_typical(t, c);
        if (i >= 0)
            select_take(t->w, i, t->typicality[i]);
        t->covered[c]++;
        if (i < 0)
            t->size[c] = 0;
    }
    return 0;
}

static int work(struct typical *t)
{
    TRY(start(t));
    for (int r = 0; r < ROUNDS; r++) {
        TRY(assign(t));
        TRY(move(t));
    }
    TRY(assign(t));
    for (int64_t i = 0; i < t->w->n; i++)
        t->size[t->cluster[i]]++;
    for (int64_t c = 0; c < t->k; c++)
        TRY(measure(t, c));
    TRY(cover(t));
    return pick(t);
}

int select_typical(struct select_work *w)
{
    struct typical t = {.w = w, .k = w->opt->budget + w->in->n_labelled};
    t.k = t.k < CLUSTERS ? t.k : CLUSTERS;
    t.k = t.k < w->n ? t.k : w->n;
    t.centre = mem_calloc((size_t)(t.k * w->d), sizeof *t.centre);
    t.cluster = mem_calloc((size_t)w->n, sizeof *t.cluster);
    t.size = mem_calloc((size_t)t.k, sizeof *t.size);
    t.covered = mem_calloc((size_t)t.k, sizeof *t.covered);
    t.typicality = mem_calloc((size_t)w->n, sizeof *t.typicality);
    int rc = t.centre && t.cluster && t.size && t.covered && t.typicality ? work(&t) : ERR_MEMORY;
    mem_free(t.centre);
    mem_free(t.cluster);
    mem_free(t.size);
    mem_free(t.covered);
    mem_free(t.typicality);
    return rc;
}
