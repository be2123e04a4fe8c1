/* cli/cmd_train.c: training whole encoders, or with --on heads over saved vectors (train_heads.c). What decides the
 * numbers (model, data, loss, options, engine, seed, their fingerprints) goes into the checkpoints, and a resumed run
 * must agree with it; what does not (threads, how often to save) stays out of that and stands in RUN/config.json alone.
 * --resume reads the options from there, so `meridian train --out RUN --resume` goes on. */
#include "cli/cli.h"
#include "cli/train_heads.h"
#include "cli/validate.h"

#include <math.h>
#include <string.h>

struct train_cmd {
    const char *model, *data, *split, *val_split, *loss, *out;
    struct opt_list loss_opt;
    int64_t eval_every, val_limit, image_size;
    bool resume, force;
    struct dataset_opt which;
    struct engine_opt engine;
    struct train_opt train;
    struct train_heads heads;
};
#define F(field) offsetof(struct train_cmd, field)
static const struct opt options[] = {
    PATH_OPTION("model", struct train_cmd, model, "M",
                "where to start: a model folder (meridian init makes one) or name"),
    PATH_OPTION("data", struct train_cmd, data, "SPEC", "pictures with captions, KIND:WHERE; listed below"),
    {"split", 0, OPT_STR, F(split), NULL, 0, 0, NULL, "NAMES",
     "rows to train on (comma-separated, or all); emoji: train when not given"},
    CAPTIONS_OPTION(struct train_cmd, which.captions),
    DATA_OPTIONS(struct train_cmd, which),
    {"val-split", 0, OPT_STR, F(val_split), NULL, 0, 0, NULL, "NAMES",
     "rows to judge by, or none; emoji: validation when not given"},
    {"val-limit", 0, OPT_INT, F(val_limit), "2000", 1, 100000, NULL, "N", "at most so many pictures are judged"},
    {"eval-every", 0, OPT_INT, F(eval_every), "5", 1, 1000000, NULL, "N", "epochs between two judgements"},
    {"loss", 0, OPT_STR, F(loss), "clip", 0, 0, NULL, "NAME", "objective; listed below"},
    {"loss-opt", 0, OPT_LIST, F(loss_opt), NULL, 0, 0, NULL, "KEY=VALUE", "options of the objective"},
    PATH_OPTION("out", struct train_cmd, out, "RUN", "the run folder: model/, checkpoints/, run.jsonl, config.json"),
    {"resume", 0, OPT_BOOL, F(resume), NULL, 0, 0, NULL, NULL,
     "go on from RUN's newest checkpoint, with RUN's options"},
    FORCE_OPTION(struct train_cmd, force),
    IMAGE_SIZE_OPTION(struct train_cmd, image_size),
    TRAIN_HEADS_OPTIONS(struct train_cmd, heads),
    ENGINE_OPTIONS(struct train_cmd, engine),
    {0},
};
#undef F

/* Everything that one training holds. */
struct job {
    struct cli *c;
    struct train_cmd *o;
    const struct loss_kind *loss;
    void *loss_opt;
    const struct engine *e;
    struct model *m;
    struct dataset *d;
    struct validation v;
    struct rundir *run;
    json_t *identity, *config;
    bool low;
};

/* With --resume the run's own options count; words of this command line still win. */
static int recall_options(struct job *j)
{
    char path[2048];
    json_t *config = NULL;
    struct cli *c = j->c;
    TRY(path_join(path, sizeof path, j->o->out, "config.json"));
    if (!path_exists(path))
        return 0; /* rundir_open says what is wrong */
    TRY(json_read_file(&config, path));
    json_t *saved = json_object_get(config, "options");
    struct train_cmd *o = j->o;
    int rc = 0;
    if (json_is_object(saved)) {
        opt_defaults(c->table, o);
        rc = opt_parse_json(options, o, c->arena, saved, path);
    }
    saved = json_object_get(config, "train");
    if (rc == 0 && json_is_object(saved))
        rc = opt_parse_json(train_options, &o->train, c->arena, saved, path);
    json_decref(config);
    TRY(rc);
    return opt_parse_argv(c->table, o, c->arena, c->argc - c->n_skip, c->argv + c->n_skip, &c->args);
}

