/* Greedy and beam search against a plain second implementation and against all sentences there are, on a made-up family
 * whose next word depends on the picture and on every word before. */
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { START = 0, END = 1, PAD = 2, MOST = 64, LONGEST = 12 };

/* ---- the family ---- */

static int64_t vocab;
static double end_bias;
static int64_t n_spoken; /* rows that were asked for */

static double logit_of(int picture, const int32_t *ids, int64_t n, int64_t k)
{
    struct rng r =
        rng_stream((uint64_t)picture + 1, RNG_TEST, 0, hash_bytes(ids, (size_t)n * sizeof *ids, (uint64_t)k));
    return 1.5 * rng_normal(&r) + (k == END ? end_bias : 0);
}

static int see(const struct model *m, struct tensor *pixels, struct caption_memory *out)
{
    (void)m;
    out->n = 2;
    out->v[0] = t_reshape(pixels, SHAPE(pixels->shape[0], 3));
    out->v[1] = t_scale(pixels, 2, 0); /* four dimensions: what is left of it must keep them */
    return 0;
}

static struct tensor *speak(const struct model *m, const struct caption_memory *memory, struct tape *t,
                            const int32_t *ids, int64_t n, int64_t length, bool last)
{
    int64_t pictures = memory->v[0]->shape[0];
    assert_true(last && n % pictures == 0);
    assert_int_equal(memory->v[1]->n_dims, 4);
    struct tensor *x = t_new(t, SHAPE(n, vocab));
    for (int64_t i = 0; i < n; i++) {
        int64_t p = i / (n / pictures);
        double picture = (double)((const float *)memory->v[0]->data)[p * 3];
        assert_true((double)((const float *)memory->v[1]->data)[p * 3] == 2 * picture);
        for (int64_t k = 0; k < vocab; k++)
            ((float *)x->data)[i * vocab + k] = (float)logit_of((int)picture, ids + i * length, length, k);
    }
    n_spoken += n;
    (void)m;
    return x;
}

static int64_t prompt(const struct model *m, int32_t *ids, int64_t max)
{
    (void)m;
    (void)max;
    ids[0] = START;
    return 1;
}
static int32_t end_id(const struct model *m)
{
    (void)m;
    return END;
}
static int32_t pad_id(const struct model *m)
{
    (void)m;
    return PAD;
}

static const struct captioner captioner = {
    .see = see, .speak = speak, .prompt = prompt, .end_id = end_id, .pad_id = pad_id, .max_length = 8};
static const struct model_family family = {.name = "made up", .captioner = &captioner};

static void make(struct model *m, int64_t words, double bias)
{
    memset(m, 0, sizeof *m);
    vocab = words;
    end_bias = bias;
    m->family = &family;
    m->image_size = 1;
    m->context = LONGEST;
    m->vocab_size = words;
    assert_int_equal(engine_open(&m->engine, "ref", 1), 0);
}

static void unmake(struct model *m)
{
    tape_close(&m->plain[0]);
    tape_close(&m->plain[1]);
}

/* ---- the second implementation: no state but lists of whole sentences ---- */

struct line {
    double sum, score;
    int64_t n;
    int32_t ids[LONGEST];
    int64_t order;
};
static int by_sum(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return x->sum != y->sum ? (x->sum < y->sum ? 1 : -1) : x->order < y->order ? -1 : 1;
}
static int by_score(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : x->order < y->order ? -1 : 1;
}

/* Log probabilities of the next word. */
static void next_words(int picture, const struct line *l, const struct caption_opt *o, double *out)
{
    double sum = 0;
    for (int64_t k = 0; k < vocab; k++) {
        out[k] = (double)(float)logit_of(picture, l->ids, l->n, k);
        sum += exp(out[k]);
    }
    for (int64_t k = 0; k < vocab; k++) {
        bool there = false;
        for (int64_t j = 0; j < l->n; j++)
            there |= l->ids[j] == k;
        out[k] -= log(sum);
        if (there && o->repetition_penalty > 0)
            out[k] *= o->repetition_penalty;
        if (k == END && l->n < o->min_length)
            out[k] = -HUGE_VAL;
    }
}

