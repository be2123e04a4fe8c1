/* api/api.c: include/meridian.h over the rooms. No logic of its own: it checks arguments, borrows arrays, and calls.
 *
 * One lock around everything that computes: the rooms below have one compute thread, and a library's caller may have
 * many. Structs of options carry their size; fields beyond what the caller knew keep their defaults. The library is
 * silent until mrd_log is called, because a host program's stderr is not ours.
 * Rejected: a C struct for every measure (it would freeze their names into the ABI); JSON can grow. */
#include "base/base.h"
#include "data/data.h"
#include "eval/eval.h"
#include "io/io.h"
#include "kernel/kernel.h"
#include "meridian.h"
#include "model/model.h"
#include "space/space.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MRD_ERR_INTERRUPTED (-11) /* not in the header: only the program catches signals */
#define X(name, value, exit_code, text) _Static_assert(MRD_##name == value, "codes of meridian.h and base.h agree");
ERR_LIST(X)
#undef X

static pthread_mutex_t compute = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

const char *mrd_version(void)
{
    return MERIDIAN_VERSION;
}

int mrd_abi(void)
{
    return MRD_ABI;
}

const char *mrd_error(void)
{
    return err_text();
}

void mrd_free(char *text)
{
    free(text);
}

/* ---- messages -----------------------------------------------------------------------------------------------------
 */

static mrd_log_sink user_sink; /* written and read under the log's own lock and before the first message */
static void *user_ctx;

static void silent(void *ctx UNUSED, enum log_level level UNUSED, const char *text UNUSED) {}

static void forward(void *ctx, enum log_level level, const char *text)
{
    user_sink(ctx, (int)level, text);
}

static void start_silent(void)
{
    log_sink(silent, NULL);
}

static void start(void)
{
    pthread_once(&once, start_silent);
    err_clear();
}

void mrd_log(mrd_log_sink sink, void *ctx)
{
    pthread_once(&once, start_silent);
    pthread_mutex_lock(&compute); /* no message is on its way */
    log_sink(silent, NULL);
    user_sink = sink;
    user_ctx = ctx;
    if (sink)
        log_sink(forward, user_ctx);
    pthread_mutex_unlock(&compute);
}

/* ---- models -------------------------------------------------------------------------------------------------------
 */

struct mrd_model {
    struct model *m;
    bool low;
};

/* What the caller's header knew of the struct, over the defaults. */
static int take_opt(void *into, size_t n, const void *from, const char *name)
{
    size_t size;
    if (!from)
        return 0;
    memcpy(&size, from, sizeof size);
    if (size < sizeof size || size > 4096)
        FAIL(ERR_USAGE, "%s: field size is %zu; set the struct up with its _INIT macro", name, size);
    memcpy(into, from, size < n ? size : n);
    return 0;
}

static int open_model(struct mrd_model *h, const char *path, const struct mrd_model_opt *o)
{
    const struct engine *e;
    TRY(engine_open(&e, o->engine, o->threads));
    return model_open(&h->m, path, e);
}

int mrd_model_open(struct mrd_model **m, const char *path, const struct mrd_model_opt *opt)
{
    struct mrd_model_opt o = MRD_MODEL_OPT_INIT;
    start();
    if (!m || !path || !path[0])
        FAIL(ERR_USAGE, "mrd_model_open: m and path must be given");
    TRY(take_opt(&o, sizeof o, opt, "struct mrd_model_opt"));
    if (o.threads < 0 || o.threads > 1024)
        FAIL(ERR_USAGE, "mrd_model_open: threads is %d, expected 0 to 1024", o.threads);
    struct mrd_model *h = mem_calloc(1, sizeof *h);
    if (!h)
        return ERR_MEMORY;
    h->low = o.low != 0;
    pthread_mutex_lock(&compute);
    int rc = open_model(h, path, &o);
    pthread_mutex_unlock(&compute);
    if (rc < 0) {
        mem_free(h);
        return rc;
    }
    *m = h;
    return 0;
}

