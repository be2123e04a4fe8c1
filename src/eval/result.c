/* Results as JSON, under the keys of the command line's contract.
 *
 * Numbers are plain numbers. What cannot be computed is null, and its object says so under "why". Intervals stand
 * beside the numbers, not around them: "ci" repeats the keys and holds [low, high], so that a script that wants the
 * number reads o["mrr"] and nothing else. */
#include "eval/eval_private.h"

#include "eval/measure_list.h"

#include <math.h>
#include <string.h>

static const struct eval_measure measures[] = {
#define X(command, key, text, better) {command, key, text, better},
    MEASURE_LIST(X)
#undef X
};

const struct eval_measure *eval_measures(int *n)
{
    *n = (int)ARRAY_LEN(measures);
    return measures;
}

int result_put(json_t *o, const char *key, double x, const char *why)
{
    if (isfinite(x))
        return json_object_set_new(o, key, json_real(x));
    const char *before = json_string_value(json_object_get(o, "why"));
    json_t *text = before ? json_sprintf("%s; %s: %s", before, key, why) : json_sprintf("%s: %s", key, why);
    if (json_object_set_new(o, "why", text) < 0)
        return -1;
    return json_object_set_new(o, key, json_null());
}

json_t *result_bounds(struct interval i)
{
    if (!isfinite(i.low) || !isfinite(i.high))
        return json_null();
    return json_pack("[f, f]", i.low, i.high);
}

/* Number into o, interval into ci, under one key. */
static int put_both(json_t *o, json_t *ci, const char *key, struct interval i, const char *why)
{
    int bad = result_put(o, key, i.value, why);
    return bad | json_object_set_new(ci, key, result_bounds(i));
}

/* The finished object, or NULL with a message when a step ran out of memory. */
static json_t *finish(json_t *o, int bad)
{
    if (bad == 0)
        return o;
    json_decref(o);
    err_set(ERR_MEMORY, "out of memory while writing results");
    return NULL;
}

static json_t *bins_to_json(const struct calibration_bin *bins, int n)
{
    json_t *a = json_array();
    for (int b = 0; a && b < n; b++) {
        json_t *o = json_pack("{s:I, s:o, s:o}", "n", (json_int_t)bins[b].n, "accuracy", json_number(bins[b].accuracy),
                              "confidence", json_number(bins[b].confidence));
        if (o && bins[b].n == 0)
            json_object_set_new(o, "why", json_string("no query falls into this bin"));
        json_array_append_new(a, o);
    }
    return a;
}

static int put_recalls(json_t *o, const struct retrieval *r, const char *why)
{
    static const char *const at[3] = {"1", "5", "10"};
    json_t *recall = json_object(), *ci = json_object(), *pessimistic = json_object(), *mid = json_object();
    json_t *pessimistic_ci = json_object(), *mid_ci = json_object();
    int bad = 0;
    bad |= json_object_set_new(o, "recall", recall);
    bad |= json_object_set_new(o, "recall_ci", ci);
    bad |= json_object_set_new(o, "recall_pessimistic", pessimistic);
    bad |= json_object_set_new(o, "recall_pessimistic_ci", pessimistic_ci);
    bad |= json_object_set_new(o, "recall_mid", mid);
    bad |= json_object_set_new(o, "recall_mid_ci", mid_ci);
    for (int k = 0; bad == 0 && k < 3; k++) {
        bad |= put_both(recall, ci, at[k], r->recall[k], why);
        bad |= put_both(pessimistic, pessimistic_ci, at[k], r->recall_pessimistic[k], why);
        bad |= put_both(mid, mid_ci, at[k], r->recall_mid[k], why);
    }
    return bad;
}

json_t *retrieval_to_json(const struct retrieval *r)
{
    const char *why = r->n_gallery == 0 ? "the gallery is empty" : "no query has a positive";
    const char *no_fit = r->n_queries == 0 ? why : "the likelihood has no minimum at a finite temperature";
    json_t *ci = json_object();
    json_t *o =
        json_pack("{s:I, s:I, s:I, s:I}", "n_queries", (json_int_t)r->n_queries, "n_gallery", (json_int_t)r->n_gallery,
                  "n_without_positive", (json_int_t)r->n_without, "n_ties", (json_int_t)r->n_ties);
    if (!o || !ci) {
        json_decref(ci);
        return finish(o, -1);
    }
    int bad = put_recalls(o, r, why);
    bad |= put_both(o, ci, "mrr", r->mrr, why);
    bad |= put_both(o, ci, "median_rank", r->median_rank, why);
    bad |= put_both(o, ci, "mean_rank", r->mean_rank, why);
    bad |= put_both(o, ci, "ece", r->ece, why);
    bad |= put_both(o, ci, "ece_equal_mass", r->ece_equal_mass, why);
    bad |= put_both(o, ci, "brier", r->brier, why);
    bad |= put_both(o, ci, "nll", r->nll, why);
    bad |= result_put(o, "temperature", r->temperature, why);
    bad |= put_both(o, ci, "fitted_temperature", r->fitted_temperature, no_fit);
    bad |= put_both(o, ci, "ece_fitted", r->ece_fitted, no_fit);
    bad |= json_object_set_new(o, "n_fit", json_integer((json_int_t)r->n_fit));
    bad |= json_object_set_new(o, "ci", ci);
    bad |= json_object_set_new(o, "bins_equal_width", bins_to_json(r->bins_width, r->n_bins_width));
    bad |= json_object_set_new(o, "bins_equal_mass", bins_to_json(r->bins_mass, r->n_bins_mass));
    return finish(o, bad);
}

