/* model/caption.c: captions by greedy and by beam search over what a family gives (struct captioner).
 *
 * Beam search keeps the `beam` best unfinished captions of a picture. Each step scores every continuation by its summed
 * log probability and looks at the 2 x beam best: one that ends is finished, if it is among the first `beam`, and is
 * kept with log probability / words^length_penalty; the others become the new beams. The search of a picture is over
 * when `beam` captions are kept and no unfinished one could still beat the worst of them. These are the rules of
 * transformers' beam search as of 2023 and later (words are counted behind the prompt, the end token is one of them);
 * older versions counted the prompt too, which matters only when penalties other than 1 or captions of different
 * length compete. Equal scores: the better beam first, then the lower id, so a result does not depend on sorting.
 *
 * The whole sentence is read again at every step; what is not computed again is the picture (struct caption_memory).
 * Rejected: a cache of the words' own keys and values, which beams would have to reorder; captions are 20 words long
 * and cost less than their picture. */
#include "model/layer.h"

#include <math.h>
#include <string.h>

/* GRAIN: pictures at once. Their keys and values (42 MB a picture in a BLIP of base size) are held through the search.
 */
enum { BEAM_MAX = 64, GRAIN = MODEL_GRAIN / 2 };

/* ---- what is asked for ---- */

static int check_captioner(const struct model *m)
{
    if (m->family->captioner)
        return 0;
    FAIL(ERR_UNSUPPORTED,
         "%s: a model of the family %s has no text decoder and cannot write captions; BLIP captioners and CoCa do",
         m->name ? m->name : "model", m->family->name);
}

int model_caption_defaults(const struct model *m, struct caption_opt *o, int32_t *prompt)
{
    TRY(check_captioner(m));
    const struct captioner *c = m->family->captioner;
    o->beam = o->beam ? o->beam : 1;
    o->max_length = o->max_length ? o->max_length : c->max_length < m->context ? c->max_length : m->context;
    o->min_length = o->min_length ? o->min_length : c->min_length < o->max_length ? c->min_length : o->max_length;
    if (!o->prompt) {
        o->n_prompt = c->prompt(m, prompt, m->context);
        if (o->n_prompt < 0)
            return (int)o->n_prompt;
        o->prompt = prompt;
    }
    if (o->beam < 1 || o->beam > BEAM_MAX)
        FAIL(ERR_USAGE, "%lld beams, expected 1 to %d", (long long)o->beam, BEAM_MAX);
    if (o->max_length > m->context || o->max_length < 1)
        FAIL(ERR_USAGE, "captions of %lld tokens, expected at most %lld (the text positions of %s)",
             (long long)o->max_length, (long long)m->context, m->name ? m->name : "the model");
    if (o->n_prompt < 1 || o->n_prompt >= o->max_length)
        FAIL(ERR_USAGE, "the prompt has %lld tokens, expected 1 to %lld: fewer than the longest caption",
             (long long)o->n_prompt, (long long)o->max_length - 1);
    if (o->min_length < 0 || o->min_length > o->max_length)
        FAIL(ERR_USAGE, "the shortest caption is %lld tokens, the longest %lld: expected them the other way round",
             (long long)o->min_length, (long long)o->max_length);
    if (!(o->repetition_penalty >= 0) || !isfinite(o->repetition_penalty) || !isfinite(o->length_penalty))
        FAIL(ERR_USAGE, "the penalties are %g (length) and %g (repetition), expected finite numbers, the latter >= 0",
             o->length_penalty, o->repetition_penalty);
    return 0;
}

/* ---- the state of a search ---- */

struct said {
    double score;
    int64_t length;
    int32_t *ids;
};
struct beams { /* of one picture */
    int64_t row, n_live, n_kept;
    int32_t *ids, *next_ids;    /* [beam, max] */
    double *score, *next_score; /* [beam] sums of log probabilities */
    struct said *kept;          /* [beam + 1], best first */
    bool done;
};
struct candidate {
    double score;
    int64_t beam, id;
};
struct search {
    struct model *m;
    const struct captioner *c;
    struct caption_opt opt;
    struct tape *t;
    struct arena *arena;
    struct caption_memory memory;
    struct beams *pictures;
    struct beams **seen; /* [n_seen] the pictures whose memory is held, in its order */
    int64_t n_seen, vocab;
    double *x; /* [vocab] */
};

