/* io/safetensors.c: the safetensors format, read by mapping, written atomically.
 *
 * File: u64 header length, JSON header, data. Every rule of the format is checked at open and nothing is believed
 * twice: header length against the file, shape product against overflow, offsets against shape and data, and sorted by
 * offset the tensors must tile the data without hole or overlap. A header scan bounds the number of JSON values first,
 * since a 100 MB header of brackets would otherwise cost gigabytes in the parser.
 * Order kept: the header's. Data that is not aligned for its type (old writers) is copied once, so that every pointer
 * handed out may be read as an array. Rejected: unaligned loads in every kernel. */
#include "io/io.h"

#include <stdlib.h>
#include <string.h>

#define VALUES_PER_TENSOR 32 /* JSON values of one entry: 8 dims, 2 offsets, 3 keys and room for metadata */

struct st_file {
    struct map map;
    json_t *root;     /* owns the names and metadata */
    json_t *metadata; /* borrowed from root */
    struct st_tensor *tensors;
    int64_t n;
    int32_t *table; /* open addressing: index into tensors, or -1 */
    size_t mask;
    uint8_t *copy; /* the data section again, when the file leaves it unaligned */
};

/* Refuse a header whose JSON would be out of proportion, before parsing it. */
static int scan_header(const char *text, size_t n, const char *path)
{
    size_t values = 0, most = (size_t)limit_get(LIMIT_TENSORS) * VALUES_PER_TENSOR;
    int depth = 0;
    bool in_text = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_text = false;
            continue;
        }
        if (c == '"')
            in_text = true;
        else if (c == ',' || c == '{' || c == '[')
            values++;
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        if (depth > 3)
            FAIL(ERR_DATA, "%s: header nests deeper than expected (3) at byte %zu", path, i + 8);
    }
    if (values > most)
        FAIL(ERR_DATA, "%s: header holds %zu values, expected at most %zu (limit %s)", path, values, most,
             limit_name(LIMIT_TENSORS));
    return 0;
}

static int check_metadata(const json_t *meta, const char *path)
{
    const char *key;
    json_t *value;
    if (!json_is_object(meta))
        FAIL(ERR_DATA, "%s: __metadata__ is not an object of strings", path);
    json_object_foreach((json_t *)(uintptr_t)meta, key, value)
    {
        if (!json_is_string(value))
            FAIL(ERR_DATA, "%s: __metadata__ field \"%.100s\" is not a string", path, key);
    }
    return 0;
}

static int find_dtype(const char *s, enum dtype *out, const char *path, const char *name)
{
    static const char *const known[] = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
                                        "F6_E2M3", "F6_E3M2", "F4",      "C64"};
    for (int t = 0; t < N_DTYPES; t++)
        if (strcmp(s, dtype_name((enum dtype)t)) == 0) {
            *out = (enum dtype)t;
            return 0;
        }
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(s, known[i]) == 0)
            FAIL(ERR_UNSUPPORTED,
                 "%s: tensor \"%s\" has dtype %s, which meridian does not read; convert it to F32 or BF16", path, name,
                 s);
    FAIL(ERR_DATA, "%s: tensor \"%s\" has dtype \"%.40s\", expected F32, F16, BF16, I64 or another of the format", path,
         name, s);
}

/* The product of the shape in bytes; a zero does not excuse an overflow of the rest. */
static int shape_bytes(const struct st_tensor *t, const char *path, const char *name, size_t *out)
{
    size_t n = dtype_size(t->dtype);
    bool empty = false;
    for (int i = 0; i < t->n_dims; i++) {
        if (t->shape[i] == 0)
            empty = true;
        else if ((uint64_t)t->shape[i] > SIZE_MAX || !mul_ok(n, (size_t)t->shape[i], &n))
            FAIL(ERR_DATA, "%s: tensor \"%s\": the product of its shape is too large", path, name);
    }
    *out = empty ? 0 : n;
    return 0;
}

static int read_shape(const json_t *shape, struct st_tensor *t, const char *path, const char *name)
{
    int64_t most = limit_get(LIMIT_DIMS) < IO_MAX_DIMS ? limit_get(LIMIT_DIMS) : IO_MAX_DIMS;
    if (!json_is_array(shape))
        FAIL(ERR_DATA, "%s: tensor \"%s\": \"shape\" is missing or no list", path, name);
    if (json_array_size(shape) > (size_t)most)
        FAIL(ERR_DATA, "%s: tensor \"%s\" has %zu dimensions, expected at most %lld", path, name,
             json_array_size(shape), (long long)most);
    t->n_dims = (int)json_array_size(shape);
    for (int i = 0; i < t->n_dims; i++) {
        const json_t *v = json_array_get(shape, (size_t)i);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            FAIL(ERR_DATA, "%s: tensor \"%s\": dimension %d is no whole number >= 0", path, name, i);
        t->shape[i] = json_integer_value(v);
    }
    return 0;
}

