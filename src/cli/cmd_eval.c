/* cli/cmd_eval.c: the measures of room eval on a set: retrieval both ways, the shape of the space. */
#include "cli/cli.h"

#include <math.h>
#include <string.h>

struct eval_cmd {
    struct set_opt set;
    int64_t bootstrap, seed, bins_width, bins_mass;
    double temperature;
};
#define F(field) offsetof(struct eval_cmd, field)
#define COMMON_ROWS                                                                                                    \
    SET_OPTIONS(struct eval_cmd, set), MIX_OPTION(struct eval_cmd, set), BOOTSTRAP_OPTION(struct eval_cmd, bootstrap), \
        SEED_OPTION(struct eval_cmd, seed)
static const struct opt retrieval_options[] = {
    COMMON_ROWS,
    {"temperature", 0, OPT_REAL, F(temperature), "0", 0, 1000, NULL, "X",
     "of the softmax in the calibration measures; 0: the model's own, or 0.01"},
    {"bins", 0, OPT_INT, F(bins_width), "15", 1, EVAL_MAX_BINS, NULL, "N", "bins of equal width"},
    {"bins-mass", 0, OPT_INT, F(bins_mass), "10", 1, EVAL_MAX_BINS, NULL, "N", "bins of equal mass"},
    {0},
};
static const struct opt geometry_options[] = {COMMON_ROWS, {0}};
#undef F

static struct eval_opt measure_opt(const struct eval_cmd *o)
{
    return (struct eval_opt){.bootstrap = o->bootstrap > 0 ? o->bootstrap : -1,
                             .seed = (uint64_t)o->seed,
                             .temperature = o->temperature,
                             .bins_width = o->bins_width,
                             .bins_mass = o->bins_mass};
}

/* What was measured, in every answer. */
json_t *cli_add_source(json_t *o, const struct set *s)
{
    if (!o)
        return NULL;
    json_object_set_new(o, "set", json_string(s->path));
    json_object_set_new(o, "model", json_string(s->model));
    json_object_set_new(o, "data", json_string(s->data));
    json_object_set_new(o, "protocol", json_string(s->protocol));
    if (json_object_get(s->json, "mixed"))
        json_object_set(o, "mixed", json_object_get(s->json, "mixed"));
    return o;
}

void cli_print_source(const struct set *s)
{
    printf("%lld pictures, %lld captions, %lld pairs, width %lld", (long long)s->image.n, (long long)s->text.n,
           (long long)s->n_pairs, (long long)s->width);
    if (s->model[0])
        printf("; model %s", s->model);
    if (s->data[0])
        printf("; data %s", s->data);
    if (s->protocol[0])
        printf(" (%s)", s->protocol);
    printf("\n\n");
}

/* "0.5230 [0.4811, 0.5640]", padded; "-" where nothing can be computed. */
static void print_interval(struct interval i, int digits, int width)
{
    char text[64];
    if (!isfinite(i.value))
        snprintf(text, sizeof text, "-");
    else if (!isfinite(i.low) || !isfinite(i.high))
        snprintf(text, sizeof text, "%.*f", digits, i.value);
    else
        snprintf(text, sizeof text, "%.*f [%.*f, %.*f]", digits, i.value, digits, i.low, digits, i.high);
    printf("  %-*s", width, text);
}

/* ---- retrieval
 * ----------------------------------------------------------------------------------------------------------------- */

static void print_pair_of_intervals(const char *name, int digits, struct interval a, struct interval b)
{
    printf("%-26s", name);
    print_interval(a, digits, 28);
    print_interval(b, digits, 0);
    printf("\n");
}

static void print_pair_of_numbers(const char *name, double a, double b)
{
    print_pair_of_intervals(name, 4, (struct interval){a, NAN, NAN}, (struct interval){b, NAN, NAN});
}

static void print_retrieval(const struct set *s, const struct retrieval r[2])
{
    cli_print_source(s);
    printf("%-26s  %-28s  %s\n", "", "image to text", "text to image");
    printf("%-26s  %-28lld  %lld\n", "queries", (long long)r[0].n_queries, (long long)r[1].n_queries);
    printf("%-26s  %-28lld  %lld\n", "gallery", (long long)r[0].n_gallery, (long long)r[1].n_gallery);
    print_pair_of_intervals("recall at 1", 4, r[0].recall[0], r[1].recall[0]);
    print_pair_of_intervals("recall at 5", 4, r[0].recall[1], r[1].recall[1]);
    print_pair_of_intervals("recall at 10", 4, r[0].recall[2], r[1].recall[2]);
    print_pair_of_intervals("mean reciprocal rank", 4, r[0].mrr, r[1].mrr);
    print_pair_of_intervals("median rank", 1, r[0].median_rank, r[1].median_rank);
    print_pair_of_intervals("calibration error (width)", 4, r[0].ece, r[1].ece);
    print_pair_of_intervals("calibration error (mass)", 4, r[0].ece_equal_mass, r[1].ece_equal_mass);
    print_pair_of_intervals("Brier score", 4, r[0].brier, r[1].brier);
    print_pair_of_intervals("negative log likelihood", 4, r[0].nll, r[1].nll);
    print_pair_of_numbers("temperature", r[0].temperature, r[1].temperature);
    print_pair_of_intervals("fitted temperature", 4, r[0].fitted_temperature, r[1].fitted_temperature);
    print_pair_of_intervals("calibration error, fitted", 4, r[0].ece_fitted, r[1].ece_fitted);
    if (r[0].n_ties + r[1].n_ties)
        printf("%-26s  %-28lld  %lld\n", "queries with ties", (long long)r[0].n_ties, (long long)r[1].n_ties);
    printf("\n[95 %% intervals: bootstrap over queries] ties count as hits\n");
}