void mrd_model_free(struct mrd_model **m)
{
    if (!m || !*m)
        return;
    pthread_mutex_lock(&compute);
    model_close(&(*m)->m);
    pthread_mutex_unlock(&compute);
    mem_free(*m);
    *m = NULL;
}

int64_t mrd_model_width(const struct mrd_model *m)
{
    return m->m->embed;
}

int64_t mrd_model_image_size(const struct mrd_model *m)
{
    return m->m->image_size;
}

int64_t mrd_model_context(const struct mrd_model *m)
{
    return m->m->context;
}

double mrd_model_logit_scale(const struct mrd_model *m)
{
    return model_logit_scale(m->m);
}

static int check_call(const char *name, const struct mrd_model *m, const void *in, int64_t n, const void *out)
{
    if (!m || n < 0 || (n > 0 && (!in || !out)))
        FAIL(ERR_USAGE, "%s: model, input and output must be given and n must not be negative", name);
    if (n > limit_get(LIMIT_ROWS))
        FAIL(ERR_USAGE, "%s: n is %lld, expected at most %lld", name, (long long)n, (long long)limit_get(LIMIT_ROWS));
    return 0;
}

static int check_strings(const char *name, const char *const *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!v[i])
            FAIL(ERR_USAGE, "%s: entry %lld is NULL", name, (long long)i);
    return 0;
}

int mrd_model_encode_images(struct mrd_model *m, const char *const *paths, int64_t n, float *out)
{
    enum { AT_A_TIME = 64 };
    start();
    TRY(check_call("mrd_model_encode_images", m, paths, n, out));
    TRY(check_strings("mrd_model_encode_images", paths, n));
    size_t each = (size_t)(3 * m->m->image_size * m->m->image_size);
    float *pixels = mem_calloc(AT_A_TIME, each * sizeof *pixels);
    if (!pixels)
        return ERR_MEMORY;
    int rc = 0;
    for (int64_t i = 0; rc == 0 && i < n; i += AT_A_TIME) {
        int64_t k = n - i < AT_A_TIME ? n - i : AT_A_TIME;
        for (int64_t j = 0; rc == 0 && j < k; j++)
            rc = preprocess_file(&m->m->preprocess, paths[i + j], pixels + (size_t)j * each);
        if (rc < 0)
            break;
        pthread_mutex_lock(&compute);
        rc = model_embed_pixels(m->m, pixels, k, m->low, out + i * m->m->embed);
        pthread_mutex_unlock(&compute);
    }
    mem_free(pixels);
    return rc;
}

int mrd_model_encode_pixels(struct mrd_model *m, const float *pixels, int64_t n, float *out)
{
    start();
    TRY(check_call("mrd_model_encode_pixels", m, pixels, n, out));
    pthread_mutex_lock(&compute);
    int rc = n ? model_embed_pixels(m->m, pixels, n, m->low, out) : 0;
    pthread_mutex_unlock(&compute);
    return rc;
}

int mrd_model_encode_texts(struct mrd_model *m, const char *const *texts, int64_t n, float *out)
{
    int64_t cut = 0;
    start();
    TRY(check_call("mrd_model_encode_texts", m, texts, n, out));
    TRY(check_strings("mrd_model_encode_texts", texts, n));
    pthread_mutex_lock(&compute);
    int rc = n ? model_embed_texts(m->m, texts, n, m->low, out, &cut) : 0;
    if (cut > 0)
        log_warn("%lld of %lld texts are longer than the model's context of %lld tokens: cut", (long long)cut,
                 (long long)n, (long long)m->m->context);
    pthread_mutex_unlock(&compute);
    return rc;
}

