/* model/doctor.c: is this model, on this machine, the model that its makers meant? Values that travel with it answer:
 * two small pictures, a few texts, and what the reference made of them at four places: pixels, token ids, the state
 * after the first layer, the final vector. A model that is wrong somewhere is wrong first at one of these, and the
 * first wrong one says where to look: resizing, tokenizer, patch order or positions, activation or pooling.
 *
 * The values lie in doctor.safetensors beside the weights (docs/formats.md). tools/make-doctor computes them with
 * PyTorch and Pillow, not with this program; doctor_write makes them with ours (best on ref64), which then proves the
 * machine and the engine, not the parity, and says so in `made_by`. */
#include "model/clip.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

static const char *const default_texts[] = {
    "a photo of a cat",
    "Two DOGS run along   the beach, it's raining & cold.",
    "caf\xc3\xa9 na\xc3\xafve \xe6\x9d\xb1\xe4\xba\xac 3 1/2 \xf0\x9f\x99\x82",
    "a",
    "the quick brown fox jumps over the lazy dog, again and again and again, until the sun goes down behind the hills "
    "and the dog, who had been asleep all day, stands up, yawns, looks at the fox, looks at the hills, and decides "
    "that "
    "tomorrow would be soon enough to do anything about it, or the day after, or perhaps never at all",
};

/* Bars: what fp32 may differ by on a deep model; wrong eps, activation or pooling are 2e-4 to 4 on unit vectors. */
static const struct {
    const char *what, *tensor;
    double bar;
} places[N_DOCTOR_PLACES] = {
    [DOCTOR_PIXELS] = {"pixels", "pixel_values", 1e-6},
    [DOCTOR_TOKENS] = {"tokens", "input_ids", 0.0},
    [DOCTOR_IMAGE_FIRST] = {"first image layer", "image_first", 1e-3},
    [DOCTOR_TEXT_FIRST] = {"first text layer", "text_first", 1e-3},
    [DOCTOR_IMAGE] = {"image vectors", "image_embeds", 1e-4},
    [DOCTOR_TEXT] = {"text vectors", "text_embeds", 1e-4},
};

const char *doctor_place_name(enum doctor_place p)
{
    return places[p].what;
}

/* ---- our values ---- */

/* What this program makes of the pictures and texts. Arrays lie in the arena. */
struct values {
    int64_t n_images, n_texts, width_image, width_text;
    float *pixels, *image_first, *text_first, *image, *text;
    int32_t *ids;
};

static int keep_rows(struct tape *t, const struct tensor *x, int64_t n, int64_t width, int64_t stride, float *out)
{
    size_t size = dtype_size(tape_engine(t)->real);
    TRY(tape_status(t));
    if (!x)
        FAIL(ERR_MEMORY, "the doctor ran out of memory");
    for (int64_t i = 0; i < n; i++)
        TRY(dtype_convert(DT_F32, out + i * width, tape_engine(t)->real,
                          (const char *)x->data + (size_t)(i * stride) * size, (size_t)width));
    return 0;
}

/* Row 0 of each sequence of a state [n, L, D]. */
static int keep_first(struct arena *a, struct tape *t, const struct tensor *x, int64_t *width, float **out)
{
    if (!x)
        return 0;
    int64_t n = x->shape[0], d = x->shape[x->n_dims - 1];
    *out = arena_calloc(a, (size_t)n, (size_t)d * sizeof **out);
    *width = d;
    return *out ? keep_rows(t, x, n, d, x->n / n, *out) : ERR_MEMORY;
}

static int make_images(struct model *m, struct arena *a, const struct image *pictures, struct values *v)
{
    int64_t each = 3 * m->image_size * m->image_size;
    struct trace trace = {0};
    struct tape *t;
    v->pixels = arena_calloc(a, (size_t)(v->n_images * each), sizeof *v->pixels);
    v->image = arena_calloc(a, (size_t)(v->n_images * m->embed), sizeof *v->image);
    if (!v->pixels || !v->image)
        return ERR_MEMORY;
    for (int64_t i = 0; i < v->n_images; i++)
        TRY(preprocess_apply(&m->preprocess, &pictures[i], v->pixels + i * each));
    TRY(tape_open(&t, m->engine, &(struct tape_opt){0}));
    struct tensor *pixels = model_pixels(m, t, v->pixels, v->n_images);
    struct tensor *x = t_l2_normalize(m->family->trace_image ? m->family->trace_image(m, pixels, &trace)
                                                             : m->family->encode_image(m, pixels));
    int rc = keep_rows(t, x, v->n_images, m->embed, m->embed, v->image);
    if (rc == 0)
        rc = keep_first(a, t, trace.first, &v->width_image, &v->image_first);
    tape_close(&t);
    return rc;
}

