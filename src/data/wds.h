/* data/wds.h: inside of `wds:` datasets: shard names, and pictures out of shards. */
#ifndef DATA_WDS_H
#define DATA_WDS_H

#include "data/dataset_build.h"

/* The shards that a pattern names, in order: ranges {000..099} (also downwards, also {0..90..10}), lists {a,b}, several
 * patterns joined by "::", or a folder, of which every .tar, .tar.gz, .tgz, .tar.zst and .tar.zstd is taken. */
int wds_expand(struct names *out, const char *pattern);

struct wds_shard {
    const char *path;
    bool packed;
    int64_t bytes; /* of its pictures, one behind the other, as the cache holds them */
    int fd;        /* of the cache's file, -1: not there */
    uint64_t used; /* when, in ticks of the cache */
};
struct wds_place {
    int64_t shard, offset, size;
};
/* d->own. */
struct wds {
    struct wds_shard *shards;
    int64_t n_shards;
    struct wds_place *places; /* [n_images] */
    int64_t cap_places;
    struct wds_cache *cache;
};
int wds_cache_open(struct wds *w);
void wds_cache_close(struct wds *w);
int wds_read_image(const struct dataset *d, int64_t row, struct image *rgb, uint8_t **alpha);
/* jpg, jpeg, png, webp: what a sample's picture may be called; of packed shards all these are cached, in order. */
bool wds_is_picture(const char *ending);
/* Where a member's name parts: behind the folder, at the first dot of the file's name. NULL: it has none. */
const char *wds_ending(const char *name);

#endif