static void finish(struct line *kept, int64_t *n_kept, struct line l, const struct caption_opt *o)
{
    l.score = l.sum / pow((double)(l.n - 1), o->length_penalty);
    l.order = (*n_kept)++;
    kept[l.order] = l;
    qsort(kept, (size_t)*n_kept, sizeof *kept, by_score);
    for (int64_t i = 0; i < *n_kept; i++)
        kept[i].order = i;
    if (*n_kept > o->beam)
        *n_kept = o->beam;
}

static struct line plain_beam(int picture, const struct caption_opt *o)
{
    struct line *live = mem_calloc(MOST, sizeof *live), *all = mem_calloc(MOST * 32, sizeof *all);
    struct line *kept = mem_calloc(MOST + 1, sizeof *kept);
    int64_t n_live = 1, n_kept = 0;
    bool done = false;
    live[0].n = 1;
    live[0].ids[0] = START;
    while (!done && n_live && live[0].n < o->max_length) {
        int64_t n = 0;
        for (int64_t i = 0; i < n_live; i++) {
            double p[32];
            next_words(picture, &live[i], o, p);
            for (int64_t k = 0; k < vocab; k++) {
                struct line l = live[i];
                l.sum += p[k];
                l.ids[l.n++] = (int32_t)k;
                l.order = n;
                if (p[k] > -HUGE_VAL)
                    all[n++] = l;
            }
        }
        qsort(all, (size_t)n, sizeof *all, by_sum);
        n_live = 0;
        for (int64_t i = 0; i < n && i < 2 * o->beam && n_live < o->beam; i++) {
            if (all[i].ids[all[i].n - 1] != END)
                live[n_live++] = all[i];
            else if (i < o->beam)
                finish(kept, &n_kept, all[i], o);
        }
        done =
            n_kept >= o->beam && kept[o->beam - 1].score >= all[0].sum / pow((double)(all[0].n - 1), o->length_penalty);
    }
    for (int64_t i = 0; !done && i < n_live; i++)
        finish(kept, &n_kept, live[i], o);
    assert_true(n_kept > 0);
    struct line best = kept[0];
    mem_free(live);
    mem_free(all);
    mem_free(kept);
    return best;
}

static void check(const struct model *m, const struct caption_opt *o, int64_t n_pictures)
{
    float pixels[40 * 3];
    int32_t ids[40 * LONGEST];
    int64_t lengths[40];
    double scores[40];
    for (int64_t i = 0; i < 3 * n_pictures; i++)
        pixels[i] = (float)(i / 3);
    if (model_caption((struct model *)m, pixels, n_pictures, o, false, ids, lengths, scores) < 0)
        fail_msg("%s", err_text());
    for (int64_t i = 0; i < n_pictures; i++) {
        struct line want = plain_beam((int)i, o);
        assert_int_equal(lengths[i], want.n);
        assert_memory_equal(ids + i * o->max_length, want.ids, (size_t)want.n * sizeof *ids);
        for (int64_t j = want.n; j < o->max_length; j++)
            assert_int_equal(ids[i * o->max_length + j], PAD);
        assert_true(fabs(scores[i] - want.score) <= 1e-9);
    }
}

/* Widths, lengths, penalties; 1 to 40 pictures, so that chunks are full and broken and pictures end at other times. */
static void test_second_implementation(void **state)
{
    static const double penalties[] = {1, 0, 2, -1};
    for (int64_t beam = 2; beam <= 6; beam++)
        for (int64_t shortest = 0; shortest <= 8; shortest += 4)
            for (size_t k = 0; k < ARRAY_LEN(penalties); k++) {
                struct model m;
                make(&m, 7 + beam, k == 2 ? 0 : 1.5);
                struct caption_opt o = {.beam = beam,
                                        .min_length = shortest,
                                        .max_length = 6 + beam,
                                        .length_penalty = penalties[k],
                                        .repetition_penalty = beam == 5 ? 1.3 : 0};
                check(&m, &o, beam == 3 ? 40 : 5);
                unmake(&m);
            }
}

