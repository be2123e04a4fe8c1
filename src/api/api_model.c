/* api/api_model.c: the models of meridian.h: pictures and texts to vectors, matches and captions.
 *
 * Pictures are decoded outside the lock, so that one caller's files are read while another's numbers are crunched; and
 * a few at a time, so that a list of a million paths needs the memory of a few. */
#include "api/api.h"

#include "data/data.h"
#include "io/io.h"
#include "kernel/kernel.h"
#include "meridian.h"
#include "model/model.h"

#include <string.h>

enum { PICTURES_AT_A_TIME = 64, TEXTS_AT_A_TIME = 4096 };

struct mrd_model {
    struct model *m;
    bool low;
};

/* ---- opening ---- */

static int open_model(struct mrd_model *h, const char *path, const struct mrd_model_opt *o)
{
    const struct engine *e;
    TRY(engine_open(&e, o->engine, o->threads));
    return model_open_opt(&h->m, path, &(struct model_opt){.image_size = o->image_size}, e);
}

int mrd_model_open(struct mrd_model **m, const char *path, const struct mrd_model_opt *opt)
{
    struct mrd_model_opt o = MRD_MODEL_OPT_INIT;
    api_begin();
    if (!m || !path || !path[0])
        FAIL(ERR_USAGE, "mrd_model_open: m and path must be given");
    TRY(api_take_opt(&o, sizeof o, opt, "struct mrd_model_opt"));
    if (o.threads < 0 || o.threads > 1024)
        FAIL(ERR_USAGE, "mrd_model_open: threads is %d, expected 0 to 1024", o.threads);
    if (o.image_size < 0 || o.image_size > limit_get(LIMIT_SIDE))
        FAIL(ERR_USAGE, "mrd_model_open: image_size is %lld, expected 0 to %lld", (long long)o.image_size,
             (long long)limit_get(LIMIT_SIDE));
    struct mrd_model *h = mem_calloc(1, sizeof *h);
    if (!h)
        return ERR_MEMORY;
    h->low = o.low != 0;
    int rc = api_lock();
    if (rc == 0) {
        rc = open_model(h, path, &o);
        api_unlock();
    }
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
    bool locked = api_lock_to_free();
    model_close(&(*m)->m);
    if (locked)
        api_unlock();
    mem_free(*m);
    *m = NULL;
}

/* ---- what it is ---- */

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

int64_t mrd_model_vocab(const struct mrd_model *m)
{
    return m->m->vocab_size;
}

double mrd_model_logit_scale(const struct mrd_model *m)
{
    return model_logit_scale(m->m);
}

const char *mrd_model_name(const struct mrd_model *m)
{
    return m->m->name ? m->m->name : "";
}

const char *mrd_model_family(const struct mrd_model *m)
{
    return m->m->family->name;
}

const char *mrd_model_layout(const struct mrd_model *m)
{
    return layout_name(m->m->layout);
}

int mrd_model_fingerprint(struct mrd_model *m, char **hex)
{
    char text[65];
    api_begin();
    if (!m || !hex)
        FAIL(ERR_USAGE, "mrd_model_fingerprint: model and hex must be given");
    TRY(api_lock());
    int rc = model_fingerprint(m->m, text);
    api_unlock();
    TRY(rc);
    return api_put_text(hex, text);
}

/* ---- arguments ---- */

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

static int check_tokens(const char *name, const struct mrd_model *m, const int32_t *ids, int64_t n, int64_t context)
{
    if (context < 1 || context > m->m->context)
        FAIL(ERR_USAGE, "%s: context is %lld, expected 1 to %lld", name, (long long)context, (long long)m->m->context);
    for (int64_t i = 0; i < n * context; i++)
        if (ids[i] < 0 || ids[i] >= m->m->vocab_size)
            FAIL(ERR_DATA, "%s: row %lld holds id %d, expected 0 to %lld", name, (long long)(i / context), (int)ids[i],
                 (long long)m->m->vocab_size - 1);
    return 0;
}

static size_t picture_numbers(const struct mrd_model *m)
{
    return (size_t)(3 * m->m->image_size * m->m->image_size);
}

