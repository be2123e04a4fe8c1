/* Is the model as sure as it should be? Expected calibration error and the temperature that fits best.
 *
 * Confidence of a query is the largest probability of a softmax over the whole gallery; it is right when the top item
 * is a positive (strict rank 0). ECE: Naeini, Cooper and Hauskrecht, AAAI 2015, in the form of Guo, Pleiss, Sun and
 * Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, equation 3: sum over bins of n_b/n |accuracy_b -
 * confidence_b|. Equal width: bins (m/B, (m+1)/B]. Equal mass: sorted by confidence, B groups in order, the first n mod
 * B one larger. (A released script divides by the number of bins instead of n; here it is n.)
 *
 * Fitted temperature: Guo et al. section 4.2; the tau of least mean NLL, NLL = -ln of the positives' total probability.
 * The NLL is smooth in ln tau; a coarse grid brackets the minimum (with several positives it need not be unimodal) and
 * golden section closes in. Rejected: Newton, which saves little and can step out of the bracket. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double settle(struct calibration_bin *bins, int n_bins, double total)
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
        ece += n / total * fabs(bins[b].accuracy - bins[b].confidence);
    }
    return total > 0 ? ece : (double)NAN;
}

double ece_equal_width(const double *confidence, const bool *correct, const uint32_t *weights, int64_t n, int n_bins,
                       struct calibration_bin *bins)
{
    int64_t total = 0;
    memset(bins, 0, (size_t)n_bins * sizeof *bins);
    for (int64_t i = 0; i < n; i++) {
        int64_t w = weights ? (int64_t)weights[i] : 1;
        int b = (int)ceil(confidence[i] * n_bins) - 1;
        b = b < 0 ? 0 : b >= n_bins ? n_bins - 1 : b;
        bins[b].n += w;
        bins[b].accuracy += correct[i] ? (double)w : 0;
        bins[b].confidence += (double)w * confidence[i];
        total += w;
    }
    return settle(bins, n_bins, (double)total);
}

double ece_equal_mass(const double *confidence, const bool *correct, const uint32_t *weights, const int64_t *order,
                      int64_t n, int n_bins, struct calibration_bin *bins)
{
    int64_t total = 0, left = 0;
    int b = -1;
    memset(bins, 0, (size_t)n_bins * sizeof *bins);
    for (int64_t i = 0; i < n; i++)
        total += weights ? (int64_t)weights[i] : 1;
    for (int64_t i = 0; i < n; i++) {
        int64_t q = order[i], w = weights ? (int64_t)weights[q] : 1;
        while (w > 0) { /* a query drawn several times may lie across a border */
            while (left == 0)
                left = total / n_bins + (++b < total % n_bins);
            int64_t take = w < left ? w : left;
            bins[b].n += take;
            bins[b].accuracy += correct[q] ? (double)take : 0;
            bins[b].confidence += (double)take * confidence[q];
            left -= take;
            w -= take;
        }
    }
    return settle(bins, n_bins, (double)total);
}

/* Mean over queries of -ln(mass of the positives) at temperature tau. */
static double mean_nll(const struct fit_rows *f, double tau)
{
    double sum = 0, cut = -50 * tau; /* e^-50 beside the 1 of the top item */
    for (int64_t i = 0; i < f->filled; i++) {
        const float *gap = f->gap + i * f->m;
        const uint8_t *hit = f->hit + i * f->m;
        double all = 0, top = -INFINITY, mass = 0;
        for (int64_t j = 0; j < f->m; j++) {
            all += (double)gap[j] > cut ? exp((double)gap[j] / tau) : 0;
            if (hit[j] && (double)gap[j] > top)
                top = (double)gap[j];
        }
        for (int64_t j = 0; j < f->m; j++) /* relative to the best positive: never underflows */
            mass += hit[j] ? exp(((double)gap[j] - top) / tau) : 0;
        sum += log(all) - top / tau - log(mass);
    }
    return sum / (double)f->filled;
}

static double fitted_ece(const struct fit_rows *f, double tau, int n_bins)
{
    struct calibration_bin bins[EVAL_MAX_BINS];
    double ece = (double)NAN;
    double *confidence = mem_calloc((size_t)f->filled + 1, sizeof *confidence);
    for (int64_t i = 0; confidence && i < f->filled; i++) {
        double all = 0;
        for (int64_t j = 0; j < f->m; j++)
            all += exp((double)f->gap[i * f->m + j] / tau);
        confidence[i] = 1 / all;
    }
    if (confidence)
        ece = ece_equal_width(confidence, f->correct, NULL, f->filled, n_bins, bins);
    mem_free(confidence);
    return ece;
}

int fit_temperature(const struct fit_rows *f, int n_bins, double *temperature, double *ece)
{
    enum { GRID = 13, STEPS = 40 };
    const double low = log(1e-4), high = log(1e2), step = (high - low) / (GRID - 1), golden = (sqrt(5) - 1) / 2;
    double best = INFINITY;
    int at = 0;
    *temperature = *ece = (double)NAN;
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
    *temperature = exp((a + b) / 2);
    *ece = fitted_ece(f, *temperature, n_bins);
    return 0;
}