/* So many beams that nothing is left out: the best of all sentences. */
static void best_of_all(int picture, struct line l, const struct caption_opt *o, struct line *best)
{
    double p[32];
    if (l.n == o->max_length || l.ids[l.n - 1] == END) {
        l.score = l.sum / pow((double)(l.n - 1), o->length_penalty);
        if (best->n == 0 || l.score > best->score)
            *best = l;
        return;
    }
    next_words(picture, &l, o, p);
    for (int64_t k = 0; k < vocab; k++) {
        struct line next = l;
        next.sum += p[k];
        next.ids[next.n++] = (int32_t)k;
        if (p[k] > -HUGE_VAL)
            best_of_all(picture, next, o, best);
    }
}

static void test_exhaustive(void **state)
{
    struct model m;
    make(&m, 4, 0.5);
    for (int64_t shortest = 0; shortest < 4; shortest++) {
        struct caption_opt o = {.beam = MOST, .min_length = shortest, .max_length = 4, .length_penalty = 1};
        float pixels[6 * 3];
        int32_t ids[6 * 4];
        int64_t lengths[6];
        double scores[6];
        for (int i = 0; i < 18; i++)
            pixels[i] = (float)(i / 3);
        assert_int_equal(model_caption(&m, pixels, 6, &o, false, ids, lengths, scores), 0);
        for (int i = 0; i < 6; i++) {
            struct line best = {0}, start = {.n = 1, .ids = {START}};
            best_of_all(i, start, &o, &best);
            assert_int_equal(lengths[i], best.n);
            assert_memory_equal(ids + 4 * i, best.ids, (size_t)best.n * sizeof *ids);
            assert_true(fabs(scores[i] - best.score) <= 1e-9);
        }
    }
    unmake(&m);
}

static void test_greedy(void **state)
{
    struct model m;
    make(&m, 9, 0.7);
    for (int64_t shortest = 0; shortest <= 6; shortest += 3) {
        struct caption_opt o = {.min_length = shortest, .max_length = 10};
        float pixels[20 * 3];
        int32_t ids[20 * 10];
        int64_t lengths[20];
        double scores[20];
        for (int i = 0; i < 60; i++)
            pixels[i] = (float)(i / 3);
        n_spoken = 0;
        assert_int_equal(model_caption(&m, pixels, 20, &o, false, ids, lengths, scores), 0);
        assert_true(n_spoken <= 20 * 9);
        for (int i = 0; i < 20; i++) {
            struct line l = {.n = 1, .ids = {START}};
            while (l.n < 10 && l.ids[l.n - 1] != END) {
                double p[32];
                int32_t best = -1;
                next_words(i, &l, &o, p);
                for (int32_t k = 0; k < vocab; k++)
                    if (best < 0 || p[k] > p[best])
                        best = k;
                l.sum += p[best];
                l.ids[l.n++] = best;
            }
            assert_int_equal(lengths[i], l.n);
            assert_memory_equal(ids + 10 * i, l.ids, (size_t)l.n * sizeof *ids);
            assert_true(fabs(scores[i] - l.sum / (double)(l.n - 1)) <= 1e-9);
            assert_true(l.n >= shortest);
        }
    }
    unmake(&m);
}

