/* cli/cmd_init.c: a fresh model: the vocabulary is learned from the data's captions, the weights are drawn.
 *
 * Names weigh more than keywords when merges are counted: a name is what people type. A caption shared by many pictures
 * counts once for each of them, as training will draw it. */
#include "cli/cli.h"

#include <string.h>

struct init_opt {
    const char *data, *split, *out;
    int64_t vocab_size, name_weight, seed;
    bool force;
    struct dataset_opt which;
};
#define F(field) offsetof(struct init_opt, field)
static const struct opt options[] = {
    PATH_OPTION("data", struct init_opt, data, "SPEC",
                "captions to learn the vocabulary from, KIND:WHERE; listed below"),
    {"split", 0, OPT_STR, F(split), NULL, 0, 0, NULL, "NAMES",
     "rows of the data (comma-separated, or all); emoji: train when not given"},
    CAPTIONS_OPTION(struct init_opt, which.captions),
    DATA_OPTIONS(struct init_opt, which),
    {"vocab-size", 0, OPT_INT, F(vocab_size), "2048", 514, 1000000, NULL, "N",
     "entries, start and end tokens included"},
    {"name-weight", 0, OPT_INT, F(name_weight), "4", 1, 1000, NULL, "N",
     "how many keywords a name is worth in the counts"},
    PATH_OPTION("out", struct init_opt, out, "DIR", "the model folder to write"),
    SEED_OPTION(struct init_opt, seed),
    FORCE_OPTION(struct init_opt, force),
    {0},
};
#undef F

static int learn(struct cli *c, const struct init_opt *o, const struct dataset *d, struct tokenizer **t)
{
    int64_t *counts = arena_calloc(c->arena, (size_t)d->n_texts + 1, sizeof *counts);
    if (!counts)
        return ERR_MEMORY;
    for (int64_t i = 0; i < d->n_pairs; i++)
        counts[d->pairs[i].text]++;
    for (int64_t i = 0; i < d->n_texts; i++) {
        const char *kind = dataset_text_cell(d, i, "kind");
        counts[i] = (counts[i] ? counts[i] : 1) * (kind && !strcmp(kind, "name") ? o->name_weight : 1);
    }
    log_info("vocabulary: learning %lld entries from %lld captions", (long long)o->vocab_size, (long long)d->n_texts);
    return tokenizer_train(t, d->captions, counts, d->n_texts, o->vocab_size);
}

/* The text tower must know the vocabulary that was learned. */
static int fill_config(json_t *config, const struct tokenizer_info *info, const char *where)
{
    json_t *text = json_object_get(config, "text_config");
    if (!json_is_object(text))
        FAIL(ERR_DATA, "%s: field \"text_config\": expected an object, found %s", where,
             text ? "another type" : "nothing");
    int rc = json_object_set_new(text, "vocab_size", json_integer(info->vocab_size));
    rc |= json_object_set_new(text, "bos_token_id", json_integer(info->start_id));
    rc |= json_object_set_new(text, "eos_token_id", json_integer(info->end_id));
    rc |= json_object_set_new(text, "pad_token_id", json_integer(info->pad_id));
    if (rc != 0)
        FAIL(ERR_MEMORY, "%s: no memory for the configuration", where);
    return 0;
}

/* A wrong configuration is told before the data is read. */
static int check_config(const json_t *config, const char *where, const struct engine *e)
{
    struct model *m = NULL;
    TRY(model_init(&m, config, where, NULL, e, 0));
    model_close(&m);
    return 0;
}

static int save(const struct model *m, const char *out, bool force)
{
    struct atomic_dir d;
    TRY(atomic_dir_open(&d, out, force));
    int rc = model_save(m, d.tmp, DT_F32);
    if (rc < 0) {
        atomic_dir_abort(&d);
        return rc;
    }
    return atomic_dir_commit(&d);
}

static int report(const struct cli *c, const struct model *m, const struct init_opt *o)
{
    char print[65];
    TRY(model_fingerprint(m, print));
    if (c->json)
        return cli_put_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "out", o->out, "parameters",
                                      (json_int_t)m->params.n_numbers, "vocab_size", (json_int_t)m->vocab_size, "width",
                                      (json_int_t)m->embed, "image_size", (json_int_t)m->image_size, "context",
                                      (json_int_t)m->context, "fingerprint", print));
    printf("model        %s\nparameters   %lld\nvocabulary   %lld\nwidth        %lld\npicture      %lld x "
           "%lld\ncontext      %lld\n"
           "fingerprint  %.16s\n",
           o->out, (long long)m->params.n_numbers, (long long)m->vocab_size, (long long)m->embed,
           (long long)m->image_size, (long long)m->image_size, (long long)m->context, print);
    return 0;
}

static int run(struct cli *c)
{
    const struct init_opt *o = c->opt;
    const struct engine *e;
    struct dataset_opt which = o->which;
    struct dataset *d = NULL;
    struct tokenizer *t = NULL;
    struct model *m = NULL;
    json_t *config = NULL;
    TRY(cli_words(c, 1, 1, "the configuration (CONFIG.json)"));
    TRY(cli_need(c, o->data, "--data"));
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    TRY(engine_open(&e, "ref", 1)); /* nothing is computed here */
    int rc = json_read_file(&config, c->args.v[0]);
    if (rc == 0)
        rc = check_config(config, c->args.v[0], e);
    if (rc == 0)
        rc = cli_dataset(&d, o->data, o->split, "train", &which);
    if (rc == 0)
        rc = learn(c, o, d, &t);
    if (rc == 0) {
        struct tokenizer_info info = tokenizer_info(t);
        rc = fill_config(config, &info, c->args.v[0]);
    }
    if (rc == 0)
        rc = model_init(&m, config, c->args.v[0], &t, e, (uint64_t)o->seed);
    if (rc == 0)
        rc = save(m, o->out, o->force);
    if (rc == 0)
        rc = report(c, m, o);
    model_close(&m);
    tokenizer_close(&t);
    dataset_close(&d);
    json_decref(config);
    return rc;
}

const struct command command_init = {
    .name = "init",
    .summary = "a fresh model: learn its vocabulary, draw its weights",
    .usage = "CONFIG.json --data SPEC --out DIR",
    .add_help = cli_list_data,
    .example = "meridian init models/emoji/config.json --data emoji --vocab-size 2048 --seed 1 --out fresh",
    .options = options,
    .size = sizeof(struct init_opt),
    .run = run,
};
