/* meridian.h: the geometry of vision-language embeddings, as a C library.
 *
 * This is the only header that is installed. Four nouns: a MODEL turns pictures and texts into vectors of unit length,
 * and some models write captions; MEASURES say how well two sets of vectors match, what shape they have, and how far an
 * answer can be trusted; a LOSS is what a model is trained to make small; an ADAPTER puts a distribution in the place
 * of each vector. Vectors are plain arrays, one row an item, row after row: a matrix [n, d] has
 * its element (i, j) at x[i * d + j].
 *
 *     struct mrd_model *m = NULL;
 *     if (mrd_model_open(&m, "emoji", NULL) < 0)
 *         return fprintf(stderr, "%s\n", mrd_error()), 1;
 *     int64_t d = mrd_model_width(m);
 *     const char *words[] = {"red apple", "man walking"};
 *     float *x = malloc(2 * d * sizeof *x);
 *     if (mrd_model_encode_texts(m, words, 2, x) < 0)
 *         ...
 *     mrd_model_free(&m);
 *
 * ERRORS. A function returns 0 or one of the negative codes below, and mrd_error() then says what was wrong: file,
 * field, what was expected, what was found, what to do next. Outputs are written only on success (an array that a
 * caller lends may have been written in part). Nothing here aborts on bad input, exits or prints.
 *
 * OWNERSHIP. Arguments are borrowed for the call. What the library hands out is a handle, released by the function
 * named with it, or a string, released by mrd_free. Releasing NULL is fine; handles are set to NULL when released.
 *
 * THREADS. Every function may be called from any thread. Numbers are crunched by one call at a time, with as many
 * threads as the model was opened for; other calls wait. mrd_error() is kept per thread. Long calls can be interrupted:
 * mrd_interrupt().
 *
 * FORK. A child process may use the library, models opened before included, from a thread that has not computed in the
 * parent; one that has is refused with MRD_ERR_UNSUPPORTED, because its team of compute threads stayed behind.
 *
 * VERSIONS. MRD_VERSION is the release; MRD_ABI grows when a program compiled with an older header would no longer fit
 * the library, and the library's file name carries it. New functions and codes leave it alone, and so do new fields:
 * structs of options start with their size and grow at the end, so set them up with their _INIT macro. Before 1.0 a new
 * minor version may change names. */
#ifndef MERIDIAN_H
#define MERIDIAN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MRD_VERSION "0.1.0"
#define MRD_ABI 0

#if defined(__GNUC__)
#define MRD_API __attribute__((visibility("default")))
#else
#define MRD_API
#endif

/* What this header was written for, against what is loaded: a program linked at run time compares them. */
MRD_API const char *mrd_version(void); /* "0.1.0" */
MRD_API int mrd_abi(void);             /* MRD_ABI of the library */

/* ---- errors ------------------------------------------------------------------------------------------------------ */

#define MRD_ERR_FAIL (-1)         /* the world did not comply; the text says how */
#define MRD_ERR_USAGE (-2)        /* an argument is outside what its comment allows */
#define MRD_ERR_MISMATCH (-3)     /* two things that do not belong to the same model */
#define MRD_ERR_LOCKED (-4)       /* in use by another process */
#define MRD_ERR_DATA (-5)         /* a file or an array holds what it may not */
#define MRD_ERR_SPACE (-6)        /* disk full */
#define MRD_ERR_MEMORY (-7)       /* out of memory */
#define MRD_ERR_NONFINITE (-8)    /* NaN or infinity, or a vector of length zero */
#define MRD_ERR_UNSUPPORTED (-9)  /* no such engine, or it cannot do this */
#define MRD_ERR_EXISTS (-10)      /* the output is already there */
#define MRD_ERR_INTERRUPTED (-11) /* mrd_interrupt() was called meanwhile */

/* The last failure of this thread, "" when there was none. Valid until the thread's next call into the library. */
MRD_API const char *mrd_error(void);

/* Messages that are no errors (a caption was cut, a picture was odd). level: 0 error, 1 warning, 2 information,
 * 3 detail. Until this is called the library is silent; NULL makes it silent again. The sink must not call back. */
typedef void (*mrd_log_sink)(void *ctx, int level, const char *text);
MRD_API void mrd_log(mrd_log_sink sink, void *ctx);

/* Releases a string that the library handed out. */
MRD_API void mrd_free(char *text);

/* Asks every call that is running at this moment, in whatever thread, to give up: it returns MRD_ERR_INTERRUPTED within
 * a batch of pictures, a block of cosines, a resample. Calls that begin later are not concerned. May be called by a
 * signal handler; the library itself catches no signals. */
