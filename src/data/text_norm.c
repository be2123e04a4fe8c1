/* data/text_norm.c: the "normalizer" of a tokenizer.json, compiled to a list of steps and run as HuggingFace's
 * tokenizers run it.
 *
 * Known steps: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace (of a string, of \s+ or of
 * " {2,}"), Prepend, BertNormalizer. Any other is refused by its name, for a step left out changes ids in silence.
 * Precompiled (a SentencePiece table) is among the refused: such a folder has its .model file, which libsentencepiece
 * reads. Rejected: a regular expression engine for Replace; published files use the two patterns above. */
#include "data/text.h"
#include "data/unicode.h"

#include <string.h>

enum norm_op {
    NORM_FORM,
    NORM_LOWER,
    NORM_STRIP,
    NORM_ACCENTS,
    NORM_REPLACE,
    NORM_SPACES, /* runs of white space */
    NORM_GAPS,   /* runs of two and more blanks */
    NORM_PREPEND,
    NORM_BERT
};
enum { NORM_MAX_STEPS = 64 };
struct norm_step {
    enum norm_op op;
    enum uni_form form;
    const char *from, *to;
    bool left, right;                  /* strip */
    bool clean, chinese, marks, lower; /* BERT */
};
struct text_norm {
    int n;
    struct norm_step steps[NORM_MAX_STEPS];
};

/* ---- compiling --------------------------------------------------------------------------------------------------- */

static int add_step(struct text_norm *norm, struct norm_step step, const char *where)
{
    if (norm->n == NORM_MAX_STEPS)
        FAIL(ERR_DATA, "%s: normalizer: more than %d steps", where, NORM_MAX_STEPS);
    norm->steps[norm->n++] = step;
    return 0;
}

static int copy_field(struct arena *a, const json_t *o, const char *key, const char **out, const char *where)
{
    const char *s = NULL;
    TRY(json_field_str(o, key, true, &s, where));
    if (strlen(s) > 64)
        FAIL(ERR_DATA, "%s: normalizer: \"%s\" of %zu bytes, expected at most 64 bytes", where, key, strlen(s));
    *out = arena_strdup(a, s);
    return *out ? 0 : ERR_MEMORY;
}

static int add_replace(struct text_norm *norm, struct arena *a, const json_t *o, const char *where)
{
    struct norm_step step = {.op = NORM_REPLACE};
    const json_t *pattern = json_object_get(o, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    TRY(copy_field(a, o, "content", &step.to, where));
    if (regex) {
        if (!strcmp(regex, "\\s+"))
            step.op = NORM_SPACES;
        else if (!strcmp(regex, " {2,}"))
            step.op = NORM_GAPS;
        else
            FAIL(
                ERR_UNSUPPORTED,
                "%s: normalizer Replace: pattern \"%.60s\" is not known (known: \\s+ and \" {2,}\"); choose a cleaning "
                "mode by name (--clean)",
                where, regex);
    } else {
        TRY(copy_field(a, pattern, "String", &step.from, where));
        if (!*step.from)
            FAIL(ERR_DATA, "%s: normalizer Replace: an empty pattern", where);
    }
    return add_step(norm, step, where);
}

static int add_bert(struct text_norm *norm, const json_t *o, const char *where)
{
    struct norm_step step = {.op = NORM_BERT, .clean = true, .chinese = true, .lower = true};
    TRY(json_field_bool(o, "clean_text", false, &step.clean, where));
    TRY(json_field_bool(o, "handle_chinese_chars", false, &step.chinese, where));
    TRY(json_field_bool(o, "lowercase", false, &step.lower, where));
    step.marks = step.lower; /* null: as lower case */
    TRY(json_field_bool(o, "strip_accents", false, &step.marks, where));
    return add_step(norm, step, where);
}

static int compile(struct text_norm *norm, struct arena *a, const json_t *o, int depth, const char *where)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *type = NULL;
    TRY(json_field_str(o, "type", true, &type, where));
    if (!strcmp(type, "Sequence")) {
        size_t i;
        json_t *part;
        if (depth > 8)
            FAIL(ERR_DATA, "%s: normalizer: sequences nest deeper than 8", where);
        json_array_foreach(json_object_get(o, "normalizers"), i, part) TRY(compile(norm, a, part, depth + 1, where));
        return 0;
    }
    for (int i = 0; i < 4; i++)
        if (!strcmp(type, forms[i]))
            return add_step(norm, (struct norm_step){.op = NORM_FORM, .form = (enum uni_form)i}, where);
    if (!strcmp(type, "Lowercase"))
        return add_step(norm, (struct norm_step){.op = NORM_LOWER}, where);
    if (!strcmp(type, "StripAccents"))
        return add_step(norm, (struct norm_step){.op = NORM_ACCENTS}, where);
    if (!strcmp(type, "Strip")) {
        struct norm_step step = {.op = NORM_STRIP, .left = true, .right = true};
        TRY(json_field_bool(o, "strip_left", false, &step.left, where));
        TRY(json_field_bool(o, "strip_right", false, &step.right, where));
        return add_step(norm, step, where);
    }
    if (!strcmp(type, "Prepend")) {
        struct norm_step step = {.op = NORM_PREPEND};
        TRY(copy_field(a, o, "prepend", &step.to, where));
        return add_step(norm, step, where);
    }
    if (!strcmp(type, "Replace"))
        return add_replace(norm, a, o, where);
    if (!strcmp(type, "BertNormalizer"))
        return add_bert(norm, o, where);
    FAIL(ERR_UNSUPPORTED,
         "%s: normalizer: step \"%.40s\" is not known; known are Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, "
         "StripAccents, Replace, Prepend, BertNormalizer; choose a cleaning mode by name (--clean)",
         where, type);
}