static int make_texts(struct model *m, struct arena *a, const char *const *texts, struct values *v)
{
    bool cut;
    struct trace trace = {0};
    struct tape *t;
    v->ids = arena_calloc(a, (size_t)(v->n_texts * m->context), sizeof *v->ids);
    v->text = arena_calloc(a, (size_t)(v->n_texts * m->embed), sizeof *v->text);
    if (!v->ids || !v->text)
        return ERR_MEMORY;
    for (int64_t i = 0; i < v->n_texts; i++)
        TRY(tokenizer_encode_context(m->tokenizer, texts[i], m->context, v->ids + i * m->context, &cut));
    TRY(tape_open(&t, m->engine, &(struct tape_opt){0}));
    struct tensor *x =
        t_l2_normalize(m->family->trace_text ? m->family->trace_text(m, t, v->ids, v->n_texts, m->context, &trace)
                                             : m->family->encode_text(m, t, v->ids, v->n_texts, m->context));
    int rc = keep_rows(t, x, v->n_texts, m->embed, m->embed, v->text);
    if (rc == 0)
        rc = keep_first(a, t, trace.first, &v->width_text, &v->text_first);
    tape_close(&t);
    return rc;
}

/* ---- writing ---- */

enum { N_PICTURES = 2 };

/* A portrait picture that is shrunk, a small one that is enlarged; smooth parts, edges, saturated colours. */
static int draw(struct arena *a, int size, int i, struct image *out)
{
    int w = i ? 37 : size * 13 / 10, h = i ? 23 : size * 19 / 10;
    *out = (struct image){.width = w, .height = h, .channels = 3};
    out->pixels = arena_alloc(a, (size_t)(w * h * 3));
    if (!out->pixels)
        return ERR_MEMORY;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *p = out->pixels + (y * w + x) * 3;
            int ring = (x - w / 2) * (x - w / 2) + (y - h / 3) * (y - h / 3);
            p[0] = (uint8_t)(255 * x / w);
            p[1] = (uint8_t)(ring / 64 % 2 ? 230 : 255 * y / h);
            p[2] = (uint8_t)((x / 7 + y / 5) % 2 ? 255 : 20);
        }
    return 0;
}

static struct st_tensor float_tensor(const char *name, const float *x, int64_t n, int64_t d)
{
    struct st_tensor t = {.name = name, .dtype = DT_F32, .n_dims = 2, .shape = {n, d}, .data = x};
    t.n_bytes = (size_t)(n * d) * sizeof *x;
    return t;
}

static json_t *metadata(const char *made_by, int64_t n)
{
    struct str texts = {0};
    json_t *list = json_array(), *meta = NULL;
    for (int64_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_string(default_texts[i]));
    if (list && str_add_json(&texts, list, JSON_COMPACT) == 0 && !texts.failed)
        meta = json_pack("{s:s, s:s, s:s, s:s}", "format", "meridian doctor", "version", "1", "made_by", made_by,
                         "texts", texts.s);
    json_decref(list);
    str_free(&texts);
    return meta;
}

