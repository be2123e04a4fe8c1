/* adapt/fit_state.c: what a fitting needs to go on where it was stopped, in OUT.partial beside its output
 * (io/workdir.c).
 *
 * A state is the weights, both moments of Adam, the best weights so far, and the place in the run; what is random
 * follows from seeds and counters. It is written once a minute (--save-every) and when the run is stopped, into two
 * folders in turn, so that one is whole whatever happens to the other. plan.json names the options and the SHA-256 of
 * the vectors and of the pairs: work on another set never goes on as work on this one. The plan is made with the first
 * state: most runs end before it, and summing 400 MB takes a second. Rejected: the checkpoints of room train, which
 * hold a model's folder and its averages. */
#include "adapt/adapter.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

enum { SLOTS = 2 };
static const char *const slots[SLOTS] = {"state-0", "state-1"};
static const char *const files[] = {"state.safetensors"};

struct fit_state {
    struct fit_in in;
    const struct engine *e;
    char path[1024];
    struct workdir *work; /* NULL before the first state */
    int last;             /* the slot of the newest state, or -1 */
    bool force;
};

/* ---- the plan ---- */

static void add_rows(struct sha256 *h, const struct set_side *side, int64_t width)
{
    sha256_add(h, side->x, (size_t)(side->n * width) * sizeof *side->x);
}

static int make_plan(const struct fit_state *st, json_t **out)
{
    const struct set *s = st->in.s;
    const struct set_split *p = st->in.split;
    struct sha256 h;
    char vectors[65], pairs[65];
    sha256_start(&h);
    add_rows(&h, &s->image, s->width);
    add_rows(&h, &s->text, s->width);
    sha256_hex(&h, vectors);
    sha256_start(&h);
    sha256_add(&h, p->train, (size_t)p->n_train * sizeof *p->train);
    sha256_add(&h, p->validation, (size_t)p->n_validation * sizeof *p->validation);
    sha256_hex(&h, pairs);
    char masked[65] = "", path[2048];
    if (st->in.o->masked) { /* set.json holds the checksums of the rest */
        TRY(path_join(path, sizeof path, st->in.o->masked, "set.json"));
        TRY(path_sum(masked, path, NULL));
    }
    json_t *o = opt_to_json(adapt_options, st->in.o);
    if (o)
        json_object_del(o, "save-every");
    if (!o || json_object_set_new(o, "work", json_string("adapt")) < 0 ||
        json_object_set_new(o, "engine", json_string(st->e->name)) < 0 ||
        json_object_set_new(o, "dtype", json_string(st->in.o->low ? "bf16" : "f32")) < 0 ||
        json_object_set_new(o, "vectors", json_string(vectors)) < 0 ||
        json_object_set_new(o, "pairs", json_string(pairs)) < 0 ||
        json_object_set_new(o, "masked_set", json_string(masked)) < 0) {
        json_decref(o);
        FAIL(ERR_MEMORY, "no memory for the plan of %s", st->path);
    }
    *out = o;
    return 0;
}

static void add_value(struct str *b, const json_t *v)
{
    if (!v || str_add_json(b, v, JSON_ENCODE_ANY | JSON_COMPACT) < 0)
        str_add(b, "unknown");
}

static int agree(const json_t *old, const json_t *now, const char *path)
{
    struct str b = {0};
    const char *key;
    json_t *v;
    const char *work = json_string_value(json_object_get(old, "work"));
    if (!work || strcmp(work, "adapt") != 0)
        FAIL(ERR_USAGE, "%s is unfinished work of another command; move it away, or --force to start anew", path);
    json_object_foreach((json_t *)(uintptr_t)now, key, v) /* jansson takes no const; it only reads here */
    {
        const json_t *before = json_object_get(old, key);
        if (before && json_equal(before, v))
            continue;
        if (!strcmp(key, "vectors") || !strcmp(key, "pairs")) {
            str_add(&b, "%sother %s", b.n ? ", and " : "", key);
            continue;
        }
        str_add(&b, "%s%s = ", b.n ? ", and " : "", key);
        add_value(&b, before);
        str_add(&b, " (this command says ");
        add_value(&b, v);
        str_add_c(&b, ')');
    }
    int rc = 0;
    if (b.failed)
        rc = err_set(ERR_MEMORY, "no memory to compare with the plan of %s", path);
    else if (b.n)
        rc = err_set(ERR_MISMATCH,
                     "%s was begun with %s; go on with the same set and options, or --force to start anew", path, b.s);
    str_free(&b);
    return rc;
}

static int come_in(struct fit_state *st)
{
    json_t *plan;
    TRY(make_plan(st, &plan));
    int rc = workdir_open(&st->work, st->path, true, st->force, plan, agree);
    json_decref(plan);
    return rc;
}

/* ---- reading ---- */

static int read_slab(const struct st_file *f, const char *name, const struct params *p, void *into)
{
    const struct st_tensor *t = st_find(f, name);
    size_t bytes = (size_t)p->n_slab * dtype_size(p->real);
    if (!t || t->dtype != p->real || t->n_bytes != bytes)
        FAIL(ERR_DATA, "%s: \"%s\" is missing or of another size, expected %lld numbers", st_path(f), name,
             (long long)p->n_slab);
    memcpy(into, t->data, bytes);
    return 0;
}

