/* cli/cmd_convert.c: the same numbers in another layout: models between HuggingFace, open_clip and OpenAI, sets between
 * our folder and clip-retrieval's. What would be lost or changed (half precision, a layout that a family lacks) is said
 * or refused; a model is opened again from what was written, and its vectors must be the same. */
#include "cli/train_heads.h"

#include <math.h>
#include <string.h>

struct convert_opt {
    const char *to, *out, *dtype, *head;
    bool force;
};
static const struct opt options[] = {
    {"to", 0, OPT_CHOICE, offsetof(struct convert_opt, to), NULL, 0, 0, "hf|open_clip|openai|set|clip-retrieval", NULL,
     "layout to write: of models hf, open_clip, openai; of sets set, clip-retrieval"},
    PATH_OPTION("out", struct convert_opt, out, "DIR", "the folder to write"),
    PATH_OPTION("head", struct convert_opt, head, "RUN", "map the set's vectors through the heads of this run first"),
    {"dtype-out", 0, OPT_CHOICE, offsetof(struct convert_opt, dtype), "float32", 0, 0, "float32|float16|bfloat16", NULL,
     "number format of the weights or vectors"},
    FORCE_OPTION(struct convert_opt, force),
    {0},
};

static int find_layout(const char *name, enum layout *out)
{
    for (int i = 0; i < N_LAYOUTS; i++)
        if (!strcmp(name, layout_name((enum layout)i))) {
            *out = (enum layout)i;
            return 0;
        }
    FAIL(ERR_USAGE, "--to %s: a model is written as hf, open_clip or openai", name);
}

static enum dtype find_dtype(const char *name)
{
    return !strcmp(name, "float16") ? DT_F16 : !strcmp(name, "bfloat16") ? DT_BF16 : DT_F32;
}

/* Opened again, the weights are the ones that were converted (in F32: to the bit; else as rounded). */
static int check_written(const struct model *m, const char *dir, enum dtype dtype)
{
    struct model *again = NULL;
    TRY_IN(model_open(&again, dir, m->engine), "checking what was written");
    const float *a = m->params.data, *b = again->params.data;
    double bar = dtype == DT_F32 ? 0.0 : dtype == DT_F16 ? 0x1p-10 : 0x1p-7;
    int rc = 0;
    if (m->params.n_slab != again->params.n_slab)
        rc = err_set(ERR_FAIL, "%s: has other weights than were written; this is a fault of meridian", dir);
    for (int64_t i = 0; rc == 0 && i < m->params.n_slab; i++)
        if (fabs((double)a[i] - (double)b[i]) > bar * fabs((double)a[i]) + (bar > 0 ? 1e-7 : 0.0))
            rc = err_set(ERR_FAIL, "%s: reads back other numbers than were written (%g for %g)", dir, (double)b[i],
                         (double)a[i]);
    model_close(&again);
    return rc;
}

static int convert_model(struct cli *c, const char *from)
{
    const struct convert_opt *o = c->opt;
    const struct engine *e;
    struct model *m = NULL;
    struct atomic_dir d;
    enum layout to = LAYOUT_HF;
    enum dtype dtype = find_dtype(o->dtype);
    TRY(find_layout(o->to, &to));
    TRY(engine_open(&e, NULL, 0));
    TRY(model_open(&m, from, e));
    int rc = atomic_dir_open(&d, o->out, o->force);
    if (rc < 0) {
        model_close(&m);
        return rc;
    }
    rc = model_save_as(m, d.tmp, dtype, to);
    if (rc == 0)
        rc = check_written(m, d.tmp, dtype);
    if (rc < 0)
        atomic_dir_abort(&d);
    else
        rc = atomic_dir_commit(&d);
    if (rc == 0 && !m->tokenizer)
        log_warn("%s: the model has no tokenizer files, so none were written", o->out);
    if (rc == 0 && c->json)
        rc = cli_put_json(json_pack("{s:s, s:s, s:s, s:s, s:s}", "out", o->out, "family", m->family->name, "from",
                                    layout_name(m->layout), "to", layout_name(to), "dtype", o->dtype));
    else if (rc == 0)
        printf("%s: %s model, %s to %s, weights %s\n", o->out, m->family->name, layout_name(m->layout), layout_name(to),
               o->dtype);
    model_close(&m);
    return rc;
}

static int write_set(const struct convert_opt *o, const struct set *s)
{
    return !strcmp(o->to, "set") ? set_write(s, o->out, o->dtype, o->force)
                                 : set_write_clip_retrieval(s, o->out, o->dtype, o->force);
}

static int write_mapped(const struct convert_opt *o, const struct set *s)
{
    const struct engine *e;
    struct set mapped;
    TRY(engine_open(&e, NULL, 0));
    TRY(train_heads_map(&mapped, o->head, s, e));
    int rc = write_set(o, &mapped);
    head_set_close(&mapped);
    return rc;
}

static int convert_set(struct cli *c, const char *from)
{
    const struct convert_opt *o = c->opt;
    struct set *s = NULL;
    if (!strcmp(o->dtype, "bfloat16"))
        FAIL(ERR_USAGE, "--dtype-out bfloat16: npy files of vectors are float32 or float16");
    TRY(set_open(&s, from));
    int rc = o->head ? write_mapped(o, s) : write_set(o, s);
    if (rc == 0 && c->json)
        rc = cli_put_json(json_pack("{s:s, s:s, s:I, s:I}", "out", o->out, "to", o->to, "n_images",
                                    (json_int_t)s->image.n, "n_texts", (json_int_t)s->text.n));
    else if (rc == 0)
        printf("%s: %s, from %lld pictures and %lld texts\n", o->out, o->to, (long long)s->image.n,
               (long long)s->text.n);
    set_close(&s);
    return rc;
}

static int run(struct cli *c)
{
    struct convert_opt *o = c->opt;
    TRY(cli_words(c, 1, 1, "the model or set"));
    if (o->head && !o->to)
        o->to = "set";
    TRY(cli_need(c, o->to, "--to"));
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    bool is_set = !strcmp(o->to, "set") || !strcmp(o->to, "clip-retrieval");
    if (o->head && !is_set)
        FAIL(ERR_USAGE, "--head maps the vectors of a set: --to is set or clip-retrieval, not %s", o->to);
    return is_set ? convert_set(c, c->args.v[0]) : convert_model(c, c->args.v[0]);
}

const struct command command_convert = {
    .name = "convert",
    .summary = "a model or set in another layout",
    .usage = "MODEL --to hf|open_clip|openai --out DIR, or SET --to set|clip-retrieval [--head RUN] --out DIR",
    .notes = "Pickles (.bin, .pt) are not read: tools/convert-pickle makes safetensors of them, where PyTorch is "
             "installed.\n",
    .example = "meridian convert emoji --to open_clip --out emoji-open-clip",
    .options = options,
    .size = sizeof(struct convert_opt),
    .computes = true,
    .run = run,
};
