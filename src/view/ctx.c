/* view/ctx.c: what the figures ask about a set: unit rows, partners, captions, thumbnails.
 *
 * Rows of a set whose vectors have no unit length are copied and normalised once, so that every cosine is a dot
 * product. Thumbnails are made when first asked for and kept: the same picture stands in several grids. A picture that
 * is missing or broken is a grey box and a count, never an error: the report is about vectors. */
#include "view/fig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define THUMB_SIDE 168

static int pair_by_text(const void *a, const void *b)
{
    const struct set_pair *p = a, *q = b;
    if (p->text != q->text)
        return p->text < q->text ? -1 : 1;
    return p->image < q->image ? -1 : p->image > q->image;
}

static int find_col(const struct set_side *side, const char *const *names, int n)
{
    for (int i = 0; side->has_meta && i < n; i++) {
        int c = table_col(&side->meta, names[i]);
        if (c >= 0)
            return c;
    }
    return -1;
}

static int unit_rows(struct ctx *c, int side, const struct set_side *from, int64_t width)
{
    size_t n = 0;
    c->x[side] = from->x;
    if (c->in.set->unit || from->n == 0)
        return 0;
    if (!mul_ok((size_t)from->n, (size_t)width, &n) || !mul_ok(n, sizeof(float), &n))
        FAIL(ERR_MEMORY, "%s rows of the set are too many to copy", side ? "text" : "image");
    c->own[side] = mem_alloc(n);
    if (!c->own[side])
        return ERR_MEMORY;
    memcpy(c->own[side], from->x, n);
    c->x[side] = c->own[side];
    TRY_IN(space_normalize(c->own[side], from->n, width, NULL), "normalising the %s rows", side ? "text" : "image");
    return 0;
}

int ctx_open(struct ctx *c, const struct fig_in *in)
{
    static const char *const path_cols[] = {"path", "filepath", "file"};
    static const char *const name_cols[] = {"label", "name", "title", "id"};
    static const char *const caption_cols[] = {"caption", "text", "title", "label"};
    const struct set *s = in->set;
    int rc;
    *c = (struct ctx){.in = *in};
    c->col_path = find_col(&s->image, path_cols, (int)ARRAY_LEN(path_cols));
    c->col_name = find_col(&s->image, name_cols, (int)ARRAY_LEN(name_cols));
    c->col_caption = find_col(&s->text, caption_cols, (int)ARRAY_LEN(caption_cols));
    rc = unit_rows(c, 0, &s->image, s->width);
    if (rc == 0)
        rc = unit_rows(c, 1, &s->text, s->width);
    if (rc == 0 && s->n_pairs > 0) {
        c->by_text = mem_calloc((size_t)s->n_pairs, sizeof *c->by_text);
        if (c->by_text) {
            memcpy(c->by_text, s->pairs, (size_t)s->n_pairs * sizeof *c->by_text);
            qsort(c->by_text, (size_t)s->n_pairs, sizeof *c->by_text, pair_by_text);
        } else {
            rc = ERR_MEMORY;
        }
    }
    if (rc == 0 && s->image.n > 0) {
        c->thumb = mem_calloc((size_t)s->image.n, sizeof *c->thumb);
        rc = c->thumb ? 0 : ERR_MEMORY;
    }
    if (rc < 0)
        ctx_close(c);
    return rc;
}

void ctx_close(struct ctx *c)
{
    if (c->thumb)
        for (int64_t i = 0; i < c->in.set->image.n; i++)
            mem_free(c->thumb[i]);
    mem_free(c->thumb);
    mem_free(c->by_text);
    mem_free(c->own[0]);
    mem_free(c->own[1]);
    c->thumb = NULL;
    c->by_text = NULL;
    c->own[0] = c->own[1] = NULL;
}

int64_t ctx_n(const struct ctx *c, int side)
{
    return side ? c->in.set->text.n : c->in.set->image.n;
}

const float *ctx_row(const struct ctx *c, int side, int64_t row)
{
    BUG_ON(row < 0 || row >= ctx_n(c, side));
    return c->x[side] + (size_t)row * (size_t)c->in.set->width;
}

double ctx_cosine(const struct ctx *c, int side_a, int64_t a, int side_b, int64_t b)
{
    return space_dot(ctx_row(c, side_a, a), ctx_row(c, side_b, b), c->in.set->width);
}

