/* What a person should look at first: duplicates, mismatched pairs, ambiguous items, the likeliest first.
 *
 * Duplicates: two rows of one side that are nearer to each other than their surroundings are. Score: cosine minus the
 * mean of what the two rows' next neighbours get (the idea of CSLS, Conneau et al., ICLR 2018), plus the same for their
 * partners on the other side where both have one: what is twice in a data set is mostly there twice with its caption,
 * while siblings (one face in five skin tones) lie close among many that lie as close.
 *
 * Mismatches: pairs that would rather be apart. Score: how much better the picture would do with some other caption
 * than it does with its own AND than that caption does with its best own picture; plus the same for the caption among
 * the pictures. A handed-on caption leaves such a gap behind: its true picture wants it, and its present one does not.
 * A low cosine alone means little, for some pictures have low cosines with everything; and a better rival alone means
 * little where the rival is happily paired. Measured on planted swaps against the dual softmax (-ln of the pair's share
 * among the rivals, both ways), CSLS and their sums: recall 0.77 against 0.65 for the next best on the emoji world.
 *
 * Ambiguous: items with many almost equal answers. Score: the number of answers, exp(entropy) of the same softmax.
 *
 * Everything streams in blocks; NEAR neighbours a row are kept. The baselines (`raw`) order by the plain cosine: of the
 * two rows; lowest own cosine; lowest best cosine. */
#include "eval/eval_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256, NEAR = 11 };

static const char *const names[N_REVIEWS] = {"duplicates", "mismatches", "ambiguous"};

const char *review_name(enum review_kind kind)
{
    return kind >= 0 && kind < N_REVIEWS ? names[kind] : NULL;
}

int review_find(const char *list, const char *what, unsigned *kinds)
{
    *kinds = 0;
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        int k = 0;
        while (k < N_REVIEWS && (strlen(names[k]) != n || strncmp(p, names[k], n) != 0))
            k++;
        if (k == N_REVIEWS)
            FAIL(ERR_USAGE, "%s: \"%.*s\" is unknown, expected duplicates, mismatches and ambiguous with commas", what,
                 (int)(n < 40 ? n : 40), p);
        *kinds |= 1U << k;
        p += n + (p[n] == ',');
    }
    if (!*kinds)
        FAIL(ERR_USAGE, "%s is empty, expected some of " REVIEW_USUAL, what);
    return 0;
}

const char *review_side(const struct review_item *x)
{
    return x->kind == REVIEW_MISMATCHES ? "pair" : x->text ? "text" : "image";
}

json_t *review_item_to_json(const struct review_item *x)
{
    return json_pack("{s:s, s:f, s:f, s:s, s:I, s:I}", "what", review_name(x->kind), "score", x->score, "cosine",
                     x->cosine, "side", review_side(x), "row", (json_int_t)x->row, "other_row", (json_int_t)x->other);
}

/* The best `room` items so far, the worst on top of a heap; ties stay in order of arrival. */
struct shelf {
    struct review_item *item;
    int64_t n, room;
};

static bool below(const struct review_item *a, const struct review_item *b)
{
    if (a->score != b->score)
        return a->score < b->score;
    if (a->text != b->text)
        return a->text;
    return a->row != b->row ? a->row > b->row : a->other > b->other;
}

static void swap_items(struct review_item *a, struct review_item *b)
{
    struct review_item t = *a;
    *a = *b;
    *b = t;
}

static void shelf_add(struct shelf *s, struct review_item x)
{
    int64_t i;
    if (s->n == s->room) {
        if (!below(&s->item[0], &x))
            return;
        s->item[0] = x;
        for (i = 0;;) {
            int64_t m = i;
            for (int64_t c = 2 * i + 1; c <= 2 * i + 2 && c < s->n; c++)
                m = below(&s->item[c], &s->item[m]) ? c : m;
            if (m == i)
                return;
            swap_items(&s->item[i], &s->item[m]);
            i = m;
        }
    }
    s->item[i = s->n++] = x;
    for (; i > 0 && below(&s->item[i], &s->item[(i - 1) / 2]); i = (i - 1) / 2)
        swap_items(&s->item[i], &s->item[(i - 1) / 2]);
}

struct desk {
    const struct set *set;
    const struct review_opt *opt;
    struct rows side[2];
    double tau[2];       /* image to text, text to image */
    int64_t *partner[2]; /* first partner of each row, or -1 */
    int64_t *first[2];   /* positives of row i of a side: mate[first[i]] … mate[first[i + 1]] */
    int64_t *mate[2];
    double *own[2]; /* best score of each row with a mate of its own; -inf: it has none */
    struct shelf shelf[N_REVIEWS];
};