static int new_beams(struct search *s, struct beams *b, int64_t row)
{
    size_t beam = (size_t)s->opt.beam, max = (size_t)s->opt.max_length;
    memset(b, 0, sizeof *b);
    b->row = row;
    b->n_live = 1;
    b->ids = arena_calloc(s->arena, beam * max, sizeof *b->ids);
    b->next_ids = arena_calloc(s->arena, beam * max, sizeof *b->ids);
    b->score = arena_calloc(s->arena, beam, sizeof *b->score);
    b->next_score = arena_calloc(s->arena, beam, sizeof *b->score);
    b->kept = arena_calloc(s->arena, beam + 1, sizeof *b->kept);
    if (!b->ids || !b->next_ids || !b->score || !b->next_score || !b->kept)
        return ERR_MEMORY;
    for (size_t i = 0; i <= beam; i++) {
        b->kept[i].ids = arena_calloc(s->arena, max, sizeof *b->ids);
        if (!b->kept[i].ids)
            return ERR_MEMORY;
    }
    memcpy(b->ids, s->opt.prompt, (size_t)s->opt.n_prompt * sizeof *b->ids);
    return 0;
}

/* ---- scores ---- */

/* Logits of one row in double; *log_sum of their exponentials. */
static int read_row(struct search *s, const struct tensor *logits, int64_t row, double *log_sum)
{
    enum dtype real = tape_engine(s->t)->real;
    const char *at = (const char *)logits->data + (size_t)(row * s->vocab) * dtype_size(real);
    double top = -HUGE_VAL, sum = 0;
    TRY(dtype_convert(DT_F64, s->x, real, at, (size_t)s->vocab));
    for (int64_t k = 0; k < s->vocab; k++) {
        if (!isfinite(s->x[k]))
            FAIL(ERR_NONFINITE, "a logit of the caption is not finite; the weights or the picture are damaged");
        top = s->x[k] > top ? s->x[k] : top;
    }
    for (int64_t k = 0; k < s->vocab; k++)
        sum += exp(s->x[k] - top);
    *log_sum = top + log(sum);
    return 0;
}

/* CTRL's penalty (Keskar et al. 2019) as transformers computes it, on any scores; each id once. */
static void penalise(struct search *s, const int32_t *ids, int64_t length)
{
    double penalty = s->opt.repetition_penalty;
    for (int64_t i = 0; penalty > 0 && penalty != 1.0 && i < length; i++) {
        bool before = false;
        for (int64_t j = 0; j < i; j++)
            before |= ids[j] == ids[i];
        double *x = &s->x[ids[i]];
        if (!before)
            *x = *x < 0 ? *x * penalty : *x / penalty;
    }
}

static void forbid_end(struct search *s, int64_t length)
{
    if (length < s->opt.min_length)
        s->x[s->c->end_id(s->m)] = -HUGE_VAL;
}

/* ---- one step of one picture ---- */

static void keep(struct search *s, struct beams *b, const int32_t *ids, int64_t length, double sum)
{
    double words = (double)(length - s->opt.n_prompt), score = sum / pow(words, s->opt.length_penalty);
    int64_t at = b->n_kept;
    while (at > 0 && score > b->kept[at - 1].score)
        at--;
    if (at == s->opt.beam)
        return;
    struct said last = b->kept[b->n_kept];
    memmove(&b->kept[at + 1], &b->kept[at], (size_t)(b->n_kept - at) * sizeof last);
    last.score = score;
    last.length = length;
    memcpy(last.ids, ids, (size_t)length * sizeof *ids);
    b->kept[at] = last;
    if (b->n_kept < s->opt.beam)
        b->n_kept++;
}

static int greedy_step(struct search *s, struct beams *b, const struct tensor *logits, int64_t row, int64_t length)
{
    double log_sum;
    int64_t best = -1;
    TRY(read_row(s, logits, row, &log_sum));
    penalise(s, b->ids, length);
    forbid_end(s, length);
    for (int64_t k = 0; k < s->vocab; k++)
        if (s->x[k] > (best < 0 ? -HUGE_VAL : s->x[best]))
            best = k;
    TRY(read_row(s, logits, row, &log_sum));
    b->score[0] += s->x[best] - log_sum;
    b->ids[length++] = (int32_t)best;
    b->done = best == s->c->end_id(s->m) || length == s->opt.max_length;
    if (b->done) {
        b->kept[0].score = b->score[0] / (double)(length - s->opt.n_prompt);
        b->kept[0].length = length;
        memcpy(b->kept[0].ids, b->ids, (size_t)length * sizeof *b->ids);
        b->n_kept = 1;
    }
    return 0;
}