static int read_offsets(const json_t *o, size_t n_data, size_t *begin, size_t *end, const char *path, const char *name)
{
    const json_t *b = json_array_get(o, 0), *e = json_array_get(o, 1);
    if (!json_is_array(o) || json_array_size(o) != 2 || !json_is_integer(b) || !json_is_integer(e))
        FAIL(ERR_DATA, "%s: tensor \"%s\": \"data_offsets\" is no pair of whole numbers", path, name);
    long long vb = json_integer_value(b), ve = json_integer_value(e);
    if (vb < 0 || ve < vb || (unsigned long long)ve > n_data)
        FAIL(ERR_DATA,
             "%s: tensor \"%s\": data_offsets [%lld, %lld], expected 0 <= begin <= end <= %zu (is the file whole?)",
             path, name, vb, ve, n_data);
    *begin = (size_t)vb;
    *end = (size_t)ve;
    return 0;
}

static int read_entry(const char *key, const json_t *entry, const uint8_t *data, size_t n_data, struct st_tensor *out,
                      const char *path)
{
    char name[160];
    const char *field;
    json_t *value;
    size_t begin = 0, end = 0, expected = 0;
    struct st_tensor t = {.name = key};
    str_safe(name, sizeof(name), key);
    if (!json_is_object(entry))
        FAIL(ERR_DATA, "%s: tensor \"%s\" is described by something that is no object", path, name);
    json_object_foreach((json_t *)(uintptr_t)entry, field, value)
    {
        if (strcmp(field, "dtype") != 0 && strcmp(field, "shape") != 0 && strcmp(field, "data_offsets") != 0)
            FAIL(ERR_DATA, "%s: tensor \"%s\" has an unknown field \"%.40s\"", path, name, field);
    }
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype)
        FAIL(ERR_DATA, "%s: tensor \"%s\": \"dtype\" is missing or no string", path, name);
    TRY(find_dtype(dtype, &t.dtype, path, name));
    TRY(read_shape(json_object_get(entry, "shape"), &t, path, name));
    TRY(read_offsets(json_object_get(entry, "data_offsets"), n_data, &begin, &end, path, name));
    TRY(shape_bytes(&t, path, name, &expected));
    if (end - begin != expected)
        FAIL(ERR_DATA, "%s: tensor \"%s\": shape and dtype need %zu bytes, data_offsets give %zu", path, name, expected,
             end - begin);
    t.data = data + begin;
    t.n_bytes = expected;
    *out = t;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct st_tensor *x = *(const struct st_tensor *const *)a, *y = *(const struct st_tensor *const *)b;
    if (x->data != y->data)
        return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

/* Sorted by place, each tensor must begin where the one before ended, and the last must end with the file. */
static int check_tiling(const struct st_file *f, const uint8_t *data, size_t n_data)
{
    size_t at = 0;
    int rc = 0;
    const struct st_tensor **order = mem_calloc((size_t)f->n + 1, sizeof(*order));
    if (!order)
        return ERR_MEMORY;
    for (int64_t i = 0; i < f->n; i++)
        order[i] = &f->tensors[i];
    qsort(order, (size_t)f->n, sizeof(*order), by_place);
    for (int64_t i = 0; i < f->n; i++) {
        size_t begin = (size_t)((const uint8_t *)order[i]->data - data);
        if (begin != at) {
            char name[160];
            str_safe(name, sizeof(name), order[i]->name);
            rc = err_set(ERR_DATA, "%s: tensor \"%s\" begins at byte %zu of the data, expected %zu (%s)", f->map.path,
                         name, begin, at, begin < at ? "tensors overlap" : "a hole");
            goto out;
        }
        at += order[i]->n_bytes;
    }
    if (at != n_data)
        rc = err_set(ERR_DATA, "%s: the tensors end at byte %zu of the data, the file at %zu", f->map.path, at, n_data);
out:
    mem_free(order);
    return rc;
}

static int build_table(struct st_file *f)
{
    size_t n = 16;
    while (n < (size_t)f->n * 2)
        n <<= 1;
    f->table = mem_calloc(n, sizeof(*f->table));
    if (!f->table)
        return ERR_MEMORY;
    f->mask = n - 1;
    memset(f->table, 0xff, n * sizeof(*f->table));
    for (int64_t i = 0; i < f->n; i++) {
        size_t at = hash_bytes(f->tensors[i].name, strlen(f->tensors[i].name), 0) & f->mask;
        while (f->table[at] >= 0)
            at = (at + 1) & f->mask;
        f->table[at] = (int32_t)i;
    }
    return 0;
}