static void desk_close(struct desk *d)
{
    for (int k = 0; k < 2; k++) {
        rows_close(&d->side[k]);
        mem_free(d->partner[k]);
        mem_free(d->first[k]);
        mem_free(d->mate[k]);
        mem_free(d->own[k]);
    }
    for (int k = 0; k < N_REVIEWS; k++)
        mem_free(d->shelf[k].item);
}

static int desk_open(struct desk *d)
{
    const struct set *s = d->set;
    const struct set_side *side[2] = {&s->image, &s->text};
    for (int k = 0; k < 2; k++) {
        int64_t n = side[k]->n;
        TRY(rows_open(&d->side[k], side[k]->x, n, s->width, k ? "text" : "image"));
        d->partner[k] = mem_calloc((size_t)n + 1, sizeof *d->partner[k]);
        d->first[k] = mem_calloc((size_t)n + 2, sizeof *d->first[k]);
        d->mate[k] = mem_calloc((size_t)s->n_pairs + 1, sizeof *d->mate[k]);
        d->own[k] = mem_calloc((size_t)n + 1, sizeof *d->own[k]);
        if (!d->partner[k] || !d->first[k] || !d->mate[k] || !d->own[k])
            return ERR_MEMORY;
        for (int64_t i = 0; i < n; i++) {
            d->partner[k][i] = -1;
            d->own[k][i] = -INFINITY;
        }
        int64_t *at = d->first[k] + 1;
        for (int64_t i = 0; i < s->n_pairs; i++)
            at[(k ? s->pairs[i].text : s->pairs[i].image) + 1]++;
        for (int64_t i = 1; i <= n; i++)
            at[i] += at[i - 1];
        for (int64_t i = 0; i < s->n_pairs; i++) {
            int64_t row = k ? s->pairs[i].text : s->pairs[i].image, mate = k ? s->pairs[i].image : s->pairs[i].text;
            if (d->partner[k][row] < 0)
                d->partner[k][row] = mate;
            d->mate[k][at[row]++] = mate;
        }
    }
    for (int64_t i = 0; i < s->n_pairs; i++) {
        int64_t a = s->pairs[i].image, b = s->pairs[i].text;
        double c = rows_cosine(&d->side[0], a, &d->side[1], b);
        d->own[0][a] = fmax(d->own[0][a], c);
        d->own[1][b] = fmax(d->own[1][b], c);
    }
    for (int k = 0; k < N_REVIEWS; k++) {
        d->shelf[k] = (struct shelf){.room = d->opt->n};
        d->shelf[k].item = mem_calloc((size_t)d->opt->n + 1, sizeof *d->shelf[k].item);
        if (!d->shelf[k].item)
            return ERR_MEMORY;
    }
    return 0;
}

/* Scores of rows i0 … of `a` against all of b, block after block of a; `each` sees one row. */
static int for_rows(struct desk *d, const struct rows *a, const struct rows *b, const char *label, void *ctx,
                    int (*each)(struct desk *d, void *ctx, int64_t row, const double *s))
{
    struct scorer scorer = {0};
    int64_t room = b->n ? (4 << 20) / b->n : 1, block = room < 1 ? 1 : room < BLOCK ? room : BLOCK, step = 1024;
    double *s = mem_calloc((size_t)(block * b->n) + 1, sizeof *s);
    struct progress *bar = NULL;
    bool exact = a->n <= EXACT_ROWS && b->n <= EXACT_ROWS;
    int rc = s ? scorer_open(&scorer, exact, a->d, block, step) : ERR_MEMORY;
    if (rc == 0 && b->n > 0 && a->n > (int64_t)1000000000 / b->n)
        progress_open(&bar, label, a->n, "rows");
    for (int64_t i0 = 0; rc == 0 && i0 < a->n && b->n > 0; i0 += block) {
        int64_t n = a->n - i0 < block ? a->n - i0 : block;
        rc = signal_check();
        scorer_left(&scorer, a, NULL, i0, n);
        for (int64_t j0 = 0; rc == 0 && j0 < b->n; j0 += step)
            scorer_block(&scorer, n, b, j0, b->n - j0 < step ? b->n - j0 : step, s + j0, b->n);
        for (int64_t i = 0; rc == 0 && i < n; i++)
            rc = each(d, ctx, i0 + i, s + i * b->n);
        if (bar)
            progress_add(bar, n);
    }
    if (bar)
        progress_close(&bar);
    scorer_close(&scorer);
    mem_free(s);
    return rc;
}

/* ---- duplicates ---- */

struct near { /* of one side: the NEAR nearest others of each row, best first */
    int side;
    int64_t *row;     /* [n, NEAR], -1: fewer */
    double *cosine;   /* [n, NEAR] */
    double *surround; /* [n] mean cosine of the neighbours behind the nearest */
};

