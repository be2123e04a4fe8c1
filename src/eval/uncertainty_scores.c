/* From a set, its splits and a reference to named scores: which row is for what, and the combined scores.
 *
 * Splits are words of a column: train rows are reference queries, val rows calibrate (temperature, maps to
 * probabilities, the combined scores), test rows are measured; every row stays in the gallery. A second set can stand
 * in for train and val: its even rows calibrate in their own gallery, its odd rows are the reference queries of both.
 *
 * The combined scores see what the validation queries teach and nothing of the test hits. "combined" reads the
 * neighbours of all queries, test queries included but without their answers (transductive); "combined-ref" only the
 * query itself and the reference (inductive). An outsider's uncertainty joins both, as its logarithm where it is
 * positive. */
#include "eval/uncertainty.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#define X(id, name, text) name,
    UNCERTAINTY_LIST(X)
#undef X
};
static const char *const texts[] = {
#define X(id, name, text) text,
    UNCERTAINTY_LIST(X)
#undef X
};

#define PLATT_L2 1e-3

const char *uncertainty_name(int i)
{
    return i >= 0 && i < N_UNCERTAINTIES ? names[i] : NULL;
}
const char *uncertainty_text(int i)
{
    return i >= 0 && i < N_UNCERTAINTIES ? texts[i] : NULL;
}

/* ---- which row is for what ---- */

/* by_text [texts]: first picture of each text, -1 without one. */
static int first_pictures(const struct set *s, int64_t **by_text)
{
    int64_t *p = mem_calloc((size_t)s->text.n + 1, sizeof *p);
    if (!p)
        return ERR_MEMORY;
    for (int64_t i = 0; i < s->text.n; i++)
        p[i] = -1;
    for (int64_t i = 0; i < s->n_pairs; i++)
        if (p[s->pairs[i].text] < 0 || s->pairs[i].image < p[s->pairs[i].text])
            p[s->pairs[i].text] = s->pairs[i].image;
    *by_text = p;
    return 0;
}

static uint8_t role_of(const char *word)
{
    static const uint8_t role[] = {
        [PART_NONE] = UNC_OUT, [PART_TRAIN] = UNC_REF, [PART_VALIDATION] = UNC_VAL, [PART_TEST] = UNC_TEST};
    return role[set_part_of(word)];
}

struct word_row {
    const char *word;
    int64_t row;
};

static int order_word(const void *a, const void *b)
{
    const struct word_row *x = a, *y = b;
    int c = strcmp(x->word, y->word);
    return c ? c : (x->row > y->row) - (x->row < y->row);
}

/* Classes of the pictures as numbers from 0, -1 for an empty word. */
static int number_words(const char *const *label, int64_t n, int64_t *out)
{
    struct word_row *w = mem_calloc((size_t)n + 1, sizeof *w);
    int64_t class = -1;
    if (!w)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++)
        w[i] = (struct word_row){label[i] ? label[i] : "", i};
    qsort(w, (size_t)n, sizeof *w, order_word);
    for (int64_t i = 0; i < n; i++) {
        class += i == 0 || strcmp(w[i].word, w[i - 1].word) != 0;
        out[w[i].row] = *w[i].word ? class : -1;
    }
    mem_free(w);
    return 0;
}

/* Fills role and label of a job. alternate: validation and reference rows by turns. */
static int assign(struct unc_job *j, const char *const *split, const char *const *label, bool alternate)
{
    const struct set *s = j->set;
    int64_t n = j->direction ? s->text.n : s->image.n, *by_text = NULL, *class = NULL;
    int rc = first_pictures(s, &by_text);
    j->role = mem_calloc((size_t)n + 1, 1);
    class = mem_calloc((size_t)s->image.n + 1, sizeof *class);
    if (rc == 0 && (!j->role || !class))
        rc = ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        int64_t picture = j->direction ? by_text[i] : i;
        if (alternate)
            j->role[i] = (picture < 0 ? i : picture) % 2 ? UNC_REF : UNC_VAL;
        else
            j->role[i] = !split ? UNC_TEST : picture >= 0 && split[picture] ? role_of(split[picture]) : UNC_OUT;
    }
    if (rc == 0 && label)
        rc = number_words(label, s->image.n, class);
    for (int k = 0; rc == 0 && label && k < 2; k++) {
        bool of_texts = (k == 0) == (j->direction == 1);
        int64_t rows = of_texts ? s->text.n : s->image.n;
        j->label[k] = mem_calloc((size_t)rows + 1, sizeof *j->label[k]);
        rc = j->label[k] ? 0 : ERR_MEMORY;
        for (int64_t i = 0; rc == 0 && i < rows; i++)
            j->label[k][i] = !of_texts ? class[i] : by_text[i] >= 0 ? class[by_text[i]] : -1;
    }
    mem_free(by_text);
    mem_free(class);
    return rc;
}

