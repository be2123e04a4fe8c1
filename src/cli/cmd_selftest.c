/* cli/cmd_selftest.c: the op table on this machine: every op of an engine against the plain C one in double, forward
 * and gradients, on random shapes. For the machine that nobody tested before. */
#include "cli/cli.h"

#include <string.h>

struct selftest_opt {
    int64_t cases, seed;
    bool gradient;
    struct engine_opt engine;
};
#define F(field) offsetof(struct selftest_opt, field)
static const struct opt options[] = {
    {"cases", 'n', OPT_INT, F(cases), "10", 1, 10000, NULL, "N", "random cases an op"},
    {"gradient", 0, OPT_BOOL, F(gradient), NULL, 0, 0, NULL, NULL,
     "also check the reference's gradients by central differences (slow)"},
    SEED_OPTION(struct selftest_opt, seed),
    ENGINE_OPTIONS(struct selftest_opt, engine),
    {0},
};
#undef F

struct tally {
    int passed, failed, unsupported;
    json_t *ops;
};

static int note(const struct cli *c, struct tally *t, const struct op_case_result *r, const char *mode)
{
    const char *verdict = !r->supported ? "unsupported" : r->n_failed ? "FAILED" : "passed";
    t->passed += r->supported && !r->n_failed;
    t->failed += r->supported && r->n_failed;
    t->unsupported += !r->supported;
    if (!c->json) {
        printf("%-24s  %-11s  %-11s  %4d cases  forward %.1e  gradient %.1e\n", r->op, mode, verdict, r->n_cases,
               r->worst_forward, r->worst_gradient);
        return 0;
    }
    json_t *o = json_pack("{s:s, s:s, s:b, s:i, s:i, s:o, s:o}", "op", r->op, "mode", mode, "supported", r->supported,
                          "cases", r->n_cases, "failed", r->n_failed, "worst_forward", json_number(r->worst_forward),
                          "worst_gradient", json_number(r->worst_gradient));
    if (json_array_append_new(t->ops, o) < 0)
        FAIL(ERR_MEMORY, "no memory for the results");
    return 0;
}

static int one_op(const struct cli *c, const struct engine *e, bool low, int i, struct tally *t)
{
    const struct selftest_opt *o = c->opt;
    struct op_case_result r = {0};
    TRY(signal_check());
    TRY_IN(op_table_compare(i, e, low, (int)o->cases, (uint64_t)o->seed, &r), "testing op %s", op_table_name(i));
    TRY(note(c, t, &r, "compare"));
    if (!o->gradient)
        return 0;
    TRY_IN(op_table_gradient(i, (int)o->cases, (uint64_t)o->seed, &r), "testing op %s", op_table_name(i));
    return note(c, t, &r, "gradient");
}

static int run(struct cli *c)
{
    const struct selftest_opt *o = c->opt;
    const struct engine *e;
    struct progress *p = NULL;
    bool low;
    int rc = 0;
    TRY(cli_words(c, 0, 0, ""));
    TRY(cli_engine(&o->engine, &e, &low));
    struct tally t = {.ops = json_array()};
    log_info("engine %s: %s, %s", e->name, engine_describe(e), o->engine.dtype);
    progress_open(&p, "selftest", op_table_count(), "ops");
    for (int i = 0; rc == 0 && i < op_table_count(); i++) {
        rc = one_op(c, e, low, i, &t);
        progress_add(p, 1);
    }
    progress_close(&p);
    if (rc == 0 && c->json)
        rc = cli_put_json(json_pack("{s:i, s:i, s:i, s:s, s:s, s:s, s:O}", "passed", t.passed, "failed", t.failed,
                                    "unsupported", t.unsupported, "engine", e->name, "machine", engine_describe(e),
                                    "dtype", o->engine.dtype, "ops", t.ops));
    else if (rc == 0)
        printf("\n%d passed, %d failed, %d unsupported\n", t.passed, t.failed, t.unsupported);
    json_decref(t.ops);
    TRY(rc);
    if (t.failed)
        FAIL(ERR_FAIL,
             "%d ops of engine %s differ from the reference on this machine (%s); please report it with this output",
             t.failed, e->name, engine_describe(e));
    return 0;
}

const struct command command_selftest = {
    .name = "selftest",
    .summary = "every op of an engine against the reference, on this machine",
    .usage = "",
    .example = "meridian selftest --engine cpu --json",
    .options = options,
    .size = sizeof(struct selftest_opt),
    .computes = true,
    .run = run,
};
