/* io/npy.c: NumPy's array files, versions 1 to 3, mapped for reading and streamed for writing.
 *
 * The header is a Python literal; a small parser takes exactly the dictionary that NumPy defines (descr, fortran_order,
 * shape) and nothing else, so no expression is ever evaluated and objects (pickles) are refused. Sizes are checked
 * against the file before anything is allocated: twelve bytes that announce a header of 4 GiB are an error, not an
 * allocation. The writer reserves the shape's digits and patches the row count at the end, so rows can stream. */
#include "io/io.h"

#include <string.h>

#define PREFIX 10        /* magic, version, u16 length of version 1 */
#define HEADER_BYTES 192 /* the writer's: a multiple of 64 that holds 8 dimensions of 19 digits each */

static const struct {
    enum dtype dtype;
    const char *descr;
} descrs[] = {{DT_F32, "<f4"}, {DT_F64, "<f8"}, {DT_F16, "<f2"}, {DT_I32, "<i4"}, {DT_I64, "<i8"}, {DT_U8, "|u1"},
              {DT_I8, "|i1"},  {DT_I16, "<i2"}, {DT_U16, "<u2"}, {DT_U32, "<u4"}, {DT_U64, "<u8"}, {DT_BOOL, "|b1"}};

/* The header's text, read left to right. */
struct literal {
    const char *p, *end, *file;
};

static void skip_space(struct literal *l)
{
    while (l->p < l->end && (*l->p == ' ' || *l->p == '\n' || *l->p == '\t'))
        l->p++;
}

static bool take(struct literal *l, char c)
{
    skip_space(l);
    if (l->p == l->end || *l->p != c)
        return false;
    l->p++;
    return true;
}

static int need(struct literal *l, char c)
{
    if (!take(l, c))
        FAIL(ERR_DATA, "%s: npy header: expected '%c'%s", l->file, c, l->p == l->end ? ", found its end" : "");
    return 0;
}

static int take_string(struct literal *l, char *out, size_t n)
{
    skip_space(l);
    if (l->p == l->end || (*l->p != '\'' && *l->p != '"'))
        FAIL(ERR_DATA, "%s: npy header: expected a quoted word (structured types are not supported)", l->file);
    char quote = *l->p++;
    size_t k = 0;
    while (l->p < l->end && *l->p != quote) {
        if (k + 1 >= n || (unsigned char)*l->p < 0x20 || (unsigned char)*l->p > 0x7e)
            FAIL(ERR_DATA, "%s: npy header: a word is too long or holds odd bytes", l->file);
        out[k++] = *l->p++;
    }
    if (l->p == l->end)
        FAIL(ERR_DATA, "%s: npy header: a quote is not closed", l->file);
    l->p++;
    out[k] = '\0';
    return 0;
}

static int take_bool(struct literal *l, bool *out)
{
    skip_space(l);
    size_t left = (size_t)(l->end - l->p);
    if (left >= 4 && memcmp(l->p, "True", 4) == 0) {
        *out = true;
        l->p += 4;
    } else if (left >= 5 && memcmp(l->p, "False", 5) == 0) {
        *out = false;
        l->p += 5;
    } else {
        FAIL(ERR_DATA, "%s: npy header: fortran_order is neither True nor False", l->file);
    }
    return 0;
}

static int take_dim(struct literal *l, int64_t *out)
{
    int64_t v = 0;
    skip_space(l);
    if (l->p == l->end || *l->p < '0' || *l->p > '9')
        FAIL(ERR_DATA, "%s: npy header: a dimension is no whole number >= 0", l->file);
    for (; l->p < l->end && *l->p >= '0' && *l->p <= '9'; l->p++)
        if (__builtin_mul_overflow(v, (int64_t)10, &v) || __builtin_add_overflow(v, (int64_t)(*l->p - '0'), &v))
            FAIL(ERR_DATA, "%s: npy header: a dimension does not fit in 64 bits", l->file);
    if (l->p < l->end && *l->p == 'L') /* Python 2 wrote long integers so */
        l->p++;
    *out = v;
    return 0;
}