/* ---- from jobs to scores ---- */

/* Where the test and the validation queries lie. */
struct parts {
    const struct unc_job *test, *val;
    int64_t n, n_val, *at, *at_val; /* places in the job's list */
    bool *hit_val;
    bool apart; /* val is another set */
};

static int find_parts(struct parts *p)
{
    p->at = mem_calloc((size_t)p->test->n + 1, sizeof *p->at);
    p->at_val = mem_calloc((size_t)p->val->n + 1, sizeof *p->at_val);
    p->hit_val = mem_calloc((size_t)p->val->n + 1, sizeof *p->hit_val);
    if (!p->at || !p->at_val || !p->hit_val)
        return ERR_MEMORY;
    for (int64_t i = 0; i < p->test->n; i++)
        if (p->test->role[p->test->row[i]] == UNC_TEST)
            p->at[p->n++] = i;
    for (int64_t i = 0; i < p->val->n; i++)
        if (p->val->role[p->val->row[i]] == UNC_VAL) {
            p->hit_val[p->n_val] = p->val->hit[i];
            p->at_val[p->n_val++] = i;
        }
    return 0;
}

static void close_parts(struct parts *p)
{
    mem_free(p->at);
    mem_free(p->at_val);
    mem_free(p->hit_val);
}

static int map_to_p(const struct parts *p, const double *val, struct uncertainty_score *s)
{
    struct logit f;
    if (!logit_fit(&f, val, p->hit_val, NULL, p->n_val, 1, PLATT_L2))
        return 0;
    s->p = mem_calloc((size_t)p->n + 1, sizeof *s->p);
    if (!s->p)
        return ERR_MEMORY;
    for (int64_t i = 0; i < p->n; i++)
        s->p[i] = logistic(logit_odds(&f, &s->u[i]));
    return 0;
}

static int put_single(const struct parts *p, const double *from_test, const double *from_val, double *scratch,
                      struct uncertainty_score *s)
{
    s->u = mem_calloc((size_t)p->n + 1, sizeof *s->u);
    if (!s->u)
        return ERR_MEMORY;
    for (int64_t i = 0; i < p->n; i++)
        s->u[i] = from_test[p->at[i]];
    for (int64_t i = 0; from_val && i < p->n_val; i++)
        scratch[i] = from_val[p->at_val[i]];
    return from_val ? map_to_p(p, scratch, s) : 0;
}

static const char *why_missing(int id, const struct unc_job *j)
{
    switch (id) {
    case UNC_NORM:
        return "the vectors have equal length: what they had before is not kept in the set";
    case UNC_MAHALANOBIS:
        return "the vectors are wider than 2048";
    default:
        return j->ref ? "not computed" : "no reference queries (a split with train rows, or a reference set)";
    }
}

/* An outsider's uncertainty by row, in the order of a job's list. */
static double *extra_by_place(const double *by_row, const struct unc_job *j)
{
    double *v = mem_calloc((size_t)j->n + 1, sizeof *v);
    for (int64_t i = 0; v && i < j->n; i++)
        v[i] = by_row[j->row[i]];
    return v;
}

struct design {
    int64_t d;
    double *test, *val; /* [n, d], [n_val, d] */
    double *odds_val;   /* [n_val] out of fold */
};

static double positive_log(double x, bool positive)
{
    return positive ? log(x) : x;
}

