/* cli/cmd_report.c: measure a set and draw it: one page, one JSON file, the figures. */
#include "cli/adapters.h"

#include <string.h>

struct report_cmd {
    struct set_opt set;
    const char *out, *title, *path_base, *adapter, *calibration;
    int64_t seed, bootstrap;
    double temperature;
    bool force, thumbnails;
};
#define F(field) offsetof(struct report_cmd, field)
static const struct opt options[] = {
    PATH_OPTION("out", struct report_cmd, out, "DIR", "the folder to write: index.html, report.json, figures/"),
    {"title", 0, OPT_STR, F(title), NULL, 0, 0, NULL, "TEXT", "heading of the page"},
    PATH_OPTION("path-base", struct report_cmd, path_base, "DIR", "folder that the set's picture paths start from"),
    PATH_OPTION("adapter", struct report_cmd, adapter, "ADAPTER",
                "also its uncertainty, wherever the report speaks of doubt (meridian adapt makes it)"),
    PATH_OPTION("calibration", struct report_cmd, calibration, "CAL.json",
                "also whether p(match) of this calibration keeps its word here (meridian calibrate makes it)"),
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

/* What is measured for the page. */
struct measured {
    struct geometry g;
    struct retrieval r[2];
    struct uncertainty_both doubt;
    double *adapter[2]; /* by row of each side */
    bool calibrated;
    struct calibration calibration;
    struct match_report match[2][2];
};

/* What may be refused comes before the work. */
static int open_others(const struct report_cmd *o, const struct set *s, struct measured *m)
{
    if (o->calibration) {
        TRY(calibration_read(o->calibration, &m->calibration));
        m->calibrated = true;
        TRY(cli_check_calibration(&m->calibration, o->calibration, s));
        cli_warn_gallery(&m->calibration.models[1], s->image.n);
        if (s->text.n != s->image.n)
            cli_warn_gallery(&m->calibration.models[0], s->text.n);
    }
    if (!o->adapter)
        return 0;
    TRY(adapters_uncertainty(o->adapter, s, (uint64_t)o->seed, o->force, m->adapter));
    if (!m->adapter[0] || !m->adapter[1])
        log_warn("adapter \"%s\" has distributions of %s alone: report.json says what they are worth, the figures, "
                 "which show both directions, leave it out",
                 o->adapter, m->adapter[0] ? "pictures" : "texts");
    return 0;
}

static int measure_doubt(const struct report_cmd *o, const struct set *s, const struct eval_opt *opt,
                         struct measured *m)
{
    struct uncertainty_extra extra = {
        .name = "adapter", .text = "uncertainty of the adapter", .u = {m->adapter[0], m->adapter[1]}};
    struct uncertainty_in in = {
        .set = s, .temperature = o->temperature, .extra = &extra, .n_extra = o->adapter != NULL};
    return uncertainty_both_open(&m->doubt, &in, opt);
}

static int measure(const struct report_cmd *o, const struct set *s, struct measured *m)
{
    const struct match_opt hits = {
        .n_hits = m->calibration.n_hits, .bootstrap = o->bootstrap, .seed = (uint64_t)o->seed};
    struct eval_opt opt = {
        .bootstrap = o->bootstrap > 0 ? o->bootstrap : -1, .seed = (uint64_t)o->seed, .temperature = o->temperature};
    log_info("measuring %lld pictures and %lld captions", (long long)s->image.n, (long long)s->text.n);
    TRY(eval_retrieval(s, 0, &opt, &m->r[0]));
    TRY(eval_retrieval(s, 1, &opt, &m->r[1]));
    TRY(signal_check());
    TRY(eval_geometry(s, &opt, &m->g));
    TRY(signal_check());
    TRY(measure_doubt(o, s, &opt, m));
    TRY(signal_check());
    for (int way = 0; m->calibrated && way < 2; way++)
        TRY(match_judge_set(&m->calibration.models[way], s, way, &hits, m->match[way]));
    return 0;
}

static int write_report(struct cli *c, const struct report_cmd *o, const struct set *s, const struct measured *m)
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
                             .path_base = cli_set_base(s, o->path_base, base, sizeof base),
                             .uncertainty = &m->doubt};
    for (int way = 0; m->calibrated && way < 2; way++)
        opt.match[way] = m->match[way];
    if (rc == 0)
        rc = report_write(&opt, s, &m->g, m->r);
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
    struct measured m = {0};
    struct set *s = NULL;
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    struct set_opt which = o->set;
    which.force = o->force;
    TRY(cli_set(c, &which, &s));
    int rc = open_others(o, s, &m);
    if (rc == 0)
        rc = measure(o, s, &m);
    if (rc == 0)
        rc = write_report(c, o, s, &m);
    if (rc == 0)
        rc = say(c, o);
    geometry_free(&m.g);
    for (int k = 0; k < 2; k++) {
        retrieval_free(&m.r[k]);
        mem_free(m.adapter[k]);
    }
    uncertainty_both_close(&m.doubt);
    if (m.calibrated)
        calibration_free(&m.calibration);
    set_close(&s);
    return rc;
}

const struct command command_report = {
    .name = "report",
    .summary = "measure a set and draw it: one self-contained page",
    .usage = "SET --out DIR [--adapter ADAPTER] [--calibration CAL.json]",
    .example = "meridian report test-set --out report",
    .options = options,
    .size = sizeof(struct report_cmd),
    .computes = true,
    .run = run,
};