static int keep_near(struct desk *d, void *ctx, int64_t row, const double *s)
{
    struct near *w = ctx;
    int64_t *at = w->row + row * NEAR;
    double *c = w->cosine + row * NEAR, sum = 0;
    int64_t n = top_k(s, d->side[w->side].n, NEAR, NULL, row, c, at);
    for (int64_t i = 1; i < n; i++)
        sum += c[i];
    w->surround[row] = n > 1 ? sum / (double)(n - 1) : 0;
    for (; n < NEAR; n++)
        at[n] = -1;
    return 0;
}

/* How much nearer two rows of a side are than their surroundings; NaN-free, 0 when there is nobody else. */
static double excess(const struct desk *d, const struct near w[2], int k, int64_t i, int64_t j)
{
    return rows_cosine(&d->side[k], i, &d->side[k], j) - (w[k].surround[i] + w[k].surround[j]) / 2;
}

static double twice(const struct desk *d, const struct near w[2], int k, int64_t i, int64_t j)
{
    int64_t a = d->partner[k][i], b = d->partner[k][j];
    double score = excess(d, w, k, i, j);
    if (a < 0 || b < 0)
        return score;
    return score + (a == b ? 1 : excess(d, w, !k, a, b));
}

static int find_duplicates(struct desk *d)
{
    struct near w[2] = {{.side = 0}, {.side = 1}};
    int rc = 0;
    for (int k = 0; rc == 0 && k < 2; k++) {
        size_t n = (size_t)d->side[k].n + 1;
        w[k].row = mem_calloc(n * NEAR, sizeof *w[k].row);
        w[k].cosine = mem_calloc(n * NEAR, sizeof *w[k].cosine);
        w[k].surround = mem_calloc(n, sizeof *w[k].surround);
        rc = w[k].row && w[k].cosine && w[k].surround
                 ? for_rows(d, &d->side[k], &d->side[k], k ? "captions" : "pictures", &w[k], keep_near)
                 : ERR_MEMORY;
    }
    for (int k = 0; rc == 0 && k < 2; k++)
        for (int64_t i = 0; i < d->side[k].n; i++)
            for (int64_t a = 0; a < NEAR && w[k].row[i * NEAR + a] >= 0; a++) {
                int64_t j = w[k].row[i * NEAR + a];
                bool seen = false; /* from the other row's list, whose turn was before */
                for (int64_t b = 0; j < i && b < NEAR; b++)
                    seen = seen || w[k].row[j * NEAR + b] == i;
                if (seen)
                    continue;
                double c = w[k].cosine[i * NEAR + a];
                struct review_item x = {.kind = REVIEW_DUPLICATES,
                                        .text = k,
                                        .row = i < j ? i : j,
                                        .other = i < j ? j : i,
                                        .score = d->opt->raw ? c : twice(d, w, k, i, j),
                                        .cosine = c};
                shelf_add(&d->shelf[REVIEW_DUPLICATES], x);
            }
    for (int k = 0; k < 2; k++) {
        mem_free(w[k].row);
        mem_free(w[k].cosine);
        mem_free(w[k].surround);
    }
    return rc;
}

/* ---- mismatches and ambiguous items: one pass a direction ---- */

struct look {
    int side; /* the queries' */
    unsigned kinds;
    double *own;          /* [n_pairs] sums of the gains of both directions, in the order of `mate` of side 0 */
    const int64_t *place; /* side 1: where in `own` its k-th mate lies; side 0: NULL */
};

static double ambiguity(const double *s, int64_t m, double best, double tau)
{
    double all = 0, sum = 0;
    for (int64_t j = 0; j < m; j++) {
        double x = (s[j] - best) / tau, e = x > -50 ? exp(x) : 0;
        all += e;
        sum += e * x;
    }
    return exp(log(all) - sum / all);
}

static int look_at(struct desk *d, void *ctx, int64_t row, const double *s)
{
    struct look *l = ctx;
    int64_t m = d->side[!l->side].n, top = 0, from = d->first[l->side][row], to = d->first[l->side][row + 1];
    const int64_t *mate = d->mate[l->side];
    double best, tau = d->tau[l->side];
    for (int64_t j = 1; j < m; j++)
        top = s[j] > s[top] ? j : top;
    best = s[top];
    if (l->kinds & 1U << REVIEW_AMBIGUOUS)
        shelf_add(&d->shelf[REVIEW_AMBIGUOUS],
                  (struct review_item){.kind = REVIEW_AMBIGUOUS,
                                       .text = l->side,
                                       .row = row,
                                       .other = top,
                                       .score = d->opt->raw ? -best : ambiguity(s, m, best, tau),
                                       .cosine = best});
    if (!(l->kinds & 1U << REVIEW_MISMATCHES) || from == to)
        return 0;
    for (int64_t k = from; k < to; k++) {
        const double *rival_own = d->own[!l->side];
        double own = s[mate[k]], gain = -2; /* of a set of one pair: no rival, the least there is */
        for (int64_t j = 0, next = from; j < m; j++) {
            if (next < to && mate[next] == j) { /* mates are ascending */
                next++;
                continue;
            }
            gain = fmax(gain, s[j] - fmax(own, rival_own[j]));
        }
        l->own[l->place ? l->place[k] : k] += d->opt->raw ? -own / 2 : gain;
    }
    return 0;
}

