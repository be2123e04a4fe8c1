/* data/data.h: the door of room data (level 2). Tokenizers, picture transforms, datasets, batches, prefetch. Hands out
 * plain arrays: float pixels, int32 ids; never a tensor. Includes base and io only. */
#ifndef DATA_DATA_H
#define DATA_DATA_H

#include "base/base.h"
#include "io/io.h"

/* ---- tokenizers (tokenizer.c; kinds in tokenizer_list.h; docs/tokenizers.md) -- */

/* One handle over the kinds: "clip-bpe" (Radford et al. 2021), "wordpiece" (BERT), "byte-fallback-bpe" (Gemma, SigLIP
 * 2), "sentencepiece" (SigLIP; needs libsentencepiece). Used by many threads at once. */
struct tokenizer;
struct tokenizer_opt {
    const char *cleaning; /* name of a cleaning mode; NULL: as the folder says */
    bool pad_zero;        /* pads are id 0 whatever the files say: open_clip's rule */
    bool blip;            /* BLIP's [DEC] and [ENC] lie behind the vocabulary; also where config.json says blip */
};
struct tokenizer_info {
    int64_t vocab_size;
    int32_t start_id, end_id, pad_id, unk_id; /* -1: none */
    int64_t max_length;                       /* model_max_length of tokenizer_config.json; 0: unknown */
    const char *kind, *cleaning;              /* names */
    bool ftfy;                                /* the original runs ftfy first where it is installed; we never do */
    char fingerprint[65];                     /* SHA-256, hex */
};
bool tokenizer_in_dir(const char *dir); /* whether the folder holds a file that tokenizer_open may read */
int tokenizer_open(struct tokenizer **t, const char *dir, const struct tokenizer_opt *opt); /* opt NULL: all zero */
void tokenizer_close(struct tokenizer **t);
struct tokenizer_info tokenizer_info(const struct tokenizer *t);
int32_t tokenizer_token_id(const struct tokenizer *t, const char *token); /* "[ENC]"; -1: no such entry */
/* Ids without start and end, untruncated. *ids is allocated (mem_free). */
int tokenizer_encode(const struct tokenizer *t, const char *text, int32_t **ids, int64_t *n);
int tokenizer_encode_bytes(const struct tokenizer *t, const char *text, size_t n_text, int32_t **ids, int64_t *n);
/* ids [context]: start, ids, end, pads (pads first where the files say padding_side left); if too long cut to context
 * and the last id is end. *truncated tells. */
int tokenizer_encode_context(const struct tokenizer *t, const char *text, int64_t context, int32_t *ids,
                             bool *truncated);
/* The text of ids, special tokens left out; out is replaced. Words stand between single spaces, also before a full
 * stop. ERR_DATA for an id outside the vocabulary. */
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, int64_t n, struct str *out);
/* Learns a vocabulary of exactly vocab_size entries (512 byte symbols, merges by pair count with ties to the lower pair
 * of ids, start, end), or fewer when the texts have no more pairs. Deterministic. counts may be NULL. */
int tokenizer_train(struct tokenizer **t, const char *const *texts, const int64_t *counts, int64_t n_texts,
                    int64_t vocab_size);
/* Writes the files of its kind into dir, so that HF transformers loads them (CLIPTokenizer, BertTokenizer, ...). */
int tokenizer_save(const struct tokenizer *t, const char *dir);
/* Whether ftfy would change more than white space of the text (a rule of thumb that errs towards true). */
bool text_ftfy_differs(const char *text, size_t n);

/* ---- picture transforms (resize.c, transform.c, preprocess_file.c; docs/pixels.md) -- */

/* Pillow's numbers. */
enum resample {
    RESAMPLE_NEAREST = 0,
    RESAMPLE_LANCZOS = 1,
    RESAMPLE_BILINEAR = 2,
    RESAMPLE_BICUBIC = 3,
    RESAMPLE_BOX = 4,
    RESAMPLE_HAMMING = 5
};
/* Pillow's resize, bit for bit: 8-bit, two passes, 22-bit fixed-point weights, antialiased, channels 1..4. */
int resize_u8(struct image *out, const struct image *in, int width, int height, enum resample filter);

/* The two published ways from a picture to pixels. HF: RGB first, then resize and crop at floor((n - size) / 2). OPENAI,
 * also open_clip's: resize in the picture's own mode (palettes and single bits by nearest neighbour, colours multiplied
 * by alpha), crop at the offset rounded half to even, RGB last. */
enum picture_path { PICTURE_HF, PICTURE_OPENAI };
/* What resize_width x resize_height mean: exactly that; or the largest picture of the same shape inside it, or the
 * smallest around it, sides rounded half to even. */
