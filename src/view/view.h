/* view/view.h: the door of room view (level 5). Figures as SVG, the self-contained HTML report, the search grid.
 *
 * Everything here turns structs of rooms space and eval into bytes; nothing here measures. A figure is one file fig_*.c
 * and one line of fig_list.h. What the page shows is readable without network and without JavaScript, in light and
 * dark, by people who do not see colour and by screen readers; each figure carries its numbers as TSV. Includes base,
 * io, space, eval. */
#ifndef VIEW_VIEW_H
#define VIEW_VIEW_H

#include "base/base.h"
#include "eval/eval.h"
#include "io/io.h"
#include "space/space.h"

/* ---- figures (figure.c, fig_list.h, fig_*.c)
 * --------------------------------------------------------------------------- */

/* An uncertainty that figures draw, both directions. */
struct fig_doubt {
    const char *name, *text;
    const struct uncertainty *m[2];
    const struct uncertainty_scores *s; /* [2] score k of these, for figures that show rows; or NULL */
    int k;
};
#define FIG_DOUBTS (N_UNCERTAINTIES + UNCERTAINTY_EXTRA)
/* What is there in both directions, what is worth drawing first: combined, an adapter's, the plainest, the others. d
 * [FIG_DOUBTS]; returns how many. */
int figure_doubts(const struct uncertainty_both *b, struct fig_doubt *d);

/* A mask study (fig_mask.c), both sides: 0 pictures, 1 words. Arrays [n_shares]; of a score's doubt, risen: the share
 * of items that are less sure than their unmasked selves; rise: in standard deviations of the unmasked items. */
struct fig_mask_score {
    const char *name;
    struct interval *doubt, *rise;
    double *risen, spearman;
};
struct fig_mask {
    int n_shares, n_scores;
    const double *share;
    struct {
        int64_t n; /* items */
        struct interval *recall;
        struct fig_mask_score *score; /* [n_scores]; NULL: this side was not studied */
    } side[2];
};

/* Lines with bands (bands.c). */
#define BAND_LINES 12 /* more are not drawn */
struct band_line {
    const char *name;
    int n;
    const double *x;
    const struct interval *y; /* [n] without low and high there is no band */
};
/* Active learning (fig_active.c): recall against the labelled pairs, a line a strategy, and what each gains. */
struct fig_active {
    int n, n_seeds;
    const struct band_line *line; /* [n] line 0: the strategy that the others are measured by */
    const struct interval *gain;  /* [n] paired difference of the mean height of the curve; [0] is not looked at */
    double all;                   /* recall with every pair of the pool labelled; NaN: unknown */
};

/* Log-likelihoods of every item under one item's distribution (fig_likelihood.c): l[0] of pictures, l[1] of texts. */
struct fig_likelihood {
    int side;
    int64_t row, n[2];
    const double *l[2];
    const bool *own; /* [n of the other side] */
};
/* Draws from one item's distribution (fig_draws.c), of two regions, by the picture nearest to each. */
struct fig_draws {
    int side;
    int64_t row, n; /* n: draws of a region */
    const char *name[2];
    const struct hit *hits[2]; /* [n] */
};

/* What a figure may look at. geometry and retrieval may be NULL for figures that do not need them (figure_needs). */
struct fig_in {
    const struct set *set;
    const struct geometry *geometry;
    const struct retrieval *retrieval; /* [2]: 0 image to text, 1 text to image, as eval_retrieval counts directions */
    const char *path_base; /* folder that relative picture paths start from; NULL: the set's folder, then here */
    uint64_t seed;         /* which rows a sample takes */
    bool no_thumbnails;    /* placeholders instead of pictures */
    const struct fig_doubt *doubt; /* [n_doubts] the first is drawn in full; NULL: made of retrieval's confidence */
    int n_doubts;
    const struct match_report *match[2]; /* [2] each, every hit and first hits of both directions; or NULL */
    const struct fig_mask *mask;
    const struct fig_active *active;
    const struct fig_likelihood *likelihood;
    const struct fig_draws *draws;
};

/* FIG_DOUBT: fig_in.doubt may stand in for the measures of retrieval. */
enum fig_needs { FIG_SET = 0, FIG_GEOMETRY = 1, FIG_RETRIEVAL = 2, FIG_DOUBT = 4 };

int figure_count(void);
const char *figure_name(int i); /* "clouds"; NULL outside [0, count) */
const char *figure_help(int i); /* the question that it answers */
int figure_needs(const char *name,
                 int *needs); /* bits of enum fig_needs; ERR_USAGE with the nearest name when unknown */

/* One named figure as a whole SVG document; tsv (may be NULL) receives its numbers. Both are appended to. What cannot
 * be drawn (no pairs, one row, NaN) is said inside the figure: that is no error. ERR_USAGE: unknown name, or a needed
 * struct is NULL. */
int figure_svg(const char *name, const struct fig_in *in, struct str *svg, struct str *tsv);

/* p(match) against what is so: in->match, and in->set for the stamp. It is not among those by name. */
int figure_match_svg(const struct fig_in *in, struct str *svg, struct str *tsv);

/* The figure of an active learning simulation: in->active, and in->set for the stamp. It is not among those by name. */
int figure_active_svg(const struct fig_in *in, struct str *svg, struct str *tsv);

/* The figure of a mask study: in->mask, and in->set for the stamp. It is not among those by name. */
int figure_mask_svg(const struct fig_in *in, struct str *svg, struct str *tsv);
/* The same of one item's distribution: in->likelihood; in->draws. */
int figure_likelihood_svg(const struct fig_in *in, struct str *svg, struct str *tsv);
int figure_draws_svg(const struct fig_in *in, struct str *svg, struct str *tsv);

/* ---- report (report.c)
 * ------------------------------------------------------------------------------------------------------ */

struct report_opt {
    const char *out_dir;   /* becomes a folder: index.html, report.json, figures/NAME.svg, figures/NAME.tsv */
    bool force;            /* replace an existing folder */
    const char *title;     /* NULL: made of the set's data and model */
    const char *path_base; /* as fig_in */
    const char *command;   /* the command line, for the footer; NULL: left out */
    const char *date;      /* NULL: now, UTC. The only thing in the output that differs between two equal calls */
    uint64_t seed;
    bool no_thumbnails;
    const json_t *extra; /* object: more sections of report.json, by command name; may be NULL */
    const struct uncertainty_both *uncertainty; /* or NULL: figures of doubt are made of retrieval's confidence */
    const struct match_report *match[2];        /* as fig_in */
};

/* r[0] image to text, r[1] text to image. The folder appears whole or not at all. Broken or missing pictures become
 * grey boxes and are counted in the log, never an error. */
int report_write(const struct report_opt *opt, const struct set *s, const struct geometry *g,
                 const struct retrieval r[2]);

/* ---- search results as a page (grid.c)
 * ----------------------------------------------------------------------------------------- */

struct grid_hit {
    const char *path;    /* picture, or NULL for a text hit */
    const char *caption; /* may be NULL */
    int64_t row;
    double score;
    double p_match; /* with grid_opt.calibrated */
};
struct grid_opt {
    const char *path; /* the HTML file */
    bool force;
    const char *query;       /* text of the query or expression; may be NULL */
    const char *query_image; /* picture of the query; may be NULL */
    const char *path_base;   /* folder that relative paths start from; NULL: here */
    const char *model;       /* for the footer; may be NULL */
    const char *note;        /* what the answer promises, or why there is none; may be NULL */
    bool calibrated;         /* hits say p(match) */
};
int grid_write_html(const struct grid_opt *opt, const struct grid_hit *hits, int64_t n);

#endif
