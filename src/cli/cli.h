/* cli/cli.h: what the subcommands share. Internal to room cli (the top room: nobody includes it).
 *
 * A command is a struct of options, its option table and one function; help, argv and JSON come from the table. Only
 * this room writes to stdout, and only main.c ends the process. stdout is data, stderr is talk. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/base.h"
#include "data/data.h"
#include "eval/eval.h"
#include "io/io.h"
#include "kernel/kernel.h"
#include "loss/loss.h"
#include "model/model.h"
#include "space/space.h"
#include "tensor/tensor.h"
#include "train/train.h"
#include "view/view.h"

struct cli;
struct command {
    const char *name;                /* "encode", "eval retrieval" */
    const char *summary;             /* one line of the overview */
    const char *usage;               /* what follows "meridian NAME" */
    const char *notes;               /* more for the help page, or NULL */
    void (*add_help)(struct str *b); /* still more, made of a registry, or NULL */
    const char *example;             /* one whole command line */
    const struct opt *options;
    size_t size;            /* of the options struct */
    const struct opt *more; /* a second table (of room train …), or NULL, for a struct that lies */
    size_t more_at;         /* at this offset of the options struct */
    bool computes;          /* compute threads are used: main.c lets them wait briefly */
    int (*run)(struct cli *c);
};

/* One call of the program. Options every command has lie here. */
struct cli {
    const struct command *command;
    void *opt;            /* the command's struct, filled */
    struct opt_list args; /* words that are no options */
    bool json;
    struct arena *arena; /* lives as long as the call */
    int argc, n_skip;    /* the whole command line; words before the command's own */
    char **argv;
    const struct opt *table; /* merged: the command's rows, the second table's, the common ones */
};

/* ---- option groups (rows for a command's table; the struct has the field)
 * -------------------------------------------- */

struct engine_opt {
    const char *name, *dtype;
    int64_t threads;
};
#define ENGINE_OPTIONS(S, field)                                                                                       \
    {"engine",                                                                                                         \
     0,                                                                                                                \
     OPT_STR,                                                                                                          \
     offsetof(S, field.name),                                                                                          \
     NULL,                                                                                                             \
     0,                                                                                                                \
     0,                                                                                                                \
     NULL,                                                                                                             \
     "NAME",                                                                                                           \
     "who computes: cpu (fast), ref (plain C) or ref64 (plain C, double); the fastest there is when not given"},       \
        {"dtype",    0,                                                                                                \
         OPT_CHOICE, offsetof(S, field.dtype),                                                                         \
         "f32",      0,                                                                                                \
         0,          "f32|bf16",                                                                                       \
         NULL,       "operands of matrix products (sums are always fp32)"},                                            \
    {                                                                                                                  \
        "threads", 0, OPT_INT, offsetof(S, field.threads), "0", 0, 1024, NULL, "N", "compute threads; 0: all cores"    \
    }
#define SEED_OPTION(S, field)                                                                                          \
    {                                                                                                                  \
        "seed", 's', OPT_INT, offsetof(S, field), "0", 0, 4294967295.0, NULL, "N", "of every random choice"            \
    }
#define BOOTSTRAP_OPTION(S, field)                                                                                     \
    {                                                                                                                  \
        "bootstrap", 0, OPT_INT, offsetof(S, field), "1000", 0, 1000000, NULL, "N",                                    \
            "resamples of the intervals; 0: no intervals"                                                              \
    }
#define CAPTIONS_OPTION(S, field)                                                                                      \
    {                                                                                                                  \
        "captions", 0, OPT_CHOICE, offsetof(S, field), "all", 0, 0, "all|name", NULL,                                  \
            "emoji: names and keywords, or names alone"                                                                \
    }
/* How a dataset's files are read: a struct dataset_opt (split and limit have rows of their own). The --csv- names are
 * open_clip's. */
#define DATA_OPTIONS(S, field)                                                                                         \
    PATH_OPTION("images-root", S, field.images_root, "DIR", "where the names of the pictures start"),                  \
        PATH_OPTION("image-column", S, field.image_column, "NAME",                                                     \
                    "csv: column of the pictures' paths (filepath); also --csv-img-key"),                              \
        PATH_OPTION("caption-column", S, field.caption_column, "NAME",                                                 \
                    "csv: column of the captions (caption, title; none: pictures alone); also --csv-caption-key"),     \
        PATH_OPTION("csv-separator", S, field.separator, "SEP", "csv: one character, tab, comma ...; sniffed"),        \
        PATH_OPTION("wds-caption-key", S, field.caption_key, "KEYS",                                                   \
                    "wds: members or JSON fields of the captions (txt; none: pictures alone)"),                        \
        PATH_OPTION("classnames", S, field.classnames, "FILE", "folder: class names, one a line or FOLDER, tab, NAME"), \
        PATH_OPTION("templates", S, field.templates, "FILE", "folder: prompts, one a line, {} or {c} is the name"),    \
        {"follow", 0,    OPT_BOOL, offsetof(S, field.follow),                                                          \
         NULL,     0,    0,        NULL,                                                                               \
         NULL,     "follow symbolic links among the pictures"},                                                        \
        PATH_OPTION("csv-img-key", S, field.image_column, "NAME", NULL),                                               \
        PATH_OPTION("csv-caption-key", S, field.caption_column, "NAME", NULL)
