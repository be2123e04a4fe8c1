/* Every score of doubt in both directions, each measured: the answer of `meridian eval uncertainty`, the section of the
 * report, the dict of Python. */
#include "eval/eval.h"

#include <math.h>
#include <string.h>

static const char *const ways[2] = {"image_to_text", "text_to_image"};

bool uncertainty_both_asks(const struct uncertainty_both *b, int way, int k)
{
    return !b->list || strcmp(b->list, "all") == 0 || str_listed(b->list, b->s[way].score[k].name);
}

bool uncertainty_both_has(const struct uncertainty_both *b, int way, int k)
{
    return b->s[way].score[k].u && uncertainty_both_asks(b, way, k);
}

int uncertainty_check_list(const char *list, const char *more)
{
    const char *names[N_UNCERTAINTIES + UNCERTAINTY_EXTRA];
    int n = N_UNCERTAINTIES;
    char word[64], others[UNCERTAINTY_EXTRA][64];
    if (!list || strcmp(list, "all") == 0)
        return 0;
    if (!*list)
        FAIL(ERR_USAGE, "option --score is empty, expected names with commas, or all");
    for (int i = 0; i < N_UNCERTAINTIES; i++)
        names[i] = uncertainty_name(i);
    for (int k = 0; more && *more && k < UNCERTAINTY_EXTRA; k++) {
        size_t length = strcspn(more, ",");
        snprintf(others[k], sizeof others[k], "%.*s", (int)length, more);
        names[n++] = others[k];
        more += length + (more[length] == ',');
    }
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        bool known = false;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(p, ","), p);
        for (int i = 0; i < n; i++)
            known = known || strcmp(word, names[i]) == 0;
        const char *near = known ? NULL : str_nearest(word, names, n);
        if (!known)
            FAIL(ERR_USAGE, "option --score: no score \"%s\"%s%s%s; meridian help eval uncertainty lists them", word,
                 near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
    }
    return 0;
}

static int measure(struct uncertainty_both *b, const struct uncertainty_in *in, int way, const struct eval_opt *opt)
{
    struct uncertainty_scores *s = &b->s[way];
    TRY(uncertainty_scores_open(s, in, way));
    b->m[way] = mem_calloc((size_t)s->n_scores, sizeof *b->m[way]);
    if (!b->m[way])
        return ERR_MEMORY;
    for (int k = 0; k < s->n_scores; k++)
        if (uncertainty_both_has(b, way, k))
            TRY_IN(eval_uncertainty(s->score[k].u, s->hit, s->score[k].p, s->n, opt, &b->m[way][k]), "score %s",
                   s->score[k].name);
    return 0;
}

int uncertainty_both_open(struct uncertainty_both *b, const struct uncertainty_in *in, const struct eval_opt *opt)
{
    int rc = measure(b, in, 0, opt);
    if (rc == 0)
        rc = measure(b, in, 1, opt);
    if (rc < 0)
        uncertainty_both_close(b);
    return rc;
}

void uncertainty_both_close(struct uncertainty_both *b)
{
    for (int way = 0; way < 2; way++) {
        uncertainty_scores_close(&b->s[way]);
        mem_free(b->m[way]);
        b->m[way] = NULL;
    }
}

double uncertainty_recall(const struct uncertainty_scores *s)
{
    int64_t hits = 0;
    for (int64_t i = 0; i < s->n; i++)
        hits += s->hit[i];
    return s->n ? (double)hits / (double)s->n : (double)NAN;
}

static json_t *way_to_json(const struct uncertainty_both *b, int way)
{
    const struct uncertainty_scores *s = &b->s[way];
    json_t *scores = json_object(), *only = NULL;
    int n = 0;
    for (int k = 0; scores && k < s->n_scores; k++) {
        if (!uncertainty_both_asks(b, way, k))
            continue;
        json_t *one = s->score[k].u ? uncertainty_to_json(&b->m[way][k])
                                    : json_pack("{s:n, s:s}", "auroc", "why", s->score[k].why);
        only = one;
        n++;
        json_object_set_new(scores, s->score[k].name, one);
    }
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:s, s:o}", "n_queries", (json_int_t)s->n, "n_gallery",
                          (json_int_t)s->n_gallery, "n_validation", (json_int_t)s->n_val, "n_reference",
                          (json_int_t)s->n_reference, "n_without_positive", (json_int_t)s->n_without, "recall_at_1",
                          json_number(uncertainty_recall(s)), "temperature", s->temperature, "temperature_from",
                          s->temperature_from, "scores", scores);
    if (o && n == 1) /* one score: its keys stand here too */
        json_object_update_missing(o, only);
    return o;
}

json_t *uncertainty_both_to_json(const struct uncertainty_both *b)
{
    return json_pack("{s:s, s:s?, s:o, s:o}", "hits", b->hit_column ? "column" : "pairs", "hit_column", b->hit_column,
                     ways[0], way_to_json(b, 0), ways[1], way_to_json(b, 1));
}
