/* cli/main.c: from argv to one command and back to an exit code.
 *
 * Nothing here opens an engine, a font or a picture library: --version and help answer at once. Exit codes: 0 success,
 * 1 failure, 2 usage, 3 model mismatch, 4 locked, 5 bad data, 6 no space, 7 no memory, 8 non-finite, 130 stopped by
 * Ctrl-C. What could not be written to stdout is a failure like any other (a full disk must not look like success).
 * Rejected: one program a command, as they would share all libraries and none of the help. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
#define COMMAND(c) &c,
#include "cli/cmd_list.h"
#undef COMMAND
};

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

/* ---- options that every command has
 * -------------------------------------------------------------------------------------- */

struct common {
    bool json, quiet, help;
    const char *limits;
};
static const struct opt common_options[] = {
    {"json", 0, OPT_BOOL, offsetof(struct common, json), NULL, 0, 0, NULL, NULL, "print one JSON object"},
    {"quiet", 'q', OPT_BOOL, offsetof(struct common, quiet), NULL, 0, 0, NULL, NULL,
     "no progress, only warnings and errors"},
    {"limits", 0, OPT_STR, offsetof(struct common, limits), NULL, 0, 0, NULL, "A=N,B=N",
     "what readers accept (meridian limits lists them)"},
    {"help", 'h', OPT_BOOL, offsetof(struct common, help), NULL, 0, 0, NULL, NULL, "show this page"},
    {0},
};

static int count(const struct opt *t)
{
    int n = 0;
    while (t && t[n].name)
        n++;
    return n;
}

static struct opt *add_rows(struct opt *at, const struct opt *rows, size_t shift)
{
    for (; rows && rows->name; rows++) {
        *at = *rows;
        (at++)->offset += shift;
    }
    return at;
}

/* One table over one block of memory: the command's struct, then the common one. */
static int merge_table(struct cli *c, size_t common_at)
{
    const struct command *d = c->command;
    int n = count(d->options) + count(d->more) + count(common_options) + 1;
    struct opt *rows = arena_calloc(c->arena, (size_t)n, sizeof *rows), *at = rows;
    if (!rows)
        return ERR_MEMORY;
    at = add_rows(at, d->options, 0);
    at = add_rows(at, d->more, d->more_at);
    at = add_rows(at, common_options, common_at);
    c->table = rows;
    return 0;
}

static int set_limits(struct arena *a, const char *text)
{
    char *copy = text ? arena_strdup(a, text) : NULL;
    if (text && !copy)
        return ERR_MEMORY;
    for (char *next, *at = copy; at && *at; at = next) {
        next = strchr(at, ',');
        if (next)
            *next++ = 0;
        char *equals = strchr(at, '='), *end = NULL;
        if (equals)
            *equals++ = 0;
        errno = 0;
        long long value = equals ? strtoll(equals, &end, 10) : 0;
        if (!equals || end == equals || *end || errno)
            FAIL(ERR_USAGE, "option --limits: expected NAME=NUMBER,NAME=NUMBER, found \"%s%s%s\"", at,
                 equals ? "=" : "", equals ? equals : "");
        TRY(limit_set(at, value));
    }
    return 0;
}

/* ---- help
 * ------------------------------------------------------------------------------------------------------------------ */

static void print_help(const struct cli *c)
{
    struct str b = {0};
    const struct command *d = c->command;
    printf("meridian %s: %s\n\nusage: meridian %s %s\n", d->name, d->summary, d->name, d->usage);
    opt_add_help(&b, c->table);
    printf("\noptions:\n%s", b.s ? b.s : "");
    if (d->notes)
        printf("\n%s", d->notes);
    str_clear(&b);
    if (d->add_help)
        d->add_help(&b);
    printf("%s", b.n ? b.s : "");
    printf("\nexample:\n  %s\n", d->example);
    str_free(&b);
}

static void print_overview(void)
{
    printf("meridian: the geometry of vision-language embeddings\n\nusage: meridian COMMAND [OPTIONS] "
           "[INPUTS]\n\ncommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %-16s  %s\n", commands[i]->name, commands[i]->summary);
    printf(
        "\nmeridian help COMMAND shows a command's options and an example; meridian --version the version.\n"
        "exit codes: 0 success, 1 failure, 2 usage, 3 model mismatch, 4 locked, 5 bad data, 6 no space, 7 no memory,\n"
        "8 non-finite number, 130 stopped by Ctrl-C\n");
}

/* ---- which command
 * --------------------------------------------------------------------------------------------------------- */

static bool is_group(const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (n && !strncmp(commands[i]->name, word, n) && commands[i]->name[n] == ' ')
            return true;
    return false;
}

