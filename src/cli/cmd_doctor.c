/* cli/cmd_doctor.c: is this model right on this machine? Its own values say so (model/doctor.c); where none travel with
 * it, the fast engine is held against the plain one, which at least proves the arithmetic. */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct doctor_opt {
    const char *values;
    bool write;
    struct engine_opt engine;
};
static const struct opt options[] = {
    PATH_OPTION("values", struct doctor_opt, values, "F.safetensors", "the values, if not MODEL/" DOCTOR_FILE),
    {"write", 0, OPT_BOOL, offsetof(struct doctor_opt, write), NULL, 0, 0, NULL, NULL,
     "write MODEL/" DOCTOR_FILE " from engine ref64 of this program, replacing what is there"},
    ENGINE_OPTIONS(struct doctor_opt, engine),
    {0},
};

/* Where to look when a place is the first wrong one. */
static const char *advice(enum doctor_place p)
{
    static const char *const texts[N_DOCTOR_PLACES] = {
        [DOCTOR_PIXELS] = "preprocessor_config.json is another model's, or names another variant of resizing",
        [DOCTOR_TOKENS] = "the tokenizer's files are another model's, or another way of cleaning text is meant",
        [DOCTOR_IMAGE_FIRST] = "patches, positions or the first layer differ: picture size, patch size or activation "
                               "of the configuration, or weights that were rounded to 16 bits",
        [DOCTOR_TEXT_FIRST] = "embeddings or the first layer differ: activation or number of heads of the "
                              "configuration",
        [DOCTOR_IMAGE] = "the later layers or the projection differ: layer_norm_eps, pooling, damaged weights",
        [DOCTOR_TEXT] = "the later layers or the projection differ: position of the end token, damaged weights",
    };
    return texts[p];
}

static json_t *line_json(enum doctor_place p, const struct doctor_line *l)
{
    if (!l->checked)
        return json_pack("{s:s, s:n, s:s}", "place", doctor_place_name(p), "right", "why", l->why ? l->why : "");
    return json_pack("{s:s, s:b, s:o, s:f}", "place", doctor_place_name(p), "right", l->right, "difference",
                     json_number(l->worst), "bar", l->bar);
}

static int put_json(const char *model, const struct doctor_report *r, bool right, bool travelled)
{
    json_t *list = json_array();
    for (int p = 0; list && p < N_DOCTOR_PLACES; p++)
        json_array_append_new(list, line_json((enum doctor_place)p, &r->lines[p]));
    return cli_put_json(json_pack("{s:s, s:b, s:s, s:b, s:o}", "model", model, "right", right, "values_by", r->made_by,
                                  "values_travel_with_model", travelled, "places", list));
}

static void put_table(const struct doctor_report *r)
{
    printf("values by %s\n", r->made_by);
    for (int p = 0; p < N_DOCTOR_PLACES; p++) {
        const struct doctor_line *l = &r->lines[p];
        if (l->checked)
            printf("%-18s %-6s difference %.2g, allowed %.2g\n", doctor_place_name((enum doctor_place)p),
                   l->right ? "right" : "WRONG", l->worst, l->bar);
        else
            printf("%-18s -      %s\n", doctor_place_name((enum doctor_place)p), l->why);
    }
}

static int judge(const struct cli *c, const char *name, const struct doctor_report *r, bool travelled)
{
    int wrong = -1;
    for (int p = N_DOCTOR_PLACES - 1; p >= 0; p--)
        if (r->lines[p].checked && !r->lines[p].right)
            wrong = p;
    if (c->json)
        TRY(put_json(name, r, wrong < 0, travelled));
    else
        put_table(r);
    if (wrong >= 0)
        FAIL(ERR_FAIL, "%s: wrong first at: %s (%g off, allowed %g); %s", name,
             doctor_place_name((enum doctor_place)wrong), r->lines[wrong].worst, r->lines[wrong].bar,
             travelled ? advice((enum doctor_place)wrong)
                       : "this machine's engine does not compute as plain C does: see meridian selftest");
    if (!travelled)
        log_info("no values travel with this model, so only the engine was held against plain C; tools/make-doctor "
                 "writes a reference's values where PyTorch is installed");
    return 0;
}

static int write_values(const char *name, const char *dir, const char *made_by)
{
    const struct engine *exact;
    struct model *m = NULL;
    TRY(engine_open(&exact, "ref64", 0));
    TRY(model_open(&m, name, exact));
    int rc = doctor_write(m, dir, made_by);
    model_close(&m);
    return rc;
}

/* No values of the makers: those of the plain engine, in a folder of their own. */
static int check_engine(struct model *m, const char *name, struct doctor_report *r)
{
    char dir[1024], path[1100];
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/meridian-doctor-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        return err_errno(ERR_FAIL, "%s: cannot make a folder", dir);
    int rc = write_values(name, dir, "meridian, engine ref64 of this machine");
    if (rc == 0)
        rc = path_join(path, sizeof path, dir, DOCTOR_FILE);
    if (rc == 0)
        rc = doctor_check(m, path, r);
    path_remove_tree(dir);
    return rc;
}

static int run(struct cli *c)
{
    const struct doctor_opt *o = c->opt;
    const struct engine *e;
    struct model *m = NULL;
    struct doctor_report r;
    char dir[2048], path[2200];
    bool low;
    TRY(cli_words(c, 1, 1, "the model"));
    const char *name = c->args.v[0];
    TRY(model_find(dir, sizeof dir, name));
    if (o->write) {
        TRY(write_values(name, dir, "meridian " MERIDIAN_VERSION ", engine ref64"));
        printf("%s/%s written\n", dir, DOCTOR_FILE);
        return 0;
    }
    TRY(cli_engine(&o->engine, &e, &low));
    TRY(path_join(path, sizeof path, dir, DOCTOR_FILE));
    TRY(model_open(&m, name, e));
    bool travelled = o->values || path_exists(path);
    int rc = travelled ? doctor_check(m, o->values ? o->values : path, &r) : check_engine(m, name, &r);
    model_close(&m);
    TRY(rc);
    return judge(c, name, &r, travelled);
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "proves a model's pixels, tokens, first layer and final vector against values that travel with it",
    .usage = "MODEL",
    .notes = "The values lie in MODEL/" DOCTOR_FILE "; tools/make-doctor computes them with PyTorch and Pillow.\n",
    .example = "meridian doctor emoji",
    .options = options,
    .size = sizeof(struct doctor_opt),
    .computes = true,
    .run = run,
};
