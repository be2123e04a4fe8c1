/* Is the model as sure as it should be? Expected calibration error and the temperature that fits best.
 *
 * Confidence of a query is the largest probability of a softmax over the whole gallery; it is right when the top item
 * is a positive (strict rank 0). ECE: Naeini, Cooper and Hauskrecht, AAAI 2015, in the form of Guo, Pleiss, Sun and
 * Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, equation 3: sum over bins of n_b/n |accuracy_b -
 * confidence_b|. Equal width: bins (m/B, (m+1)/B]. Equal mass: sorted by confidence, B groups in order, the first n mod
 * B one larger. (A released script divides by the number of bins instead of n; here it is n.)
 *
 * Interval. The error is a sum of absolute values, so chance alone makes it positive and every resample adds chance of
 * its own: percentiles of resampled errors lie too high, above the value itself for a well calibrated model, and hold
 * the truth in 0 to 90 % of simulated samples in place of 95. Here the bins stay, and with gap_b = sum over bin b of
 * (correct - confidence) / n three things are drawn: the error, whose mean above the value estimates the upward bias;
 * its linear part sum sign(gap_b) gap*_b, whose percentiles less that bias are the interval; and the pure noise
 * sum |gap*_b - gap_b|, an error that a perfect model would show. A value that noise explains (below its 97.5 %) gets
 * the lower end 0, the idea of consistency resampling (Broecker and Smith, Weather and Forecasting 2007). The value
 * always lies inside. Rejected by the same simulation: basic bootstrap (22 to 92 %), bias-corrected percentiles (0 to
 * 90 %).
 *
 * Fitted temperature: Guo et al. section 4.2; the tau of least mean NLL, NLL = -ln of the positives' total probability.
 * The NLL is smooth in ln tau; a coarse grid brackets the minimum (with several positives it need not be unimodal) and
 * golden section closes in. Rejected: Newton, which saves little and can step out of the bracket. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double settle(struct calibration_bin *bins, int n_bins, int64_t total)
{
    double ece = 0;
    for (int b = 0; b < n_bins; b++) {
        double n = (double)bins[b].n;
        if (bins[b].n == 0) {
            bins[b].accuracy = bins[b].confidence = (double)NAN;
            continue;
        }
        bins[b].accuracy /= n;
        bins[b].confidence /= n;
        ece += n / (double)total * fabs(bins[b].accuracy - bins[b].confidence);
    }
    return total > 0 ? ece : (double)NAN;
}

static void add_query(struct calibration_bin *bin, double confidence, bool correct)
{
    bin->n++;
    bin->accuracy += correct ? 1 : 0;
    bin->confidence += confidence;
}

double ece_equal_width(const double *confidence, const bool *correct, int64_t n, int n_bins,
                       struct calibration_bin *bins, uint8_t *bin_of)
{
    memset(bins, 0, (size_t)n_bins * sizeof *bins);
    for (int64_t i = 0; i < n; i++) {
        int b = (int)ceil(confidence[i] * n_bins) - 1;
        b = b < 0 ? 0 : b >= n_bins ? n_bins - 1 : b;
        add_query(&bins[b], confidence[i], correct[i]);
        if (bin_of)
            bin_of[i] = (uint8_t)b;
    }
    return settle(bins, n_bins, n);
}

double ece_equal_mass(const double *confidence, const bool *correct, const int64_t *order, int64_t n, int n_bins,
                      struct calibration_bin *bins, uint8_t *bin_of)
{
    int64_t left = 0;
    int b = -1;
    memset(bins, 0, (size_t)n_bins * sizeof *bins);
    for (int64_t i = 0; i < n; i++) {
        int64_t q = order[i];
        while (left == 0)
            left = n / n_bins + (++b < n % n_bins);
        add_query(&bins[b], confidence[q], correct[q]);
        bin_of[q] = (uint8_t)b;
        left--;
    }
    return settle(bins, n_bins, n);
}

/* ---- the interval of the error ---- */

