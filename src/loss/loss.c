/* loss/loss.c: the registry of objectives. */
#include "loss/loss.h"

#include "loss/clip_loss.h"
#include "loss/sigmoid_loss.h"

#include <string.h>

static const struct loss_kind *const kinds[] = {
#define LOSS_KIND(k) &k,
#include "loss/loss_list.h"
#undef LOSS_KIND
};

const struct loss_kind *loss_at(int i)
{
    return i >= 0 && (size_t)i < ARRAY_LEN(kinds) ? kinds[i] : NULL;
}

const struct loss_kind *loss_find(const char *name)
{
    struct str known = {0};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!strcmp(kinds[i]->name, name)) {
            str_free(&known);
            return kinds[i];
        }
        str_add(&known, "%s%s", i ? ", " : "", kinds[i]->name);
    }
    err_set(ERR_USAGE, "--loss %s: no such objective; known: %s", name, known.s ? known.s : "");
    str_free(&known);
    return NULL;
}
