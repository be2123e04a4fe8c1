/* What stands around a query and around a gallery item: running sums over queries for each item, nearest neighbours,
 * and the distance to a cloud.
 *
 * A score that knows how the OTHER queries like an item needs one number an item: ln sum over queries of exp(s / tau)
 * for the softmax over queries (inverted softmax, Smith et al. 2017; dual softmax, Cheng et al. 2021), the mean of the
 * ten largest for CSLS (Conneau et al. 2018), a count for hubness (Radovanovic et al. 2010). All three are gathered
 * while rows of cosines pass by, so a matrix never exists: memory is 12 numbers an item. Rejected: the median instead
 * of the mean of the ten (no gain on the fashion pairs), an approximate neighbour index (exact is fast enough here). */
#include "eval/uncertainty.h"

#include "kernel/kernel.h"

#include <math.h>
#include <string.h>

#define SHRINK 0.1

int columns_open(struct columns *c, int64_t m, bool with_near)
{
    *c = (struct columns){.m = m};
    c->top = mem_calloc((size_t)m + 1, sizeof *c->top);
    c->sum = mem_calloc((size_t)m + 1, sizeof *c->sum);
    if (with_near) {
        c->best = mem_calloc((size_t)(m * UNC_NEAR) + 1, sizeof *c->best);
        c->hub = mem_calloc((size_t)m + 1, sizeof *c->hub);
    }
    if (!c->top || !c->sum || (with_near && (!c->best || !c->hub))) {
        columns_close(c);
        return ERR_MEMORY;
    }
    for (int64_t j = 0; j < m; j++)
        c->top[j] = -INFINITY;
    return 0;
}

void columns_close(struct columns *c)
{
    mem_free(c->top);
    mem_free(c->sum);
    mem_free(c->best);
    mem_free(c->hub);
    *c = (struct columns){0};
}

/* Keeps the largest UNC_NEAR of what has passed; v [UNC_NEAR], smallest first. */
static void keep_near(double *v, int64_t n, double s)
{
    if (n < UNC_NEAR) {
        v[n] = s;
        if (n + 1 < UNC_NEAR)
            return;
        for (int k = 0; k < UNC_NEAR; k++) /* the smallest to the front */
            if (v[k] < v[0]) {
                double t = v[k];
                v[k] = v[0];
                v[0] = t;
            }
        return;
    }
    if (s <= v[0])
        return;
    v[0] = s;
    int low = 0;
    for (int k = 1; k < UNC_NEAR; k++)
        low = v[k] < v[low] ? k : low;
    v[0] = v[low];
    v[low] = s;
}

void columns_add(struct columns *c, const double *s, double tau)
{
    int64_t near[UNC_NEAR];
    double value[UNC_NEAR];
    for (int64_t j = 0; j < c->m; j++) {
        double x = s[j] / tau;
        if (x > c->top[j]) {
            c->sum[j] = c->sum[j] * exp(c->top[j] - x) + 1;
            c->top[j] = x;
        } else {
            c->sum[j] += exp(x - c->top[j]);
        }
    }
    for (int64_t j = 0; c->best && j < c->m; j++)
        keep_near(c->best + j * UNC_NEAR, c->n, s[j]);
    for (int64_t k = 0, n = c->hub ? top_k(s, c->m, UNC_NEAR, NULL, -1, value, near) : 0; k < n; k++)
        c->hub[near[k]]++;
    c->n++;
}

double columns_lse(const struct columns *c, int64_t j)
{
    return c->n ? c->top[j] + log(c->sum[j]) : (double)-INFINITY;
}

double columns_near(const struct columns *c, int64_t j)
{
    int64_t n = c->n < UNC_NEAR ? c->n : UNC_NEAR;
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += c->best[j * UNC_NEAR + k];
    return n ? sum / (double)n : 0;
}

int64_t top_k(const double *s, int64_t n, int64_t k, const uint8_t *keep, int64_t but, double *value, int64_t *index)
{
    int64_t found = 0;
    for (int64_t j = 0; j < n; j++) {
        if ((found == k && !(s[j] > value[k - 1])) || (keep && !keep[j]) || j == but)
            continue;
        int64_t at = found < k ? found++ : k - 1;
        for (; at > 0 && value[at - 1] < s[j]; at--) {
            value[at] = value[at - 1];
            if (index)
                index[at] = index[at - 1];
        }
        value[at] = s[j];
        if (index)
            index[at] = j;
    }
    return found;
}

/* ---- distance to a cloud ---- */

int mahalanobis_open(struct mahalanobis *m, const float *x, int64_t n, int64_t d)
{
    double trace = 0;
    *m = (struct mahalanobis){.d = d};
    m->mean = mem_calloc((size_t)d + 1, sizeof *m->mean);
    m->factor = mem_calloc((size_t)(d * d) + 1, sizeof *m->factor);
    int rc = m->mean && m->factor ? space_scatter(x, n, d, m->mean, m->factor) : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < d; i++)
        trace += m->factor[i * d + i] / (double)n;
    for (int64_t i = 0; rc == 0 && i < d * d; i++)
        m->factor[i] *= (1 - SHRINK) / (double)n;
    for (int64_t i = 0; rc == 0 && i < d; i++) /* all rows equal: a ball */
        m->factor[i * d + i] += trace > 1e-12 ? SHRINK * trace / (double)d : 1;
    if (rc == 0 && !lapack_potrf(d, m->factor))
        rc = err_set(ERR_NONFINITE, "the covariance of %lld rows has no Cholesky factor", (long long)n);
    if (rc < 0)
        mahalanobis_close(m);
    return rc;
}

void mahalanobis_close(struct mahalanobis *m)
{
    mem_free(m->mean);
    mem_free(m->factor);
    *m = (struct mahalanobis){0};
}

double mahalanobis_distance(const struct mahalanobis *m, const float *x, double inverse, double *y)
{
    double sum = 0;
    for (int64_t i = 0; i < m->d; i++) {
        double s = (double)x[i] * inverse - m->mean[i];
        for (int64_t k = 0; k < i; k++)
            s -= m->factor[i * m->d + k] * y[k];
        y[i] = s / m->factor[i * m->d + i];
        sum += y[i] * y[i];
    }
    return sum;
}
