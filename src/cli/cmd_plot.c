/* cli/cmd_plot.c: one named figure of the report as an SVG file, with its numbers as TSV. Only what the figure needs is
 * measured. */
#include "cli/cli.h"

#include <string.h>

struct plot_cmd {
    struct set_opt set;
    const char *out, *tsv, *path_base;
    int64_t seed, bootstrap;
    bool force, list;
};
#define F(field) offsetof(struct plot_cmd, field)
static const struct opt options[] = {
    PATH_OPTION("out", struct plot_cmd, out, "F.svg", "the picture to write"),
    PATH_OPTION("tsv", struct plot_cmd, tsv, "F.tsv", "also write its numbers"),
    {"list", 0, OPT_BOOL, F(list), NULL, 0, 0, NULL, NULL, "list the figures"},
    PATH_OPTION("path-base", struct plot_cmd, path_base, "DIR", "folder that the set's picture paths start from"),
    BOOTSTRAP_OPTION(struct plot_cmd, bootstrap),
    SET_OPTIONS(struct plot_cmd, set),
    SEED_OPTION(struct plot_cmd, seed),
    FORCE_OPTION(struct plot_cmd, force),
    {0},
};
#undef F

static int list_figures(const struct cli *c)
{
    json_t *o = c->json ? json_object() : NULL;
    for (int i = 0; i < figure_count(); i++)
        if (o)
            json_object_set_new(o, figure_name(i), json_string(figure_help(i)));
        else
            printf("%-12s  %s\n", figure_name(i), figure_help(i));
    return c->json ? cli_put_json(json_pack("{s:o}", "figures", o)) : 0;
}

/* A mixture of two models' vectors says so inside the figure. */
static int put_svg(const char *path, const struct str *svg, const struct set *s)
{
    const char *root = strstr(svg->s, "<svg"), *end = root ? strchr(root, '>') : NULL;
    struct str b = {0};
    if (!end || !json_object_get(s->json, "mixed"))
        return atomic_put(path, svg->s, svg->n);
    str_add_n(&b, svg->s, (size_t)(end + 1 - svg->s));
    str_add(&b, "<metadata>");
    str_add_xml(&b, s->model);
    str_add(&b, "</metadata>%s", end + 1);
    int rc = b.failed ? err_set(ERR_MEMORY, "no memory for %s", path) : atomic_put(path, b.s, b.n);
    str_free(&b);
    return rc;
}

static int draw(const struct plot_cmd *o, const char *name, int needs, const struct set *s)
{
    char base[2048];
    struct eval_opt opt = {.bootstrap = o->bootstrap > 0 ? o->bootstrap : -1, .seed = (uint64_t)o->seed};
    struct geometry g = {0};
    struct retrieval r[2] = {{0}, {0}};
    struct str svg = {0}, tsv = {0};
    struct fig_in in = {
        .set = s, .seed = (uint64_t)o->seed, .path_base = cli_set_base(s, o->path_base, base, sizeof base)};
    int rc = 0;
    if (needs & FIG_GEOMETRY) {
        rc = eval_geometry(s, &opt, &g);
        in.geometry = &g;
    }
    for (int i = 0; rc == 0 && (needs & FIG_RETRIEVAL) && i < 2; i++) {
        rc = eval_retrieval(s, i, &opt, &r[i]);
        in.retrieval = r;
    }
    if (rc == 0)
        rc = figure_svg(name, &in, &svg, &tsv);
    if (rc == 0 && (svg.failed || tsv.failed))
        rc = err_set(ERR_MEMORY, "no memory for figure \"%s\"", name);
    if (rc == 0)
        rc = put_svg(o->out, &svg, s);
    if (rc == 0 && o->tsv)
        rc = atomic_put(o->tsv, tsv.s ? tsv.s : "", tsv.n);
    str_free(&svg);
    str_free(&tsv);
    geometry_free(&g);
    retrieval_free(&r[0]);
    retrieval_free(&r[1]);
    return rc;
}

static int run(struct cli *c)
{
    const struct plot_cmd *o = c->opt;
    struct set *s = NULL;
    int needs = 0;
    if (o->list)
        return list_figures(c);
    TRY(cli_words(c, 1, 2, "the figure's name (meridian plot --list)"));
    const char *name = c->args.v[0];
    TRY(figure_needs(name, &needs));
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    if (o->tsv)
        TRY(path_check_output(o->tsv, o->force));
    c->args.v++; /* what follows the name is the set */
    c->args.n--;
    struct set_opt which = o->set;
    which.force = o->force;
    TRY(cli_set(c, &which, &s));
    int rc = draw(o, name, needs, s);
    set_close(&s);
    TRY(rc);
    if (c->json)
        return cli_put_json(json_pack("{s:s, s:s, s:s*}", "figure", name, "out", o->out, "tsv", o->tsv));
    printf("%s\n", o->out);
    return 0;
}

const struct command command_plot = {
    .name = "plot",
    .summary = "one figure of the report as an SVG file",
    .usage = "NAME SET --out F.svg [--tsv F.tsv]",
    .example = "meridian plot clouds test-set --out clouds.svg --tsv clouds.tsv",
    .options = options,
    .size = sizeof(struct plot_cmd),
    .computes = true,
    .run = run,
};