/* Columns of the combined score: seven features and the outsiders. */
static int design_open(struct design *x, const struct parts *p, bool by_ref, double *const *extra,
                       double *const *extra_val, int n_extra)
{
    enum { BASE = 7 };
    static const int columns[2][BASE] = {
        {F_COSINE, F_ENTROPY, F_MARGIN, F_MAX_P, F_COLUMN, F_DUAL, F_INVERTED},
        {F_COSINE, F_ENTROPY, F_MARGIN, F_MAX_P, F_COLUMN_REF, F_DUAL_REF, F_INVERTED_REF}};
    int64_t base = BASE;
    x->d = base + n_extra;
    x->test = mem_calloc((size_t)(p->n * x->d) + 1, sizeof *x->test);
    x->val = mem_calloc((size_t)(p->n_val * x->d) + 1, sizeof *x->val);
    x->odds_val = mem_calloc((size_t)p->n_val + 1, sizeof *x->odds_val);
    if (!x->test || !x->val || !x->odds_val)
        return ERR_MEMORY;
    for (int64_t k = 0; k < base; k++) {
        int c = columns[by_ref][k];
        for (int64_t i = 0; i < p->n; i++)
            x->test[i * x->d + k] = p->test->feature[p->at[i] * N_FEATURES + c];
        for (int64_t i = 0; i < p->n_val; i++)
            x->val[i * x->d + k] = p->val->feature[p->at_val[i] * N_FEATURES + c];
    }
    for (int k = 0; k < n_extra; k++) {
        bool positive = true;
        for (int64_t i = 0; i < p->n; i++)
            positive = positive && extra[k][p->at[i]] > 0;
        for (int64_t i = 0; i < p->n_val; i++)
            positive = positive && extra_val[k][p->at_val[i]] > 0;
        for (int64_t i = 0; i < p->n; i++)
            x->test[i * x->d + base + k] = positive_log(extra[k][p->at[i]], positive);
        for (int64_t i = 0; i < p->n_val; i++)
            x->val[i * x->d + base + k] = positive_log(extra_val[k][p->at_val[i]], positive);
    }
    return 0;
}

static void design_close(struct design *x)
{
    mem_free(x->test);
    mem_free(x->val);
    mem_free(x->odds_val);
}

static int put_combined(const struct parts *p, bool by_ref, double *const *extra, double *const *extra_val, int n_extra,
                        struct uncertainty_score *s)
{
    struct design x = {0};
    struct logit f;
    if (by_ref && !p->test->ref) {
        s->why = "no reference queries (a split with train rows, or a reference set)";
        return 0;
    }
    int rc = design_open(&x, p, by_ref, extra, extra_val, n_extra);
    if (rc == 0 && !logit_fit_cv(&f, x.val, p->hit_val, p->n_val, x.d, x.odds_val))
        s->why = p->n_val == 0 ? "no validation queries (a split with val rows, or a reference set)"
                               : "too few hits or misses among the validation queries";
    if (rc == 0 && !s->why) {
        s->u = mem_calloc((size_t)p->n + 1, sizeof *s->u);
        s->p = mem_calloc((size_t)p->n + 1, sizeof *s->p);
        rc = s->u && s->p ? 0 : ERR_MEMORY;
    }
    for (int64_t i = 0; rc == 0 && s->u && i < p->n; i++) {
        double odds = logit_odds(&f, x.test + i * x.d);
        s->p[i] = logistic(odds);
        s->u[i] = logistic(-odds);
    }
    design_close(&x);
    return rc;
}

/* Outsiders' values in the order of both lists; they are also scores of their own. *n: how many see this side. */
static int put_extra(const struct uncertainty_in *in, const struct parts *p, double *scratch, double **extra,
                     double **extra_val, int *n, struct uncertainty_scores *out)
{
    int side = p->test->direction;
    *n = 0;
    for (int k = 0; k < in->n_extra; k++) {
        const struct uncertainty_extra *e = &in->extra[k];
        const double *held = p->apart ? e->held[side] : e->u[side];
        struct uncertainty_score *s = &out->score[out->n_scores++];
        *s = (struct uncertainty_score){.name = e->name, .text = e->text};
        BUG_ON(!e->u[0] && !e->u[1]);
        BUG_ON(e->u[side] && !held);
        if (!e->u[side]) {
            s->why = side ? "says nothing of texts: its pictures alone have distributions"
                          : "says nothing of pictures: its texts alone have distributions";
            continue;
        }
        extra[*n] = extra_by_place(e->u[side], p->test);
        extra_val[*n] = extra_by_place(held, p->val);
        if (!extra[*n] || !extra_val[*n])
            return ERR_MEMORY;
        TRY(put_single(p, extra[*n], extra_val[*n], scratch, s));
        ++*n;
    }
    return 0;
}