int ece_draws_open(struct ece_draws *e, const double *confidence, const bool *correct, int64_t n, int n_bins,
                   int64_t resamples)
{
    *e = (struct ece_draws){.confidence = confidence, .correct = correct, .n = n, .n_bins = n_bins};
    e->bin_of = mem_calloc((size_t)n + 1, sizeof *e->bin_of);
    e->linear = mem_calloc((size_t)resamples * 2 + 1, sizeof *e->linear);
    if (!e->bin_of || !e->linear) {
        ece_draws_close(e);
        return ERR_MEMORY;
    }
    e->noise = e->linear + resamples;
    return 0;
}

void ece_draws_close(struct ece_draws *e)
{
    mem_free(e->bin_of);
    mem_free(e->linear);
    *e = (struct ece_draws){0};
}

/* sum [n_bins]: by bin, sum of weight x (correct - confidence), over n. */
static void bin_gaps(const struct ece_draws *e, const uint32_t *counts, double *sum)
{
    memset(sum, 0, (size_t)e->n_bins * sizeof *sum);
    for (int64_t q = 0; q < e->n; q++)
        sum[e->bin_of[q]] += (counts ? counts[q] : 1) * ((e->correct[q] ? 1 : 0) - e->confidence[q]) / (double)e->n;
}

void ece_draws_add(struct ece_draws *e, const uint32_t *counts)
{
    double gap[EVAL_MAX_BINS], error = 0, linear = 0, noise = 0;
    if (e->n_draws == 0)
        bin_gaps(e, NULL, e->gap);
    bin_gaps(e, counts, gap);
    for (int b = 0; b < e->n_bins; b++) {
        error += fabs(gap[b]);
        linear += e->gap[b] < 0 ? -gap[b] : gap[b];
        noise += fabs(gap[b] - e->gap[b]);
    }
    e->linear[e->n_draws] = linear;
    e->noise[e->n_draws++] = noise;
    e->sum += error;
}

struct interval ece_interval(struct ece_draws *e, double value)
{
    double shift = e->n_draws ? e->sum / (double)e->n_draws - value : 0;
    struct interval i = bootstrap_interval(value, e->linear, e->n_draws),
                    noise = bootstrap_interval(0, e->noise, e->n_draws);
    if (!isfinite(i.low))
        return i;
    i.low = value <= noise.high ? 0 : fmin(value, fmax(0, i.low - shift));
    i.high = fmin(1, fmax(value, i.high - shift));
    return i;
}

/* -ln(mass of the positives) of query i at temperature tau. */
static double query_nll(const struct fit_rows *f, int64_t i, double tau)
{
    const float *gap = f->gap + i * f->m;
    const uint8_t *hit = f->hit + i * f->m;
    double all = 0, top = -INFINITY, mass = 0, cut = -50 * tau; /* e^-50 beside the 1 of the top item */
    for (int64_t j = 0; j < f->m; j++) {
        all += (double)gap[j] > cut ? exp((double)gap[j] / tau) : 0;
        if (hit[j] && (double)gap[j] > top)
            top = (double)gap[j];
    }
    for (int64_t j = 0; j < f->m; j++) /* relative to the best positive: never underflows */
        mass += hit[j] ? exp(((double)gap[j] - top) / tau) : 0;
    return log(all) - top / tau - log(mass);
}

static double mean_nll(const struct fit_rows *f, double tau)
{
    double sum = 0;
    for (int64_t i = 0; i < f->filled; i++)
        sum += query_nll(f, i, tau);
    return sum / (double)f->filled;
}

/* Calibration error at the fitted temperature, which its resamples keep: the interval is that of the error given tau.
 */