static int read_place(const json_t *o, const char *where, struct fit_place *at, struct str *log)
{
    const char *text;
    struct fit_place p = {.best_loss = INFINITY};
    TRY(json_field_int(o, "epoch", true, 0, INT64_MAX, &p.epoch, where));
    TRY(json_field_int(o, "step", true, 0, INT64_MAX, &p.step, where));
    TRY(json_field_int(o, "steps", true, 0, INT64_MAX, &p.steps, where));
    TRY(json_field_int(o, "best_epoch", true, -1, INT64_MAX, &p.best_epoch, where));
    TRY(json_field_real(o, "loss_sum", true, -INFINITY, INFINITY, &p.sum, where));
    TRY(json_field_real(o, "best_loss", false, -INFINITY, INFINITY, &p.best_loss, where));
    TRY(json_field_str(o, "log", true, &text, where));
    str_add(log, "%s", text);
    *at = p;
    return log->failed ? ERR_MEMORY : 0;
}

static int read_state(const struct fit_state *st, const json_t *o, const struct fit_memory *m, struct fit_place *at)
{
    char path[2048];
    struct st_file *f = NULL;
    TRY(workdir_path(path, sizeof path, st->work, slots[st->last], files[0]));
    TRY(read_place(o, path, at, st->in.log));
    TRY(st_open(&f, path));
    int rc = read_slab(f, "weights", m->params, m->params->data);
    if (rc == 0)
        rc = read_slab(f, "adam_m", m->params, m->adam->m);
    if (rc == 0)
        rc = read_slab(f, "adam_v", m->params, m->adam->v);
    if (rc == 0)
        rc = read_slab(f, "best", m->params, m->best);
    st_close(&f);
    m->adam->step = at->steps;
    return rc;
}

/* The newer of the states that are whole; one that is not goes. */
static int find_newest(struct fit_state *st, json_t **out)
{
    int64_t most = -1, steps;
    *out = NULL;
    for (int k = 0; k < SLOTS; k++) {
        json_t *o = NULL;
        if (!workdir_has(st->work, slots[k]))
            continue;
        int rc = workdir_check(st->work, slots[k], files, 1, &o);
        if (rc == 0)
            rc = json_field_int(o, "steps", true, 0, INT64_MAX, &steps, slots[k]);
        if (rc == ERR_MEMORY)
            return rc;
        if (rc < 0) {
            log_warn("%s; an older state is taken, or the start", err_text());
            err_clear();
            json_decref(o);
            TRY(workdir_drop(st->work, slots[k]));
            continue;
        }
        if (steps > most) {
            json_decref(*out);
            *out = o;
            most = steps;
            st->last = k;
        } else {
            json_decref(o);
        }
    }
    return 0;
}

int fit_state_open(struct fit_state **out, const char *dir, bool force, const struct fit_in *in, const struct engine *e,
                   const struct fit_memory *m, struct fit_place *at)
{
    size_t n = strlen(dir);
    struct fit_state *st = mem_calloc(1, sizeof *st);
    if (!st)
        return ERR_MEMORY;
    *st = (struct fit_state){.in = *in, .e = e, .last = -1, .force = force};
    *out = st;
    while (n > 1 && dir[n - 1] == '/')
        n--;
    if (n + 16 > sizeof st->path)
        FAIL(ERR_FAIL, "output path \"%.80s...\" is too long", dir);
    memcpy(st->path, dir, n);
    strcpy(st->path + n, ".partial");
    if (!path_exists(st->path))
        return 0;
    json_t *o;
    TRY(come_in(st));
    TRY(find_newest(st, &o));
    int rc = o ? read_state(st, o, m, at) : 0;
    if (rc == 0 && o)
        log_info("going on with the work in %s, after step %lld", st->path, (long long)at->steps);
    json_decref(o);
    return rc;
}

/* ---- writing ---- */

static json_t *place_json(const struct fit_state *st, const struct fit_place *at)
{
    const char *log = st->in.log->s ? st->in.log->s : "";
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:f, s:s}", "epoch", (json_int_t)at->epoch, "step",
                          (json_int_t)at->step, "steps", (json_int_t)at->steps, "best_epoch",
                          (json_int_t)at->best_epoch, "loss_sum", at->sum, "log", log);
    if (o && isfinite(at->best_loss) && json_object_set_new(o, "best_loss", json_real(at->best_loss)) < 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static int write_state(const char *folder, const struct fit_memory *m)
{
    char path[2048];
    const struct params *p = m->params;
    struct st_tensor t[] = {{.name = "weights", .data = p->data},
                            {.name = "adam_m", .data = m->adam->m},
                            {.name = "adam_v", .data = m->adam->v},
                            {.name = "best", .data = m->best}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        t[i].dtype = p->real;
        t[i].n_dims = 1;
        t[i].shape[0] = p->n_slab;
        t[i].n_bytes = (size_t)p->n_slab * dtype_size(p->real);
    }
    TRY(path_join(path, sizeof path, folder, files[0]));
    return st_write(path, t, ARRAY_LEN(t), NULL);
}

int fit_state_save(struct fit_state *st, const struct fit_memory *m, const struct fit_place *at)
{
    const char *folder;
    if (!st->work)
        TRY(come_in(st));
    int slot = st->last == 0 ? 1 : 0;
    if (workdir_has(st->work, slots[slot]))
        TRY(workdir_drop(st->work, slots[slot]));
    TRY(workdir_begin(st->work, slots[slot], &folder));
    if (!folder)
        FAIL(ERR_LOCKED, "%s: another process is at work here", st->path);
    int rc = write_state(folder, m);
    if (rc < 0) {
        workdir_abort(st->work);
        return err_while(rc, "keeping the unfinished work in %s", st->path);
    }
    TRY(workdir_commit(st->work, place_json(st, at), files, 1));
    st->last = slot;
    return 0;
}

int fit_state_close(struct fit_state **stp, bool finished)
{
    struct fit_state *st = *stp;
    if (!st)
        return 0;
    int rc = st->work ? workdir_close(&st->work, finished || st->last < 0) : 0;
    mem_free(st);
    *stp = NULL;
    return rc;
}
