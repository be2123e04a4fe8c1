/* cli/cmd_review.c: a set's likely faults as a list for a person: duplicates, mismatched captions, ambiguous items. */
#include "cli/cli.h"

#include <string.h>

struct review_cmd {
    struct set_opt set;
    const char *what, *out;
    int64_t n;
    double temperature;
    bool raw, force;
};
#define F(field) offsetof(struct review_cmd, field)
static const struct opt options[] = {
    {"what", 0, OPT_STR, F(what), REVIEW_USUAL, 0, 0, NULL, "LIST", "what to look for"},
    {"number", 'n', OPT_INT, F(n), "50", 1, 10000000, NULL, "N", "so many of each"},
    PATH_OPTION("out", struct review_cmd, out, "LIST.csv", "the list to write; without it, it is printed"),
    {"temperature", 0, OPT_REAL, F(temperature), "0", 0, 1000, NULL, "X",
     "of the softmax among rivals; 0: the one that fits the set"},
    {"raw-cosine", 0, OPT_BOOL, F(raw), NULL, 0, 0, NULL, NULL, "order by the plain cosine instead, to compare"},
    SET_OPTIONS(struct review_cmd, set),
    FORCE_OPTION(struct review_cmd, force),
    {0},
};
#undef F

static const char *name_of(const struct set *s, bool text, int64_t row)
{
    const struct set_side *side = text ? &s->text : &s->image;
    int label = side->has_meta ? table_col(&side->meta, "label") : -1;
    return cli_row_name(s, text, row, label < 0 ? "" : table_cell(&side->meta, row, label));
}

enum { N_COLS = 9 };
static const char *const columns[N_COLS] = {"what", "rank",      "score", "cosine",    "side",
                                            "row",  "other_row", "name",  "other_name"};

/* The side of the second row: of duplicates the same, of the others the other one. */
static bool other_text(const struct review_item *x)
{
    return x->kind == REVIEW_DUPLICATES ? x->text : !x->text;
}

static int make_cells(struct cli *c, const struct set *s, const struct review_item *x, int64_t n, const char ***out)
{
    const char **cells = arena_calloc(c->arena, (size_t)n + 1, N_COLS * sizeof *cells);
    int64_t rank = 0;
    if (!cells)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        char text[5][32];
        const char **cell = cells + i * N_COLS;
        rank = i > 0 && x[i - 1].kind == x[i].kind ? rank + 1 : 1;
        snprintf(text[0], sizeof text[0], "%lld", (long long)rank);
        snprintf(text[1], sizeof text[1], "%.6g", x[i].score);
        snprintf(text[2], sizeof text[2], "%.6f", x[i].cosine);
        snprintf(text[3], sizeof text[3], "%lld", (long long)x[i].row);
        snprintf(text[4], sizeof text[4], "%lld", (long long)x[i].other);
        cell[0] = review_name(x[i].kind);
        cell[4] = review_side(&x[i]);
        const int at[5] = {1, 2, 3, 5, 6};
        for (int k = 0; k < 5; k++) {
            cell[at[k]] = arena_strdup(c->arena, text[k]);
            if (!cell[at[k]])
                return ERR_MEMORY;
        }
        cell[7] = name_of(s, x[i].text, x[i].row);
        cell[8] = name_of(s, other_text(&x[i]), x[i].other);
    }
    *out = cells;
    return 0;
}

static json_t *list_to_json(const struct set *s, const struct review_item *x, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++) {
        json_t *one = review_item_to_json(&x[i]);
        if (one) {
            json_object_set_new(one, "name", json_string(name_of(s, x[i].text, x[i].row)));
            json_object_set_new(one, "other_name", json_string(name_of(s, other_text(&x[i]), x[i].other)));
        }
        json_array_append_new(list, one);
    }
    return list;
}

static void print_cells(const char **cells, int64_t n)
{
    char a[256], b[256];
    for (int64_t i = 0; i < n; i++) {
        const char **cell = cells + i * N_COLS;
        if (i == 0 || strcmp(cell[0], cell[-N_COLS]) != 0)
            printf("%s%s\n%4s  %-9s  %-8s  %-5s  %7s  %7s\n", i ? "\n" : "", cell[0], "", "score", "cosine", "side",
                   "row", "other");
        str_safe(a, sizeof a, cell[7]);
        str_safe(b, sizeof b, cell[8]);
        printf("%4s  %-9s  %-8.6s  %-5s  %7s  %7s  %s%s%s\n", cell[1], cell[2], cell[3], cell[4], cell[5], cell[6], a,
               *b ? " | " : "", b);
    }
}

static int review(struct cli *c, const struct review_cmd *o, const struct set *s)
{
    const struct review_opt opt = {.n = o->n, .temperature = o->temperature, .raw = o->raw};
    struct review_item *items = NULL;
    const char **cells;
    unsigned kinds;
    int64_t n = 0;
    TRY(review_find(o->what, "option --what", &kinds));
    if (s->n_pairs == 0 && (kinds & 1U << REVIEW_MISMATCHES))
        log_warn("set \"%s\" has no pairs: nothing can be mismatched", s->path);
    TRY(review_set(s, kinds, &opt, &items, &n));
    int rc = make_cells(c, s, items, n, &cells);
    if (rc == 0 && o->out)
        rc = table_write(o->out, N_COLS, columns, n, cells);
    if (rc == 0 && c->json) {
        json_t *all = json_object();
        json_object_set_new(all, "set", json_string(s->path));
        json_object_set_new(all, "items", list_to_json(s, items, n));
        rc = cli_put_json(all);
    } else if (rc == 0 && !o->out) {
        print_cells(cells, n);
    } else if (rc == 0) {
        printf("%lld items in %s\n", (long long)n, o->out);
    }
    mem_free(items);
    return rc;
}

static int run(struct cli *c)
{
    const struct review_cmd *o = c->opt;
    struct set_opt which = o->set;
    struct set *s = NULL;
    unsigned kinds;
    which.force = false;
    TRY(review_find(o->what, "option --what", &kinds));
    if (o->out)
        TRY(path_check_output(o->out, o->force));
    TRY(cli_set(c, &which, &s));
    int rc = review(c, o, s);
    set_close(&s);
    return rc;
}

const struct command command_review = {
    .name = "review",
    .summary = "likely duplicates, mismatched pairs and ambiguous items",
    .usage = "SET [--what duplicates,mismatches,ambiguous] [-n 50] --out LIST.csv",
    .notes = "The list is ranked, the likeliest fault first; a person decides. It changes nothing.\n",
    .example = "meridian review test-set --what mismatches,duplicates -n 20 --out review.csv",
    .options = options,
    .size = sizeof(struct review_cmd),
    .computes = true,
    .run = run,
};