enum resize_rule { RESIZE_EXACT, RESIZE_INSIDE, RESIZE_AROUND };
/* Pixels: resize, centre crop (or padding), times rescale, (x - mean) / std. */
struct preprocess {
    enum picture_path path;
    int resize_shortest, crop_width, crop_height; /* 0: that step is off */
    int resize_width, resize_height; /* {"height","width"} form of "size" (no aspect kept); 0 when shortest_edge */
    enum resize_rule rule;
    int fill; /* level of what the crop adds around a smaller picture */
    enum resample filter;
    enum image_gray16 gray16; /* what gray of 16 bits becomes; the references clip it */
    bool exif;                /* turn by the EXIF orientation first; no reference does */
    double rescale;
    bool normalize;
    float mean[3], std[3];
    char type[64];    /* "image_processor_type" of the file it came from, or "" */
    char other[2048]; /* fields of that file that are none of these, as a JSON object, or "" */
};
/* preprocessor_config.json of HF's processors of CLIP, BLIP, SigLIP and ViT, each with its own defaults; others are
 * ERR_UNSUPPORTED. What is ours stands under "meridian". */
int preprocess_read(struct preprocess *p, const char *dir);
int preprocess_write(const struct preprocess *p, const char *dir); /* unknown fields are written back */
/* "preprocess_cfg" of an open_clip folder; NULL: all defaults. image_size: where the configuration has none, or 0. */
int preprocess_read_open_clip(struct preprocess *p, const json_t *preprocess_cfg, int image_size, const char *where);
json_t *preprocess_to_open_clip(const struct preprocess *p); /* NULL and a message when open_clip cannot say it */
void preprocess_clip(struct preprocess *p, int size); /* OpenAI's values for a square model input, path HF */
/* out [3, crop_height, crop_width]. The picture comes in the mode of its file, as image_read gives it. */
int preprocess_apply(const struct preprocess *p, const struct image *im, float *out);
/* The same from a picture file, or the bytes of one; the picture never exists whole. */
int preprocess_file(const struct preprocess *p, const char *path, float *out);
int preprocess_memory(const struct preprocess *p, const void *bytes, size_t n, const char *name, float *out);
void preprocess_fingerprint(const struct preprocess *p, char out[65]);

/* ---- datasets (dataset.c, dataset_files.c, dataset_KIND.c; list in dataset_list.h; docs/data.md) -- */

/* SPEC: KIND:WHERE, as in `csv:FILE`, `coco:FILE.json`, `wds:{000..099}.tar` (dataset_list.h has all). Pictures,
 * captions and which belongs to which. A row that cannot be used costs that row and is listed; the others go on. */
struct dataset_opt {
    const char *split;    /* names joined by "," or "+" ("train+restval"), or NULL: all rows */
    const char *captions; /* emoji: "all" (names and keywords, default) or "name" */
    /* csv; NULL: filepath, then caption or title. caption_column "none": pictures alone. separator: one character,
     * "\t", tab, comma, semicolon or pipe; NULL: sniffed. */
    const char *image_column, *caption_column, *separator;
    /* Where the pictures' names start, in place of the kind's own choice. Names must then lie below it. */
    const char *images_root;
    const char *caption_key;            /* wds: member or JSON field of the captions; NULL: "txt" */
    const char *classnames, *templates; /* folder: files of names and of prompts with {} or {c} */
    bool follow;                        /* symbolic links below the pictures' folder are followed */
    int64_t limit;                      /* at most so many pictures; 0: all */
};
struct pair {
    int64_t image, text;
};
/* A row of the source that was left out. */
struct refused {
    int64_t row;                   /* where it stood: line of a table, place in a list, from 1; 0: unknown */
    const char *id, *path, *reason; /* "" when unknown */
};
struct dataset {
    const char *spec; /* as given */
    /* One line of what was found: "csv: tab-separated, 2 columns, 5,000 rows, 4,997 pictures, 5,000 captions, 3
     * pictures missing". */
    const char *description;
    int64_t n_images, n_texts, n_pairs;
    /* Columns of images.csv and texts.csv of a set. images: id, path, label, split, attribute columns. Cells [n,
     * n_cols]. */
    int n_image_cols, n_text_cols;
    const char **image_cols, **image_cells;
    const char **text_cols, **text_cells; /* texts: caption, kind (name, keyword or caption), … */
    const char **captions;                /* [n_texts] */
    struct pair *pairs;   /* [n_pairs], sorted by image then text; many to many; a caption is listed once */
    char fingerprint[65]; /* SHA-256 over rows and captions */
    /* Rows left out before anything was decoded: all of them, those whose picture is not there, and the list of the
     * first n_listed (limit refused). */
    int64_t n_refused, n_missing, n_listed;
    struct refused *refused;
    const char *path_base; /* folder where relative paths of column path start; "": no files (emoji, wds) or here */
    /* Decoded picture `row`, in the mode of its file (preprocess_apply takes it so; image_to_rgb for RGB), on its plain
     * background. alpha (may be NULL) receives [height*width] u8 foreground cover, left NULL when the kind knows none.
     * Thread-safe. */
    int (*read_image)(const struct dataset *d, int64_t row, struct image *im, uint8_t **alpha);
    struct arena *arena;
    void *own; /* the kind's private state */
    void (*close)(struct dataset *d);
};
int dataset_open(struct dataset **d, const char *spec, const struct dataset_opt *opt);
void dataset_close(struct dataset **d);
/* NULL when there is no such column. */
const char *dataset_image_cell(const struct dataset *d, int64_t row, const char *col);
const char *dataset_text_cell(const struct dataset *d, int64_t row, const char *col);
/* The kinds, for a help page: prefix and what it names; NULL past the end. */
const char *dataset_kind_at(int i, const char **help);