/* An address that is not a multiple of the element size: move the whole data section to aligned memory. The section
 * may still hold odd tensors after odd-sized ones, so each is placed on its own. */
static int align_data(struct st_file *f)
{
    size_t total = 0;
    for (int64_t i = 0; i < f->n; i++)
        if ((uintptr_t)f->tensors[i].data % dtype_size(f->tensors[i].dtype) != 0)
            if (!add_ok(total, f->tensors[i].n_bytes + 64, &total))
                FAIL(ERR_DATA, "%s: unaligned tensors are too large to copy", f->map.path);
    if (total == 0)
        return 0;
    f->copy = mem_alloc(total);
    if (!f->copy)
        return ERR_MEMORY;
    uint8_t *at = f->copy;
    for (int64_t i = 0; i < f->n; i++) {
        struct st_tensor *t = &f->tensors[i];
        if ((uintptr_t)t->data % dtype_size(t->dtype) == 0)
            continue;
        if (t->n_bytes > 0)
            memcpy(at, t->data, t->n_bytes);
        t->data = at;
        at += (t->n_bytes + 63) / 64 * 64;
    }
    return 0;
}

static int read_tensors(struct st_file *f, const uint8_t *data, size_t n_data)
{
    const char *key;
    json_t *entry;
    size_t n = json_object_size(f->root) - (json_object_get(f->root, "__metadata__") != NULL);
    if (n > (size_t)limit_get(LIMIT_TENSORS))
        FAIL(ERR_DATA, "%s: %zu tensors, expected at most %lld (limit %s)", f->map.path, n,
             (long long)limit_get(LIMIT_TENSORS), limit_name(LIMIT_TENSORS));
    f->tensors = mem_calloc(n + 1, sizeof(*f->tensors));
    if (!f->tensors)
        return ERR_MEMORY;
    json_object_foreach(f->root, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0) {
            TRY(check_metadata(entry, f->map.path));
            f->metadata = entry;
            continue;
        }
        TRY(read_entry(key, entry, data, n_data, &f->tensors[f->n], f->map.path));
        f->n++;
    }
    TRY(check_tiling(f, data, n_data));
    TRY(align_data(f));
    return build_table(f);
}

static int open_into(struct st_file *f, const char *path)
{
    uint64_t n_header = 0;
    const uint8_t *header = NULL;
    TRY(map_open(&f->map, path));
    struct reader r = {f->map.data, f->map.data + f->map.size, f->map.data, path};
    TRY_IN(read_u64le(&r, &n_header), "reading the length of the header");
    if (n_header > (uint64_t)limit_get(LIMIT_HEADER_BYTES))
        FAIL(ERR_DATA, "%s: header length %llu, expected at most %lld (is this a safetensors file?)", path,
             (unsigned long long)n_header, (long long)limit_get(LIMIT_HEADER_BYTES));
    TRY_IN(read_bytes(&r, &header, (size_t)n_header), "reading the header; the file may be incomplete");
    if (n_header < 2 || header[0] != '{')
        FAIL(ERR_DATA, "%s: the header does not begin with \"{\" (is this a safetensors file?)", path);
    TRY(scan_header((const char *)header, (size_t)n_header, path));
    TRY(json_read_text(&f->root, (const char *)header, (size_t)n_header, path));
    if (!json_is_object(f->root))
        FAIL(ERR_DATA, "%s: the header is no JSON object", path);
    TRY(read_tensors(f, r.p, (size_t)(r.end - r.p)));
    return map_check(&f->map);
}

int st_open(struct st_file **out, const char *path)
{
    struct st_file *f = mem_calloc(1, sizeof(*f));
    if (!f)
        return ERR_MEMORY;
    int rc = open_into(f, path);
    if (rc < 0) {
        st_close(&f);
        return rc;
    }
    *out = f;
    return 0;
}

void st_close(struct st_file **f)
{
    if (!*f)
        return;
    mem_free((*f)->copy);
    mem_free((*f)->table);
    mem_free((*f)->tensors);
    json_decref((*f)->root);
    map_close(&(*f)->map);
    mem_free(*f);
    *f = NULL;
}

int64_t st_count(const struct st_file *f)
{
    return f->n;
}

const struct st_tensor *st_at(const struct st_file *f, int64_t i)
{
    BUG_ON(i < 0 || i >= f->n);
    return &f->tensors[i];
}

const struct st_tensor *st_find(const struct st_file *f, const char *name)
{
    size_t at = hash_bytes(name, strlen(name), 0) & f->mask;
    for (; f->table[at] >= 0; at = (at + 1) & f->mask)
        if (strcmp(f->tensors[f->table[at]].name, name) == 0)
            return &f->tensors[f->table[at]];
    return NULL;
}

