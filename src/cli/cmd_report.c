/* cli/cmd_report.c: measure a set and draw it: one page, one JSON file, the figures. */
#include "cli/cli.h"

#include <string.h>

struct report_cmd {
    struct set_opt set;
    const char *out, *title, *path_base;
    int64_t seed, bootstrap;
    double temperature;
    bool force, thumbnails;
};
#define F(field) offsetof(struct report_cmd, field)
static const struct opt options[] = {
    PATH_OPTION("out", struct report_cmd, out, "DIR", "the folder to write: index.html, report.json, figures/"),
    {"title", 0, OPT_STR, F(title), NULL, 0, 0, NULL, "TEXT", "heading of the page"},
    PATH_OPTION("path-base", struct report_cmd, path_base, "DIR", "folder that the set's picture paths start from"),
    {"thumbnails", 0, OPT_BOOL, F(thumbnails), "true", 0, 0, NULL, NULL, "show the pictures"},
    BOOTSTRAP_OPTION(struct report_cmd, bootstrap),
    {"temperature", 0, OPT_REAL, F(temperature), "0", 0, 1000, NULL, "X",
     "of the softmax in calibration; 0: the model's own, or 0.01"},
    SET_OPTIONS(struct report_cmd, set),
    SEED_OPTION(struct report_cmd, seed),
    FORCE_OPTION(struct report_cmd, force),
    {0},
};
#undef F

static int write_report(struct cli *c, const struct report_cmd *o, const struct set *s, const struct geometry *g,
                        const struct retrieval r[2])
{
    char base[2048];
    struct str line = {0};
    int rc = cli_command_line(c, &line, NULL);
    struct report_opt opt = {.out_dir = o->out,
                             .force = o->force,
                             .title = o->title,
                             .command = line.s,
                             .seed = (uint64_t)o->seed,
                             .no_thumbnails = !o->thumbnails,
                             .path_base = cli_set_base(s, o->path_base, base, sizeof base)};
    if (rc == 0)
        rc = report_write(&opt, s, g, r);
    str_free(&line);
    return rc;
}

static int say(const struct cli *c, const struct report_cmd *o)
{
    char page[2048];
    TRY(path_join(page, sizeof page, o->out, "index.html"));
    if (c->json)
        return cli_put_json(json_pack("{s:s, s:s}", "out", o->out, "page", page));
    printf("%s\n", page);
    return 0;
}

static int run(struct cli *c)
{
    const struct report_cmd *o = c->opt;
    struct eval_opt opt = {
        .bootstrap = o->bootstrap > 0 ? o->bootstrap : -1, .seed = (uint64_t)o->seed, .temperature = o->temperature};
    struct geometry g = {0};
    struct retrieval r[2] = {{0}, {0}};
    struct set *s = NULL;
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    struct set_opt which = o->set;
    which.force = o->force;
    TRY(cli_set(c, &which, &s));
    log_info("measuring %lld pictures and %lld captions", (long long)s->image.n, (long long)s->text.n);
    int rc = eval_retrieval(s, 0, &opt, &r[0]);
    if (rc == 0)
        rc = eval_retrieval(s, 1, &opt, &r[1]);
    if (rc == 0)
        rc = signal_check();
    if (rc == 0)
        rc = eval_geometry(s, &opt, &g);
    if (rc == 0)
        rc = signal_check();
    if (rc == 0)
        rc = write_report(c, o, s, &g, r);
    if (rc == 0)
        rc = say(c, o);
    geometry_free(&g);
    retrieval_free(&r[0]);
    retrieval_free(&r[1]);
    set_close(&s);
    return rc;
}

const struct command command_report = {
    .name = "report",
    .summary = "measure a set and draw it: one self-contained page",
    .usage = "SET --out DIR",
    .example = "meridian report test-set --out report",
    .options = options,
    .size = sizeof(struct report_cmd),
    .computes = true,
    .run = run,
};
