/* cli/train_heads.c: heads over the vectors of a set, for people without the encoder or a fast machine. Their settings
 * differ from a whole encoder's by orders of magnitude, so they have defaults of their own; what the command line says
 * still wins. */
#include "cli/train_heads.h"

#include <math.h>
#include <string.h>

bool train_heads_wanted(const struct train_heads *h)
{
    return h->on || h->set.images || h->set.texts || h->set.pairs;
}

void train_heads_defaults(struct train_opt *o)
{
    o->lr = 3e-4;
    o->epochs = 30;
    o->weight_decay = 0.1;
}

int cli_loss(struct cli *c, const char *name, const struct opt_list *list, const struct loss_kind **kind, void **opt)
{
    *kind = loss_find(name);
    if (!*kind)
        return ERR_USAGE;
    *opt = arena_calloc(c->arena, 1, (*kind)->size ? (*kind)->size : 1);
    char **words = arena_calloc(c->arena, (size_t)list->n + 1, sizeof *words);
    if (!*opt || !words)
        return ERR_MEMORY;
    opt_defaults((*kind)->options, *opt);
    for (int i = 0; i < list->n; i++) {
        words[i] = arena_alloc(c->arena, strlen(list->v[i]) + 3);
        if (!words[i])
            return ERR_MEMORY;
        snprintf(words[i], strlen(list->v[i]) + 3, "--%s", list->v[i]);
    }
    TRY_IN(opt_parse_argv((*kind)->options, *opt, c->arena, list->n, words, NULL), "reading --loss-opt of loss \"%s\"",
           (*kind)->name);
    return 0;
}

static int open_set(struct cli *c, const struct train_heads *h, struct set **s)
{
    if (!h->on)
        return cli_set(c, &h->set, s);
    if (h->set.images || h->set.texts || h->set.pairs)
        FAIL(ERR_USAGE, "--on names a set, --images and --texts stand in its place: give one of them");
    return set_open(s, h->on);
}

int train_heads_map(struct set *out, const char *run, const struct set *s, const struct engine *e)
{
    struct head *h = NULL;
    TRY(head_open(&h, run, e));
    int rc = head_check_set(h, s, false);
    if (rc == 0)
        rc = head_set_open(out, h, s, true);
    head_close(&h);
    return rc;
}

static int write_set(const char *run, const struct set *s, const struct engine *e, const char *out, bool force)
{
    struct set mapped;
    TRY(train_heads_map(&mapped, run, s, e)); /* through what was written, and not what is in memory */
    int rc = set_write(&mapped, out, "float32", force);
    head_set_close(&mapped);
    return rc;
}

static json_t *way_to_json(double image_to_text, double text_to_image)
{
    return json_pack("{s:o, s:o}", "image_to_text", json_number(image_to_text), "text_to_image",
                     json_number(text_to_image));
}

static int report(const struct cli *c, const struct heads_result *r, const char *from, const char *out)
{
    const struct train_result *t = &r->train;
    if (c->json) {
        json_t *o = json_pack("{s:o, s:I, s:o, s:o, s:I, s:I, s:s}", "final_loss", json_number(t->final_loss), "steps",
                              (json_int_t)t->steps, "pairs_per_second", json_number(t->pairs_per_second), "best",
                              json_number(t->best), "pairs", (json_int_t)r->n_train, "validation_pairs",
                              (json_int_t)r->n_validation, "out", out);
        if (o && isfinite(t->best)) {
            json_object_set_new(o, "best_epoch", json_integer(t->best_epoch));
            json_object_set_new(o, "validation_recall_before", way_to_json(r->before[0], r->before[1]));
            json_object_set_new(o, "validation_recall", way_to_json(r->after[0], r->after[1]));
        } else if (o) {
            json_object_set_new(o, "why", json_string("no validation pairs: nothing was judged"));
        }
        return cli_put_json(o);
    }
    printf("pairs             %lld, %lld to judge by\nsteps             %lld\nfinal loss        %.6g\n",
           (long long)r->n_train, (long long)r->n_validation, (long long)t->steps, t->final_loss);
    if (isfinite(t->best) && t->best_epoch < 0 && from)
        printf("validation        no epoch was better than the heads of %s, which stay as they are\n", from);
    else if (isfinite(t->best) && t->best_epoch < 0)
        printf("validation        no epoch was better than the vectors as they are; the heads change nothing\n");
    else if (isfinite(t->best))
        printf("recall at 1       %.4f -> %.4f image to text, %.4f -> %.4f text to image (validation, epoch %lld)\n",
               r->before[0], r->after[0], r->before[1], r->after[1], (long long)t->best_epoch);
    printf("heads             %s\n", out);
    return 0;
}

int train_heads_run(struct cli *c, const struct train_heads *h, const struct train_opt *train,
                    const struct loss_kind *loss, const void *loss_opt, const struct engine_opt *engine,
                    const char *out, bool force)
{
    const struct engine *e;
    struct heads_result r;
    struct set *s = NULL;
    struct str line = {0};
    bool low;
    TRY(cli_words(c, 0, 0, ""));
    TRY(cli_engine(engine, &e, &low));
    if (low || train->augment || train->average > 0 || train->chunk > 0)
        FAIL(ERR_USAGE, "--dtype bf16, --augment, --average and --chunk are for whole encoders; heads have no use for "
                        "them");
    if (h->opt.hidden > 0 && strcmp(h->opt.head, "mlp"))
        FAIL(ERR_USAGE, "--hidden is of the mlp: a linear head has no hidden units");
    if (h->write_set && !strcmp(h->write_set, out))
        FAIL(ERR_USAGE, "--write-set and --out are both %s: the set would replace the heads", out);
    if (h->write_set)
        TRY(path_check_output(h->write_set, force));
    TRY(open_set(c, h, &s));
    json_t *config = json_pack("{s:s, s:o, s:o}", "loss", loss->name, "loss_options",
                               opt_to_json(loss->options, loss_opt), "train", opt_to_json(train_options, train));
    int rc = config ? cli_command_line(c, &line, NULL) : err_set(ERR_MEMORY, "no memory for the configuration");
    if (rc == 0) {
        json_object_set_new(config, "command", json_string(line.s));
        const struct heads_in in = {.set = s,
                                    .opt = &h->opt,
                                    .train = train,
                                    .loss = loss,
                                    .loss_opt = loss_opt,
                                    .engine = e,
                                    .config = config,
                                    .dir = out,
                                    .force = force};
        rc = heads_train(&in, &r);
    }
    if (rc == 0 && h->write_set)
        rc = write_set(out, s, e, h->write_set, force);
    if (rc == 0)
        rc = report(c, &r, h->opt.from, out);
    str_free(&line);
    json_decref(config);
    set_close(&s);
    return rc;
}
