/* cli/cmd_predict.c: the uncertainty of every row of a set, as an adapter sees it. */
#include "cli/adapters.h"

#include <math.h>
#include <string.h>

struct predict_cmd {
    const char *out, *arrays, *model, *path_base;
    int64_t passes, seed;
    double dropout;
    bool force;
    struct set_opt set;
    struct engine_opt engine;
};
#define F(field) offsetof(struct predict_cmd, field)
static const struct opt options[] = {
    PATH_OPTION("out", struct predict_cmd, out, "FILE.csv", "the table to write, one line a row and side"),
    PATH_OPTION("arrays", struct predict_cmd, arrays, "DIR",
                "also write image_mean.npy, image_scale.npy, image_shape.npy, and the same of texts"),
    {"passes", 0, OPT_INT, F(passes), "0", 0, 100000, NULL, "N",
     "passes with dropout, or of tta; 0: 15, or the adapter's"},
    {"dropout", 0, OPT_REAL, F(dropout), "-1", -1, 0.95, NULL, "X", "of these; -1: as trained (released: 0.3)"},
    PATH_OPTION("model", struct predict_cmd, model, "M", "tta: the set's model, in place of the adapter's path to it"),
    PATH_OPTION("path-base", struct predict_cmd, path_base, "DIR",
                "tta: folder that the set's picture paths start from"),
    SEED_OPTION(struct predict_cmd, seed),
    SET_OPTIONS(struct predict_cmd, set),
    FORCE_OPTION(struct predict_cmd, force),
    ENGINE_OPTIONS(struct predict_cmd, engine),
    {0},
};
#undef F

static const char *const side_names[2] = {"image", "text"};

struct columns {
    int64_t n;
    double *scalar;
    struct predict_more more;
};

static int allocate(struct columns *k, int64_t n, int64_t width, bool arrays)
{
    size_t rows = (size_t)n + 1;
    k->n = n;
    k->scalar = mem_calloc(rows, 5 * sizeof(double));
    if (!k->scalar)
        return ERR_MEMORY;
    k->more.aleatoric = k->scalar + rows;
    k->more.epistemic = k->more.aleatoric + rows;
    k->more.log_variance = k->more.epistemic + rows;
    k->more.fidelity = k->more.log_variance + rows;
    if (!arrays)
        return 0;
    k->more.mean = mem_calloc(rows, (size_t)width * sizeof(float));
    k->more.scale = mem_calloc(rows, (size_t)width * sizeof(float));
    k->more.shape = mem_calloc(rows, (size_t)width * sizeof(float));
    return k->more.mean && k->more.scale && k->more.shape ? 0 : ERR_MEMORY;
}

static void release(struct columns *k)
{
    mem_free(k->scalar);
    mem_free(k->more.mean);
    mem_free(k->more.scale);
    mem_free(k->more.shape);
}

static const char *const array_names[3] = {"mean", "scale", "shape"};

static int array_path(char *path, size_t n, const char *dir, int side, int which)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%s.npy", side_names[side], array_names[which]);
    return path_join(path, n, dir, name);
}

/* Before the work: arrays that exist are refused. */
static int check_arrays(const struct predict_cmd *o)
{
    char path[2048];
    for (int k = 0; k < 6; k++) {
        TRY(array_path(path, sizeof path, o->arrays, k / 3, k % 3));
        TRY(path_check_output(path, o->force));
    }
    return 0;
}

static int write_arrays(const char *dir, int side, const struct columns *k, int64_t width)
{
    const float *const data[3] = {k->more.mean, k->more.scale, k->more.shape};
    const int64_t shape[2] = {k->n, width};
    for (int i = 0; i < 3; i++) {
        char path[2048];
        TRY(array_path(path, sizeof path, dir, side, i));
        TRY(npy_write(path, DT_F32, 2, shape, data[i]));
    }
    return 0;
}

enum { N_NUMBERS = 6, N_COLS = N_NUMBERS + 3 };
static const char *const columns[N_COLS] = {"side",  "row",          "uncertainty", "aleatoric", "epistemic",
                                            "total", "log_variance", "fidelity",    "name"};

static int write_side(struct table_writer *w, const struct set *s, const struct columns *k, int side)
{
    const struct predict_more *m = &k->more;
    char text[N_NUMBERS + 1][32];
    const char *cells[N_COLS] = {side_names[side]};
    for (int i = 0; i <= N_NUMBERS; i++)
        cells[i + 1] = text[i];
    for (int64_t i = 0; i < k->n; i++) {
        const double v[N_NUMBERS] = {k->scalar[i],       m->aleatoric[i],
                                     m->epistemic[i],    m->aleatoric[i] + m->epistemic[i],
                                     m->log_variance[i], m->fidelity[i]};
        snprintf(text[0], sizeof text[0], "%lld", (long long)i);
        for (int j = 0; j < N_NUMBERS; j++)
            snprintf(text[j + 1], sizeof text[j + 1], "%.9g", v[j]);
        cells[N_COLS - 1] = cli_row_name(s, side == SIDE_TEXT, i, "");
        TRY(table_writer_row(w, cells));
    }
    return 0;
}