MRD_API void mrd_interrupt(void);

/* ---- models ------------------------------------------------------------------------------------------------------ */

struct mrd_model;

struct mrd_model_opt {
    size_t size;        /* sizeof(struct mrd_model_opt); MRD_MODEL_OPT_INIT sets it */
    const char *engine; /* "cpu" (fast), "ref" (plain C, slow, the truth), NULL: the fastest there is */
    int threads;        /* compute threads; 0: all cores */
    int low;            /* 1: operands of matrix products rounded to bfloat16, sums in fp32 */
    int64_t image_size; /* side of the pictures, pixels, other than the folder says: position embeddings are
                         * interpolated and the preprocessing follows; 0: as the folder says */
};
#define MRD_MODEL_OPT_INIT                                                                                             \
    {                                                                                                                  \
        sizeof(struct mrd_model_opt), NULL, 0, 0, 0                                                                    \
    }

/* path: a folder in HuggingFace's, open_clip's or OpenAI's layout (configuration, weights as safetensors, tokenizer,
 * preprocessing), a run folder of `meridian train`, or the name of a shipped model, "emoji" (looked for in
 * $MERIDIAN_MODELS, then beside the library and the program). opt may be NULL. */
MRD_API int mrd_model_open(struct mrd_model **m, const char *path, const struct mrd_model_opt *opt);
MRD_API void mrd_model_free(struct mrd_model **m);

MRD_API int64_t mrd_model_width(const struct mrd_model *m);      /* d, the length of its vectors */
MRD_API int64_t mrd_model_image_size(const struct mrd_model *m); /* side of the square the encoder sees, pixels */
MRD_API int64_t mrd_model_context(const struct mrd_model *m);    /* tokens of the longest text, both ends included */
MRD_API int64_t mrd_model_vocab(const struct mrd_model *m);      /* token ids are 0 to this, less one */
/* The factor by which the model multiplies cosines before its softmax; 0 when it has none. */
MRD_API double mrd_model_logit_scale(const struct mrd_model *m);
/* Strings that live as long as the model. family: "clip", "siglip", "blip_itm", "blip_caption", "coca"; layout, how its
 * files were written: "hf", "open_clip", "openai". */
MRD_API const char *mrd_model_name(const struct mrd_model *m);
MRD_API const char *mrd_model_family(const struct mrd_model *m);
MRD_API const char *mrd_model_layout(const struct mrd_model *m);
/* SHA-256, in hex, over weights, preprocessing and tokenizer: equal fingerprints, equal vectors. Reads all weights. */
MRD_API int mrd_model_fingerprint(struct mrd_model *m, char **hex);

/* Pictures from files (JPEG, PNG, WebP, GIF, TIFF as libvips reads them), resized, cropped and normalised as the
 * model's preprocessor_config.json says. out [n, d], rows of unit length. A picture that cannot be read fails the call;
 * mrd_error() names it. */
MRD_API int mrd_model_encode_images(struct mrd_model *m, const char *const *paths, int64_t n, float *out);
/* Pictures that the caller prepared: pixels [n, 3, s, s], s = mrd_model_image_size, normalised. */
MRD_API int mrd_model_encode_pixels(struct mrd_model *m, const float *pixels, int64_t n, float *out);
/* The first half of mrd_model_encode_images: pixels [n, 3, s, s]. */
MRD_API int mrd_model_preprocess(struct mrd_model *m, const char *const *paths, int64_t n, float *pixels);

/* Texts in UTF-8; those longer than the context are cut (the log says how many). out [n, d], rows of unit length.
 * MRD_ERR_DATA when the model's folder has no tokenizer. */
MRD_API int mrd_model_encode_texts(struct mrd_model *m, const char *const *texts, int64_t n, float *out);
/* Texts as token ids [n, context], start and end tokens included, context at most mrd_model_context. */
MRD_API int mrd_model_encode_tokens(struct mrd_model *m, const int32_t *ids, int64_t n, int64_t context, float *out);
/* The first half of mrd_model_encode_texts: ids [n, mrd_model_context], padded; *n_cut, which may be NULL: how many
 * texts were cut. */
MRD_API int mrd_model_tokenize(struct mrd_model *m, const char *const *texts, int64_t n, int32_t *ids, int64_t *n_cut);

/* Does picture i show what text i says? logits [n], above 0: yes, probability 1 / (1 + exp(-logit)). For models with a
 * head that sees both at once (BLIP's image-text matching); others are MRD_ERR_UNSUPPORTED. */
