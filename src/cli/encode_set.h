/* cli/encode_set.h: a dataset through a model into a set. Internal to room cli. */
#ifndef CLI_ENCODE_SET_H
#define CLI_ENCODE_SET_H

#include "cli/cli.h"

struct encode_job {
    struct model *m;
    const struct dataset *d;
    const char *out, *dtype, *protocol; /* dtype: float32 or float16 */
    int64_t batch, loaders;
    bool force, low;
};
struct encode_result {
    int64_t n_images, n_texts, n_failed, n_truncated;
    double images_per_second;
};
/* Pictures that cannot be read cost their row, their pairs, and the captions that no other picture has; they are listed
 * in OUT/failed.tsv. The set appears whole or not at all. */
int encode_set(const struct encode_job *job, struct encode_result *out);

#endif
