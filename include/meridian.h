/* meridian.h: the geometry of vision-language embeddings, as a C library.
 *
 * This is the only header that is installed. Two nouns: a MODEL turns pictures and texts into vectors of unit length;
 * MEASURES say how well two sets of vectors match and what shape they have. Vectors are plain float arrays, one row an
 * item, row after row: a matrix [n, d] has its element (i, j) at x[i * d + j].
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
 * threads as the model was opened for; other calls wait. mrd_error() is kept per thread.
 *
 * VERSIONS. MRD_ABI grows when a compiled program would no longer fit the library; the library's file name carries it.
 * Structs of options start with their size, so that they may grow without that: set them up with their _INIT macro.
 * Before 1.0 a new minor version may change names. */
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

#define MRD_ERR_FAIL (-1)        /* the world did not comply; the text says how */
#define MRD_ERR_USAGE (-2)       /* an argument is outside what its comment allows */
#define MRD_ERR_MISMATCH (-3)    /* two things that do not belong to the same model */
#define MRD_ERR_LOCKED (-4)      /* in use by another process */
#define MRD_ERR_DATA (-5)        /* a file or an array holds what it may not */
#define MRD_ERR_SPACE (-6)       /* disk full */
#define MRD_ERR_MEMORY (-7)      /* out of memory */
#define MRD_ERR_NONFINITE (-8)   /* NaN or infinity, or a vector of length zero */
#define MRD_ERR_UNSUPPORTED (-9) /* no such engine, or it cannot do this */
#define MRD_ERR_EXISTS (-10)     /* the output is already there */

/* The last failure of this thread, "" when there was none. Valid until the thread's next call into the library. */
MRD_API const char *mrd_error(void);

/* Messages that are no errors (a caption was cut, a picture was odd). level: 0 error, 1 warning, 2 information,
 * 3 detail. Until this is called the library is silent; NULL makes it silent again. The sink must not call back. */
typedef void (*mrd_log_sink)(void *ctx, int level, const char *text);
MRD_API void mrd_log(mrd_log_sink sink, void *ctx);

/* Releases a string that the library handed out. */
MRD_API void mrd_free(char *text);

/* ---- models ------------------------------------------------------------------------------------------------------ */

struct mrd_model;

struct mrd_model_opt {
    size_t size;        /* sizeof(struct mrd_model_opt); MRD_MODEL_OPT_INIT sets it */
    const char *engine; /* "cpu" (fast), "ref" (plain C, slow, the truth), NULL: the fastest there is */
    int threads;        /* compute threads; 0: all cores */
    int low;            /* 1: operands of matrix products rounded to bfloat16, sums in fp32 */
};
#define MRD_MODEL_OPT_INIT                                                                                             \
    {                                                                                                                  \
        sizeof(struct mrd_model_opt), NULL, 0, 0                                                                       \
    }

/* path: a folder in HuggingFace's layout (config.json, model.safetensors, vocab.json and merges.txt,
 * preprocessor_config.json), a run folder of `meridian train`, or the name of a shipped model, "emoji" (looked for in
 * $MERIDIAN_MODELS, then beside the program). opt may be NULL. */
MRD_API int mrd_model_open(struct mrd_model **m, const char *path, const struct mrd_model_opt *opt);
MRD_API void mrd_model_free(struct mrd_model **m);

MRD_API int64_t mrd_model_width(const struct mrd_model *m);      /* d, the length of its vectors */
MRD_API int64_t mrd_model_image_size(const struct mrd_model *m); /* side of the square the encoder sees, pixels */
MRD_API int64_t mrd_model_context(const struct mrd_model *m);    /* tokens of the longest text, both ends included */
/* The factor by which the model multiplies cosines before its softmax; 0 when it has none. */
MRD_API double mrd_model_logit_scale(const struct mrd_model *m);

/* Pictures from files (JPEG, PNG, WebP, GIF, TIFF as libvips reads them), resized, cropped and normalised as the
 * model's preprocessor_config.json says. out [n, d], rows of unit length. A picture that cannot be read fails the call;
 * mrd_error() names it. */
MRD_API int mrd_model_encode_images(struct mrd_model *m, const char *const *paths, int64_t n, float *out);
/* Pictures that the caller prepared: pixels [n, 3, s, s], s = mrd_model_image_size, normalised. */
MRD_API int mrd_model_encode_pixels(struct mrd_model *m, const float *pixels, int64_t n, float *out);

/* Texts in UTF-8; those longer than the context are cut (the log says how many). out [n, d], rows of unit length.
 * MRD_ERR_DATA when the model's folder has no tokenizer. */
MRD_API int mrd_model_encode_texts(struct mrd_model *m, const char *const *texts, int64_t n, float *out);
/* Texts as token ids [n, context], start and end tokens included, context at most mrd_model_context. */
MRD_API int mrd_model_encode_tokens(struct mrd_model *m, const int32_t *ids, int64_t n, int64_t context, float *out);

/* ---- measures ---------------------------------------------------------------------------------------------------- */

/* Two matrices of vectors and which rows belong together. Rows need not be of unit length: only directions count. A row
 * of zeros, NaN or infinity is MRD_ERR_NONFINITE. */
struct mrd_pairs {
    const float *images;  /* [n_images, width] */
    const float *texts;   /* [n_texts, width] */
    int64_t n_images, n_texts, width;
    /* [n_pairs, 2]: image row, text row; many to many, in any order, repetitions count once. NULL: row i with row i,
     * and then n_images must equal n_texts. */
    const int64_t *pairs;
    int64_t n_pairs;
};

struct mrd_measure_opt {
    size_t size;        /* MRD_MEASURE_OPT_INIT sets it */
    int64_t bootstrap;  /* resamples of the 95 % intervals; 0: 1000, negative: no intervals (null in the answer) */
    uint64_t seed;      /* of the resampling and of held-out splits; equal seeds give equal answers */
    double temperature; /* retrieval: of the softmax behind the calibration measures; 0: 0.01 */
};
#define MRD_MEASURE_OPT_INIT                                                                                           \
    {                                                                                                                  \
        sizeof(struct mrd_measure_opt), 0, 0, 0.0                                                                      \
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

#ifdef __cplusplus
}
#endif

#endif