/* The emoji world: made once into dir (pictures, alpha.npy, images.csv, texts.csv, pairs.csv, world.json).
 * docs/emoji.md has the rules. */
int emoji_world_make(const char *dir);
int emoji_world_path(char *out, size_t n); /* where dataset_open("emoji") keeps it; made on first use */

/* ---- masks (mask.c; docs/methods/masking.md) -- */

struct mask_opt {
    double pictures, words; /* shares that are hidden, 0 to 1 */
    int64_t grid;           /* cells along a picture's shorter side; 0: 10 */
    bool centre;            /* cells from the middle outwards, in place of random ones */
    const char *with;       /* what stands for a masked word; NULL: nothing, it is left out */
    uint64_t seed;
};
/* Hides that share of the square cells of a decoded picture, in its own mode, behind its mean colour. Of equal streams
 * the mask of a larger share holds that of a smaller one; so do the words'. */
int mask_picture(struct image *im, const struct mask_opt *opt, struct rng *r);
int64_t mask_count_words(const char *text); /* what stands between white space */
/* Appends the text without share * words of it (rounded up or down by chance, so that it is exact on the average), one
 * space between words; with nothing masked, as it is. by_chance: each word for itself. *n_masked may be NULL. */
int mask_words(const char *text, double share, const char *with, struct rng *r, struct str *out, int64_t *n_masked);
int mask_words_by_chance(const char *text, double chance, const char *with, struct rng *r, struct str *out);
/* *d becomes a dataset of the same rows whose pictures and captions are masked, row i by a stream of (seed, i), with a
 * fingerprint of its own. On failure *d is as it was. */
int dataset_mask(struct dataset **d, const struct mask_opt *opt);

/* ---- batches (augment.c, loader.c) -- */

/* Training view of one picture (RandomResizedCrop, flip, colour jitter, random background where alpha is known), drawn
 * from r. scale_min: least share of the area (0 or 1: no crop); flip, background: chances (the rest keeps white);
 * jitter: brightness, contrast and saturation by factors in 1 -+ jitter; rotate: degrees to either side. out is [size,
 * size, 3], for image_free. The loader never mirrors pictures whose captions speak of a side or that show letters
 * (docs/emoji.md). */
struct augment_opt {
    double scale_min, flip, jitter, background, rotate;
};
int augment_image(const struct image *rgb, const uint8_t *alpha, const struct augment_opt *opt, int size, struct rng *r,
                  struct image *out);

/* Batch `step` of `epoch` is a function of (seed, epoch, step) alone, whatever the number of threads; the next one is
 * prepared in the background. One caption a picture is drawn afresh each epoch. The last, incomplete batch is left out.
 */
struct batch {
    int64_t n, context, channels, height, width;
    float *pixels;                   /* [n, 3, height, width] */
    int32_t *ids;                    /* [n, context] */
    int64_t *image_rows, *text_rows; /* [n] */
    /* [n, n] 1 where text j is a known caption of image i (the diagonal always); for class-aware targets. */
    uint8_t *match;
};
struct loader;
struct loader_opt {
    int64_t batch, context, threads; /* threads: loader threads, 0 = 1 */
    uint64_t seed;
    bool augment;
    struct augment_opt view;
    double name_share; /* chance of drawing a text of kind "name" instead of any of the picture's captions */
};
int loader_open(struct loader **l, const struct dataset *d, const struct tokenizer *t, const struct preprocess *p,
                const struct loader_opt *opt);
int64_t loader_steps(const struct loader *l); /* batches in an epoch */
int loader_batch(struct loader *l, int64_t epoch, int64_t step,
                 const struct batch **out); /* valid until the next call */
/* A picture that cannot be read is replaced by another, drawn for its place. The i-th of them, in no fixed order, as far
 * as was looked; reason is valid until the loader is closed. False: there is none. */
bool loader_failed(struct loader *l, int64_t i, int64_t *row, const char **reason);
void loader_close(struct loader **l);

#endif