static int take_shape(struct literal *l, struct npy *a)
{
    int64_t most = limit_get(LIMIT_DIMS) < IO_MAX_DIMS ? limit_get(LIMIT_DIMS) : IO_MAX_DIMS;
    TRY(need(l, '('));
    a->n_dims = 0;
    while (!take(l, ')')) {
        if (a->n_dims >= most)
            FAIL(ERR_DATA, "%s: npy header: more than %lld dimensions", l->file, (long long)most);
        TRY(take_dim(l, &a->shape[a->n_dims++]));
        if (take(l, ','))
            continue;
        if (a->n_dims < 2)
            FAIL(ERR_DATA, "%s: npy header: the shape is no tuple", l->file);
        TRY(need(l, ')'));
        break;
    }
    return 0;
}

static int set_descr(struct npy *a, const char *descr, const char *file)
{
    for (size_t i = 0; i < ARRAY_LEN(descrs); i++) {
        const char *d = descrs[i].descr;
        /* one-byte types may carry any order mark; "=" never reaches a file */
        if (strcmp(descr, d) == 0 ||
            (d[0] == '|' && descr[0] != '\0' && strchr("<>=|", descr[0]) && strcmp(descr + 1, d + 1) == 0)) {
            a->dtype = descrs[i].dtype;
            return 0;
        }
    }
    if (descr[0] == '>')
        FAIL(ERR_UNSUPPORTED, "%s: dtype %s is big-endian; save it again with a.astype('<%s')", file, descr, descr + 1);
    if (strchr(descr, 'O'))
        FAIL(ERR_DATA, "%s: dtype %s holds Python objects, which are never loaded; save numbers", file, descr);
    FAIL(ERR_UNSUPPORTED, "%s: dtype \"%s\", expected one of <f4 <f8 <f2 <i2 <i4 <i8 <u2 <u4 <u8 |i1 |u1 |b1", file,
         descr);
}

static int parse_header(struct npy *a, struct literal *l)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    char key[32], descr[32] = "";
    bool fortran = false;
    int seen = 0;
    TRY(need(l, '{'));
    while (!take(l, '}')) {
        TRY(take_string(l, key, sizeof(key)));
        TRY(need(l, ':'));
        int which = strcmp(key, "descr") == 0           ? DESCR
                    : strcmp(key, "fortran_order") == 0 ? ORDER
                    : strcmp(key, "shape") == 0         ? SHAPE
                                                        : 0;
        if (!which || (seen & which))
            FAIL(ERR_DATA, "%s: npy header: key \"%s\" is %s", l->file, key, which ? "given twice" : "unknown");
        seen |= which;
        if (which == DESCR)
            TRY(take_string(l, descr, sizeof(descr)));
        else if (which == ORDER)
            TRY(take_bool(l, &fortran));
        else
            TRY(take_shape(l, a));
        if (!take(l, ',')) {
            TRY(need(l, '}'));
            break;
        }
    }
    skip_space(l);
    if (l->p != l->end)
        FAIL(ERR_DATA, "%s: npy header: something follows the dictionary", l->file);
    if (seen != ALL)
        FAIL(ERR_DATA, "%s: npy header: expected the keys descr, fortran_order and shape", l->file);
    TRY(set_descr(a, descr, l->file));
    if (fortran && a->n_dims > 1)
        FAIL(ERR_UNSUPPORTED, "%s: the array is in Fortran order; save np.ascontiguousarray(a)", l->file);
    return 0;
}

static int shape_bytes(const char *file, enum dtype t, int n_dims, const int64_t *shape, size_t *out)
{
    size_t n = dtype_size(t);
    bool empty = false;
    for (int i = 0; i < n_dims; i++) {
        if (shape[i] == 0)
            empty = true;
        else if (shape[i] < 0 || (uint64_t)shape[i] > SIZE_MAX || !mul_ok(n, (size_t)shape[i], &n))
            FAIL(ERR_DATA, "%s: the product of the shape is too large", file);
    }
    *out = empty ? 0 : n;
    return 0;
}