int doctor_write(struct model *m, const char *dir, const char *made_by)
{
    char path[2200], name[N_PICTURES][16];
    struct arena *a;
    struct image pictures[N_PICTURES];
    struct values v = {.n_images = N_PICTURES, .n_texts = m->tokenizer ? (int64_t)ARRAY_LEN(default_texts) : 0};
    TRY(model_check_space(m));
    TRY(path_join(path, sizeof path, dir, DOCTOR_FILE));
    TRY(arena_open(&a, "doctor"));
    json_t *meta = metadata(made_by, v.n_texts);
    int rc = meta ? 0 : err_set(ERR_MEMORY, "%s: no memory", path);
    for (int i = 0; rc == 0 && i < N_PICTURES; i++)
        rc = draw(a, (int)m->image_size, i, &pictures[i]);
    if (rc == 0)
        rc = make_images(m, a, pictures, &v);
    if (rc == 0 && v.n_texts)
        rc = make_texts(m, a, default_texts, &v);
    struct st_tensor list[N_PICTURES + N_DOCTOR_PLACES];
    int n = 0;
    for (int i = 0; rc == 0 && i < N_PICTURES; i++) {
        snprintf(name[i], sizeof name[i], "picture.%d", i);
        size_t size = (size_t)(pictures[i].width * pictures[i].height * 3);
        list[n++] = (struct st_tensor){.name = name[i],
                                       .dtype = DT_U8,
                                       .n_dims = 3,
                                       .shape = {pictures[i].height, pictures[i].width, 3},
                                       .data = pictures[i].pixels,
                                       .n_bytes = size};
    }
    if (rc == 0) {
        list[n++] = float_tensor("pixel_values", v.pixels, v.n_images, 3 * m->image_size * m->image_size);
        list[n++] = float_tensor("image_embeds", v.image, v.n_images, m->embed);
        if (v.image_first)
            list[n++] = float_tensor("image_first", v.image_first, v.n_images, v.width_image);
        if (v.n_texts)
            list[n++] = float_tensor("text_embeds", v.text, v.n_texts, m->embed);
        if (v.text_first)
            list[n++] = float_tensor("text_first", v.text_first, v.n_texts, v.width_text);
        if (v.n_texts)
            list[n++] = (struct st_tensor){.name = "input_ids",
                                           .dtype = DT_I32,
                                           .n_dims = 2,
                                           .shape = {v.n_texts, m->context},
                                           .data = v.ids,
                                           .n_bytes = (size_t)(v.n_texts * m->context) * sizeof *v.ids};
        rc = st_write(path, list, n, meta);
    }
    json_decref(meta);
    arena_close(&a);
    return rc;
}

/* ---- checking ---- */

/* The pictures and texts of the file. */
static int read_questions(const struct st_file *f, struct arena *a, struct image **pictures, const char ***texts,
                          struct values *v)
{
    char name[32];
    json_t *list = NULL;
    while (v->n_images < 64 && (snprintf(name, sizeof name, "picture.%d", (int)v->n_images), st_find(f, name)))
        v->n_images++;
    *pictures = arena_calloc(a, (size_t)v->n_images + 1, sizeof **pictures);
    if (!*pictures)
        return ERR_MEMORY;
    for (int64_t i = 0; i < v->n_images; i++) {
        snprintf(name, sizeof name, "picture.%d", (int)i);
        const struct st_tensor *t = st_find(f, name);
        if (t->dtype != DT_U8 || t->n_dims != 3 || t->shape[2] != 3 || t->shape[0] < 1 || t->shape[1] < 1 ||
            t->shape[0] > limit_get(LIMIT_SIDE) || t->shape[1] > limit_get(LIMIT_SIDE))
            FAIL(ERR_DATA, "%s: tensor \"%s\": expected U8 [height, width, 3]", st_path(f), name);
        uint8_t *copy = arena_alloc(a, t->n_bytes);
        if (!copy)
            return ERR_MEMORY;
        memcpy(copy, t->data, t->n_bytes);
        (*pictures)[i] =
            (struct image){.width = (int)t->shape[1], .height = (int)t->shape[0], .channels = 3, .pixels = copy};
    }
    const char *text = json_string_value(json_object_get(st_metadata(f), "texts"));
    if (!text)
        return 0;
    TRY(json_read_text(&list, text, strlen(text), st_path(f)));
    v->n_texts = (int64_t)json_array_size(list);
    *texts = arena_calloc(a, (size_t)v->n_texts + 1, sizeof **texts);
    int rc = *texts ? 0 : ERR_MEMORY;
    for (int64_t i = 0; rc == 0 && i < v->n_texts; i++) {
        const char *s = json_string_value(json_array_get(list, (size_t)i));
        (*texts)[i] = arena_strdup(a, s ? s : "");
        rc = (*texts)[i] ? 0 : ERR_MEMORY;
    }
    json_decref(list);
    return rc;
}