static int write_table(const char *path, const struct set *s, const struct columns k[2])
{
    struct table_writer *w;
    TRY(table_writer_open(&w, path, N_COLS, columns));
    int rc = write_side(w, s, &k[0], 0);
    if (rc == 0)
        rc = write_side(w, s, &k[1], 1);
    if (rc == 0)
        return table_writer_commit(&w);
    table_writer_abort(&w);
    return rc;
}

static double mean_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] / (double)n;
    return n ? sum : (double)NAN;
}

static int report(const struct cli *c, const struct predict_cmd *o, const struct adapter *a, const struct columns k[2])
{
    if (!c->json) {
        printf("%-7s %8s  %-12s %-12s %-12s %s\n", "", "rows", "uncertainty", "aleatoric", "epistemic", "fidelity");
        for (int side = 0; side < 2; side++)
            if (!adapt_covers(a, side))
                printf("%-7s points: method %s has distributions of %s alone\n", side_names[side], adapt_method(a),
                       side == SIDE_TEXT ? "pictures" : "texts");
            else
                printf("%-7s %8lld  %-12.6g %-12.6g %-12.6g %.4f\n", side_names[side], (long long)k[side].n,
                       mean_of(k[side].scalar, k[side].n), mean_of(k[side].more.aleatoric, k[side].n),
                       mean_of(k[side].more.epistemic, k[side].n), mean_of(k[side].more.fidelity, k[side].n));
        for (int side = 0; side < 2; side++)
            if (adapt_said(a, side))
                printf("%-7s %s\n", side_names[side], adapt_said(a, side));
        printf("[means over the rows] table %s\n", o->out);
        return 0;
    }
    json_t *j = json_pack("{s:s, s:s}", "method", adapt_method(a), "out", o->out);
    for (int side = 0; j && side < 2; side++)
        json_object_set_new(j, side_names[side],
                            !adapt_covers(a, side)
                                ? json_null()
                                : json_pack("{s:I, s:o, s:o, s:o, s:o, s:s*}", "rows", (json_int_t)k[side].n,
                                            "uncertainty", json_number(mean_of(k[side].scalar, k[side].n)), "aleatoric",
                                            json_number(mean_of(k[side].more.aleatoric, k[side].n)), "epistemic",
                                            json_number(mean_of(k[side].more.epistemic, k[side].n)), "fidelity",
                                            json_number(mean_of(k[side].more.fidelity, k[side].n)), "how",
                                            adapt_said(a, side)));
    return cli_put_json(j);
}

static int run(struct cli *c)
{
    const struct predict_cmd *o = c->opt;
    struct adapter *a = NULL;
    struct set *s = NULL;
    struct columns k[2] = {{0}, {0}};
    char base[2048];
    struct predict_opt p = {
        .passes = o->passes, .dropout = o->dropout, .seed = (uint64_t)o->seed, .force = o->force, .model = o->model};
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    if (o->arrays)
        TRY(check_arrays(o));
    TRY(adapters_open(c, &o->set, &o->engine, &a, &s));
    p.path_base = cli_set_base(s, o->path_base, base, sizeof base);
    int rc = o->arrays ? path_make_dirs(o->arrays) : 0;
    for (int side = 0; side < 2 && rc == 0; side++) {
        if (!adapt_covers(a, side))
            continue;
        rc = allocate(&k[side], side == SIDE_TEXT ? s->text.n : s->image.n, s->width, o->arrays != NULL);
        if (rc == 0)
            rc = adapt_predict(a, s, side, &p, k[side].scalar, &k[side].more);
        if (rc == 0 && o->arrays)
            rc = write_arrays(o->arrays, side, &k[side], s->width);
    }
    if (rc == 0)
        rc = write_table(o->out, s, k);
    if (rc == 0)
        rc = report(c, o, a, k);
    release(&k[0]);
    release(&k[1]);
    set_close(&s);
    adapt_close(&a);
    return rc;
}

const struct command command_predict = {
    .name = "predict",
    .summary = "an adapter's uncertainty of every row of a set",
    .usage = "ADAPTER (SET | --images A.npy --texts B.npy) --out FILE.csv",
    .notes = "uncertainty is the total variance, the mean over the dimensions; 1 is the spread of the training vectors "
             "about their mean.\nOf asymvlm it is 1/kappa, and texts alone have one. fidelity is the cosine of the "
             "distribution's mean with the vector.\nAn adapter of another model is refused (exit 3); --force takes it.\n",
    .example = "meridian predict adapter test-set --out uncertainty.csv",
    .options = options,
    .size = sizeof(struct predict_cmd),
    .computes = true,
    .run = run,
};