int mrd_model_encode_tokens(struct mrd_model *m, const int32_t *ids, int64_t n, int64_t context, float *out)
{
    start();
    TRY(check_call("mrd_model_encode_tokens", m, ids, n, out));
    if (context < 1 || context > m->m->context)
        FAIL(ERR_USAGE, "mrd_model_encode_tokens: context is %lld, expected 1 to %lld", (long long)context,
             (long long)m->m->context);
    for (int64_t i = 0; i < n * context; i++)
        if (ids[i] < 0 || ids[i] >= m->m->vocab_size)
            FAIL(ERR_DATA, "mrd_model_encode_tokens: row %lld holds id %d, expected 0 to %lld",
                 (long long)(i / context), (int)ids[i], (long long)m->m->vocab_size - 1);
    pthread_mutex_lock(&compute);
    int rc = n ? model_embed_ids(m->m, ids, n, context, m->low, out) : 0;
    pthread_mutex_unlock(&compute);
    return rc;
}

/* ---- measures -----------------------------------------------------------------------------------------------------
 */

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

/* The caller's arrays as a set; room eval only reads them. */
static int borrow(struct set *s, const struct mrd_pairs *p)
{
    TRY(check_arrays(p));
    union {
        const float *theirs;
        float *ours;
    } images = {p->images}, texts = {p->texts};
    *s = (struct set){.width = p->width, .model = "", .fingerprint = "", .data = "", .protocol = ""};
    s->image = (struct set_side){.n = p->n_images, .x = images.ours};
    s->text = (struct set_side){.n = p->n_texts, .x = texts.ours};
    return copy_pairs(s, p);
}

static int take_measure_opt(struct eval_opt *out, const struct mrd_measure_opt *opt)
{
    struct mrd_measure_opt o = MRD_MEASURE_OPT_INIT;
    TRY(take_opt(&o, sizeof o, opt, "struct mrd_measure_opt"));
    if (o.bootstrap > 1000000)
        FAIL(ERR_USAGE, "struct mrd_measure_opt: bootstrap is %lld, expected at most 1000000", (long long)o.bootstrap);
    if (!(o.temperature >= 0 && o.temperature <= 1000))
        FAIL(ERR_USAGE, "struct mrd_measure_opt: temperature is %g, expected 0 to 1000", o.temperature);
    *out = (struct eval_opt){.bootstrap = o.bootstrap, .seed = o.seed, .temperature = o.temperature};
    return 0;
}

/* Takes the reference. */
static int put_json(char **out, json_t *o)
{
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    if (!text)
        FAIL(ERR_MEMORY, "no memory for the answer");
    *out = text;
    return 0;
}

static int retrieval_json(char **json, const struct set *s, const struct eval_opt *opt)
{
    struct retrieval r[2] = {{0}, {0}};
    int rc = eval_retrieval(s, 0, opt, &r[0]);
    if (rc == 0)
        rc = eval_retrieval(s, 1, opt, &r[1]);
    if (rc == 0)
        rc = put_json(json, retrieval_both_to_json(r));
    retrieval_free(&r[0]);
    retrieval_free(&r[1]);
    return rc;
}

static int geometry_json(char **json, const struct set *s, const struct eval_opt *opt)
{
    struct geometry g = {0};
    int rc = eval_geometry(s, opt, &g);
    if (rc == 0)
        rc = put_json(json, geometry_to_json(&g));
    geometry_free(&g);
    return rc;
}

static int measure(int (*how)(char **, const struct set *, const struct eval_opt *), const char *name, char **json,
                   const struct mrd_pairs *p, const struct mrd_measure_opt *opt)
{
    struct eval_opt o;
    struct set s = {0};
    start();
    if (!json)
        FAIL(ERR_USAGE, "%s: json must be given", name);
    TRY(take_measure_opt(&o, opt));
    int rc = borrow(&s, p);
    if (rc == 0) {
        pthread_mutex_lock(&compute);
        rc = how(json, &s, &o);
        pthread_mutex_unlock(&compute);
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