#define FORCE_OPTION(S, field)                                                                                         \
    {                                                                                                                  \
        "force", 'f', OPT_BOOL, offsetof(S, field), NULL, 0, 0, NULL, NULL, "replace an existing output"               \
    }
#define PATH_OPTION(name, S, field, meta, help)                                                                        \
    {                                                                                                                  \
        name, 0, OPT_STR, offsetof(S, field), NULL, 0, 0, NULL, meta, help                                             \
    }

#define IMAGE_SIZE_OPTION(S, field)                                                                                    \
    {                                                                                                                  \
        "image-size", 0, OPT_INT, offsetof(S, field), "0", 0, 8192, NULL, "N",                                         \
            "side of the pictures, other than the model's; its position embeddings are interpolated"                   \
    }

int cli_engine(const struct engine_opt *o, const struct engine **e, bool *low);

/* The set a measuring command works on: the folder named as its only word, or --images A.npy --texts B.npy [--pairs
 * P.csv]. */
struct set_opt {
    const char *images, *texts, *pairs;
    bool force; /* take A.npy and B.npy of two models; every output then says so */
};
#define SET_OPTIONS(S, field)                                                                                          \
    PATH_OPTION("images", S, field.images, "A.npy", "in place of SET: picture vectors, one a row"),                    \
        PATH_OPTION("texts", S, field.texts, "B.npy", "in place of SET: text vectors"),                                \
        PATH_OPTION("pairs", S, field.pairs, "P.csv",                                                                  \
                    "columns image_row,text_row, many to many; row i with row i when not given")
#define MIX_OPTION(S, field)                                                                                           \
    {                                                                                                                  \
        "force", 'f', OPT_BOOL, offsetof(S, field.force), NULL, 0, 0, NULL, NULL,                                      \
            "measure A.npy and B.npy of two models; the output says so"                                                \
    }
int cli_set(struct cli *c, const struct set_opt *o, struct set **s);

/* ---- small helpers (common.c)
 * ------------------------------------------------------------------------------------------- */

/* A missing option or word is ERR_USAGE and says how to get help. */
int cli_need(const struct cli *c, const void *value, const char *name);
int cli_words(const struct cli *c, int min, int max, const char *what);
/* What was measured, in every answer of a measuring command (cmd_eval.c). */
json_t *cli_add_source(json_t *o, const struct set *s);
void cli_print_source(const struct set *s);
/* Prints one JSON object and a newline on stdout; takes the reference. NULL: no memory. */
int cli_put_json(json_t *o);
/* The command line as a shell would take it, without `leave_out`. */
int cli_command_line(const struct cli *c, struct str *out, const char *leave_out);
/* dataset_open that knows: the emoji world has splits, `fallback` is taken there when `split` is NULL; "all" is every
 * row. */
int cli_dataset(struct dataset **d, const char *spec, const char *split, const char *fallback, struct dataset_opt *opt);

/* A help page's list of the kinds of data. */
void cli_list_data(struct str *b);

/* Where relative picture paths of a dataset start, absolute; "" when they are no files. */
void cli_path_base(const struct dataset *d, char *out, size_t n);
/* The same for a set: `given` if not NULL, the emoji world's folder, or field path_base of set.json; NULL: unknown. */
const char *cli_set_base(const struct set *s, const char *given, char *out, size_t n);
/* A figure beside a command's other output: FILE.svg and FILE.tsv (figure_files.c). Check before the work; `out`, that
 * other output or NULL, must be none of the two. */
int cli_check_figure(const char *path, const char *out, bool force);
int cli_put_figure(int (*draw)(const struct fig_in *in, struct str *svg, struct str *tsv), const struct fig_in *in,
                   const char *path);
/* A calibration that belongs to the set: made by its model, of its width. path: for messages. */
int cli_check_calibration(const struct calibration *c, const char *path, const struct set *s);
/* Warns where the calibration was made among many more or many fewer items. */
void cli_warn_gallery(const struct match_model *m, int64_t n_gallery);
/* What names a row of a set: the picture's path, the text's caption, or the id; `none` when no table says. */
const char *cli_row_name(const struct set *s, bool text, int64_t row, const char *none);

/* The registry (cmd_list.h). */
const struct command *command_find(const char *name);

#define COMMAND(c) extern const struct command c;
#include "cli/cmd_list.h"
#undef COMMAND

#endif