static int run_retrieval(struct cli *c)
{
    const struct eval_cmd *o = c->opt;
    struct eval_opt opt = measure_opt(o);
    struct retrieval r[2] = {{0}, {0}};
    struct set *s = NULL;
    TRY(cli_set(c, &o->set, &s));
    if (s->n_pairs == 0)
        log_warn("set \"%s\" has no pairs: no query has a right answer", s->path);
    int rc = eval_retrieval(s, 0, &opt, &r[0]);
    if (rc == 0)
        rc = eval_retrieval(s, 1, &opt, &r[1]);
    if (rc == 0 && c->json)
        rc = cli_put_json(cli_add_source(retrieval_both_to_json(r), s));
    else if (rc == 0)
        print_retrieval(s, r);
    retrieval_free(&r[0]);
    retrieval_free(&r[1]);
    set_close(&s);
    return rc;
}

const struct command command_eval_retrieval = {
    .name = "eval retrieval",
    .summary = "recall, ranks and calibration, both directions",
    .usage = "(SET | --images A.npy --texts B.npy [--pairs P.csv])",
    .notes = "A query counts as found at k when its best right answer has fewer than k strictly better rivals (by more "
             "than 1e-9);\n"
             "the pessimistic count is in the JSON. Queries without a right answer are left out and counted.\n",
    .example = "meridian eval retrieval test-set",
    .options = retrieval_options,
    .size = sizeof(struct eval_cmd),
    .computes = true,
    .run = run_retrieval,
};

/* ---- geometry
 * ------------------------------------------------------------------------------------------------------------------ */

static void print_one(const char *name, struct interval i, const char *better)
{
    printf("%-34s", name);
    print_interval(i, 4, *better ? 30 : 0);
    printf("%s\n", better);
}

static void print_geometry(const struct set *s, const struct geometry *g)
{
    cli_print_source(s);
    print_one("alignment", g->alignment, "lower is better");
    print_one("relative alignment, image anchor", g->relative_alignment[0], "lower is better");
    print_one("relative alignment, text anchor", g->relative_alignment[1], "lower is better");
    print_one("uniformity of images", g->uniformity_image, "lower is better");
    print_one("uniformity of texts", g->uniformity_text, "lower is better");
    print_one("uniformity, pooled", g->uniformity_pooled, "lower is better");
    print_one("uniformity, image against text", g->uniformity_cross, "lower is better");
    print_one("centroid distance", g->centroid_distance, "0: no gap between the modalities");
    print_one("linear separability", g->linear_separability, "0.5: nobody can tell image from text");
    print_one("effective rank of images", g->effective_rank_image, "");
    print_one("effective rank of texts", g->effective_rank_text, "");
    print_one("effective rank, pooled", g->effective_rank_pooled, "");
    print_one("mean cosine of matched pairs", g->matched, "");
    print_one("mean cosine of unmatched pairs", g->unmatched, "");
    print_one("mean cosine image to image", g->image_image, "");
    print_one("mean cosine text to text", g->text_text, "");
    printf("\n[95 %% intervals: bootstrap]\n");
}

static int run_geometry(struct cli *c)
{
    const struct eval_cmd *o = c->opt;
    struct eval_opt opt = measure_opt(o);
    struct geometry g = {0};
    struct set *s = NULL;
    TRY(cli_set(c, &o->set, &s));
    int rc = eval_geometry(s, &opt, &g);
    if (rc == 0 && c->json)
        rc = cli_put_json(cli_add_source(geometry_to_json(&g), s));
    else if (rc == 0)
        print_geometry(s, &g);
    geometry_free(&g);
    set_close(&s);
    return rc;
}

const struct command command_eval_geometry = {
    .name = "eval geometry",
    .summary = "alignment, uniformity, the modality gap, effective rank",
    .usage = "(SET | --images A.npy --texts B.npy [--pairs P.csv])",
    .example = "meridian eval geometry test-set",
    .options = geometry_options,
    .size = sizeof(struct eval_cmd),
    .computes = true,
    .run = run_geometry,
};