/* The 2 x beam best continuations, best first; rows of the picture's beams start at `row`. */
static int find_candidates(struct search *s, const struct beams *b, const struct tensor *logits, int64_t row,
                           int64_t length, struct candidate *best, int64_t *n_best)
{
    int64_t n = 0, most = 2 * s->opt.beam;
    for (int64_t i = 0; i < b->n_live; i++) {
        double log_sum;
        TRY(read_row(s, logits, row + i, &log_sum));
        for (int64_t k = 0; k < s->vocab; k++)
            s->x[k] -= log_sum;
        penalise(s, b->ids + i * s->opt.max_length, length);
        forbid_end(s, length);
        for (int64_t k = 0; k < s->vocab; k++) {
            struct candidate c = {b->score[i] + s->x[k], i, k};
            if (c.score == -HUGE_VAL || (n == most && !(c.score > best[n - 1].score)))
                continue;
            int64_t at = n < most ? n++ : n - 1;
            for (; at > 0 && c.score > best[at - 1].score; at--)
                best[at] = best[at - 1];
            best[at] = c;
        }
    }
    *n_best = n;
    return 0;
}

static int beam_step(struct search *s, struct beams *b, const struct tensor *logits, int64_t row, int64_t length)
{
    struct candidate best[2 * BEAM_MAX];
    int64_t n, live = 0, max = s->opt.max_length;
    size_t bytes = (size_t)length * sizeof *b->ids;
    TRY(find_candidates(s, b, logits, row, length, best, &n));
    for (int64_t i = 0; i < n && live < s->opt.beam; i++) {
        int32_t *ids = b->next_ids + live * max;
        bool ends = best[i].id == s->c->end_id(s->m);
        if (ends && i >= s->opt.beam)
            continue;
        memcpy(ids, b->ids + best[i].beam * max, bytes);
        ids[length] = (int32_t)best[i].id;
        if (ends)
            keep(s, b, ids, length + 1, best[i].score);
        else
            b->next_score[live++] = best[i].score;
    }
    int32_t *ids = b->ids;
    double *score = b->score, words = (double)(length + 1 - s->opt.n_prompt);
    b->ids = b->next_ids;
    b->score = b->next_score;
    b->next_ids = ids;
    b->next_score = score;
    b->n_live = live;
    b->done = !live || (b->n_kept == s->opt.beam &&
                        b->kept[b->n_kept - 1].score >= best[0].score / pow(words, s->opt.length_penalty));
    if (!b->done && length + 1 == max) {
        for (int64_t i = 0; i < live; i++)
            keep(s, b, b->ids + i * max, max, b->score[i]);
        b->done = true;
    }
    return 0;
}

/* ---- a chunk of pictures ---- */

/* Memory of finished pictures is left out when that halves it at least, so all copies together are no larger than it.
 */
static int forget_finished(struct search *s)
{
    int32_t rows[GRAIN];
    int64_t n = 0, was = s->n_seen;
    for (int64_t i = 0; i < was; i++)
        n += !s->seen[i]->done;
    if (2 * n > was || n == 0)
        return 0;
    n = 0;
    for (int64_t i = 0; i < was; i++)
        if (!s->seen[i]->done) {
            s->seen[n] = s->seen[i];
            rows[n++] = (int32_t)i;
        }
    s->n_seen = n;
    for (int k = 0; k < s->memory.n; k++) {
        struct tensor *x = s->memory.v[k];
        int64_t shape[T_MAX_DIMS];
        memcpy(shape, x->shape, sizeof shape);
        shape[0] = n;
        int n_dims = x->n_dims;
        x = t_gather(t_reshape(x, SHAPE(was, x->n / was)), rows, n);
        s->memory.v[k] = t_reshape(x, n_dims, shape);
    }
    return tape_status(s->t);
}

static int step(struct search *s, int64_t length)
{
    int64_t width = 1, max = s->opt.max_length;
    TRY(signal_check());
    TRY(forget_finished(s));
    for (int64_t i = 0; i < s->n_seen; i++)
        width = s->seen[i]->n_live > width ? s->seen[i]->n_live : width;
    struct t_scope scope = t_scope_begin(s->t);
    int64_t n = s->n_seen * width;
    int32_t *ids = arena_alloc(tape_arena(s->t), (size_t)(n * length) * sizeof *ids);
    if (!ids)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) { /* a picture with fewer beams fills its rows with its first one */
        const struct beams *b = s->seen[i / width];
        int64_t beam = i % width < b->n_live ? i % width : 0;
        memcpy(ids + i * length, b->ids + beam * max, (size_t)length * sizeof *ids);
    }
    const struct tensor *logits = s->c->speak(s->m, &s->memory, s->t, ids, n, length, true);
    TRY(tape_status(s->t));
    if (!logits)
        FAIL(ERR_MEMORY, "writing captions ran out of memory");
    BUG_ON(logits->n != n * s->vocab);
    for (int64_t i = 0; i < s->n_seen; i++) {
        if (!s->seen[i]->done)
            TRY(s->opt.beam > 1 ? beam_step(s, s->seen[i], logits, i * width, length)
                                : greedy_step(s, s->seen[i], logits, i * width, length));
    }
    t_scope_end(s->t, scope, NULL);
    return 0;
}