const json_t *st_metadata(const struct st_file *f)
{
    return f->metadata;
}

const char *st_path(const struct st_file *f)
{
    return f->map.path;
}

int st_check(const struct st_file *f)
{
    return map_check(&f->map);
}

/* ---- writing ---- */

/* {"dtype": …, "shape": […], "data_offsets": [begin, end]} into root, after checking what the caller hands us. */
static int add_entry(json_t *root, const struct st_tensor *t, size_t begin, const char *path)
{
    size_t n = 0;
    if (t->n_dims < 0 || t->n_dims > IO_MAX_DIMS)
        FAIL(ERR_FAIL, "%s: tensor \"%s\" has %d dimensions, expected 0 to %d", path, t->name, t->n_dims, IO_MAX_DIMS);
    for (int i = 0; i < t->n_dims; i++)
        if (t->shape[i] < 0)
            FAIL(ERR_FAIL, "%s: tensor \"%s\": dimension %d is %lld", path, t->name, i, (long long)t->shape[i]);
    TRY(shape_bytes(t, path, t->name, &n));
    if (n != t->n_bytes)
        FAIL(ERR_FAIL, "%s: tensor \"%s\": shape and dtype need %zu bytes, given %zu", path, t->name, n, t->n_bytes);
    if (!utf8_ok(t->name, strlen(t->name)) || strcmp(t->name, "__metadata__") == 0)
        FAIL(ERR_FAIL, "%s: \"%s\" cannot be the name of a tensor", path, t->name);
    if (json_object_get(root, t->name))
        FAIL(ERR_FAIL, "%s: tensor \"%s\" is given twice", path, t->name);
    json_t *shape = json_array();
    for (int i = 0; i < t->n_dims; i++)
        if (json_array_append_new(shape, json_integer(t->shape[i])) != 0) {
            json_decref(shape);
            FAIL(ERR_MEMORY, "%s: no memory for the header", path);
        }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_name(t->dtype), "shape", shape, "data_offsets",
                              (json_int_t)begin, (json_int_t)(begin + n));
    if (!entry || json_object_set_new(root, t->name, entry) != 0)
        FAIL(ERR_MEMORY, "%s: no memory for the header", path);
    return 0;
}

struct ranked {
    size_t width;
    int64_t index;
};

static int by_width(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->width != y->width)
        return x->width > y->width ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int write_file(const char *path, const struct str *header, const struct st_tensor *tensors,
                      const struct ranked *order, int64_t n)
{
    struct atomic_file *f = NULL;
    uint8_t length[8];
    int rc = 0;
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)header->n >> (8 * i));
    TRY(atomic_open(&f, path));
    rc = atomic_write(f, length, sizeof(length));
    if (rc == 0)
        rc = atomic_write(f, header->s, header->n);
    for (int64_t i = 0; i < n && rc == 0; i++)
        rc = atomic_write(f, tensors[order[i].index].data, tensors[order[i].index].n_bytes);
    if (rc < 0) {
        atomic_abort(&f);
        return rc;
    }
    return atomic_commit(&f);
}

int st_write(const char *path, const struct st_tensor *tensors, int64_t n, const json_t *metadata)
{
    int rc = 0;
    size_t at = 0;
    struct str header = {0};
    json_t *root = json_object();
    struct ranked *order = mem_calloc((size_t)n + 1, sizeof(*order));
    if (!root || !order) {
        rc = err_set(ERR_MEMORY, "%s: no memory for the header", path);
        goto out;
    }
    if (metadata) {
        rc = check_metadata(metadata, path);
        if (rc < 0)
            goto out;
        if (json_object_set(root, "__metadata__", (json_t *)(uintptr_t)metadata) != 0) {
            rc = err_set(ERR_MEMORY, "%s: no memory for the header", path);
            goto out;
        }
    }
    for (int64_t i = 0; i < n; i++)
        order[i] = (struct ranked){dtype_size(tensors[i].dtype), i};
    qsort(order, (size_t)n, sizeof(*order), by_width);
    for (int64_t i = 0; i < n; i++) {
        rc = add_entry(root, &tensors[order[i].index], at, path);
        if (rc < 0)
            goto out;
        at += tensors[order[i].index].n_bytes;
    }
    if (str_add_json(&header, root, JSON_COMPACT) != 0) {
        rc = err_set(ERR_MEMORY, "%s: no memory for the header", path);
        goto out;
    }
    while ((header.n + 8) % 64 != 0 && !header.failed) /* so that the data begins on a cache line */
        str_add_c(&header, ' ');
    rc = header.failed ? err_set(ERR_MEMORY, "%s: no memory for the header", path)
                       : write_file(path, &header, tensors, order, n);
out:
    str_free(&header);
    mem_free(order);
    json_decref(root);
    return rc;
}