static int open_into(struct npy *a, const char *path)
{
    static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    const uint8_t *b = NULL;
    uint32_t n_header = 0;
    TRY(map_open(&a->map, path));
    struct reader r = {a->map.data, a->map.data + a->map.size, a->map.data, path};
    TRY_IN(read_bytes(&r, &b, 8), "reading the npy magic");
    if (memcmp(b, magic, sizeof(magic)) != 0)
        FAIL(ERR_DATA, "%s: this is no npy file (its first six bytes are not \\x93NUMPY)", path);
    if (b[6] < 1 || b[6] > 3 || b[7] != 0)
        FAIL(ERR_UNSUPPORTED, "%s: npy version %d.%d, expected 1.0, 2.0 or 3.0", path, b[6], b[7]);
    if (b[6] == 1) {
        TRY(read_bytes(&r, &b, 2));
        n_header = (uint32_t)b[0] | (uint32_t)b[1] << 8;
    } else {
        TRY(read_u32le(&r, &n_header));
    }
    if ((int64_t)n_header > limit_get(LIMIT_HEADER_BYTES))
        FAIL(ERR_DATA, "%s: npy header of %u bytes, expected at most %lld (limit %s)", path, n_header,
             (long long)limit_get(LIMIT_HEADER_BYTES), limit_name(LIMIT_HEADER_BYTES));
    TRY_IN(read_bytes(&r, &b, n_header), "reading the npy header");
    TRY(parse_header(a, &(struct literal){(const char *)b, (const char *)b + n_header, path}));
    TRY(shape_bytes(path, a->dtype, a->n_dims, a->shape, &a->n_bytes));
    size_t left = (size_t)(r.end - r.p);
    if (left != a->n_bytes)
        FAIL(ERR_DATA, "%s: shape and dtype need %zu bytes of data, found %zu%s", path, a->n_bytes, left,
             left < a->n_bytes ? " (is the file whole?)" : "");
    a->data = r.p;
    if ((uintptr_t)r.p % dtype_size(a->dtype) != 0 && a->n_bytes > 0) { /* an odd header: arrays must be aligned */
        a->copy = mem_alloc(a->n_bytes);
        if (!a->copy)
            return ERR_MEMORY;
        memcpy(a->copy, a->data, a->n_bytes);
        a->data = a->copy;
    }
    return map_check(&a->map);
}

int npy_open(struct npy *out, const char *path)
{
    struct npy a;
    memset(&a, 0, sizeof(a));
    int rc = open_into(&a, path);
    if (rc < 0) {
        npy_close(&a);
        return rc;
    }
    *out = a;
    return 0;
}

void npy_close(struct npy *a)
{
    mem_free(a->copy);
    map_close(&a->map);
    memset(a, 0, sizeof(*a));
}

int npy_check(const struct npy *a)
{
    return map_check(&a->map);
}

/* ---- writing ---- */

struct npy_writer {
    struct atomic_file *f;
    enum dtype dtype;
    int n_dims; /* with the rows */
    int64_t shape[IO_MAX_DIMS];
    size_t row_bytes;
    char path[256]; /* for messages */
};