/* Fills a line: the largest difference of n numbers x from the tensor of that place. */
static int compare(const struct model *m, const struct st_file *f, enum doctor_place p, const float *x,
                   const int32_t *ids, int64_t n, struct doctor_line *line)
{
    int32_t end = m->tokenizer ? tokenizer_info(m->tokenizer).end_id : -1;
    bool texts = p == DOCTOR_TOKENS || p == DOCTOR_TEXT_FIRST || p == DOCTOR_TEXT, ended = false;
    /* CLIP reads a text at its end token under a causal mask: nobody sees what pads behind it, and OpenAI's pad is 0
     * where HuggingFace's is the end token. */
    bool free_pads = p == DOCTOR_TOKENS && m->family == &family_clip;
    const struct st_tensor *t = st_find(f, places[p].tensor);
    line->bar = places[p].bar;
    if (!t) {
        line->why = "the file has no such values";
        return 0;
    }
    if (!x && !ids) {
        line->why = texts && !m->tokenizer ? "the model has no tokenizer" : "the family does not show its layers";
        return 0;
    }
    if ((int64_t)(t->n_bytes / dtype_size(t->dtype)) != n)
        FAIL(ERR_DATA, "%s: tensor \"%s\" has %zu numbers, expected %lld; it belongs to another model", st_path(f),
             t->name, t->n_bytes / dtype_size(t->dtype), (long long)n);
    line->checked = true;
    for (int64_t i = 0; i < n; i++) {
        ended = ended && i % m->context;
        if (ended && free_pads)
            continue;
        ended = ended || (ids && end >= 0 && ids[i] == end);
        double ours = x ? (double)x[i] : (double)ids[i], theirs, scale = 1.0;
        TRY(dtype_convert(DT_F64, &theirs, t->dtype, (const char *)t->data + (size_t)i * dtype_size(t->dtype), 1));
        if (p == DOCTOR_IMAGE_FIRST || p == DOCTOR_TEXT_FIRST) /* states may be large: relative beyond 1 */
            scale = fmax(1.0, fabs(theirs));
        double d = fabs(ours - theirs) / scale;
        line->worst = d > line->worst || isnan(d) ? d : line->worst;
    }
    line->right = line->worst <= line->bar;
    return 0;
}

int doctor_check(struct model *m, const char *path, struct doctor_report *out)
{
    struct st_file *f = NULL;
    struct arena *a;
    struct image *pictures = NULL;
    const char **texts = NULL;
    struct values v = {0};
    *out = (struct doctor_report){0};
    TRY(model_check_space(m));
    TRY(st_open(&f, path));
    int rc = arena_open(&a, "doctor");
    if (rc < 0) {
        st_close(&f);
        return rc;
    }
    const char *made_by = json_string_value(json_object_get(st_metadata(f), "made_by"));
    snprintf(out->made_by, sizeof out->made_by, "%s", made_by ? made_by : "unknown");
    rc = read_questions(f, a, &pictures, &texts, &v);
    if (rc == 0 && v.n_images)
        rc = make_images(m, a, pictures, &v);
    if (rc == 0 && v.n_texts && m->tokenizer)
        rc = make_texts(m, a, texts, &v);
    const float *mine[N_DOCTOR_PLACES] = {v.pixels, NULL, v.image_first, v.text_first, v.image, v.text};
    const int64_t sizes[N_DOCTOR_PLACES] = {v.n_images * 3 * m->image_size * m->image_size,
                                            v.n_texts * m->context,
                                            v.n_images * v.width_image,
                                            v.n_texts * v.width_text,
                                            v.n_images * m->embed,
                                            v.n_texts * m->embed};
    for (int p = 0; rc == 0 && p < N_DOCTOR_PLACES; p++)
        rc = compare(m, f, (enum doctor_place)p, mine[p], p == DOCTOR_TOKENS ? v.ids : NULL, sizes[p], &out->lines[p]);
    arena_close(&a);
    st_close(&f);
    return rc;
}