static void warn_cut(const struct mrd_model *m, int64_t cut, int64_t n)
{
    if (cut > 0)
        log_warn("%lld of %lld texts are longer than the model's context of %lld tokens: cut", (long long)cut,
                 (long long)n, (long long)m->m->context);
}

/* ---- pictures ---- */

static int preprocess(const struct mrd_model *m, const char *const *paths, int64_t n, float *pixels)
{
    for (int64_t i = 0; i < n; i++) {
        TRY(signal_check());
        TRY(preprocess_file(&m->m->preprocess, paths[i], pixels + (size_t)i * picture_numbers(m)));
    }
    return 0;
}

int mrd_model_preprocess(struct mrd_model *m, const char *const *paths, int64_t n, float *pixels)
{
    api_begin();
    TRY(check_call("mrd_model_preprocess", m, paths, n, pixels));
    TRY(check_strings("mrd_model_preprocess", paths, n));
    return preprocess(m, paths, n, pixels);
}

static int embed_pixels(struct mrd_model *m, const float *pixels, int64_t n, float *out)
{
    TRY(api_lock());
    int rc = n ? model_embed_pixels(m->m, pixels, n, m->low, out) : 0;
    api_unlock();
    return rc;
}

int mrd_model_encode_images(struct mrd_model *m, const char *const *paths, int64_t n, float *out)
{
    api_begin();
    TRY(check_call("mrd_model_encode_images", m, paths, n, out));
    TRY(check_strings("mrd_model_encode_images", paths, n));
    int64_t most = n < PICTURES_AT_A_TIME ? n : PICTURES_AT_A_TIME;
    float *pixels = mem_calloc((size_t)most + 1, picture_numbers(m) * sizeof *pixels);
    int rc = pixels ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < n; i += most) {
        int64_t k = n - i < most ? n - i : most;
        rc = preprocess(m, paths + i, k, pixels);
        if (rc == 0)
            rc = embed_pixels(m, pixels, k, out + i * m->m->embed);
    }
    mem_free(pixels);
    return rc;
}

int mrd_model_encode_pixels(struct mrd_model *m, const float *pixels, int64_t n, float *out)
{
    api_begin();
    TRY(check_call("mrd_model_encode_pixels", m, pixels, n, out));
    return embed_pixels(m, pixels, n, out);
}

/* ---- texts ---- */

int mrd_model_encode_texts(struct mrd_model *m, const char *const *texts, int64_t n, float *out)
{
    int64_t all = 0;
    int rc = 0;
    api_begin();
    TRY(check_call("mrd_model_encode_texts", m, texts, n, out));
    TRY(check_strings("mrd_model_encode_texts", texts, n));
    TRY(api_lock());
    for (int64_t i = 0; rc == 0 && i < n; i += TEXTS_AT_A_TIME) {
        int64_t cut = 0, k = n - i < TEXTS_AT_A_TIME ? n - i : TEXTS_AT_A_TIME;
        rc = model_embed_texts(m->m, texts + i, k, m->low, out + i * m->m->embed, &cut);
        all += cut;
    }
    warn_cut(m, all, n);
    api_unlock();
    return rc;
}

int mrd_model_encode_tokens(struct mrd_model *m, const int32_t *ids, int64_t n, int64_t context, float *out)
{
    api_begin();
    TRY(check_call("mrd_model_encode_tokens", m, ids, n, out));
    TRY(check_tokens("mrd_model_encode_tokens", m, ids, n, context));
    TRY(api_lock());
    int rc = n ? model_embed_ids(m->m, ids, n, context, m->low, out) : 0;
    api_unlock();
    return rc;
}

int mrd_model_tokenize(struct mrd_model *m, const char *const *texts, int64_t n, int32_t *ids, int64_t *n_cut)
{
    int64_t all = 0;
    api_begin();
    TRY(check_call("mrd_model_tokenize", m, texts, n, ids));
    TRY(check_strings("mrd_model_tokenize", texts, n));
    if (!m->m->tokenizer)
        FAIL(ERR_DATA, "%s: the model folder has no tokenizer (tokenizer.json, or vocab.json with merges.txt)",
             m->m->path ? m->m->path : "model");
    for (int64_t i = 0; i < n; i++) {
        bool cut = false;
        TRY(signal_check());
        TRY(tokenizer_encode_context(m->m->tokenizer, texts[i], m->m->context, ids + i * m->m->context, &cut));
        all += cut;
    }
    warn_cut(m, all, n);
    if (n_cut)
        *n_cut = all;
    return 0;
}