MRD_API int mrd_model_match(struct mrd_model *m, const float *pixels, const int32_t *ids, int64_t n, int64_t context,
                            float *logits);

struct mrd_caption_opt {
    size_t size;                    /* MRD_CAPTION_OPT_INIT sets it */
    int64_t beam;                   /* captions kept while searching, 1 to 64; 0 or 1: greedy */
    int64_t min_length, max_length; /* tokens in all, prompt and end included; 0: the family's usual */
    double length_penalty;          /* beam: score = log probability / words^penalty; 1 in the reference */
    double repetition_penalty;      /* above 1: words that were said become less likely; 0 or 1: off */
    const char *prompt;             /* the caption goes on from here; NULL: the family's usual, "": none */
};
#define MRD_CAPTION_OPT_INIT                                                                                           \
    {                                                                                                                  \
        sizeof(struct mrd_caption_opt), 0, 0, 0, 1.0, 0.0, NULL                                                        \
    }

/* Captions of pixels [n, 3, s, s]: texts [n] receives n strings, each released by mrd_free, on success only; scores
 * [n], which may be NULL, the score of each. MRD_ERR_UNSUPPORTED for models that cannot write, MRD_ERR_DATA where the
 * folder has no tokenizer. */
MRD_API int mrd_model_caption(struct mrd_model *m, const float *pixels, int64_t n, const struct mrd_caption_opt *opt,
                              char **texts, double *scores);

/* ---- measures ---------------------------------------------------------------------------------------------------- */

/* Two matrices of vectors and which rows belong together. Rows need not be of unit length: only directions count. A row
 * of zeros, NaN or infinity is MRD_ERR_NONFINITE. */
struct mrd_pairs {
    const float *images; /* [n_images, width] */
    const float *texts;  /* [n_texts, width] */
    int64_t n_images, n_texts, width;
    /* [n_pairs, 2]: image row, text row; many to many, in any order, repetitions count once. NULL: row i with row i,
     * and then n_images must equal n_texts. */
    const int64_t *pairs;
    int64_t n_pairs;
};

struct mrd_measure_opt {
    size_t size;             /* MRD_MEASURE_OPT_INIT sets it */
    int64_t bootstrap;       /* resamples of the 95 % intervals; 0: 1000, negative: no intervals (null in the answer) */
    uint64_t seed;           /* of the resampling and of held-out splits; equal seeds give equal answers */
    double temperature;      /* retrieval: of the softmax behind the calibration measures; 0: 0.01 */
    int64_t bins, bins_mass; /* retrieval: bins of equal width and of equal mass, 1 to 64; 0: 15 and 10 */
};
#define MRD_MEASURE_OPT_INIT                                                                                           \
    {                                                                                                                  \
        sizeof(struct mrd_measure_opt), 0, 0, 0.0, 0, 0                                                                \
    }

/* How well each side finds the other. *json receives one JSON object with the keys image_to_text and text_to_image, as
 * `meridian eval retrieval --json` prints them: recall {"1","5","10"} and recall_ci, mrr, median_rank, ece,
 * ece_equal_mass, brier, nll, temperature, fitted_temperature and more. Rates lie in 0..1. A right answer that ties
 * with wrong ones (within 1e-9) counts as found first; recall_pessimistic counts it last. Memory grows with
 * n_images + n_texts, never with their product. */
MRD_API int mrd_retrieval(char **json, const struct mrd_pairs *p, const struct mrd_measure_opt *opt);

/* The shape of the space, as `meridian eval geometry --json` prints it: alignment, relative_alignment, uniformity
 * {"image","text","pooled","cross"}, centroid_distance, linear_separability, effective_rank, mean_cosine
 * {"matched","unmatched",...}, each with its interval. What cannot be computed is null with a reason beside it. */
MRD_API int mrd_geometry(char **json, const struct mrd_pairs *p, const struct mrd_measure_opt *opt);

/* ---- losses ------------------------------------------------------------------------------------------------------ */

struct mrd_loss_opt {
    size_t size; /* MRD_LOSS_OPT_INIT sets it */
    const char *const
        *options; /* [n_options] "name=value", as --loss-opt of `meridian train`; "tau" is "temperature" */
    int64_t n_options;
    const uint8_t *match; /* [n, n] 1: text j is right for picture i, else 0; NULL: text i for picture i alone */
    int normalize;        /* 1: rows are scaled to unit length first, and gradients go through that */
};
#define MRD_LOSS_OPT_INIT                                                                                              \
    {                                                                                                                  \
        sizeof(struct mrd_loss_opt), NULL, 0, NULL, 0                                                                  \
    }