json_t *retrieval_both_to_json(const struct retrieval r[2])
{
    return json_pack("{s:o, s:o}", "image_to_text", retrieval_to_json(&r[0]), "text_to_image",
                     retrieval_to_json(&r[1]));
}

/* A sub-object of both o and ci. */
static int put_groups(json_t *o, json_t *ci, const char *key, const char *const *names,
                      const struct interval *const *values, int n, const char *const *why)
{
    json_t *a = json_object(), *b = json_object();
    int bad = json_object_set_new(o, key, a) | json_object_set_new(ci, key, b);
    for (int k = 0; bad == 0 && k < n; k++)
        bad |= put_both(a, b, names[k], *values[k], why[k]);
    return bad;
}

static int put_geometry(json_t *o, json_t *ci, const struct geometry *g)
{
    static const char *const sides[4] = {"image", "text", "pooled", "cross"};
    static const char *const cosines[4] = {"matched", "unmatched", "image_image", "text_text"};
    static const char *const flat = "fewer than two rows, or all of them equal", *const few = "fewer than two rows";
    const char *one_empty = g->n_images == 0 ? "there are no images" : "there are no texts";
    const char *no_pairs = g->n_pairs == 0 ? "no pairs are given" : "every item of the other side is a positive";
    const char *cross = g->n_images == 0 || g->n_texts == 0 ? one_empty : "no value";
    const struct interval *uniform[4] = {&g->uniformity_image, &g->uniformity_text, &g->uniformity_pooled,
                                         &g->uniformity_cross};
    const struct interval *rank[3] = {&g->effective_rank_image, &g->effective_rank_text, &g->effective_rank_pooled};
    const struct interval *anchor[2] = {&g->relative_alignment[0], &g->relative_alignment[1]};
    const struct interval *cosine[4] = {&g->matched, &g->unmatched, &g->image_image, &g->text_text};
    const char *why_uniform[4] = {few, few, few, cross}, *why_rank[3] = {flat, flat, flat};
    const char *why_anchor[2] = {no_pairs, no_pairs};
    const char *why_cosine[4] = {"no pairs are given",
                                 g->n_images && g->n_texts ? "every image goes with every text" : one_empty, few, few};
    int bad = put_both(o, ci, "alignment", g->alignment, no_pairs);
    bad |= put_both(o, ci, "relative_alignment", g->relative_alignment[0], no_pairs);
    bad |= put_groups(o, ci, "relative_alignment_by_anchor", sides, anchor, 2, why_anchor);
    bad |= put_groups(o, ci, "uniformity", sides, uniform, 4, why_uniform);
    bad |= put_both(o, ci, "centroid_distance", g->centroid_distance, one_empty);
    bad |= put_both(o, ci, "linear_separability", g->linear_separability, "fewer than five rows on one side");
    bad |= put_both(o, ci, "effective_rank", g->effective_rank_pooled, flat);
    bad |= put_groups(o, ci, "effective_rank_by_side", sides, rank, 3, why_rank);
    bad |= put_groups(o, ci, "mean_cosine", cosines, cosine, 4, why_cosine);
    return bad;
}

json_t *geometry_to_json(const struct geometry *g)
{
    json_t *ci = json_object();
    json_t *o = json_pack("{s:I, s:I, s:I, s:I}", "n_images", (json_int_t)g->n_images, "n_texts",
                          (json_int_t)g->n_texts, "n_pairs", (json_int_t)g->n_pairs, "width", (json_int_t)g->width);
    if (!o || !ci) {
        json_decref(ci);
        return finish(o, -1);
    }
    int bad = json_object_set_new(o, "ci", ci); /* o owns it from here */
    if (bad == 0)
        bad = put_geometry(o, ci, g);
    return finish(o, bad);
}
