/* cli/encode_set.h: a dataset through a model into a set. Internal to room cli. */
#ifndef CLI_ENCODE_SET_H
#define CLI_ENCODE_SET_H

#include "cli/cli.h"

struct encode_job {
    struct model *m;
    const struct dataset *d;
    const char *out, *dtype, *protocol; /* dtype: float32 or float16 */
    const char *command;                /* the command line, for "to go on" */
    int64_t batch, loaders;
    int64_t shard_rows;    /* rows of one shard, what a kill loses at most */
    int64_t part, n_parts; /* job arrays: part 1..n_parts of the shards; n_parts 0: all of them, alone */
    int64_t memory;        /* bytes that the plan may need; 0: any */
    bool force, resume, low, features; /* features: with what the last products are given */
};
struct encode_result {
    int64_t n_images, n_texts, n_failed, n_truncated; /* of the whole set when it is finished, else of this process */
    int64_t n_shards, n_done, n_made;                 /* of the whole job; n_made: by this process */
    bool finished;                                    /* the set stands; false only in a job array */
    double images_per_second;
};
/* Pictures that cannot be read cost their row, their pairs, and the captions that no other picture has; they are listed
 * in OUT/failed.tsv. Finished shards lie in OUT.partial until the set appears, whole; the same call goes on with them
 * after a kill, and the set's bytes are those of an undisturbed run. */
int encode_set(const struct encode_job *job, struct encode_result *out);
/* Masks the data where mask hides something (NULL: nothing), rows staying what they are, so that the set lies beside that
 * of the whole pictures row by row; and says in protocol what is encoded. */
int encode_protocol(struct dataset **d, const struct dataset_opt *which, const struct mask_opt *mask, char *protocol,
                    size_t n);
/* There is unfinished work for this output, so that an output that exists may be ours. */
bool encode_set_begun(const char *out);

#endif
