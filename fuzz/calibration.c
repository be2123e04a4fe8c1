/* fuzz/calibration.c: a calibration file; what is read judges the hits of a query, keeps promises, and is written
 * again: that must read back. */
#include "eval/eval.h"
#include "fuzz.h"

#include <string.h>

enum { ITEMS = 3, WIDTH = 2 };

static int use(const struct match_model *m)
{
    static const float gallery[ITEMS * WIDTH] = {1, 0, 0, 1, 0.6F, 0.8F}, query[WIDTH] = {0.8F, 0.6F};
    struct hit hits[ITEMS];
    double p[ITEMS], mass[ITEMS], least;
    struct risk_choice choice;
    TRY(space_topk(query, 1, gallery, ITEMS, WIDTH, ITEMS, hits));
    TRY(match_hits(m, query, gallery, ITEMS, WIDTH, hits, ITEMS, p, mass));
    for (int i = 0; i < ITEMS; i++)
        BUG_ON(!(p[i] >= 0 && p[i] <= 1));
    fuzz_touch(mass, sizeof mass);
    TRY(risk_threshold(&m->risk, 0.1, 0.9, &choice));
    BUG_ON(choice.n_wrong < 0 || choice.n_wrong > choice.n_answered || choice.n_answered > choice.n);
    return conformal_threshold(m->cover, m->n_cover, 0.9, &least);
}

static int read_back(const struct calibration *c)
{
    struct calibration again;
    char path[256];
    snprintf(path, sizeof path, "%s/again.json", fuzz_dir());
    TRY(calibration_write(path, c));
    BUG_ON(calibration_read(path, &again) < 0);
    BUG_ON(again.width != c->width || again.n_hits != c->n_hits || strcmp(again.fingerprint, c->fingerprint) != 0);
    for (int k = 0; k < 2; k++)
        BUG_ON(again.models[k].fitted != c->models[k].fitted || again.models[k].features != c->models[k].features ||
               again.models[k].n_cover != c->models[k].n_cover);
    calibration_free(&again);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct calibration c;
    const char *path = fuzz_put("calibration.json", data, n);
    int rc = calibration_read(path, &c);
    if (rc == 0) {
        BUG_ON(c.width < 1 || (!c.models[0].fitted && !c.models[1].fitted));
        for (int k = 0; k < 2 && rc == 0; k++)
            if (c.models[k].fitted)
                rc = use(&c.models[k]);
        if (rc == 0)
            rc = read_back(&c);
        calibration_free(&c);
    }
    fuzz_verdict(rc);
    return 0;
}
