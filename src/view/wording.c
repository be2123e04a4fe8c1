/* view/wording.c: numbers as people read them.
 *
 * One place decides how many decimals a share has and what stands for a missing number (an en dash), so that the tiles,
 * the sentences, the figures and the tables say the same. Words are returned by value: a C11 temporary lives until the
 * end of the full expression, so word_pct(x).s is a valid printf argument. Rejected: a ring of static buffers (threads,
 * order). */
#include "view/fig.h"

#include <math.h>
#include <string.h>

static int share_decimals(double p)
{
    return (fabs(p) >= 9.95 && fabs(p) < 99.0) || p == 0 || p == 100 ? 0 : 1;
}

struct word word_num(double x, int decimals)
{
    struct word w;
    if (!isfinite(x)) {
        snprintf(w.s, sizeof w.s, "–");
        return w;
    }
    snprintf(w.s, sizeof w.s, "%.*f", decimals, x);
    if (w.s[0] == '-') { /* a true minus sign, and no "-0.00" */
        bool zero = strspn(w.s + 1, "0.") == strlen(w.s + 1);
        char t[sizeof w.s];
        snprintf(t, sizeof t, "%s%.90s", zero ? "" : "−", w.s + 1);
        memcpy(w.s, t, sizeof t);
    }
    return w;
}

struct word word_pct(double share)
{
    if (!isfinite(share))
        return word_num(share, 0);
    double p = 100 * share;
    if (share > 0 && p < 0.05) /* never round "hardly any" to none, nor "nearly all" to all */
        return (struct word){"<\u202f0.1\u00a0%"};
    if (share < 1 && p > 99.95)
        return (struct word){">\u202f99.9\u00a0%"};
    struct word n = word_num(p, share_decimals(p)), w;
    snprintf(w.s, sizeof w.s, "%.80s\u00a0%%", n.s);
    return w;
}

struct word word_count(int64_t n)
{
    char digits[32];
    struct word w;
    size_t k = 0;
    snprintf(digits, sizeof digits, "%lld", (long long)n);
    size_t len = strlen(digits);
    for (size_t i = 0; i < len && k + 5 < sizeof w.s; i++) {
        if (i > 0 && (len - i) % 3 == 0 && len > 4 && digits[i - 1] != '-') {
            memcpy(w.s + k, "\u202f", 3);
            k += 3;
        }
        w.s[k++] = digits[i];
    }
    w.s[k] = 0;
    return w;
}

int word_decimals(struct interval i, int decimals)
{
    double wide = i.high - i.low; /* NaN: stays */
    while (decimals < 4 && wide > 0 && wide * pow(10, decimals) < 2)
        decimals++;
    return decimals;
}

struct word word_ci(struct interval i, int decimals)
{
    struct word w;
    w.s[0] = 0;
    if (isfinite(i.low) && isfinite(i.high))
        snprintf(w.s, sizeof w.s, "[%.40s, %.40s]", word_num(i.low, decimals).s, word_num(i.high, decimals).s);
    return w;
}

struct word word_ci_pct(struct interval i)
{
    struct word w;
    w.s[0] = 0;
    if (!isfinite(i.low) || !isfinite(i.high))
        return w;
    double lo = 100 * i.low, hi = 100 * i.high;
    int d = lo > 99.95 && hi > 99.95 ? 0 : hi - lo < 3 || share_decimals(100 * i.value) > 0 ? 1 : 0;
    snprintf(w.s, sizeof w.s, "[%.40s, %.40s]", word_num(lo, d).s, word_num(hi, d).s);
    return w;
}

static struct word joined(struct word a, struct word b)
{
    struct word w;
    snprintf(w.s, sizeof w.s, "%.44s%s%.44s", a.s, b.s[0] ? " " : "", b.s);
    return w;
}

struct word word_num_ci(struct interval i, int decimals)
{
    return joined(word_num(i.value, decimals), word_ci(i, decimals));
}

struct word word_pct_ci(struct interval i)
{
    return joined(word_pct(i.value), word_ci_pct(i));
}

struct word word_raw(double x)
{
    struct word w;
    w.s[0] = 0;
    if (isfinite(x))
        snprintf(w.s, sizeof w.s, "%.9g", x);
    return w;
}