static int find_faults(struct desk *d, unsigned kinds)
{
    int64_t n = d->set->n_pairs;
    double *own = mem_calloc((size_t)n + 1, sizeof *own);
    int64_t *place = mem_calloc((size_t)n + 1, sizeof *place), *at = mem_calloc((size_t)d->side[1].n + 1, sizeof *at);
    int rc = own && place && at ? 0 : ERR_MEMORY;
    if (rc == 0) {
        memcpy(at, d->first[1], (size_t)d->side[1].n * sizeof *at);
        for (int64_t i = 0; i < n; i++) /* pairs are sorted by image: pair i is place i of side 0 */
            place[at[d->set->pairs[i].text]++] = i;
    }
    for (int k = 0; rc == 0 && k < 2; k++) {
        struct look l = {.side = k, .kinds = kinds, .own = own, .place = k ? place : NULL};
        rc = for_rows(d, &d->side[k], &d->side[!k], k ? "captions" : "pictures", &l, look_at);
    }
    for (int64_t i = 0; rc == 0 && (kinds & 1U << REVIEW_MISMATCHES) && i < n; i++) {
        int64_t a = d->set->pairs[i].image, b = d->set->pairs[i].text;
        shelf_add(&d->shelf[REVIEW_MISMATCHES],
                  (struct review_item){.kind = REVIEW_MISMATCHES,
                                       .row = a,
                                       .other = b,
                                       .score = own[i],
                                       .cosine = rows_cosine(&d->side[0], a, &d->side[1], b)});
    }
    mem_free(own);
    mem_free(place);
    mem_free(at);
    return rc;
}

/* ---- all of it ---- */

static int find_temperatures(struct desk *d)
{
    const struct eval_opt opt = {.bootstrap = -1};
    double usual = set_temperature(d->set);
    for (int k = 0; k < 2; k++) {
        struct retrieval r = {0};
        d->tau[k] = d->opt->temperature > 0 ? d->opt->temperature : usual;
        if (d->opt->temperature > 0 || d->opt->raw || d->set->n_pairs == 0)
            continue;
        TRY(eval_retrieval(d->set, k, &opt, &r));
        if (isfinite(r.fitted_temperature.value))
            d->tau[k] = r.fitted_temperature.value;
        retrieval_free(&r);
    }
    return 0;
}

static int order_item(const void *a, const void *b)
{
    const struct review_item *x = a, *y = b;
    return below(y, x) ? -1 : below(x, y);
}

int review_set(const struct set *s, unsigned kinds, const struct review_opt *opt, struct review_item **items,
               int64_t *n)
{
    struct desk d = {.set = s, .opt = opt};
    struct review_item *all = NULL;
    int64_t count = 0;
    if (opt->n < 1 || opt->n > limit_get(LIMIT_ROWS))
        FAIL(ERR_USAGE, "review: %lld items, expected 1 to %lld", (long long)opt->n, (long long)limit_get(LIMIT_ROWS));
    int rc = desk_open(&d);
    if (rc == 0)
        rc = find_temperatures(&d);
    if (rc == 0 && (kinds & 1U << REVIEW_DUPLICATES))
        rc = find_duplicates(&d);
    if (rc == 0 && (kinds & (1U << REVIEW_MISMATCHES | 1U << REVIEW_AMBIGUOUS)))
        rc = find_faults(&d, kinds);
    for (int k = 0; rc == 0 && k < N_REVIEWS; k++)
        count += d.shelf[k].n;
    if (rc == 0) {
        all = mem_calloc((size_t)count + 1, sizeof *all);
        rc = all ? 0 : ERR_MEMORY;
    }
    count = 0;
    for (int k = 0; rc == 0 && k < N_REVIEWS; k++) {
        qsort(d.shelf[k].item, (size_t)d.shelf[k].n, sizeof *all, order_item);
        memcpy(all + count, d.shelf[k].item, (size_t)d.shelf[k].n * sizeof *all);
        count += d.shelf[k].n;
    }
    desk_close(&d);
    if (rc < 0)
        return rc;
    *items = all;
    *n = count;
    return 0;
}
