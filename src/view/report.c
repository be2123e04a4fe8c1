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

static int write_all(const char *dir, const struct report_opt *opt, struct ctx *c, struct fig *figs)
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
    for (int i = 0; i < figure_count(); i++) {
        TRY(figure_draw(c, figure_kind(i), &figs[i]));
        TRY(write_figure(path, c, &figs[i]));
    }
    TRY(write_json(dir, opt, c, title, date));
    TRY(path_join(path, sizeof path, dir, "index.html"));
    int rc = page_write(c, opt, title, date, figs, &html);
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
    int rc;
    struct fig_in in = {s, g, r, opt->path_base, opt->seed, opt->no_thumbnails};
    BUG_ON(!opt->out_dir || !s || !g || !r);
    TRY(path_check_output(opt->out_dir, opt->force));
    TRY(ctx_open(&c, &in));
    struct fig *figs = mem_calloc((size_t)figure_count(), sizeof *figs);
    rc = figs ? atomic_dir_open(&dir, opt->out_dir, opt->force) : ERR_MEMORY;
    if (rc < 0)
        goto out;
    rc = write_all(dir.tmp, opt, &c, figs);
    if (rc == 0)
        rc = atomic_dir_commit(&dir);
    else
        atomic_dir_abort(&dir);
    if (rc == 0 && c.n_thumbs_failed > 0)
        log_warn("%lld picture files could not be read; the report shows grey boxes in their place",
                 (long long)c.n_thumbs_failed);
out:
    for (int i = 0; figs && i < figure_count(); i++)
        fig_free(&figs[i]);
    mem_free(figs);
    ctx_close(&c);
    return rc < 0 ? err_while(rc, "writing report \"%s\"", opt->out_dir) : 0;
}