static int put_scores(const struct uncertainty_in *in, const struct parts *p, struct uncertainty_scores *out)
{
    double *extra[UNCERTAINTY_EXTRA] = {NULL}, *extra_val[UNCERTAINTY_EXTRA] = {NULL};
    double *scratch = mem_calloc((size_t)p->n_val + 1, sizeof *scratch);
    int rc = scratch ? 0 : ERR_MEMORY, n_extra = 0;
    for (int k = 0; rc == 0 && k < UNC_COMBINED; k++) {
        struct uncertainty_score *s = &out->score[out->n_scores++];
        *s = (struct uncertainty_score){.name = names[k], .text = texts[k]};
        if (p->test->u[k])
            rc = put_single(p, p->test->u[k], p->val->u[k], scratch, s);
        else
            s->why = why_missing(k, p->test);
    }
    if (rc == 0)
        rc = put_extra(in, p, scratch, extra, extra_val, &n_extra, out);
    for (int k = 0; rc == 0 && k < 2; k++) {
        struct uncertainty_score *s = &out->score[out->n_scores++];
        *s = (struct uncertainty_score){.name = names[UNC_COMBINED + k], .text = texts[UNC_COMBINED + k]};
        rc = put_combined(p, k == 1, extra, extra_val, n_extra, s);
    }
    for (int k = 0; k < UNCERTAINTY_EXTRA; k++) {
        mem_free(extra[k]);
        mem_free(extra_val[k]);
    }
    mem_free(scratch);
    return rc;
}

static int finish(const struct uncertainty_in *in, const struct parts *p, struct uncertainty_scores *out)
{
    out->n = p->n;
    out->n_val = p->n_val;
    out->n_gallery = p->test->g.n;
    out->n_reference = p->test->n_ref;
    out->n_without = p->test->n_without;
    out->temperature = p->test->tau;
    out->temperature_from = p->test->tau_from;
    out->row = mem_calloc((size_t)p->n + 1, sizeof *out->row);
    out->hit = mem_calloc((size_t)p->n + 1, sizeof *out->hit);
    if (!out->row || !out->hit)
        return ERR_MEMORY;
    for (int64_t i = 0; i < p->n; i++) {
        out->row[i] = p->test->row[p->at[i]];
        out->hit[i] = p->test->hit[p->at[i]];
    }
    return put_scores(in, p, out);
}

/* The reference set's own job, then the job of the set with the reference rows of the first. */
static int run_jobs(const struct uncertainty_in *in, struct unc_job *held, struct unc_job *test)
{
    if (in->reference) {
        TRY(assign(held, NULL, in->reference_label, true));
        TRY_IN(unc_job_run(held), "scoring the reference set");
        test->tau = held->tau;
        test->tau_from = held->tau_from;
        test->ref = held->ref ? &held->q : NULL;
        test->ref_index = held->ref ? held->ref_index : NULL;
        test->n_ref = held->ref ? held->n_ref : 0;
    }
    TRY(assign(test, in->split, in->label, false));
    return unc_job_run(test);
}

int uncertainty_scores_open(struct uncertainty_scores *out, const struct uncertainty_in *in, int direction)
{
    struct uncertainty_scores o = {0};
    struct unc_job held = {.set = in->reference, .direction = direction, .tau = in->temperature};
    struct unc_job test = {.set = in->set, .direction = direction, .tau = in->temperature};
    struct parts p = {.test = &test, .val = in->reference ? &held : &test, .apart = in->reference != NULL};
    BUG_ON(direction != 0 && direction != 1);
    BUG_ON(in->n_extra < 0 || in->n_extra > UNCERTAINTY_EXTRA);
    if (in->reference && in->split)
        FAIL(ERR_USAGE, "uncertainty: a split and a reference set are given, expected one of them");
    if (in->reference && in->reference->width != in->set->width)
        FAIL(ERR_MISMATCH, "reference set: vectors of width %lld, expected %lld as in the set",
             (long long)in->reference->width, (long long)in->set->width);
    if (in->temperature != 0 && !(in->temperature >= 1e-6 && in->temperature <= 1e6))
        FAIL(ERR_USAGE, "uncertainty: temperature %g, expected a positive number such as 0.01", in->temperature);
    int rc = run_jobs(in, &held, &test);
    if (rc == 0)
        rc = find_parts(&p);
    if (rc == 0)
        rc = finish(in, &p, &o);
    close_parts(&p);
    unc_job_close(&test);
    if (in->reference)
        unc_job_close(&held);
    if (rc < 0) {
        uncertainty_scores_close(&o);
        return err_while(rc, "scoring the doubt of %s", direction ? "texts" : "pictures");
    }
    *out = o;
    return 0;
}

void uncertainty_scores_close(struct uncertainty_scores *s)
{
    for (int k = 0; k < s->n_scores; k++) {
        mem_free(s->score[k].u);
        mem_free(s->score[k].p);
    }
    mem_free(s->row);
    mem_free(s->hit);
    *s = (struct uncertainty_scores){0};
}