int text_norm_open(struct text_norm **out, struct arena *a, const json_t *o, const char *where)
{
    struct text_norm *norm = arena_calloc(a, 1, sizeof *norm);
    if (!norm)
        return ERR_MEMORY;
    if (o && !json_is_null(o))
        TRY(compile(norm, a, o, 0, where));
    *out = norm;
    return 0;
}

int text_norm_clip(struct text_norm **out, struct arena *a)
{
    struct text_norm *norm = arena_calloc(a, 1, sizeof *norm);
    if (!norm)
        return ERR_MEMORY;
    norm->n = 3;
    norm->steps[0] = (struct norm_step){.op = NORM_FORM, .form = UNI_NFC};
    norm->steps[1] = (struct norm_step){.op = NORM_SPACES, .to = " "};
    norm->steps[2] = (struct norm_step){.op = NORM_LOWER};
    *out = norm;
    return 0;
}

int text_norm_lower(struct text_norm **norm, struct arena *a)
{
    struct text_norm *old = *norm, *lower = arena_calloc(a, 1, sizeof *lower);
    if (!lower)
        return ERR_MEMORY;
    int n = old ? old->n : 0;
    if (n && old->steps[0].op == NORM_LOWER)
        return 0;
    BUG_ON(n >= NORM_MAX_STEPS);
    lower->n = n + 1;
    lower->steps[0] = (struct norm_step){.op = NORM_LOWER};
    if (n)
        memcpy(lower->steps + 1, old->steps, (size_t)n * sizeof *old->steps);
    *norm = lower;
    return 0;
}

bool text_norm_is_bert(const struct text_norm *norm, bool *lower, bool *strip_accents, bool *chinese, bool *clean)
{
    if (!norm || norm->n != 1 || norm->steps[0].op != NORM_BERT)
        return false;
    *lower = norm->steps[0].lower;
    *strip_accents = norm->steps[0].marks;
    *chinese = norm->steps[0].chinese;
    *clean = norm->steps[0].clean;
    return true;
}