/* Equal scores: the lower id, whatever the width. */
static struct tensor *speak_flat(const struct model *m, const struct caption_memory *memory, struct tape *t,
                                 const int32_t *ids, int64_t n, int64_t length, bool last)
{
    struct tensor *x = t_new(t, SHAPE(n, vocab));
    memset(x->data, 0, (size_t)x->n * sizeof(float));
    return x;
}
static void test_ties(void **state)
{
    struct captioner flat = captioner;
    struct model_family even = {.name = "even", .captioner = &flat};
    struct model m;
    flat.speak = speak_flat;
    make(&m, 5, 0);
    m.family = &even;
    for (int64_t beam = 1; beam <= 4; beam++) {
        struct caption_opt o = {.beam = beam, .min_length = 4, .max_length = 4};
        float pixels[3] = {0};
        int32_t ids[4];
        int64_t length;
        assert_int_equal(model_caption(&m, pixels, 1, &o, false, ids, &length, NULL), 0);
        static const int32_t want[] = {START, 0, 0, 0};
        assert_int_equal(length, 4);
        assert_memory_equal(ids, want, sizeof want);
    }
    unmake(&m);
}

static void test_bad_numbers(void **state)
{
    static const int32_t prompt_ids[LONGEST + 1] = {0};
    const struct caption_opt bad[] = {
        {.beam = -1},
        {.beam = MOST + 1},
        {.max_length = LONGEST + 1},
        {.max_length = -1},
        {.max_length = 1},
        {.max_length = 4, .prompt = prompt_ids, .n_prompt = 4},
        {.max_length = 4, .min_length = 5},
        {.min_length = -1},
        {.length_penalty = NAN},
        {.repetition_penalty = -1},
        {.repetition_penalty = HUGE_VAL},
    };
    struct model m;
    float pixels[3] = {0};
    int32_t ids[64];
    int64_t length;
    make(&m, 9, 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (model_caption(&m, pixels, 1, &bad[i], false, ids, &length, NULL) != ERR_USAGE)
            fail_msg("%d was taken", (int)i);
    struct model_family mute = {.name = "mute"};
    m.family = &mute;
    assert_int_equal(model_caption(&m, pixels, 1, &(struct caption_opt){0}, false, ids, &length, NULL),
                     ERR_UNSUPPORTED);
    unmake(&m);
}

/* A logit that is no number is an error, not a caption; so is a memory that cannot be had. */
static struct tensor *speak_nan(const struct model *m, const struct caption_memory *memory, struct tape *t,
                                const int32_t *ids, int64_t n, int64_t length, bool last)
{
    struct tensor *x = speak_flat(m, memory, t, ids, n, length, last);
    ((float *)x->data)[3] = NAN;
    return x;
}
static void test_not_finite(void **state)
{
    struct captioner broken = captioner;
    struct model_family f = {.name = "broken", .captioner = &broken};
    struct model m;
    float pixels[3] = {0};
    int32_t ids[64];
    int64_t length;
    broken.speak = speak_nan;
    make(&m, 9, 0);
    m.family = &f;
    for (int64_t beam = 1; beam < 3; beam++)
        assert_int_equal(model_caption(&m, pixels, 1, &(struct caption_opt){.beam = beam, .length_penalty = 1}, false,
                                       ids, &length, NULL),
                         ERR_NONFINITE);
    unmake(&m);
}

static void test_memory_failure(void **state)
{
    struct model m;
    float pixels[3 * 3] = {0};
    int32_t ids[3 * 8];
    int64_t lengths[3];
    make(&m, 9, 0);
    for (int n = 1; n < 200; n++) {
        mem_fail_at(n);
        int rc = model_caption(&m, pixels, 3, &(struct caption_opt){.beam = 2, .length_penalty = 1}, false, ids,
                               lengths, NULL);
        mem_fail_at(0);
        if (rc == 0) {
            unmake(&m);
            return;
        }
        assert_int_equal(rc, ERR_MEMORY);
    }
    fail_msg("captions never succeeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_implementation),
        cmocka_unit_test(test_exhaustive),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_bad_numbers),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_memory_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
