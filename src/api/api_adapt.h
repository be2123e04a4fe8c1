/* api/api_adapt.h: an adapter's handle, for the calls of meridian.h that take one. */
#ifndef API_API_ADAPT_H
#define API_API_ADAPT_H

#include "adapt/adapt.h"
#include "api/api.h"

/* The files of a folder in memory (api_keep.c). Zeros: none. */
struct kept {
    char *name; /* below the folder */
    void *p;
    size_t n;
};
struct keep {
    struct kept *file;
    int64_t n;
};
int keep_read(struct keep *k, const char *dir); /* keep_free in any case */
int keep_write(const struct keep *k, const char *dir);
void keep_free(struct keep *k);

struct mrd_adapter {
    struct adapter *a;
    struct keep files;
};

#endif