void text_norm_hash(const struct text_norm *norm, struct sha256 *h)
{
    for (int i = 0; norm && i < norm->n; i++) {
        const struct norm_step *s = &norm->steps[i];
        uint8_t kind[8] = {(uint8_t)s->op, (uint8_t)s->form, s->left,  s->right,
                           s->clean,       s->chinese,       s->marks, s->lower};
        sha256_add(h, kind, sizeof kind);
        sha256_add(h, s->from ? s->from : "", strlen(s->from ? s->from : "") + 1);
        sha256_add(h, s->to ? s->to : "", strlen(s->to ? s->to : "") + 1);
    }
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void replace(struct str *out, const char *s, size_t n, const char *from, const char *to)
{
    size_t k = strlen(from), l = strlen(to), plain = 0;
    for (size_t i = 0; i < n;) {
        if (s[i] == from[0] && k <= n - i && !memcmp(s + i, from, k)) {
            str_add_n(out, s + plain, i - plain);
            str_add_n(out, to, l);
            i += k;
            plain = i;
        } else {
            i++;
        }
    }
    str_add_n(out, s + plain, n - plain);
}

/* Runs of at least `least` spaces become `to`. */
static void replace_runs(struct str *out, const char *s, size_t n, bool blanks_only, int least, const char *to)
{
    size_t plain = 0, k = 1;
    int32_t c;
    for (size_t i = 0; i < n;) {
        size_t end = i;
        int run = 0;
        while (end < n && (k = uni_next(s + end, n - end, &c), blanks_only ? c == ' ' : uni_is_space(c))) {
            end += k;
            run++;
        }
        if (run >= least) {
            str_add_n(out, s + plain, i - plain);
            str_add_n(out, to, strlen(to));
            plain = end;
        }
        i = run ? end : i + k;
    }
    str_add_n(out, s + plain, n - plain);
}

static void strip(struct str *out, const char *s, size_t n, bool left, bool right)
{
    size_t from = 0, k;
    int32_t c;
    while (left && from < n && (k = uni_next(s + from, n - from, &c), uni_is_space(c)))
        from += k;
    size_t end = right ? from : n;
    for (size_t i = from; right && i < n; i += k) {
        k = uni_next(s + i, n - i, &c);
        if (!uni_is_space(c))
            end = i + k;
    }
    str_add_n(out, s + from, end - from);
}

static void drop_marks(struct str *out, const char *s, size_t n)
{
    size_t k;
    int32_t c;
    for (size_t i = 0; i < n; i += k) {
        k = uni_next(s + i, n - i, &c);
        if (!uni_is_mark(c))
            str_add_n(out, s + i, k);
    }
}

static int run_step(const struct norm_step *step, struct str *out, const char *s, size_t n)
{
    switch (step->op) {
    case NORM_FORM:
        return uni_normalize(out, s, n, step->form);
    case NORM_LOWER:
        uni_lower(out, s, n, true);
        break;
    case NORM_STRIP:
        strip(out, s, n, step->left, step->right);
        break;
    case NORM_ACCENTS:
        drop_marks(out, s, n);
        break;
    case NORM_REPLACE:
        replace(out, s, n, step->from, step->to);
        break;
    case NORM_SPACES:
        replace_runs(out, s, n, false, 1, step->to);
        break;
    case NORM_GAPS:
        replace_runs(out, s, n, true, 2, step->to);
        break;
    case NORM_PREPEND:
        if (n)
            str_add_n(out, step->to, strlen(step->to));
        str_add_n(out, s, n);
        break;
    case NORM_BERT: /* the WordPiece table does it (text_norm_is_bert) */
        str_add_n(out, s, n);
        break;
    }
    return out->failed ? ERR_MEMORY : 0;
}

int text_norm_run(const struct text_norm *norm, struct str *out, const char *s, size_t n)
{
    struct str work[2] = {{0}, {0}};
    int rc = 0;
    int64_t limit = 8 * limit_get(LIMIT_TEXT_BYTES); /* a Replace may make a text longer */
    for (int i = 0; norm && rc == 0 && i < norm->n; i++) {
        struct str *to = &work[i % 2];
        str_clear(to);
        rc = run_step(&norm->steps[i], to, s, n);
        s = to->s ? to->s : "";
        n = to->n;
        if (rc == 0 && (int64_t)n > limit)
            rc = err_set(ERR_DATA, "the normalizer makes a text of %zu bytes, expected at most %lld", n,
                         (long long)limit);
    }
    str_clear(out);
    str_add_n(out, "", 0);
    if (rc == 0)
        str_add_n(out, s, n);
    if (rc == ERR_MEMORY || out->failed)
        rc = err_set(ERR_MEMORY, "out of memory while normalizing a text of %zu bytes", n);
    str_free(&work[0]);
    str_free(&work[1]);
    return rc;
}