/* ---- both at once ---- */

int mrd_model_match(struct mrd_model *m, const float *pixels, const int32_t *ids, int64_t n, int64_t context,
                    float *logits)
{
    api_begin();
    TRY(check_call("mrd_model_match", m, pixels, n, logits));
    TRY(check_call("mrd_model_match", m, ids, n, logits));
    TRY(check_tokens("mrd_model_match", m, ids, n, context));
    TRY(api_lock());
    int rc = model_match(m->m, pixels, ids, n, context, m->low, logits);
    api_unlock();
    return rc;
}

/* ---- captions ---- */

struct caption_job {
    struct caption_opt opt;
    int32_t *prompt, *ids; /* [context]; [n, max_length] */
    int64_t *lengths, n_prompt;
    double *scores;
};

/* Takes the caller's options; what is not given is filled by the model's usual. */
static int caption_options(struct mrd_model *m, const struct mrd_caption_opt *opt, struct caption_job *j)
{
    struct mrd_caption_opt o = MRD_CAPTION_OPT_INIT;
    TRY(api_take_opt(&o, sizeof o, opt, "struct mrd_caption_opt"));
    j->opt = (struct caption_opt){.beam = o.beam,
                                  .min_length = o.min_length,
                                  .max_length = o.max_length,
                                  .length_penalty = o.length_penalty,
                                  .repetition_penalty = o.repetition_penalty};
    if (o.prompt) {
        TRY(model_caption_prompt(m->m, o.prompt, j->prompt, &j->opt.n_prompt));
        j->opt.prompt = j->prompt;
    }
    return model_caption_defaults(m->m, &j->opt, j->prompt);
}

static int write_captions(const struct mrd_model *m, const struct caption_job *j, int64_t n, char **texts)
{
    struct str s = {0};
    int64_t done = 0;
    int rc = 0;
    for (; rc == 0 && done < n; done += rc == 0) {
        rc = model_caption_text(m->m, j->ids + done * j->opt.max_length, j->lengths[done], &s);
        if (rc == 0)
            rc =
                s.failed ? err_set(ERR_MEMORY, "no memory for the answer") : api_put_text(&texts[done], s.s ? s.s : "");
    }
    while (rc < 0 && done > 0)
        mrd_free(texts[--done]);
    str_free(&s);
    return rc;
}

static int caption(struct mrd_model *m, const float *pixels, int64_t n, const struct mrd_caption_opt *opt,
                   struct caption_job *j)
{
    TRY(caption_options(m, opt, j));
    if (!m->m->tokenizer)
        FAIL(ERR_DATA, "%s: the model folder has no tokenizer, so a caption has no words",
             m->m->path ? m->m->path : "model");
    j->ids = mem_calloc((size_t)n + 1, (size_t)j->opt.max_length * sizeof *j->ids);
    j->lengths = mem_calloc((size_t)n + 1, sizeof *j->lengths);
    j->scores = mem_calloc((size_t)n + 1, sizeof *j->scores);
    if (!j->ids || !j->lengths || !j->scores)
        return ERR_MEMORY;
    return model_caption(m->m, pixels, n, &j->opt, m->low, j->ids, j->lengths, j->scores);
}

int mrd_model_caption(struct mrd_model *m, const float *pixels, int64_t n, const struct mrd_caption_opt *opt,
                      char **texts, double *scores)
{
    struct caption_job j = {0};
    api_begin();
    TRY(check_call("mrd_model_caption", m, pixels, n, texts));
    TRY(api_lock());
    j.prompt = mem_calloc((size_t)m->m->context + 1, sizeof *j.prompt);
    int rc = j.prompt ? caption(m, pixels, n, opt, &j) : ERR_MEMORY;
    if (rc == 0)
        rc = write_captions(m, &j, n, texts);
    api_unlock();
    if (rc == 0 && scores && n)
        memcpy(scores, j.scores, (size_t)n * sizeof *scores);
    mem_free(j.prompt);
    mem_free(j.ids);
    mem_free(j.lengths);
    mem_free(j.scores);
    return rc;
}