/* First pair whose key on `side` is not below row. */
static int64_t lower_bound(const struct set_pair *p, int64_t n, int side, int64_t row)
{
    int64_t lo = 0, hi = n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if ((side ? p[mid].text : p[mid].image) < row)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int64_t ctx_partners(const struct ctx *c, int side, int64_t row, const struct set_pair **first)
{
    const struct set_pair *p = side ? c->by_text : c->in.set->pairs;
    int64_t n = c->in.set->n_pairs;
    *first = p;
    if (n == 0)
        return 0;
    int64_t a = lower_bound(p, n, side, row), b = lower_bound(p, n, side, row + 1);
    *first = p + a;
    return b - a;
}

bool ctx_is_pair(const struct ctx *c, int64_t image, int64_t text)
{
    const struct set_pair *p;
    int64_t n = ctx_partners(c, 0, image, &p);
    for (int64_t i = 0; i < n; i++)
        if (p[i].text == text)
            return true;
    return false;
}

int64_t ctx_best_partner(const struct ctx *c, int side, int64_t row, double *cosine)
{
    const struct set_pair *p;
    int64_t n = ctx_partners(c, side, row, &p), best = -1;
    *cosine = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        int64_t other = side ? p[i].image : p[i].text;
        double s = ctx_cosine(c, side, row, !side, other);
        if (best < 0 || s > *cosine) {
            best = other;
            *cosine = s;
        }
    }
    return best;
}

/* 1 - C(n - p, k) / C(n, k) for p positives among n; with one positive k / n. */
double ctx_chance(const struct ctx *c, int direction, int k)
{
    const struct retrieval *r = &c->in.retrieval[direction];
    double sum = 0, n = (double)r->n_gallery;
    for (int64_t q = 0; q < r->n_queries; q++) {
        const struct set_pair *first;
        double p = (double)ctx_partners(c, direction, r->queries[q], &first), miss = 1;
        for (int j = 0; j < k && miss > 0; j++)
            miss *= fmax(0, n - p - j) / fmax(1, n - j);
        sum += 1 - miss;
    }
    return r->n_queries > 0 ? sum / (double)r->n_queries : (double)NAN;
}

void ctx_label(const struct ctx *c, int side, int64_t row, struct str *out)
{
    const struct set_side *s = side ? &c->in.set->text : &c->in.set->image;
    int col = side ? c->col_caption : c->col_name >= 0 ? c->col_name : c->col_path;
    const char *cell = s->has_meta && col >= 0 && row < s->meta.n_rows ? table_cell(&s->meta, row, col) : NULL;
    if (cell && *cell)
        str_add_n(out, cell, strlen(cell));
    else
        str_add(out, "%s row %lld", side ? "text" : "picture", (long long)row);
}

bool thumb_find(const char *path, const char *base, const char *second_base, char *out, size_t n)
{
    const char *bases[3] = {base, second_base, ""};
    if (!path || !*path)
        return false;
    for (int i = 0; i < 3; i++) {
        if (!bases[i])
            continue;
        bool plain = path[0] == '/' || !*bases[i];
        int len = plain ? snprintf(out, n, "%s", path) : snprintf(out, n, "%s/%s", bases[i], path);
        if (len > 0 && (size_t)len < n && path_exists(out) && !path_is_dir(out))
            return true;
        if (path[0] == '/')
            break;
    }
    return false;
}

bool thumb_data_uri(const char *path, int size, struct str *out)
{
    struct image im = {0};
    struct str bytes = {0};
    bool ok = false;
    if (image_thumbnail(&im, path, size) == 0) {
        const char *mime = "image/jpeg";
        int rc = image_encode_jpeg(&bytes, &im, 84);
        if (rc < 0) {
            str_clear(&bytes);
            mime = "image/png";
            rc = image_encode_png(&bytes, &im);
        }
        if (rc == 0 && bytes.n > 0) {
            str_add(out, "data:%s;base64,", mime);
            base64_add(out, bytes.s, bytes.n);
            ok = true;
        }
        image_free(&im);
    }
    str_free(&bytes);
    if (!ok) {
        log_debug("%s: no thumbnail: %s", path, err_text());
        err_clear();
    }
    return ok;
}

const char *ctx_thumb(struct ctx *c, int64_t row)
{
    char path[4096];
    const struct set_side *s = &c->in.set->image;
    if (c->in.no_thumbnails || !s->has_meta || c->col_path < 0 || row >= s->meta.n_rows)
        return "";
    if (c->thumb[row])
        return c->thumb[row];
    struct str uri = {0};
    bool ok = thumb_find(table_cell(&s->meta, row, c->col_path), c->in.path_base, c->in.set->path, path, sizeof path) &&
              thumb_data_uri(path, THUMB_SIDE, &uri);
    if (!ok)
        c->n_thumbs_failed++;
    c->thumb[row] = mem_strdup(ok && !uri.failed ? uri.s : "");
    str_free(&uri);
    return c->thumb[row] ? c->thumb[row] : "";
}

void ctx_stamp(const struct ctx *c, struct str *out)
{
    const struct set *s = c->in.set;
    str_add(out, "n = %s pictures, %s texts", word_count(s->image.n).s, word_count(s->text.n).s);
    if (s->model && *s->model)
        str_add(out, " · model %s", s->model);
    if (s->protocol && *s->protocol)
        str_add(out, " · %s", s->protocol);
}