/* What decides the numbers of the run. */
static int make_identity(struct job *j)
{
    static const char *const free_of_numbers[] = {"max_steps", "checkpoint_every", "loader_threads", "save_dtype"};
    char print[65];
    TRY(model_fingerprint(j->m, print));
    json_t *train = opt_to_json(train_options, &j->o->train);
    json_t *loss = opt_to_json(j->loss->options, j->loss_opt);
    for (size_t i = 0; train && i < ARRAY_LEN(free_of_numbers); i++)
        json_object_del(train, free_of_numbers[i]);
    if (train && loss)
        j->identity = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*, s:s, s:s, s:s, s:O}", "version", MERIDIAN_VERSION,
                                "model_fingerprint", print, "data", j->o->data, "data_fingerprint", j->d->fingerprint,
                                "captions", j->o->which.captions, "split", j->o->split, "engine", j->e->name, "dtype",
                                j->o->engine.dtype, "loss", j->loss->name, "loss_options", loss);
    if (j->identity && json_object_update(j->identity, train) < 0) {
        json_decref(j->identity);
        j->identity = NULL;
    }
    json_decref(train);
    json_decref(loss);
    if (!j->identity)
        FAIL(ERR_MEMORY, "no memory for the configuration");
    return 0;
}

/* RUN/config.json: the identity, and all the rest that a reader wants to know. */
static int make_config(struct job *j)
{
    struct str line = {0};
    j->config = json_deep_copy(j->identity);
    json_t *own = opt_to_json(options, j->o), *train = opt_to_json(train_options, &j->o->train);
    if (own) { /* they belong to one call, not to the run */
        json_object_del(own, "resume");
        json_object_del(own, "force");
        json_object_del(own, "out");
    }
    int rc = j->config && own && train ? 0 : err_set(ERR_MEMORY, "no memory for the configuration");
    if (rc == 0)
        rc = cli_command_line(j->c, &line, NULL);
    if (rc == 0) {
        json_object_set_new(j->config, "command", json_string(line.s));
        json_object_set_new(j->config, "model", json_string(j->o->model));
        json_object_set_new(j->config, "data_description", json_string(j->d->description));
        json_object_set_new(j->config, "machine", json_string(engine_describe(j->e)));
        json_object_set_new(j->config, "parameters", json_integer(j->m->params.n_numbers));
        json_object_set(j->config, "options", own);
        json_object_set(j->config, "train", train);
    }
    str_free(&line);
    json_decref(own);
    json_decref(train);
    return rc;
}

static bool wants_validation(const struct train_cmd *o)
{
    if (o->val_split)
        return strcmp(o->val_split, "none") != 0;
    return !strcmp(o->data, "emoji");
}

static int prepare(struct job *j)
{
    struct train_cmd *o = j->o;
    struct dataset_opt which = o->which;
    TRY(cli_engine(&o->engine, &j->e, &j->low));
    TRY(model_open_opt(&j->m, o->model, &(struct model_opt){.image_size = o->image_size}, j->e));
    TRY(model_check_space(j->m));
    if (!j->m->tokenizer)
        FAIL(ERR_DATA,
             "%s: the model folder has no tokenizer (vocab.json and merges.txt); meridian init makes a model with one",
             o->model);
    TRY(cli_dataset(&j->d, o->data, o->split, "train", &which));
    log_info("training on %s", j->d->description);
    if (j->d->n_images < o->train.batch) /* before the run folder exists */
        FAIL(ERR_USAGE, "%s has %lld pictures, expected at least one batch of %lld; take a smaller --batch", o->data,
             (long long)j->d->n_images, (long long)o->train.batch);
    TRY(make_identity(j));
    TRY(make_config(j));
    if (wants_validation(o)) {
        j->v = (struct validation){.every = o->eval_every, .epochs = o->train.epochs, .low = j->low};
        TRY(validation_open(&j->v, j->m, o->data, o->val_split, o->val_limit, &o->which));
    }
    TRY(rundir_open(&j->run, o->out, o->resume, o->force, j->config));
    log_info("%lld parameters, %s, %s; run folder %s", (long long)j->m->params.n_numbers, engine_describe(j->e),
             o->engine.dtype, o->out);
    return 0;
}

static int report(const struct job *j, const struct train_result *r)
{
    if (j->c->json) {
        json_t *o =
            json_pack("{s:o, s:I, s:o, s:o}", "final_loss", json_number(r->final_loss), "steps", (json_int_t)r->steps,
                      "pairs_per_second", json_number(r->pairs_per_second), "best", json_number(r->best));
        if (o && !isfinite(r->best))
            json_object_set_new(o, "why", json_string("no validation split: nothing was judged"));
        if (o && !isfinite(r->final_loss))
            json_object_set_new(o, "why", json_string("no step was left to do"));
        if (o && isfinite(r->best))
            json_object_set_new(o, "best_epoch", json_integer(r->best_epoch));
        return cli_put_json(o);
    }
    printf("steps             %lld\n", (long long)r->steps);
    if (isfinite(r->final_loss))
        printf("final loss        %.6g\npairs per second  %.1f\n", r->final_loss, r->pairs_per_second);
    else
        printf("final loss        -  no step was left to do\n");
    if (isfinite(r->best))
        printf("best recall at 1  %.4f (validation, mean of both directions, epoch %lld)\n", r->best,
               (long long)r->best_epoch);
    printf("model             %s/model\n", j->o->out);
    return 0;
}

