/* Small sets in memory and the golden files, for the tests of room eval. */
#ifndef EVAL_HELPER_H
#define EVAL_HELPER_H

#include "eval/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A set over copies of given rows; pairs NULL: row i with row i. */
static inline struct set *make_set(const float *images, int64_t n_i, const float *texts, int64_t n_t, int64_t d,
                                   const struct set_pair *pairs, int64_t n_pairs)
{
    struct set *s = mem_calloc(1, sizeof *s);
    s->path = mem_strdup("in memory");
    s->width = d;
    s->model = s->fingerprint = s->data = s->protocol = "";
    s->image.n = n_i;
    s->text.n = n_t;
    s->image.x = mem_calloc((size_t)(n_i * d) + 1, sizeof(float));
    s->text.x = mem_calloc((size_t)(n_t * d) + 1, sizeof(float));
    if (n_i)
        memcpy(s->image.x, images, (size_t)(n_i * d) * sizeof(float));
    if (n_t)
        memcpy(s->text.x, texts, (size_t)(n_t * d) * sizeof(float));
    s->n_pairs = pairs || n_pairs == 0 ? n_pairs : n_i;
    s->pairs = mem_calloc((size_t)s->n_pairs + 1, sizeof *s->pairs);
    for (int64_t i = 0; i < s->n_pairs; i++)
        s->pairs[i] = pairs ? pairs[i] : (struct set_pair){i, i};
    return s;
}

static inline void fill_normal(float *x, int64_t n, uint64_t seed)
{
    struct rng r = rng_stream(seed, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(&r);
}

/* For files that include cmocka.h behind this one. */
#define near(found, expected, tolerance, what)                                                                         \
    do {                                                                                                               \
        double found_ = (found), expected_ = (expected);                                                               \
        if (!(fabs(found_ - expected_) <= (tolerance)))                                                                \
            fail_msg("%s: found %.12g, expected %.12g", (what), found_, expected_);                                    \
    } while (0)

/* Path under the shared folder; false (the test then skips) when it is not there. */
static inline bool shared_path(char *out, size_t n, const char *name)
{
    const char *root = getenv("MERIDIAN_SHARED");
    snprintf(out, n, "%s/%s", root ? root : "../shared", name);
    bool there = path_exists(out);
    if (!there)
        fprintf(stderr, "skipped: no %s (set MERIDIAN_SHARED)\n", name);
    return there;
}

/* Golden set by name: vectors from its safetensors, or the two npy files for fashionclip1126. NULL: not there. */
static inline struct set *golden_set(const char *name, struct st_file **answers)
{
    char path[1024], images[1024], texts[1024], file[128];
    struct set *s = NULL;
    bool fashion = strcmp(name, "fashionclip1126") == 0;
    snprintf(file, sizeof file, "golden/retrieval_metrics/%s%s.safetensors", name, fashion ? "_per_query" : "");
    if (!shared_path(path, sizeof path, file) || st_open(answers, path) < 0)
        return NULL;
    if (fashion) {
        if (shared_path(images, sizeof images, "data/pairs_fashionclip1126/image_embeddings.npy") &&
            shared_path(texts, sizeof texts, "data/pairs_fashionclip1126/text_embeddings.npy") &&
            set_open_npy(&s, images, texts, NULL) == 0)
            return s;
        st_close(answers);
        return NULL;
    }
    const struct st_tensor *i = st_find(*answers, "image"), *t = st_find(*answers, "text");
    int64_t n = i->shape[0], d = i->shape[1];
    float *x = mem_alloc((size_t)(2 * n * d) * sizeof *x);
    dtype_convert(DT_F32, x, i->dtype, i->data, (size_t)(n * d));
    dtype_convert(DT_F32, x + n * d, t->dtype, t->data, (size_t)(n * d));
    s = make_set(x, n, x + n * d, n, d, NULL, -1);
    mem_free(x);
    return s;
}

static inline json_t *golden_metrics(const char *name)
{
    char path[1024];
    json_t *all = NULL, *one;
    if (!shared_path(path, sizeof path, "golden/retrieval_metrics/expected.json") || json_read_file(&all, path) < 0)
        return NULL;
    one = json_incref(json_object_get(json_object_get(all, name), "metrics"));
    json_decref(all);
    return one;
}

static inline double golden_number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

#endif
