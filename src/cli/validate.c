/* cli/validate.c: recall at 1, centroid distance and uniformity of the validation split, at the end of an epoch. Room
 * train does not know room eval, so this lives where both are known. Decoding once costs memory (48 KiB a picture of 64
 * x 64) and saves most of the time: the split is small, and it is looked at dozens of times. */
#include "cli/validate.h"

#include <math.h>

static int read_one(const struct validation *v, const struct model *m, int64_t row, float *pixels)
{
    struct image im = {0};
    int rc = v->data->read_image(v->data, row, &im, NULL);
    if (rc == 0)
        rc = preprocess_apply(&m->preprocess, &im, pixels);
    image_free(&im);
    return rc;
}

/* Pictures that cannot be read are left out with their pairs; the others close up. row [n_images]: the new row, or -1.
 */
static int read_pixels(struct validation *v, const struct model *m, int64_t *row)
{
    const struct dataset *d = v->data;
    int64_t each = 3 * m->image_size * m->image_size;
    for (int64_t i = 0; i < d->n_images; i++) {
        TRY(signal_check());
        int rc = read_one(v, m, i, v->pixels + v->n_images * each);
        if (rc == ERR_MEMORY || rc == ERR_INTERRUPTED)
            return rc;
        if (rc < 0 && i - v->n_images < 10)
            log_warn("validation picture left out: %s", err_text());
        row[i] = rc < 0 ? -1 : v->n_images++;
        if (v->n_images == 0 && i + 1 == d->n_images)
            return err_while(rc, "reading the validation split of %s, none of which can be read", d->spec);
    }
    err_clear();
    for (int64_t i = 0; i < d->n_pairs; i++)
        if (row[d->pairs[i].image] >= 0)
            v->pairs[v->n_pairs++] = (struct set_pair){row[d->pairs[i].image], d->pairs[i].text};
    return 0;
}

int validation_open(struct validation *v, const struct model *m, const char *spec, const char *split, int64_t limit,
                    const struct dataset_opt *which)
{
    struct dataset_opt opt = *which;
    size_t each = (size_t)(3 * m->image_size * m->image_size);
    opt.captions = "name";
    opt.limit = limit;
    TRY(cli_dataset(&v->data, spec, split, "validation", &opt));
    const struct dataset *d = v->data;
    if (d->n_images == 0 || d->n_texts == 0)
        FAIL(ERR_DATA,
             "%s: the validation split \"%s\" has %lld pictures and %lld captions; name another with --val-split, or "
             "none",
             spec, split ? split : "", (long long)d->n_images, (long long)d->n_texts);
    v->pixels = mem_calloc((size_t)d->n_images, each * sizeof *v->pixels);
    v->image = mem_calloc((size_t)d->n_images, (size_t)m->embed * sizeof *v->image);
    v->text = mem_calloc((size_t)d->n_texts, (size_t)m->embed * sizeof *v->text);
    v->pairs = mem_calloc((size_t)d->n_pairs + 1, sizeof *v->pairs);
    if (!v->pixels || !v->image || !v->text || !v->pairs)
        return ERR_MEMORY;
    int64_t *row = mem_calloc((size_t)d->n_images, sizeof *row);
    if (!row)
        return ERR_MEMORY;
    int rc = read_pixels(v, m, row);
    mem_free(row);
    return rc;
}

void validation_close(struct validation *v)
{
    dataset_close(&v->data);
    mem_free(v->pixels);
    mem_free(v->image);
    mem_free(v->text);
    mem_free(v->pairs);
    *v = (struct validation){0};
}

static int add_recall(const struct set *s, const struct eval_opt *opt, json_t *event, double *score)
{
    static const char *const keys[2] = {"val_image_to_text_r1", "val_text_to_image_r1"};
    double sum = 0;
    for (int direction = 0; direction < 2; direction++) {
        struct retrieval r;
        TRY(eval_retrieval(s, direction, opt, &r));
        sum += r.recall[0].value;
        json_object_set_new(event, keys[direction], json_number(r.recall[0].value));
        retrieval_free(&r);
    }
    *score = sum / 2;
    json_object_set_new(event, "val_r1", json_number(*score));
    return 0;
}

static int add_shape(const struct set *s, const struct eval_opt *opt, json_t *event)
{
    struct interval image, text;
    double gap = 0;
    double *mean = mem_calloc(2 * (size_t)s->width, sizeof *mean);
    if (!mean)
        return ERR_MEMORY;
    int rc = space_mean(s->image.x, s->image.n, s->width, mean);
    if (rc == 0)
        rc = space_mean(s->text.x, s->text.n, s->width, mean + s->width);
    for (int64_t j = 0; j < s->width; j++)
        gap += (mean[j] - mean[s->width + j]) * (mean[j] - mean[s->width + j]);
    mem_free(mean);
    TRY(rc);
    TRY(eval_uniformity(s->image.x, s->image.n, s->width, opt, &image));
    TRY(eval_uniformity(s->text.x, s->text.n, s->width, opt, &text));
    json_object_set_new(event, "val_centroid_distance", json_number(sqrt(gap)));
    json_object_set_new(event, "val_uniformity_image", json_number(image.value));
    json_object_set_new(event, "val_uniformity_text", json_number(text.value));
    return 0;
}

int validation_run(void *ctx, struct model *m, int64_t epoch, json_t *event, double *score)
{
    struct validation *v = ctx;
    const struct dataset *d = v->data;
    struct eval_opt opt = {.bootstrap = -1};
    if ((epoch + 1) % v->every != 0 && epoch + 1 != v->epochs)
        return 0;
    TRY(model_embed_pixels(m, v->pixels, v->n_images, v->low, v->image));
    TRY(model_embed_texts(m, d->captions, d->n_texts, v->low, v->text, NULL));
    struct set s = {.path = (char *)(uintptr_t) "validation",
                    .width = m->embed,
                    .unit = true,
                    .image = {.n = v->n_images, .x = v->image},
                    .text = {.n = d->n_texts, .x = v->text},
                    .n_pairs = v->n_pairs,
                    .pairs = v->pairs,
                    .model = "",
                    .fingerprint = "",
                    .data = d->spec,
                    .protocol = "names",
                    .logit_scale = model_logit_scale(m)};
    TRY_IN(add_recall(&s, &opt, event, score), "measuring the validation split");
    TRY_IN(add_shape(&s, &opt, event), "measuring the validation split");
    log_info("epoch %lld: validation recall at 1: %.1f %% (image to text %.1f, text to image %.1f)", (long long)epoch,
             100 * *score, 100 * json_real_value(json_object_get(event, "val_image_to_text_r1")),
             100 * json_real_value(json_object_get(event, "val_text_to_image_r1")));
    return 0;
}