static bool any_left(const struct search *s)
{
    for (int64_t i = 0; i < s->n_seen; i++)
        if (!s->seen[i]->done)
            return true;
    return false;
}

static int chunk(struct search *s, const float *pixels, int64_t first, int64_t n)
{
    arena_reset(s->arena);
    tape_reset(s->t);
    s->x = arena_calloc(s->arena, (size_t)s->vocab, sizeof *s->x);
    s->pictures = arena_calloc(s->arena, (size_t)n, sizeof *s->pictures);
    s->seen = arena_calloc(s->arena, (size_t)n, sizeof(struct beams *));
    if (!s->x || !s->pictures || !s->seen)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        TRY(new_beams(s, &s->pictures[i], first + i));
        s->seen[i] = &s->pictures[i];
    }
    s->n_seen = n;
    s->memory.n = 0;
    TRY(s->c->see(s->m, model_pixels(s->m, s->t, pixels, n), &s->memory));
    TRY(tape_status(s->t));
    for (int64_t length = s->opt.n_prompt; length < s->opt.max_length && any_left(s); length++)
        TRY(step(s, length));
    return 0;
}

int model_caption(struct model *m, const float *pixels, int64_t n, const struct caption_opt *opt, bool low,
                  int32_t *ids, int64_t *lengths, double *scores)
{
    struct search s = {.m = m, .c = m->family->captioner, .opt = *opt, .vocab = m->vocab_size};
    int64_t each = 3 * m->image_size * m->image_size;
    int32_t *prompt = mem_calloc((size_t)m->context + 1, sizeof *prompt);
    int rc = prompt ? model_caption_defaults(m, &s.opt, prompt) : ERR_MEMORY;
    if (rc == 0)
        rc = model_plain_tape(m, low, &s.t);
    if (rc == 0)
        rc = arena_open(&s.arena, "captions");
    for (int64_t i = 0; rc == 0 && i < n; i += GRAIN) {
        int64_t k = n - i < GRAIN ? n - i : GRAIN, max = s.opt.max_length;
        rc = chunk(&s, pixels + i * each, i, k);
        for (int64_t j = 0; rc == 0 && j < k; j++) {
            const struct said *best = &s.pictures[j].kept[0];
            int64_t row = s.pictures[j].row;
            for (int64_t l = 0; l < max; l++)
                ids[row * max + l] = l < best->length ? best->ids[l] : s.c->pad_id(m);
            lengths[row] = best->length;
            if (scores)
                scores[row] = best->score;
        }
    }
    arena_close(&s.arena);
    mem_free(prompt);
    return rc;
}

/* ---- words ---- */

int model_caption_prompt(const struct model *m, const char *text, int32_t *ids, int64_t *n)
{
    int32_t *words = NULL;
    int64_t n_words = 0;
    TRY(check_captioner(m));
    int64_t had = m->family->captioner->prompt(m, ids, m->context); /* its first id is the start token */
    if (had < 1)
        return had < 0 ? (int)had : err_set(ERR_DATA, "%s: no start token", m->name ? m->name : "model");
    if (*text && !m->tokenizer)
        FAIL(ERR_DATA, "%s: the model folder has no tokenizer, so a prompt cannot be read",
             m->name ? m->name : "model");
    if (*text)
        TRY(tokenizer_encode(m->tokenizer, text, &words, &n_words));
    int rc = 0;
    if (n_words + 1 > m->context)
        rc = err_set(ERR_USAGE, "the prompt has %lld tokens, expected at most %lld", (long long)n_words + 1,
                     (long long)m->context);
    else if (n_words)
        memcpy(ids + 1, words, (size_t)n_words * sizeof *ids);
    mem_free(words);
    TRY(rc);
    *n = n_words + 1;
    return 0;
}

int model_caption_text(const struct model *m, const int32_t *ids, int64_t n, struct str *out)
{
    TRY(check_captioner(m));
    const struct captioner *c = m->family->captioner;
    if (!m->tokenizer)
        FAIL(ERR_DATA, "%s: the model folder has no tokenizer, so a caption stays a list of token ids",
             m->name ? m->name : "model");
    int32_t *words = mem_calloc((size_t)n + 1, sizeof *words);
    int64_t n_words = 0;
    if (!words)
        return ERR_MEMORY;
    for (int64_t i = 0; i < n && ids[i] != c->end_id(m); i++)
        if (ids[i] != c->pad_id(m))
            words[n_words++] = ids[i];
    int rc = tokenizer_decode(m->tokenizer, words, n_words, out); /* leaves out the start token */
    mem_free(words);
    return rc;
}