static int unknown_command(const char *name)
{
    const char *names[ARRAY_LEN(commands)];
    char safe[128];
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        names[i] = commands[i]->name;
    str_safe(safe, sizeof safe, name);
    const char *near = str_nearest(name, names, (int)ARRAY_LEN(names));
    if (near)
        FAIL(ERR_USAGE, "unknown command \"%s\" (did you mean \"%s\"?); meridian help lists the commands", safe, near);
    FAIL(ERR_USAGE, "unknown command \"%s\"; meridian help lists the commands", safe);
}

/* The command named by one word, or by two ("eval retrieval"); *used counts them. */
static int choose(int n, char **words, const struct command **out, int *used)
{
    char both[128];
    *used = 1;
    if (is_group(words[0])) {
        struct str b = {0};
        if (n > 1 && words[1][0] != '-') {
            snprintf(both, sizeof both, "%s %s", words[0], words[1]);
            *out = command_find(both);
            *used = 2;
            return *out ? 0 : unknown_command(both);
        }
        for (size_t i = 0; i < ARRAY_LEN(commands); i++)
            if (str_starts(commands[i]->name, words[0]))
                str_add(&b, "%s%s", b.n ? ", " : "", commands[i]->name);
        err_set(ERR_USAGE, "\"%s\" needs a second word: %s", words[0], b.s ? b.s : "");
        str_free(&b);
        return ERR_USAGE;
    }
    *out = command_find(words[0]);
    return *out ? 0 : unknown_command(words[0]);
}

/* ---- running one
 * ------------------------------------------------------------------------------------------------------------- */

static bool asks_help(int n, char **words)
{
    for (int i = 0; i < n && strcmp(words[i], "--"); i++)
        if (!strcmp(words[i], "--help") || !strcmp(words[i], "-h"))
            return true;
    return false;
}

static int run_command(struct cli *c, bool help)
{
    size_t at = (c->command->size + 63) / 64 * 64;
    char *block = arena_calloc(c->arena, 1, at + sizeof(struct common));
    if (!block)
        return ERR_MEMORY;
    TRY(merge_table(c, at));
    if (help || asks_help(c->argc - c->n_skip, c->argv + c->n_skip)) {
        print_help(c);
        return 0;
    }
    c->opt = block;
    opt_defaults(c->table, block);
    TRY(opt_parse_argv(c->table, block, c->arena, c->argc - c->n_skip, c->argv + c->n_skip, &c->args));
    const struct common *common = (const struct common *)(const void *)(block + at);
    c->json = common->json;
    if (common->quiet)
        log_level(LOG_WARN);
    TRY(set_limits(c->arena, common->limits));
    if (c->command->computes)
        engine_wait_briefly(c->argv); /* may start the program once more, so nothing is open yet */
    signal_catch();
    return c->command->run(c);
}

static int dispatch(struct cli *c)
{
    char **words = c->argv + 1;
    int n = c->argc - 1, used = 0;
    bool help = n > 0 && !strcmp(words[0], "help");
    if (help) {
        words++;
        n--;
    }
    if (n == 0 || !strcmp(words[0], "--help") || !strcmp(words[0], "-h")) {
        print_overview();
        return 0;
    }
    if (!strcmp(words[0], "--version") || !strcmp(words[0], "version")) {
        printf("meridian %s\n", MERIDIAN_VERSION);
        return 0;
    }
    if (words[0][0] == '-')
        FAIL(ERR_USAGE, "expected a command first, found option \"%.60s\"; meridian help lists the commands", words[0]);
    TRY(choose(n, words, &c->command, &used));
    c->n_skip = 1 + help + used;
    return run_command(c, help);
}

/* A closed descriptor would be handed out to the next file opened, and our talk would land in it. */
static void keep_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            (void)!open("/dev/null", O_RDONLY); /* writing to it fails, as it should */
}

/* Whether all of stdout arrived. A reader that went away (head) is no fault of ours and gets no message. */
static int finish_stdout(int rc)
{
    errno = 0;
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (lost && errno == EPIPE)
        return 128 + SIGPIPE;
    if (lost && rc == 0)
        rc = err_errno(ERR_SPACE, "standard output: cannot write");
    if (rc < 0 && rc != ERR_INTERRUPTED)
        log_error("%s", err_text());
    else if (rc == ERR_INTERRUPTED)
        log_warn("%s", err_text());
    return rc < 0 ? err_exit_code(rc) : 0;
}

int main(int argc, char **argv)
{
    struct cli c = {.argc = argc, .argv = argv};
    keep_standard_files();
    signal(SIGPIPE, SIG_IGN); /* the talk of a long job may lose its reader; the job goes on */
    signal(SIGXFSZ, SIG_IGN); /* a file over the size limit is an error of write, with a message */
    int rc = arena_open(&c.arena, "cli");
    if (rc == 0)
        rc = dispatch(&c);
    int code = finish_stdout(rc);
    arena_close(&c.arena);
    return code;
}
