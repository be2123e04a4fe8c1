/* examples/modality_gap.c: what the measures say about two clouds that lie apart.
 *
 * Draws n points of a circle as "pictures" and the same points, tilted out of the plane by a growing angle, as "texts".
 * Each text stays closest to its own picture, so retrieval does not notice; the gap measures do. Prints one line of
 * JSON a step: first the tilt, then what mrd_retrieval and mrd_geometry answer. */
#include <math.h>
#include <meridian.h>
#include <stdio.h>

enum { N = 64, D = 3, STEPS = 4 };

static void circle(float x[N][D], double tilt)
{
    for (int i = 0; i < N; i++) {
        double a = 2 * 3.14159265358979 * i / N;
        x[i][0] = (float)(cos(a) * cos(tilt));
        x[i][1] = (float)(sin(a) * cos(tilt));
        x[i][2] = (float)sin(tilt);
    }
}

int main(void)
{
    static float images[N][D], texts[N][D];
    struct mrd_measure_opt opt = MRD_MEASURE_OPT_INIT;
    struct mrd_pairs p = {.images = images[0], .texts = texts[0], .n_images = N, .n_texts = N, .width = D};
    opt.bootstrap = 200;
    circle(images, 0);
    for (int k = 0; k < STEPS; k++) {
        char *retrieval = NULL, *geometry = NULL;
        circle(texts, 0.3 * k);
        int rc = mrd_retrieval(&retrieval, &p, &opt);
        if (rc == 0)
            rc = mrd_geometry(&geometry, &p, &opt);
        if (rc == 0)
            printf("{\"tilt\": %.1f, \"retrieval\": %s, \"geometry\": %s}\n", 0.3 * k, retrieval, geometry);
        else
            fprintf(stderr, "%s\n", mrd_error());
        mrd_free(retrieval);
        mrd_free(geometry);
        if (rc < 0)
            return 1;
    }
    return 0;
}