/* The loss `name` ("clip", "sigmoid", ...) of n pairs and its gradients: images and texts [n, width], row i with row i,
 * expected to be of unit length (they are taken as they are unless normalize is set). *value receives the loss, dimages
 * and dtexts [n, width] its derivatives; either may be NULL. Computed in double from either type. n is at most 32768:
 * memory grows with n squared. MRD_ERR_USAGE for unknown names and options, MRD_ERR_NONFINITE for NaN and infinity,
 * also where they come out. */
MRD_API int mrd_loss(const char *name, const struct mrd_loss_opt *opt, const double *images, const double *texts,
                     int64_t n, int64_t width, double *value, double *dimages, double *dtexts);
MRD_API int mrd_loss_f32(const char *name, const struct mrd_loss_opt *opt, const float *images, const float *texts,
                         int64_t n, int64_t width, double *value, float *dimages, float *dtexts);

/* What there is: *json receives an object, name of the loss -> {"help", "options": {name: {"type", "default", "min",
 * "max", "choices", "help"}}}. */
MRD_API int mrd_losses(char **json);

/* ---- adapters ---------------------------------------------------------------------------------------------------- */

/* Distributions in place of vectors (docs/methods/probvlm.md), as `meridian adapt`, predict, sample and likelihood. */
struct mrd_adapter;
#define MRD_SIDE_IMAGE 0
#define MRD_SIDE_TEXT 1

struct mrd_adapter_opt {
    size_t size;        /* MRD_ADAPTER_OPT_INIT sets it */
    const char *engine; /* as struct mrd_model_opt; "ref64" computes in double */
    int threads;
    const char *const
        *options;      /* fitting: [n_options] "name=value", as the options of `meridian adapt`: method, epochs, */
    int64_t n_options; /* hidden, seed ... */
};
#define MRD_ADAPTER_OPT_INIT                                                                                           \
    {                                                                                                                  \
        sizeof(struct mrd_adapter_opt), NULL, 0, NULL, 0                                                               \
    }

/* Learns from the pairs. *json, which may be NULL, receives what `meridian adapt --json` prints: final_loss,
 * validation, steps, seconds, pairs. A folder below $TMPDIR is used meanwhile. */
MRD_API int mrd_adapter_fit(struct mrd_adapter **a, const struct mrd_pairs *p, const struct mrd_adapter_opt *opt,
                            char **json);
MRD_API int mrd_adapter_open(struct mrd_adapter **a, const char *path, const struct mrd_adapter_opt *opt);
/* path becomes a folder, whole or not at all; one that exists is replaced when `force` is 1. */
MRD_API int mrd_adapter_save(struct mrd_adapter *a, const char *path, int force);
MRD_API void mrd_adapter_free(struct mrd_adapter **a);
MRD_API const char *mrd_adapter_method(const struct mrd_adapter *a); /* "probvlm"; lives as long as the adapter */
MRD_API int64_t mrd_adapter_width(const struct mrd_adapter *a);      /* of the vectors that it takes */
/* *json receives the options of fitting: name -> {"type", "default", "min", "max", "choices", "help"}. */
MRD_API int mrd_adapter_options(char **json);

struct mrd_predict_opt {
    size_t size;    /* MRD_PREDICT_OPT_INIT sets it */
    int64_t passes; /* with dropout, or of test-time augmentation; 0: 15, or what the adapter says */
    double dropout; /* of these, at most 0.95; below 0: as trained */
    uint64_t seed;
};
#define MRD_PREDICT_OPT_INIT                                                                                           \
    {                                                                                                                  \
        sizeof(struct mrd_predict_opt), 0, -1.0, 0                                                                     \
    }
/* Arrays to fill, each may be NULL: [n], or [n, width]. Variances are in the adapter's unit: 1 is the mean square of a
 * number of the training vectors about their mean. mean, scale, shape: of the distribution, in the coordinates of unit
 * vectors. fidelity: cosine of the mean with the vector. What a method does not have is left as it was. */
struct mrd_predicted {
    size_t size;         /* MRD_PREDICTED_INIT sets it */
    double *uncertainty; /* larger is less certain */
    double *aleatoric, *epistemic, *log_variance, *fidelity;
    float *mean, *scale, *shape;
};
#define MRD_PREDICTED_INIT                                                                                             \
    {                                                                                                                  \
        sizeof(struct mrd_predicted), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL                                   \
    }