/* Ctrl-C lost nothing: say how to go on. */
static void tell_resume(const struct job *j)
{
    struct str line = {0};
    if (cli_command_line(j->c, &line, "--force") == 0)
        log_info("to go on: %s%s", line.s, j->o->resume ? "" : " --resume");
    str_free(&line);
}

static int run_heads(struct cli *c)
{
    struct job j = {.c = c, .o = c->opt};
    struct train_cmd *o = c->opt;
    if (o->model || o->data || o->split || o->val_split || o->resume)
        FAIL(ERR_USAGE, "--on trains heads over vectors that exist: --model, --data, --split, --val-split and --resume "
                        "belong to whole encoders (a run of heads takes seconds)");
    opt_defaults(c->table, o);
    train_heads_defaults(&o->train);
    TRY(opt_parse_argv(c->table, o, c->arena, c->argc - c->n_skip, c->argv + c->n_skip, &c->args));
    TRY(cli_loss(c, o->loss, &o->loss_opt, &j.loss, &j.loss_opt));
    return train_heads_run(c, &o->heads, &o->train, j.loss, j.loss_opt, &o->engine, o->out, o->force);
}

static int run(struct cli *c)
{
    struct job j = {.c = c, .o = c->opt};
    struct train_cmd *o = c->opt;
    struct train_result result = {0};
    TRY(cli_need(c, o->out, "--out"));
    if (train_heads_wanted(&o->heads))
        return run_heads(c);
    if (o->heads.opt.from || o->heads.write_set || o->heads.opt.train_rows || o->heads.opt.split_column)
        FAIL(ERR_USAGE, "--from, --write-set, --train-rows and --split-column are for heads, which need --on SET");
    if (o->resume && o->force)
        FAIL(ERR_USAGE, "--resume goes on with a run, --force begins it anew: give one of them");
    if (o->resume)
        TRY(recall_options(&j));
    TRY(cli_words(c, 0, 0, ""));
    TRY(cli_need(c, o->model, "--model"));
    TRY(cli_need(c, o->data, "--data"));
    TRY(cli_loss(c, o->loss, &o->loss_opt, &j.loss, &j.loss_opt));
    int rc = prepare(&j);
    if (rc == 0) {
        struct train_job job = {.model = j.m,
                                .data = j.d,
                                .loss = j.loss,
                                .loss_opt = j.loss_opt,
                                .opt = &o->train,
                                .config = j.identity,
                                .run = j.run,
                                .low = j.low,
                                .resume = o->resume,
                                .end_of_epoch = j.v.data ? validation_run : NULL,
                                .ctx = &j.v};
        rc = train_run(&job, &result);
        if (rc == ERR_INTERRUPTED)
            tell_resume(&j);
    }
    if (rc == 0)
        rc = report(&j, &result);
    rundir_close(&j.run);
    validation_close(&j.v);
    dataset_close(&j.d);
    model_close(&j.m);
    json_decref(j.config);
    json_decref(j.identity);
    return rc;
}

static void list_choices(struct str *b)
{
    const struct loss_kind *k;
    cli_list_data(b);
    for (int i = 0; (k = loss_at(i)); i++) {
        str_add(b, "\nloss %s: %s; its options, as --loss-opt KEY=VALUE:\n", k->name, k->help);
        opt_add_help(b, k->options);
    }
}

const struct command command_train = {
    .name = "train",
    .summary = "train a model's encoders on pictures and captions, or heads on a set's vectors",
    .usage = "(--model M --data SPEC | --on SET --head linear|mlp) --out RUN",
    .notes = "Ctrl-C keeps the work: a checkpoint is written, and the same command with --resume goes on to the same "
             "bits.\n"
             "Heads (--on) take seconds: RUN holds head.json, head.safetensors and run.jsonl; their defaults are --lr "
             "3e-4\n--epochs 30 --weight-decay 0.1, and Ctrl-C leaves nothing. meridian convert SET --head RUN applies "
             "them.\n",
    .add_help = list_choices,
    .example = "meridian train --model fresh --data emoji --augment --epochs 60 --batch 256 --lr 1e-3 --out run",
    .options = options,
    .size = sizeof(struct train_cmd),
    .more = train_options,
    .more_at = offsetof(struct train_cmd, train),
    .computes = true,
    .run = run,
};
