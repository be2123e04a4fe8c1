/* Scores as JSON: the keys that scripts rely on (docs/cli.md), null with a sibling `why` where there is no number. */
#include "words/words_private.h"

#include <math.h>

/* {key: value}, or {key: null, why: "key: why"}. */
static void put(json_t *o, const char *key, double value, const char *why)
{
    const char *before = json_string_value(json_object_get(o, "why"));
    json_object_set_new(o, key, json_number(value));
    if (!isfinite(value))
        json_object_set_new(o, "why", json_sprintf("%s%s%s: %s", before ? before : "", before ? "; " : "", key, why));
}

static json_t *factors(const struct words_scores *s, const struct words *w)
{
    json_t *list = json_array();
    for (int f = 0; f < w->n_factors; f++) {
        const struct words_factor_score *x = &s->factor[f];
        json_t *o =
            json_pack("{s:s, s:I, s:f, s:I, s:I}", "name", w->factor[f].name, "levels", (json_int_t)w->factor[f].n,
                      "mean_square", x->energy, "rank", (json_int_t)x->rank, "k95", (json_int_t)x->k95);
        put(o, "effective_rank", x->effective_rank, "the semantic space is empty");
        put(o, "share", x->share, "all cells are the same vector");
        put(o, "f", x->f, "holes or unequal weights, or no degree of freedom is left, or no residual");
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *blocks(const struct words_scores *s, const struct words *w)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < s->n_blocks; i++) {
        json_t *names = json_array();
        for (int f = 0; f < w->n_factors; f++)
            if (s->block[i].factors >> f & 1)
                json_array_append_new(names, json_string(w->factor[f].name));
        json_array_append_new(list, json_pack("{s:o, s:f, s:f, s:f}", "factors", names, "df", s->block[i].df,
                                              "mean_square", s->block[i].energy, "share", s->block[i].share));
    }
    return list;
}

static json_t *angles(const struct words_scores *s, const struct words *w)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < s->n_angles; i++) {
        const struct words_angle *x = &s->angle[i];
        json_t *o = json_pack("{s:[s, s]}", "factors", w->factor[x->a].name, w->factor[x->b].name);
        put(o, "max_cosine", x->max_cosine, "a semantic space is empty");
        put(o, "mean_square_cosine", x->mean_square_cosine, "a semantic space is empty");
        put(o, "mean_abs_cosine", x->mean_abs_cosine, "a semantic space is empty");
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *worst(const struct words_scores *s, const struct words_grid *g)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < s->n_worst; i++) {
        json_t *levels = json_array();
        const int32_t *code = g->code + s->worst[i].cell * g->n_factors;
        for (int f = 0; f < g->n_factors; f++)
            json_array_append_new(levels, json_string(g->factor[f].levels[code[f]]));
        json_array_append_new(list, json_pack("{s:o, s:f}", "cell", levels, "distance", s->worst[i].distance));
    }
    return list;
}

static void put_null(json_t *o, const struct words_scores *s)
{
    static const char none[] = "no permutations, or all cells are the same vector";
    put(o, "r2_null", s->r2_null, none);
    json_object_set_new(o, "r2_null_exact", json_boolean(s->null_exact));
    put(o, "r2_null_sd", s->sd_null, none);
    put(o, "p_value", s->p_value, none);
    put(o, "z", s->z, "the null does not vary, or was not drawn");
    json_object_set_new(o, "permutations", json_integer((json_int_t)s->n_permutations));
}

json_t *words_scores_to_json(const struct words_scores *s, const struct words *w, const struct words_in *in)
{
    const struct words_grid *g = in->grid;
    json_t *o = json_object();
    if (!o)
        return NULL;
    put(o, "r2", s->r2, "all cells are the same vector");
    put(o, "r2_adjusted", s->r2_adjusted, "no degree of freedom is left, or all cells are the same vector");
    put(o, "r2_held_out", s->r2_held_out, "no cell can be predicted from the others");
    json_object_set_new(o, "held_out_cells", json_integer((json_int_t)s->n_held_out));
    put_null(o, s);
    json_object_set_new(o, "factors", factors(s, w));
    if (s->n_blocks)
        json_object_set_new(o, "blocks", blocks(s, w));
    else
        put(o, "blocks", WORDS_NONE,
            "the grid has holes, weights that are no product or more than 6 factors, or all cells are the same");
    json_object_set_new(o, "angles", angles(s, w));
    json_t *residual = json_pack("{s:f, s:f, s:f, s:f}", "mean_square", s->mean_square, "rms", sqrt(s->mean_square),
                                 "mean_distance", s->mean_distance, "sd_distance", s->sd_distance);
    json_object_set_new(residual, "share_of_length_square", json_number(s->mean_square / s->mean_length_square));
    json_object_set_new(o, "residual", residual);
    json_object_set_new(o, "variance", json_number(s->variance));
    put(o, "mean_pair_square", s->mean_pair_square, "one cell");
    json_object_set_new(o, "worst", worst(s, g));
    json_object_set_new(o, "rows", json_integer((json_int_t)g->n_rows));
    json_object_set_new(o, "rows_left_out", json_integer((json_int_t)g->n_left_out));
    json_object_set_new(o, "cells", json_integer((json_int_t)g->n_cells));
    json_object_set_new(o, "missing_cells",
                        g->possible < 9e15 ? json_integer((json_int_t)(g->possible - (double)g->n_cells))
                                           : json_number(g->possible - (double)g->n_cells));
    json_object_set_new(o, "rank", json_integer((json_int_t)g->rank));
    json_object_set_new(o, "rank_full", json_integer((json_int_t)g->rank_full));
    json_object_set_new(o, "identifiable", json_boolean(g->rank == g->rank_full));
    json_object_set_new(o, "components", json_integer((json_int_t)g->components));
    json_object_set_new(o, "span_rank", json_integer((json_int_t)s->span_rank));
    json_object_set_new(o, "method", json_string(words_method_name(w->method)));
    json_object_set_new(o, "ridge", json_number(w->ridge));
    json_object_set_new(o, "unit_rows", json_boolean(w->unit));
    json_object_set_new(o, "unit_cells", json_boolean(w->unit_cells));
    return o;
}
