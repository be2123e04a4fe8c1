/* examples/nearest.c: which of these texts fits this picture best?
 *
 *     nearest MODEL PICTURE TEXT...
 *
 * Prints the texts, best first, with their cosine. Both encoders give rows of unit length, so a cosine is a plain inner
 * product. */
#include <meridian.h>
#include <stdio.h>
#include <stdlib.h>

struct scored {
    const char *text;
    double cosine;
};

static int better(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return (x->cosine < y->cosine) - (x->cosine > y->cosine);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: nearest MODEL PICTURE TEXT...\n");
        return 2;
    }
    const char *const *picture = (const char *const *)&argv[2];
    const char *const *texts = (const char *const *)&argv[3];
    int64_t n = argc - 3, d;
    struct mrd_model *m = NULL;
    float *x = NULL;
    struct scored *s = NULL;
    int rc = mrd_model_open(&m, argv[1], NULL);
    if (rc < 0)
        goto out;
    d = mrd_model_width(m);
    x = malloc((size_t)((n + 1) * d) * sizeof *x);
    s = malloc((size_t)n * sizeof *s);
    if (!x || !s) {
        fprintf(stderr, "out of memory\n");
        goto free;
    }
    rc = mrd_model_encode_images(m, picture, 1, x);
    if (rc == 0)
        rc = mrd_model_encode_texts(m, texts, n, x + d);
    if (rc < 0)
        goto out;
    for (int64_t i = 0; i < n; i++) {
        s[i] = (struct scored){texts[i], 0.0};
        for (int64_t j = 0; j < d; j++)
            s[i].cosine += (double)x[j] * (double)x[(i + 1) * d + j];
    }
    qsort(s, (size_t)n, sizeof *s, better);
    for (int64_t i = 0; i < n; i++)
        printf("%7.4f  %s\n", s[i].cosine, s[i].text);
out:
    if (rc < 0)
        fprintf(stderr, "%s\n", mrd_error());
free:
    mrd_model_free(&m);
    free(x);
    free(s);
    return rc < 0;
}
