/* adapt/cosine.c: cosines of distributions, and what they leave open (BayesVLM's ProbCosine, arXiv 2412.06014).
 *
 * x and y independent, each with independent numbers of mean m and variance v, N(x) = E|x|^2 = sum m^2 + v:
 *   mean of the cosine     = sum m_x m_y / sqrt(N(x) N(y))
 *   variance of the cosine = sum ((m_x^2 + v_x) v_y + v_x m_y^2) / (N(x) N(y))
 * The numerators are exact for x.y; |x||y| is taken for the root of its mean square. A logit l of mean s m and variance
 * s^2 v goes into a softmax as l / sqrt(1 + pi v / 8) (MacKay 1992, the probit approximation): the less is known, the
 * flatter. Blocks of rows against all of the other side; three matrix products each. */
#include "adapt/cosine.h"
#include "adapt/adapter.h"

#include <math.h>

enum { BLOCK = 64 };

static const double PI = 3.14159265358979323846;

static const struct set_side *side_of(const struct set *s, int side)
{
    return side == SIDE_TEXT ? &s->text : &s->image;
}

int cloud_alloc(struct cloud *c, int64_t n, int64_t d)
{
    *c = (struct cloud){.n = n, .d = d, .mean = mem_calloc((size_t)n + 1, (size_t)(4 * d + 1) * sizeof(double))};
    if (!c->mean)
        return ERR_MEMORY;
    c->square = c->mean + n * d;
    c->var = c->square + n * d;
    c->second = c->var + n * d;
    c->norm = c->second + n * d;
    return 0;
}

void cloud_close(struct cloud *c)
{
    mem_free(c->mean);
    c->mean = NULL;
}

void cloud_settle(struct cloud *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        c->norm[i] = 0;
        for (int64_t k = i * c->d; k < (i + 1) * c->d; k++) {
            c->square[k] = c->mean[k] * c->mean[k];
            c->second[k] = c->square[k] + c->var[k];
            c->norm[i] += c->second[k];
        }
    }
}

void cloud_cosine(const struct cloud *x, int64_t i0, int64_t k, const struct cloud *y, double *mean, double *var)
{
    int64_t d = x->d, m = y->n, at = i0 * d;
    kernel_gemm_f64(false, true, k, m, d, 1, x->mean + at, d, y->mean, d, 0, mean, m);
    kernel_gemm_f64(false, true, k, m, d, 1, x->second + at, d, y->var, d, 0, var, m);
    kernel_gemm_f64(false, true, k, m, d, 1, x->var + at, d, y->square, d, 1, var, m);
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < m; j++) {
            double both = x->norm[i0 + i] * y->norm[j];
            mean[i * m + j] /= sqrt(both);
            var[i * m + j] /= both;
        }
}

void probit_softmax(int64_t m, double scale, double *mean, const double *var)
{
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < m; j++) {
        mean[j] = scale * mean[j] / sqrt(1 + PI * scale * scale * var[j] / 8);
        top = fmax(top, mean[j]);
    }
    for (int64_t j = 0; j < m; j++)
        sum += mean[j] = exp(mean[j] - top);
    for (int64_t j = 0; j < m; j++)
        mean[j] /= sum;
}

/* A side without distributions is a cloud of points. */
int cloud_open(struct cloud *c, struct adapter *a, const struct set *s, int side, const struct predict_opt *o)
{
    int64_t n = side_of(s, side)->n, d = s->width;
    const float *x = side_of(s, side)->x;
    TRY(cloud_alloc(c, n, d));
    if (!adapt_covers(a, side)) {
        for (int64_t i = 0; i < n; i++) {
            double length = sqrt(space_dot(x + i * d, x + i * d, d));
            for (int64_t j = 0; j < d; j++)
                c->mean[i * d + j] = length > 0 ? (double)x[i * d + j] / length : 0;
        }
        cloud_settle(c);
        return 0;
    }
    float *part = mem_calloc((size_t)n + 1, (size_t)(3 * d) * sizeof *part);
    double *scalar = mem_calloc((size_t)n + 1, sizeof *scalar);
    struct predict_more more = {.mean = part};
    int rc = part && scalar ? 0 : ERR_MEMORY;
    if (rc == 0) {
        more.scale = part + n * d;
        more.shape = more.scale + n * d;
        rc = adapt_predict(a, s, side, o, scalar, &more);
    }
    for (int64_t i = 0; i < n * d && rc == 0; i++) {
        c->mean[i] = (double)more.mean[i];
        c->var[i] = ggd_variance((double)more.scale[i], (double)more.shape[i]);
    }
    if (rc == 0)
        cloud_settle(c);
    mem_free(part);
    mem_free(scalar);
    return rc;
}

double adapt_scale(const struct set *s)
{
    return s->logit_scale > 0 ? s->logit_scale : 100;
}

static int score(const struct cloud *x, const struct cloud *y, double scale, double *entropy, double *doubt)
{
    int64_t m = y->n;
    int rc = 0;
    double *p = mem_calloc((size_t)m + 1, 2 * BLOCK * sizeof *p);
    if (!p)
        return ERR_MEMORY;
    double *var = p + BLOCK * m;
    for (int64_t i0 = 0; i0 < x->n && rc == 0; i0 += BLOCK) {
        int64_t k = x->n - i0 < BLOCK ? x->n - i0 : BLOCK;
        rc = signal_check();
        cloud_cosine(x, i0, k, y, p, var);
        for (int64_t i = 0; i < k; i++) {
            double sum = 0, top = 0;
            probit_softmax(m, scale, p + i * m, var + i * m);
            for (int64_t j = 0; j < m; j++) {
                double v = p[i * m + j];
                sum -= v > 0 ? v * log(v) : 0;
                top = fmax(top, v);
            }
            if (entropy)
                entropy[i0 + i] = sum;
            if (doubt)
                doubt[i0 + i] = 1 - top;
        }
    }
    mem_free(p);
    return rc;
}

int adapt_probit(struct adapter *a, const struct set *s, int side, const struct predict_opt *o, double *entropy,
                 double *doubt)
{
    struct cloud x = {0}, y = {0};
    TRY(adapter_check_set(a, s, -1, o->force));
    TRY(vectors_check(s));
    if (side_of(s, !side)->n == 0)
        FAIL(ERR_DATA, "set \"%s\" has no %s: there is nothing to tell apart", s->path,
             side == SIDE_TEXT ? "pictures" : "texts");
    int rc = cloud_open(&x, a, s, side, o);
    if (rc == 0)
        rc = cloud_open(&y, a, s, !side, o);
    if (rc == 0)
        rc = score(&x, &y, adapt_scale(s), entropy, doubt);
    cloud_close(&x);
    cloud_close(&y);
    return rc;
}
