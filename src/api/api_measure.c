/* api/api_measure.c: the measures of meridian.h: the caller's arrays, borrowed as a set, through room eval. */
#include "api/api.h"

#include "eval/eval.h"
#include "meridian.h"
#include "space/space.h"

static int check_arrays(const struct mrd_pairs *p)
{
    int64_t rows = limit_get(LIMIT_ROWS), width = limit_get(LIMIT_WIDTH);
    if (!p || p->n_images < 0 || p->n_texts < 0 || (p->n_images > 0 && !p->images) || (p->n_texts > 0 && !p->texts))
        FAIL(ERR_USAGE, "struct mrd_pairs: images and texts must be given and their numbers must not be negative");
    if (p->n_images > rows || p->n_texts > rows)
        FAIL(ERR_USAGE, "struct mrd_pairs: %lld images and %lld texts, expected at most %lld rows",
             (long long)p->n_images, (long long)p->n_texts, (long long)rows);
    if (p->width < 1 || p->width > width)
        FAIL(ERR_USAGE, "struct mrd_pairs: width is %lld, expected 1 to %lld", (long long)p->width, (long long)width);
    if (p->pairs && (p->n_pairs < 0 || p->n_pairs > INT64_MAX / (int64_t)sizeof(struct set_pair)))
        FAIL(ERR_USAGE, "struct mrd_pairs: n_pairs is %lld", (long long)p->n_pairs);
    if (!p->pairs && p->n_images != p->n_texts)
        FAIL(ERR_USAGE,
             "struct mrd_pairs: %lld images and %lld texts, but no pairs: then row i pairs with row i, so both must "
             "have the same number",
             (long long)p->n_images, (long long)p->n_texts);
    return 0;
}

static int copy_pairs(struct set *s, const struct mrd_pairs *p)
{
    int64_t n = p->pairs ? p->n_pairs : p->n_images;
    s->pairs = mem_calloc((size_t)n + 1, sizeof *s->pairs);
    if (!s->pairs)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        struct set_pair q = {p->pairs ? p->pairs[2 * i] : i, p->pairs ? p->pairs[2 * i + 1] : i};
        if (q.image < 0 || q.image >= p->n_images || q.text < 0 || q.text >= p->n_texts)
            FAIL(ERR_DATA, "pair %lld is (%lld, %lld), expected image rows 0 to %lld and text rows 0 to %lld",
                 (long long)i, (long long)q.image, (long long)q.text, (long long)p->n_images - 1,
                 (long long)p->n_texts - 1);
        s->pairs[i] = q;
    }
    s->n_pairs = set_pairs_sort(s->pairs, n);
    return 0;
}

int api_borrow(struct set *s, const struct mrd_pairs *p)
{
    static char path[] = "arrays"; /* what messages call it */
    TRY(check_arrays(p));
    union {
        const float *theirs;
        float *ours;
    } images = {p->images}, texts = {p->texts};
    *s = (struct set){.path = path, .width = p->width, .model = "", .fingerprint = "", .data = "", .protocol = ""};
    s->image = (struct set_side){.n = p->n_images, .x = images.ours};
    s->text = (struct set_side){.n = p->n_texts, .x = texts.ours};
    return copy_pairs(s, p);
}

static int take_measure_opt(struct eval_opt *out, const struct mrd_measure_opt *opt)
{
    struct mrd_measure_opt o = MRD_MEASURE_OPT_INIT;
    TRY(api_take_opt(&o, sizeof o, opt, "struct mrd_measure_opt"));
    if (o.bootstrap > 1000000)
        FAIL(ERR_USAGE, "struct mrd_measure_opt: bootstrap is %lld, expected at most 1000000", (long long)o.bootstrap);
    if (!(o.temperature >= 0 && o.temperature <= 1000))
        FAIL(ERR_USAGE, "struct mrd_measure_opt: temperature is %g, expected 0 to 1000", o.temperature);
    if (o.bins < 0 || o.bins > EVAL_MAX_BINS || o.bins_mass < 0 || o.bins_mass > EVAL_MAX_BINS)
        FAIL(ERR_USAGE, "struct mrd_measure_opt: bins are %lld and %lld, expected 0 to %d", (long long)o.bins,
             (long long)o.bins_mass, EVAL_MAX_BINS);
    *out = (struct eval_opt){.bootstrap = o.bootstrap,
                             .seed = o.seed,
                             .temperature = o.temperature,
                             .bins_width = o.bins,
                             .bins_mass = o.bins_mass};
    return 0;
}

static int retrieval_json(char **json, const struct set *s, const struct eval_opt *opt)
{
    struct retrieval r[2] = {{0}, {0}};
    int rc = eval_retrieval(s, 0, opt, &r[0]);
    if (rc == 0)
        rc = eval_retrieval(s, 1, opt, &r[1]);
    if (rc == 0)
        rc = api_put_json(json, retrieval_both_to_json(r));
    retrieval_free(&r[0]);
    retrieval_free(&r[1]);
    return rc;
}

static int geometry_json(char **json, const struct set *s, const struct eval_opt *opt)
{
    struct geometry g = {0};
    int rc = eval_geometry(s, opt, &g);
    if (rc == 0)
        rc = api_put_json(json, geometry_to_json(&g));
    geometry_free(&g);
    return rc;
}

static int measure(int (*how)(char **, const struct set *, const struct eval_opt *), const char *name, char **json,
                   const struct mrd_pairs *p, const struct mrd_measure_opt *opt)
{
    struct eval_opt o;
    struct set s = {0};
    api_begin();
    if (!json)
        FAIL(ERR_USAGE, "%s: json must be given", name);
    TRY(take_measure_opt(&o, opt));
    int rc = api_borrow(&s, p);
    if (rc == 0)
        rc = api_lock();
    if (rc == 0) {
        rc = how(json, &s, &o);
        api_unlock();
    }
    mem_free(s.pairs);
    return rc;
}

int mrd_retrieval(char **json, const struct mrd_pairs *p, const struct mrd_measure_opt *opt)
{
    return measure(retrieval_json, "mrd_retrieval", json, p, opt);
}

int mrd_geometry(char **json, const struct mrd_pairs *p, const struct mrd_measure_opt *opt)
{
    return measure(geometry_json, "mrd_geometry", json, p, opt);
}
