/* cli/cmd_limits.c: what readers accept from a file; --limits NAME=NUMBER of any command changes it. */
#include "cli/cli.h"

struct limits_opt {
    bool none;
};
static const struct opt options[] = {{0}};

static int run(struct cli *c)
{
    TRY(cli_words(c, 0, 0, ""));
    json_t *o = c->json ? json_object() : NULL;
    for (int i = 0; i < N_LIMITS; i++) {
        enum limit which = (enum limit)i;
        if (o)
            json_object_set_new(o, limit_name(which), json_integer(limit_get(which)));
        else
            printf("%-14s  %12lld  %s\n", limit_name(which), (long long)limit_get(which), limit_help(which));
    }
    return c->json ? cli_put_json(json_pack("{s:o}", "limits", o)) : 0;
}

const struct command command_limits = {
    .name = "limits",
    .summary = "what readers accept from a file, and how to change it",
    .usage = "",
    .notes = "Every command takes --limits NAME=NUMBER,NAME=NUMBER.\n",
    .example = "meridian limits --limits pixels=400000000",
    .options = options,
    .size = sizeof(struct limits_opt),
    .run = run,
};