static int make_header(const struct npy_writer *w, char out[HEADER_BYTES])
{
    const char *descr = NULL;
    for (size_t i = 0; i < ARRAY_LEN(descrs); i++)
        if (descrs[i].dtype == w->dtype)
            descr = descrs[i].descr;
    if (!descr)
        FAIL(ERR_UNSUPPORTED, "%s: npy has no dtype for %s; write F32", w->path, dtype_name(w->dtype));
    char dims[176] = "";
    size_t k = 0;
    for (int i = 0; i < w->n_dims; i++)
        k += (size_t)snprintf(dims + k, sizeof(dims) - k, "%s%lld%s", i ? " " : "", (long long)w->shape[i],
                              i + 1 < w->n_dims || w->n_dims == 1 ? "," : "");
    int n = snprintf(out + PREFIX, HEADER_BYTES - PREFIX, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                     descr, dims);
    /* shape x dtype fits in 64 bits, so eight dimensions of 19 digits cannot come together */
    if (n < 0 || n >= HEADER_BYTES - PREFIX)
        FAIL(ERR_FAIL, "%s: the shape (%.60s…) does not fit in the header", w->path, dims);
    memset(out + PREFIX + n, ' ', (size_t)(HEADER_BYTES - PREFIX - n));
    out[HEADER_BYTES - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)((HEADER_BYTES - PREFIX) & 0xff);
    out[9] = (char)((HEADER_BYTES - PREFIX) >> 8);
    return 0;
}

static int start(struct npy_writer *w, const char *path, enum dtype t, int n_dims, const int64_t *row_shape)
{
    char header[HEADER_BYTES];
    snprintf(w->path, sizeof(w->path), "%s", path);
    if (n_dims < 0 || n_dims >= IO_MAX_DIMS)
        FAIL(ERR_FAIL, "%s: rows of %d dimensions, expected 0 to %d", path, n_dims, IO_MAX_DIMS - 1);
    w->dtype = t;
    w->n_dims = n_dims + 1;
    for (int i = 0; i < n_dims; i++)
        w->shape[i + 1] = row_shape[i];
    TRY(shape_bytes(path, t, n_dims, w->shape + 1, &w->row_bytes));
    TRY(make_header(w, header));
    TRY(atomic_open(&w->f, path));
    return atomic_write(w->f, header, sizeof(header));
}

int npy_writer_open(struct npy_writer **out, const char *path, enum dtype t, int n_dims, const int64_t *row_shape)
{
    struct npy_writer *w = mem_calloc(1, sizeof(*w));
    if (!w)
        return ERR_MEMORY;
    int rc = start(w, path, t, n_dims, row_shape);
    if (rc < 0) {
        npy_writer_abort(&w);
        return rc;
    }
    *out = w;
    return 0;
}

int npy_writer_add(struct npy_writer *w, const void *rows, int64_t n_rows)
{
    size_t n = 0;
    BUG_ON(n_rows < 0);
    if (!mul_ok((size_t)n_rows, w->row_bytes, &n) || __builtin_add_overflow(w->shape[0], n_rows, &w->shape[0]))
        FAIL(ERR_FAIL, "%s: %lld rows of %zu bytes are too many", w->path, (long long)n_rows, w->row_bytes);
    return atomic_write(w->f, rows, n);
}

int npy_writer_commit(struct npy_writer **w)
{
    char header[HEADER_BYTES];
    int rc = make_header(*w, header);
    if (rc == 0)
        rc = atomic_patch((*w)->f, 0, header, sizeof(header));
    if (rc == 0)
        rc = atomic_commit(&(*w)->f);
    npy_writer_abort(w);
    return rc;
}

void npy_writer_abort(struct npy_writer **w)
{
    if (!*w)
        return;
    atomic_abort(&(*w)->f);
    mem_free(*w);
    *w = NULL;
}

int npy_write(const char *path, enum dtype t, int n_dims, const int64_t *shape, const void *data)
{
    struct npy_writer *w = NULL;
    int64_t n_rows = n_dims > 0 ? shape[0] : 1;
    if (n_rows < 0)
        FAIL(ERR_FAIL, "%s: dimension 0 is %lld", path, (long long)n_rows);
    TRY(npy_writer_open(&w, path, t, n_dims > 0 ? n_dims - 1 : 0, n_dims > 0 ? shape + 1 : NULL));
    int rc = npy_writer_add(w, data, n_rows);
    if (n_dims == 0)
        w->n_dims = 0; /* a scalar: one element, shape () */
    if (rc < 0) {
        npy_writer_abort(&w);
        return rc;
    }
    return npy_writer_commit(&w);
}
