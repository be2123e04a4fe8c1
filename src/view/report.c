/* view/report.c: the folder of a report: index.html, report.json, figures/NAME.svg and .tsv.
 *
 * Every file is written into the temporary of an atomic_dir, so a report is there whole or not at all. report.json
 * holds each section under the name of the command that prints the same object, so that a script can read either. */
#include "view/fig.h"

#include <string.h>

static json_t *set_to_json(const struct set *s)
{
    return json_pack("{s:s?, s:s?, s:s?, s:s?, s:s?, s:I, s:I, s:I, s:I, s:b}", "path", s->path, "model", s->model,
                     "fingerprint", s->fingerprint, "data", s->data, "protocol", s->protocol, "n_images",
                     (json_int_t)s->image.n, "n_texts", (json_int_t)s->text.n, "n_pairs", (json_int_t)s->n_pairs,
                     "width", (json_int_t)s->width, "unit", s->unit);
}

static int write_json(const char *dir, const struct report_opt *opt, const struct ctx *c, const char *title,
                      const char *date)
{
    int rc = 0;
    json_t *o = json_object();
    bool bad = !o;
    bad = bad || json_object_set_new(o, "version", json_string(MERIDIAN_VERSION)) < 0;
    bad = bad || json_object_set_new(o, "title", json_string(title)) < 0;
    bad = bad || json_object_set_new(o, "date", json_string(date)) < 0;
    bad = bad || json_object_set_new(o, "seed", json_integer((json_int_t)opt->seed)) < 0;
    if (opt->command)
        bad = bad || json_object_set_new(o, "command", json_string(opt->command)) < 0;
    bad = bad || json_object_set_new(o, "set", set_to_json(c->in.set)) < 0;
    bad = bad || json_object_set_new(o, "eval retrieval", retrieval_both_to_json(c->in.retrieval)) < 0;
    bad = bad || json_object_set_new(o, "eval geometry", geometry_to_json(c->in.geometry)) < 0;
    if (opt->uncertainty)
        bad = bad || json_object_set_new(o, "eval uncertainty", uncertainty_both_to_json(opt->uncertainty)) < 0;
    if (opt->match[0] && opt->match[1])
        bad = bad || json_object_set_new(o, "calibration", match_reports_to_json(opt->match)) < 0;
    if (opt->extra)
        bad = bad || json_object_update(o, (json_t *)opt->extra) < 0;
    if (bad)
        rc = err_set(ERR_DATA, "report.json: cannot be made; is the title, a path or the command line no valid UTF-8?");
    if (rc == 0)
        return atomic_put_json(dir, "report.json", o, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(o);
    return rc;
}

static int write_figure(const char *dir, struct ctx *c, const struct fig *f)
{
    char path[2048], name[64];
    struct str svg = {0};
    int rc = figure_document(c, f, &svg);
    snprintf(name, sizeof name, "%s.svg", f->name);
    if (rc == 0)
        rc = path_join(path, sizeof path, dir, name);
    if (rc == 0)
        rc = atomic_put(path, svg.s, svg.n);
    snprintf(name, sizeof name, "%s.tsv", f->name);
    if (rc == 0)
        rc = path_join(path, sizeof path, dir, name);
    if (rc == 0)
        rc = atomic_put(path, f->tsv.s ? f->tsv.s : "", f->tsv.n);
    str_free(&svg);
    return rc;
}

struct figures {
    const struct fig_kind **kind; /* [n] */
    struct fig *fig;
    int n;
};

static int figures_open(struct figures *f, const struct report_opt *opt)
{
    size_t room = (size_t)figure_count() + 1;
    f->kind = mem_calloc(room, sizeof *f->kind);
    f->fig = mem_calloc(room, sizeof *f->fig);
    if (!f->kind || !f->fig)
        return ERR_MEMORY;
    for (int i = 0; i < figure_count(); i++) {
        f->kind[f->n++] = figure_kind(i);
        if (opt->match[0] && opt->match[1] && strcmp(figure_name(i), "reliability") == 0)
            f->kind[f->n++] = &fig_kind_match;
    }
    return 0;
}

static void figures_close(struct figures *f)
{
    for (int i = 0; i < f->n; i++)
        fig_free(&f->fig[i]);
    mem_free(f->fig);
    mem_free((void *)(uintptr_t)f->kind);
}

static int write_all(const char *dir, const struct report_opt *opt, struct ctx *c, struct figures *figs)
{
    char path[2048], date[32], made[256];
    const struct set *s = c->in.set;
    struct str html = {0};
    if (opt->date)
        snprintf(date, sizeof date, "%s", opt->date);
    else
        clock_utc(date);
    if (s->data && *s->data)
        snprintf(made, sizeof made, "%s seen by %s", s->data, s->model && *s->model ? s->model : "an unnamed model");
    else
        snprintf(made, sizeof made, "%s", s->model && *s->model ? s->model : "Pictures and texts in one space");
    const char *title = opt->title && *opt->title ? opt->title : made;
    TRY(path_join(path, sizeof path, dir, "figures"));
    TRY(path_make_dirs(path));
    for (int i = 0; i < figs->n; i++) {
        TRY(figure_draw(c, figs->kind[i], &figs->fig[i]));
        TRY(write_figure(path, c, &figs->fig[i]));
    }
    TRY(write_json(dir, opt, c, title, date));
    TRY(path_join(path, sizeof path, dir, "index.html"));
    int rc = page_write(c, opt, title, date, figs->fig, figs->n, &html);
    if (rc == 0)
        rc = atomic_put(path, html.s, html.n);
    str_free(&html);
    return rc;
}

int report_write(const struct report_opt *opt, const struct set *s, const struct geometry *g,
                 const struct retrieval r[2])
{
    struct atomic_dir dir;
    struct ctx c;
    struct figures figs = {0};
    struct fig_doubt doubts[FIG_DOUBTS];
    struct fig_in in = {.set = s,
                        .geometry = g,
                        .retrieval = r,
                        .path_base = opt->path_base,
                        .seed = opt->seed,
                        .no_thumbnails = opt->no_thumbnails,
                        .match = {opt->match[0], opt->match[1]}};
    BUG_ON(!opt->out_dir || !s || !g || !r);
    TRY(path_check_output(opt->out_dir, opt->force));
    if (opt->uncertainty)
        in.n_doubts = figure_doubts(opt->uncertainty, doubts);
    in.doubt = in.n_doubts ? doubts : NULL;
    TRY(ctx_open(&c, &in));
    int rc = figures_open(&figs, opt);
    if (rc == 0)
        rc = atomic_dir_open(&dir, opt->out_dir, opt->force);
    if (rc < 0)
        goto out;
    rc = write_all(dir.tmp, opt, &c, &figs);
    if (rc == 0)
        rc = atomic_dir_commit(&dir);
    else
        atomic_dir_abort(&dir);
    if (rc == 0 && c.n_thumbs_failed > 0)
        log_warn("%lld picture files could not be read; the report shows grey boxes in their place",
                 (long long)c.n_thumbs_failed);
out:
    figures_close(&figs);
    ctx_close(&c);
    return rc < 0 ? err_while(rc, "writing report \"%s\"", opt->out_dir) : 0;
}
