/* What the shell cases cannot do themselves: make pictures, compare tensors, turn a tensor into npy.
 *   helper pictures DIR N              DIR/p0.png … and DIR/data.csv (filepath, caption, label)
 *   helper compare A.st B.st TOL NAME… largest difference of the named tensors, relative to nothing; prints them
 *   helper npy FILE.st NAME OUT.npy
 *   helper words DIR                   DIR/x.npy, twelve nearly additive vectors, and DIR/f.csv (row, colour, thing)
 *   helper same OUT.npy FILE.st TOL NAME…   rows of OUT.npy against the named tensors, in order */
#include "io/io.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int make_pictures(const char *dir, int n)
{
    static const char *const colours[] = {"red", "green", "blue", "white", "black", "grey"};
    static const uint8_t rgb[][3] = {{220, 30, 30},   {30, 200, 40}, {40, 60, 220},
                                     {250, 250, 250}, {5, 5, 5},     {128, 128, 128}};
    static const char *const shapes[] = {"square", "stripe", "corner"};
    char path[1200];
    struct str csv = {0};
    TRY(path_make_dirs(dir));
    str_add(&csv, "filepath,caption,label\n");
    for (int i = 0; i < n; i++) {
        int size = 24, colour = i % 6, shape = i / 6 % 3;
        uint8_t pixels[24 * 24 * 3];
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++) {
                bool in = shape == 0 ? x > 4 && x < 20 && y > 4 && y < 20 : shape == 1 ? y > 8 && y < 16 : x + y < 16;
                for (int k = 0; k < 3; k++)
                    pixels[(y * size + x) * 3 + k] = in ? rgb[colour][k] : (uint8_t)(90 + 10 * (i / 18));
            }
        struct image im = {size, size, 3, pixels};
        snprintf(path, sizeof path, "%s/p%d.png", dir, i);
        TRY(image_write_png(path, &im));
        str_add(&csv, "p%d.png,a %s %s number %d,%s\n", i, colours[colour], shapes[shape], i, colours[colour]);
        str_add(&csv, "p%d.png,%s %s,%s\n", i, colours[colour], shapes[shape], colours[colour]);
    }
    snprintf(path, sizeof path, "%s/data.csv", dir);
    int rc = atomic_put(path, csv.s, csv.n);
    str_free(&csv);
    return rc;
}

static int values_of(const struct st_file *f, const char *name, double **out, int64_t *n)
{
    const struct st_tensor *t = st_find(f, name);
    if (!t)
        FAIL(ERR_DATA, "%s: no tensor %s", st_path(f), name);
    *n = (int64_t)(t->n_bytes / dtype_size(t->dtype));
    *out = mem_calloc((size_t)*n + 1, sizeof **out);
    return *out ? dtype_convert(DT_F64, *out, t->dtype, t->data, (size_t)*n) : ERR_MEMORY;
}

static int judge(const char *name, const double *x, const double *y, int64_t n, double tolerance)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++)
        worst = !(fabs(x[i] - y[i]) <= worst) ? fabs(x[i] - y[i]) : worst;
    printf("%s: %lld numbers, %s\n", name, (long long)n, worst <= tolerance ? "agree" : "DIFFER");
    if (!(worst <= tolerance))
        FAIL(ERR_DATA, "%s: largest difference %g, expected at most %g", name, worst, tolerance);
    return 0;
}

static int compare(const char *a, const char *b, double tolerance, int n, char **names)
{
    struct st_file *f = NULL, *g = NULL;
    TRY(st_open(&f, a));
    TRY(st_open(&g, b));
    for (int i = 0; i < n; i++) {
        double *x, *y;
        int64_t nx, ny;
        TRY(values_of(f, names[i], &x, &nx));
        TRY(values_of(g, names[i], &y, &ny));
        if (nx != ny)
            FAIL(ERR_DATA, "%s: %lld and %lld numbers", names[i], (long long)nx, (long long)ny);
        TRY(judge(names[i], x, y, nx, tolerance));
        mem_free(x);
        mem_free(y);
    }
    st_close(&f);
    st_close(&g);
    return 0;
}

static int to_npy(const char *file, const char *name, const char *out)
{
    struct st_file *f = NULL;
    TRY(st_open(&f, file));
    const struct st_tensor *t = st_find(f, name);
    int rc =
        t ? npy_write(out, t->dtype, t->n_dims, t->shape, t->data) : err_set(ERR_DATA, "%s: no tensor %s", file, name);
    st_close(&f);
    return rc;
}

static int same(const char *npy, const char *file, double tolerance, int n, char **names)
{
    struct npy a = {0};
    struct st_file *f = NULL;
    TRY(npy_open(&a, npy));
    TRY(st_open(&f, file));
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        double *x, *y;
        int64_t k;
        TRY(values_of(f, names[i], &x, &k));
        y = mem_calloc((size_t)k + 1, sizeof *y);
        if (!y || at + (size_t)k * 4 > a.n_bytes || a.dtype != DT_F32)
            FAIL(ERR_DATA, "%s: too few numbers, or not float32", npy);
        TRY(dtype_convert(DT_F64, y, DT_F32, (const char *)a.data + at, (size_t)k));
        at += (size_t)k * 4;
        TRY(judge(names[i], y, x, k, tolerance));
        mem_free(x);
        mem_free(y);
    }
    st_close(&f);
    npy_close(&a);
    return 0;
}

static int make_words(const char *dir)
{
    static const char *const colours[] = {"red", "green", "blue"}, *const things[] = {"a", "b", "c", "d"};
    char path[1200];
    struct str csv = {0};
    float x[12 * 7] = {0};
    str_add(&csv, "row,colour,thing\n");
    for (int i = 0; i < 12; i++) {
        x[i * 7 + i / 4] = 1;
        x[i * 7 + 3 + i % 4] = 2;
        x[i * 7 + i * 5 % 7] += 0.25F * (float)(i % 3);
        str_add(&csv, "%d,%s,%s\n", i, colours[i / 4], things[i % 4]);
    }
    snprintf(path, sizeof path, "%s/f.csv", dir);
    int rc = atomic_put(path, csv.s, csv.n);
    str_free(&csv);
    TRY(rc);
    snprintf(path, sizeof path, "%s/x.npy", dir);
    return npy_write(path, DT_F32, 2, (const int64_t[]){12, 7}, x);
}

int main(int argc, char **argv)
{
    int rc = ERR_USAGE;
    err_set(ERR_USAGE, "read the head of helper.c");
    if (argc == 4 && !strcmp(argv[1], "pictures"))
        rc = make_pictures(argv[2], atoi(argv[3]));
    else if (argc == 3 && !strcmp(argv[1], "words"))
        rc = make_words(argv[2]);
    else if (argc > 5 && !strcmp(argv[1], "compare"))
        rc = compare(argv[2], argv[3], atof(argv[4]), argc - 5, argv + 5);
    else if (argc == 5 && !strcmp(argv[1], "npy"))
        rc = to_npy(argv[2], argv[3], argv[4]);
    else if (argc > 5 && !strcmp(argv[1], "same"))
        rc = same(argv[2], argv[3], atof(argv[4]), argc - 5, argv + 5);
    if (rc < 0)
        fprintf(stderr, "helper: %s\n", err_text());
    return rc < 0;
}