static int fitted_ece(const struct fit_rows *f, double tau, int n_bins, int64_t resamples, uint64_t seed,
                      struct interval *out)
{
    struct calibration_bin bins[EVAL_MAX_BINS];
    struct ece_draws draws = {0};
    int64_t n = f->filled;
    double *confidence = mem_calloc((size_t)n + 1, sizeof *confidence);
    uint32_t *counts = mem_calloc((size_t)n + 1, sizeof *counts);
    int rc = confidence && counts ? ece_draws_open(&draws, confidence, f->correct, n, n_bins, resamples) : ERR_MEMORY;
    if (rc < 0)
        goto out;
    for (int64_t i = 0; i < n; i++) {
        double all = 0;
        for (int64_t j = 0; j < f->m; j++)
            all += exp((double)f->gap[i * f->m + j] / tau);
        confidence[i] = 1 / all;
    }
    double value = ece_equal_width(confidence, f->correct, n, n_bins, bins, draws.bin_of);
    for (int64_t b = 0; b < resamples; b++) {
        struct rng g = rng_stream(seed, RNG_BOOTSTRAP, 0, (uint64_t)b);
        bootstrap_counts(&g, n, counts);
        ece_draws_add(&draws, counts);
    }
    *out = ece_interval(&draws, value);
out:
    ece_draws_close(&draws);
    mem_free(confidence);
    mem_free(counts);
    return rc;
}

/* One Newton step of the fit from its optimum, on resampled queries: slope and curvature of each query's likelihood in
 * ln tau (the one-step estimator of the bootstrap; docs/methods/measures.md, section 4). */
struct one_step {
    double at, *slope, *curvature;
};

static double one_step_tau(void *ctx, const int64_t *index, int64_t n)
{
    const struct one_step *o = ctx;
    double slope = 0, curvature = 0;
    for (int64_t i = 0; i < n; i++) {
        slope += o->slope[index[i]];
        curvature += o->curvature[index[i]];
    }
    return curvature > 0 ? exp(o->at - slope / curvature) : exp(o->at);
}

static int temperature_interval(const struct fit_rows *f, double tau, int64_t resamples, uint64_t seed,
                                struct interval *out)
{
    const double h = 1e-3;
    int64_t n = f->filled;
    struct one_step o = {.at = log(tau),
                         .slope = mem_calloc((size_t)n, sizeof(double)),
                         .curvature = mem_calloc((size_t)n, sizeof(double))};
    int rc = o.slope && o.curvature ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        double low = query_nll(f, i, tau * exp(-h)), mid = query_nll(f, i, tau), high = query_nll(f, i, tau * exp(h));
        o.slope[i] = (high - low) / (2 * h);
        o.curvature[i] = (high - 2 * mid + low) / (h * h);
    }
    if (rc == 0) {
        *out = bootstrap_stat(one_step_tau, &o, n, resamples, seed);
        rc = signal_check();
    }
    mem_free(o.slope);
    mem_free(o.curvature);
    return rc;
}

int fit_temperature(const struct fit_rows *f, int n_bins, int64_t resamples, uint64_t seed,
                    struct interval *temperature, struct interval *ece)
{
    enum { GRID = 13, STEPS = 40 };
    const double low = log(1e-4), high = log(1e2), step = (high - low) / (GRID - 1), golden = (sqrt(5) - 1) / 2;
    double best = INFINITY;
    int at = 0;
    *temperature = *ece = (struct interval){(double)NAN, (double)NAN, (double)NAN};
    if (f->filled < 1 || f->m < 2)
        return 0;
    for (int i = 0; i < GRID; i++) {
        TRY(signal_check());
        double v = mean_nll(f, exp(low + i * step));
        if (v < best - 1e-12) {
            best = v;
            at = i;
        }
    }
    if (at == 0 || at == GRID - 1) /* every query right, or no better than chance: no finite optimum */
        return 0;
    double a = low + (at - 1) * step, b = low + (at + 1) * step;
    double x = b - golden * (b - a), y = a + golden * (b - a), fx = mean_nll(f, exp(x)), fy = mean_nll(f, exp(y));
    for (int i = 0; i < STEPS && b - a > 1e-6; i++) {
        TRY(signal_check());
        if (fx < fy) {
            b = y;
            y = x;
            fy = fx;
            x = b - golden * (b - a);
            fx = mean_nll(f, exp(x));
        } else {
            a = x;
            x = y;
            fx = fy;
            y = a + golden * (b - a);
            fy = mean_nll(f, exp(y));
        }
    }
    double tau = exp((a + b) / 2);
    TRY(temperature_interval(f, tau, resamples, seed, temperature));
    return fitted_ece(f, tau, n_bins, resamples, seed, ece);
}
