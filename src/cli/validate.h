/* cli/validate.h: how training judges itself: the validation split is encoded and retrieved. Internal to room cli. */
#ifndef CLI_VALIDATE_H
#define CLI_VALIDATE_H

#include "cli/cli.h"

/* The validation pictures are decoded once and kept as pixels; captions are the names alone. */
struct validation {
    struct dataset *data;
    float *pixels, *image, *text; /* [n_images,3,H,W], [n_images,embed], [n_texts,embed] */
    struct set_pair *pairs;
    int64_t n_images, n_pairs; /* that could be read */
    int64_t every, epochs;     /* judge each so many epochs, and after the last */
    bool low;
};
int validation_open(struct validation *v, const struct model *m, const char *spec, const char *split, int64_t limit,
                    const struct dataset_opt *which);
void validation_close(struct validation *v);
/* Fields val_* into event; *score: mean recall at 1 of both directions. Signature of train_job.end_of_epoch; ctx: the
 * validation. */
int validation_run(void *ctx, struct model *m, int64_t epoch, json_t *event, double *score);

#endif