/* x [n, width]: vectors of one side. */
MRD_API int mrd_adapter_predict(struct mrd_adapter *a, const float *x, int64_t n, int64_t width, int side,
                                const struct mrd_predict_opt *opt, struct mrd_predicted *out);
/* out [draws, width]: unit vectors from the distribution of row `row` of x [n, width]. region: "near" (the middle half
 * of each dimension), "all", "tail" (beyond the middle nine tenths). */
MRD_API int mrd_adapter_sample(struct mrd_adapter *a, const float *x, int64_t n, int64_t width, int side, int64_t row,
                               int64_t draws, const char *region, uint64_t seed, float *out);
/* out [rows of the other side]: log-likelihood of each of its vectors, per dimension, under the distribution of row
 * `row` of `side`. The pairs of p are not looked at. */
MRD_API int mrd_adapter_likelihood(struct mrd_adapter *a, const struct mrd_pairs *p, int side, int64_t row,
                                   double *out);

/* ---- how far to trust an answer ---------------------------------------------------------------------------------- */

struct mrd_uncertainty_opt {
    size_t size;                 /* MRD_UNCERTAINTY_OPT_INIT sets it */
    int64_t bootstrap;           /* as struct mrd_measure_opt */
    uint64_t seed;               /* also of the adapter's passes */
    double temperature;          /* of the softmax; 0: fitted on val, or 0.01 */
    int64_t levels;              /* of uncertainty, 2 to 64; 0: 5 */
    const char *scores;          /* names with commas; NULL: all */
    const char *const *split;    /* [n_images] test, val or train; NULL: every query is measured */
    const char *const *labels;   /* [n_images] a hit is an answer of the query's label; NULL: the pairs say */
    struct mrd_adapter *adapter; /* also its uncertainty; or NULL */
};
#define MRD_UNCERTAINTY_OPT_INIT                                                                                       \
    {                                                                                                                  \
        sizeof(struct mrd_uncertainty_opt), 0, 0, 0.0, 0, NULL, NULL, NULL, NULL                                       \
    }
/* Does a score know when the first answer is wrong? *json as `meridian eval uncertainty --json`, without the source. */
MRD_API int mrd_uncertainty(char **json, const struct mrd_pairs *p, const struct mrd_uncertainty_opt *opt);

struct mrd_calibrate_opt {
    size_t size;                         /* MRD_CALIBRATE_OPT_INIT sets it and the usual values */
    const char *method, *features;       /* NULL: "beta", "cosine,margin,softmax" */
    int64_t hits;                        /* length of the lists, 1 to 1000 */
    double validation_share, risk_share; /* 0.01 to 1; 0 to 0.99 */
    double same, l2;                     /* 0.5 to 1; 0 to 1000 */
    int hard;                            /* 1: fitted to 1 and 0, not to softened targets */
    int64_t bootstrap;                   /* resamples of the intervals; 0 or negative: no intervals */
    uint64_t seed;
    const char *const *split; /* [n_images] val or test in place of the share; or NULL */
    const char *path;         /* also written there, for `search --calibration`; or NULL */
    int force;                /* 1: a file there is replaced */
};
#define MRD_CALIBRATE_OPT_INIT                                                                                         \
    {                                                                                                                  \
        sizeof(struct mrd_calibrate_opt), NULL, NULL, 10, 0.6, 0.5, 0.99999, 0.001, 0, 1000, 0, NULL, NULL, 0          \
    }
/* p(match), the probability that a hit is right: *json as `meridian calibrate --json`. */
MRD_API int mrd_calibrate(char **json, const struct mrd_pairs *p, const struct mrd_calibrate_opt *opt);

struct mrd_review_opt {
    size_t size;        /* MRD_REVIEW_OPT_INIT sets it and the usual values */
    const char *what;   /* "duplicates", "mismatches", "ambiguous", with commas; NULL: all */
    int64_t n;          /* items of each kind, 1 or more */
    double temperature; /* 0: fitted */
    int raw;            /* 1: by the plain cosine, to compare */
};
#define MRD_REVIEW_OPT_INIT                                                                                            \
    {                                                                                                                  \
        sizeof(struct mrd_review_opt), NULL, 50, 0.0, 0                                                                \
    }
/* What a person should look at first: *json {"items": [{"what", "score", "cosine", "side", "row", "other_row"}]}, the
 * likeliest fault first, as `meridian review --json`. */
MRD_API int mrd_review(char **json, const struct mrd_pairs *p, const struct mrd_review_opt *opt);

#ifdef __cplusplus
}
#endif

#endif
