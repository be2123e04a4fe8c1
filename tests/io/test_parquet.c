/* tests/io/test_parquet.c: Parquet files of three other writers, our own writer, and files that lie.
 *
 * tests/golden/parquet/make.mjs says which programs wrote the golden files; expected.csv is what they hold. */
#include "io/parquet.h"
#include "scratch.h"

#include <float.h>
#include <math.h>

static const char *golden(const char *name)
{
    static char path[1024];
    const char *dir = getenv("MERIDIAN_GOLDEN");
    snprintf(path, sizeof(path), "%s/parquet/%s", dir ? dir : "tests/golden", name);
    return path;
}

static struct table read_ok(const char *path, const char *left_out)
{
    struct table t;
    struct str s = {0};
    if (parquet_read(&t, &s, path) < 0)
        fail_msg("%s", err_text());
    assert_string_equal(s.n ? s.s : "", left_out);
    assert_int_equal(t.sep, 0);
    assert_string_equal(t.path, path);
    str_free(&s);
    return t;
}

static void same_table(const struct table *a, const struct table *b)
{
    assert_int_equal(a->n_cols, b->n_cols);
    assert_int_equal(a->n_rows, b->n_rows);
    for (int k = 0; k < a->n_cols; k++)
        assert_string_equal(a->cols[k], b->cols[k]);
    for (int64_t i = 0; i < a->n_rows; i++)
        for (int k = 0; k < a->n_cols; k++)
            if (strcmp(table_cell(a, i, k), table_cell(b, i, k)) != 0)
                fail_msg("%s: row %lld, column %s: found \"%s\", expected \"%s\"", a->path, (long long)i + 1,
                         a->cols[k], table_cell(a, i, k), table_cell(b, i, k));
}

/* Reads whatever is there; a table that comes out must be whole. */
static int read_any(const char *path)
{
    struct table t;
    int rc = parquet_read(&t, NULL, path);
    if (rc < 0) {
        assert_true(rc == ERR_DATA || rc == ERR_UNSUPPORTED);
        assert_true(strlen(err_text()) > 10);
        return rc;
    }
    for (int64_t i = 0; i < t.n_rows * t.n_cols; i++)
        assert_true(utf8_ok(t.cells[i], strlen(t.cells[i])));
    table_free(&t);
    return 0;
}

static bool can_read(const char *name)
{
    bool snappy = pq_codec_known(PQ_SNAPPY), zstd = pq_codec_known(PQ_ZSTD);
    if ((snappy || !strstr(name, "snappy")) && (zstd || !strstr(name, "zstd")))
        return true;
    print_message("%s: left out, this build lacks its codec\n", name);
    return false;
}

static const char *const files[] = {
    "aw_v1_dict_snappy", "aw_v1_plain_none",   "aw_v1_groups_gzip", "aw_v2_dict_zstd",
    "aw_v2_delta_none",  "aw_v2_pages_snappy", "hw_snappy",         "hw_delta",
    "pj_v1_gzip",        "pj_v2_snappy",       "pj_v2_none",
};

static void other_writers(void **state UNUSED)
{
    struct table want, t;
    assert_int_equal(table_read(&want, golden("expected.csv")), 0);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s.parquet", files[i]);
        if (!can_read(name))
            continue;
        t = read_ok(golden(name), "");
        same_table(&t, &want);
        table_free(&t);
    }
    table_free(&want);
}

static void left_out(void **state UNUSED)
{
    static const char *const want[3][7] = {
        {"one", "one", "255", "18446744073709551615", "4294967295", "0", ""},
        {"two", "two", "0", "0", "0", "1", ""},
        {"three", "three", "7", "1", "1", "", ""},
    };
    struct table t;
    if (!can_read("snappy"))
        return;
    t = read_ok(golden("left_out.parquet"), "tags: it is nested (a list, map or struct)\n"
                                            "box: it is nested (a list, map or struct)\n"
                                            "jpg: it holds bytes, not text (found near row 1)\n"
                                            "hash: its type FIXED_LEN_BYTE_ARRAY is not supported\n");
    assert_int_equal(t.n_cols, 8);
    assert_string_equal(t.cols[1], "bare");
    assert_string_equal(t.cols[6], "null");
    assert_string_equal(table_cell(&t, 2, 7), "3");
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 7; k++)
            assert_string_equal(table_cell(&t, i, k), want[i][k]);
    table_free(&t);
    assert_int_equal(parquet_read(&t, NULL, golden("left_brotli.parquet")), ERR_UNSUPPORTED);
    assert_says("left_brotli.parquet: none of its 2 columns can be read: text: it is packed with brotli, which is not");
    assert_int_equal(parquet_read(&t, NULL, golden("left_lz4.parquet")), ERR_UNSUPPORTED);
    assert_says("lz4_raw");
    if (!can_read("zstd"))
        return;
    t = read_ok(golden("left_lz4_one.parquet"),
                "n: it is packed with lz4_raw, which is not supported; write the file with zstd or snappy\n");
    assert_int_equal(t.n_cols, 1);
    assert_string_equal(table_cell(&t, 2, 0), "three");
    table_free(&t);
}

static void numbers(void **state UNUSED)
{
    static const struct {
        double x;
        const char *text;
    } reals[] = {{0.1, "0.1"},
                 {-0.0, "-0"},
                 {1e300, "1e+300"},
                 {1e-7, "1e-07"},
                 {1.0 / 3, "0.3333333333333333"},
                 {9007199254740993.0, "9007199254740992"},
                 {3, "3"},
                 {DBL_MAX, "1.7976931348623157e+308"},
                 {5e-324, "4.94065645841247e-324"},
                 {NAN, "nan"},
                 {-INFINITY, "-inf"}};
    static const struct {
        float x;
        const char *text;
    } floats[] = {{0.1f, "0.1"}, {16777216.0f, "16777216"}, {1.0f / 3, "0.33333334"}, {FLT_MAX, "3.4028235e+38"},
                  {-0.0f, "-0"}, {INFINITY, "inf"}};
    char s[PQ_NUMBER_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(reals); i++) {
        pq_text_double(s, reals[i].x);
        assert_string_equal(s, reals[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(floats); i++) {
        pq_text_float(s, floats[i].x);
        assert_string_equal(s, floats[i].text);
    }
    struct rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = rng_u64(&r);
        double x = 0;
        memcpy(&x, &bits, 8);
        pq_text_double(s, x);
        assert_true(isnan(x) || strtod(s, NULL) == x);
    }
}

/* ---- the writer ---- */

static const char *const cols[] = {"key", "caption", "width", "similarity", "nothing", "mixed"};
static const char *const cells[] = {
    "000000001", "ein Hund, \"Größe\" 🐕",
    "640",       "0.1",
    "",          "1", /* keys keep their zeros */
    "000000002", "",
    "",          "-0",
    "",          "1.0", /* not as a number is written */
    "000000003", "line\nbreak",
    "-480",      "nan",
    "",          "x",
    "000000004", NULL,
    "0",         "1e-09",
    "",          "",
};

static void round_trip(void **state UNUSED)
{
    struct table t;
    assert_int_equal(parquet_write(in_scratch("w.parquet"), 6, cols, 4, cells), 0);
    t = read_ok(in_scratch("w.parquet"), "");
    assert_int_equal(t.n_rows, 4);
    for (int i = 0; i < 24; i++)
        assert_string_equal(table_cell(&t, i / 6, i % 6), cells[i] ? cells[i] : "");
    table_free(&t);
    assert_int_equal(parquet_write(in_scratch("w.parquet"), 2, cols, 0, cells), 0); /* no rows; replaces the file */
    t = read_ok(in_scratch("w.parquet"), "");
    assert_int_equal(t.n_rows, 0);
    assert_int_equal(t.n_cols, 2);
    table_free(&t);
    assert_int_equal(parquet_write("/dev/full", 6, cols, 4, cells), ERR_SPACE);
    /* 2^53 + 1 is whole but no double: beside 1.5 it must stay text, not become another number */
    static const char *const ids[] = {"9007199254740993", "1.5"};
    assert_int_equal(parquet_write(in_scratch("i.parquet"), 1, cols, 2, ids), 0);
    t = read_ok(in_scratch("i.parquet"), "");
    for (int i = 0; i < 2; i++)
        assert_string_equal(table_cell(&t, i, 0), ids[i]);
    table_free(&t);
    const char *latin = "caf\xe9";
    assert_int_equal(parquet_write(in_scratch("l.parquet"), 1, cols, 1, &latin), ERR_DATA);
    assert_says("row 1, column \"key\"");
    assert_false(path_exists(in_scratch("l.parquet")));
}

/* More rows than a group has, more bytes than a page. */
static void many_rows(void **state UNUSED)
{
    enum { ROWS = 100050 };
    static const char *const names[] = {"n", "text"};
    const char **many = calloc(2 * ROWS, sizeof(*many));
    char *digits = calloc(ROWS, 24), *wide = calloc(1, 1501);
    memset(wide, 'x', 1500);
    for (int i = 0; i < ROWS; i++) {
        snprintf(digits + i * 24, 24, "%d", i * 21407);
        many[2 * i] = i % 5 == 3 ? "" : digits + i * 24;
        many[2 * i + 1] = i % 100 == 7 ? wide : i % 3 == 1 ? NULL : digits + i * 24 + i % 4;
    }
    assert_int_equal(parquet_write(in_scratch("m.parquet"), 2, names, ROWS, many), 0);
    struct table t = read_ok(in_scratch("m.parquet"), "");
    assert_int_equal(t.n_rows, ROWS);
    for (int64_t i = 0; i < 2 * ROWS; i++)
        if (strcmp(t.cells[i], many[i] ? many[i] : "") != 0)
            fail_msg("cell %lld is \"%s\"", (long long)i, t.cells[i]);
    table_free(&t);
    free(many);
    free(digits);
    free(wide);
}

/* A build writes with one codec; all that it has must work. */
static void codecs(void **state UNUSED)
{
    static const int all[] = {PQ_UNCOMPRESSED, PQ_SNAPPY, PQ_ZSTD};
    struct str in = {0}, out = {0};
    for (int i = 0; i < 5000; i++)
        str_add(&in, "%d,", i % 77);
    uint8_t *back = malloc(in.n + 1);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (!pq_codec_known(all[i])) {
            assert_int_equal(pq_unpack(all[i], back, 5, back, 5), ERR_UNSUPPORTED);
            continue;
        }
        assert_int_equal(pq_pack(all[i], &in, &out), 0);
        assert_int_equal(pq_unpack(all[i], (const uint8_t *)out.s, out.n, back, in.n), 0);
        assert_memory_equal(back, in.s, in.n);
        for (size_t n = 0; n < out.n; n += n < 20 ? 1 : 97)
            assert_int_equal(pq_unpack(all[i], (const uint8_t *)out.s, n, back, in.n), ERR_DATA);
        assert_int_equal(pq_unpack(all[i], (const uint8_t *)out.s, out.n, back, in.n + 1), ERR_DATA);
        assert_int_equal(pq_unpack(all[i], (const uint8_t *)out.s, out.n, back, in.n - 1), ERR_DATA);
    }
    assert_int_equal(pq_unpack(PQ_BROTLI, back, 5, back, 5), ERR_UNSUPPORTED);
    free(back);
    str_free(&in);
    str_free(&out);
}

/* ---- damage ---- */

static void every_truncation(void **state UNUSED)
{
    static const char *const which[] = {"aw_v2_delta_none.parquet", "left_brotli.parquet"};
    for (size_t k = 0; k < ARRAY_LEN(which); k++) {
        size_t n = 0;
        char *bytes = get_file(golden(which[k]), &n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(read_any(put_file("cut.parquet", bytes, i)), ERR_DATA);
        /* The end stays, the middle goes: the footer is whole and points at what is not there. */
        for (size_t i = 4; i < n - 8; i += 13) {
            char *less = malloc(n);
            memcpy(less, bytes, i);
            memcpy(less + i, bytes + i + 1, n - i - 1);
            read_any(put_file("cut.parquet", less, n - 1));
            free(less);
        }
        free(bytes);
    }
}

static void bit_flips(void **state UNUSED)
{
    static const char *const which[] = {"aw_v2_delta_none.parquet", "aw_v1_plain_none.parquet",
                                        "hw_delta.parquet",         "pj_v1_gzip.parquet",
                                        "aw_v2_dict_zstd.parquet",  "aw_v1_dict_snappy.parquet"};
    struct rng r = rng_stream(7, RNG_TEST, 0, 0);
    int refused = 0;
    for (size_t k = 0; k < ARRAY_LEN(which); k++) {
        size_t n = 0;
        if (!can_read(which[k]))
            continue;
        char *bytes = get_file(golden(which[k]), &n);
        for (int i = 0; i < 700; i++) {
            size_t at = rng_below(&r, n);
            char old = bytes[at];
            bytes[at] = (char)(old ^ (1 << rng_below(&r, 8)));
            refused += read_any(put_file("flip.parquet", bytes, n)) < 0;
            bytes[at] = old;
        }
        free(bytes);
    }
    assert_true(refused > 100);
    /* Our own pages carry checksums: no flip in one goes unseen. */
    size_t n = 0;
    struct table t;
    assert_int_equal(parquet_write(in_scratch("w.parquet"), 6, cols, 4, cells), 0);
    char *bytes = get_file(in_scratch("w.parquet"), &n);
    bytes[4 + 30] ^= 1;
    assert_int_equal(parquet_read(&t, NULL, put_file("w.parquet", bytes, n)), ERR_DATA);
    assert_says("a page's checksum is");
    assert_says("column \"key\", page at byte 4");
    free(bytes);
}

/* ---- files that lie: a file of one column and one page, any number of which can be made wrong ---- */

struct forged {
    int type, page_type, encoding, codec, repetition;
    int64_t n_rows, group_rows, n_values, page_values, unpacked, packed, offset, size, n_children, level_bytes;
    const char *body, *name, *path_name;
    size_t n_body;
    int64_t dictionary; /* entries of a dictionary page in front, of 4 bytes each; -1: none */
    int n_dictionaries, level_encoding, converted;
    int64_t footer_bytes;
    int depth;        /* groups within each other behind the column */
    const char *more; /* a second leaf, which the row group lacks */
    int unknown;      /* structs within each other in a field that nobody knows */
};
#define RIGHT INT64_MIN

static struct forged forge_default(void)
{
    struct forged f = {.type = PQ_INT32, .page_type = PQ_PAGE_DATA, .name = "n", .path_name = "n", .dictionary = -1};
    f.n_rows = 3;
    f.body = "\1\0\0\0\2\0\0\0\3\0\0\0";
    f.n_body = 12;
    f.group_rows = f.n_values = f.page_values = f.unpacked = f.packed = f.offset = f.size = RIGHT;
    f.n_children = f.footer_bytes = RIGHT;
    f.n_dictionaries = 1;
    f.level_encoding = PQ_RLE;
    f.converted = -1;
    return f;
}

static int64_t either(int64_t given, int64_t right)
{
    return given == RIGHT ? right : given;
}

static void forge_page(struct str *b, const struct forged *f)
{
    int last = 0, in = 0;
    for (int i = 0; f->dictionary >= 0 && i < f->n_dictionaries; i++) {
        last = in = 0;
        thrift_put_int(b, &last, 1, TH_I32, PQ_PAGE_DICTIONARY);
        thrift_put_int(b, &last, 2, TH_I32, 4);
        thrift_put_int(b, &last, 3, TH_I32, 4);
        thrift_put_field(b, &last, 7, TH_STRUCT);
        thrift_put_int(b, &in, 1, TH_I32, f->dictionary);
        thrift_put_int(b, &in, 2, TH_I32, PQ_PLAIN);
        str_add_n(b, "\0\0\x2a\0\0\0", 6);
    }
    last = in = 0;
    thrift_put_int(b, &last, 1, TH_I32, f->page_type);
    thrift_put_int(b, &last, 2, TH_I32, either(f->unpacked, (int64_t)f->n_body));
    thrift_put_int(b, &last, 3, TH_I32, either(f->packed, (int64_t)f->n_body));
    thrift_put_field(b, &last, f->page_type == PQ_PAGE_DATA_V2 ? 8 : 5, TH_STRUCT);
    thrift_put_int(b, &in, 1, TH_I32, either(f->page_values, f->n_rows));
    if (f->page_type == PQ_PAGE_DATA_V2) {
        thrift_put_int(b, &in, 4, TH_I32, f->encoding);
        thrift_put_int(b, &in, 5, TH_I32, f->level_bytes);
    } else {
        thrift_put_int(b, &in, 2, TH_I32, f->encoding);
        thrift_put_int(b, &in, 3, TH_I32, f->level_encoding);
    }
    str_add_n(b, "\0\0", 2);
    str_add_n(b, f->body, f->n_body);
}

static void forge_schema(struct str *b, const struct forged *f)
{
    int last = 0;
    thrift_put_text(b, &last, 4, "root");
    thrift_put_int(b, &last, 5, TH_I32, either(f->n_children, f->depth || f->more ? 2 : 1));
    str_add_c(b, 0);
    last = 0;
    thrift_put_int(b, &last, 1, TH_I32, f->type);
    thrift_put_int(b, &last, 3, TH_I32, f->repetition);
    thrift_put_text(b, &last, 4, f->name);
    if (f->converted >= 0)
        thrift_put_int(b, &last, 6, TH_I32, f->converted);
    str_add_c(b, 0);
    if (f->more) {
        last = 0;
        thrift_put_int(b, &last, 1, TH_I32, PQ_INT32);
        thrift_put_text(b, &last, 4, f->more);
        str_add_c(b, 0);
    }
    for (int i = 0; i < f->depth; i++) {
        last = 0;
        thrift_put_text(b, &last, 4, "deep");
        thrift_put_int(b, &last, 5, TH_I32, 1);
        str_add_c(b, 0);
    }
}

static const char *forge(const struct forged *f)
{
    struct str b = {0}, pages = {0};
    int last = 0;
    forge_page(&pages, f);
    str_add_n(&b, "PAR1", 4);
    str_add_n(&b, pages.s, pages.n);
    size_t footer = b.n;
    thrift_put_list(&b, &last, 2, TH_STRUCT, 2 + (size_t)f->depth + (f->more != NULL));
    forge_schema(&b, f);
    thrift_put_int(&b, &last, 3, TH_I64, f->n_rows);
    thrift_put_list(&b, &last, 4, TH_STRUCT, 1);
    int group = 0, chunk = 0, meta = 0;
    thrift_put_list(&b, &group, 1, TH_STRUCT, 1);
    thrift_put_field(&b, &chunk, 3, TH_STRUCT);
    thrift_put_int(&b, &meta, 1, TH_I32, f->type);
    thrift_put_list(&b, &meta, 3, TH_BINARY, 1);
    thrift_put_varint(&b, strlen(f->path_name));
    str_add_n(&b, f->path_name, strlen(f->path_name));
    thrift_put_int(&b, &meta, 4, TH_I32, f->codec);
    thrift_put_int(&b, &meta, 5, TH_I64, either(f->n_values, f->n_rows));
    thrift_put_int(&b, &meta, 7, TH_I64, either(f->size, (int64_t)pages.n));
    thrift_put_int(&b, &meta, 9, TH_I64, either(f->offset, 4));
    str_add_n(&b, "\0\0", 2);
    thrift_put_int(&b, &group, 3, TH_I64, either(f->group_rows, f->n_rows));
    str_add_c(&b, 0);
    for (int i = 0; i < f->unknown; i++) {
        int first = i == 0 ? last : 0;
        thrift_put_field(&b, &first, first + 11, TH_STRUCT);
    }
    for (int i = 0; i < f->unknown + 1; i++)
        str_add_c(&b, 0);
    uint32_t n = (uint32_t)either(f->footer_bytes, (int64_t)(b.n - footer));
    for (int i = 0; i < 4; i++)
        str_add_c(&b, (char)(n >> 8 * i & 0xff));
    str_add_n(&b, "PAR1", 4);
    assert_false(b.failed);
    const char *path = put_file("forged.parquet", b.s, b.n);
    str_free(&b);
    str_free(&pages);
    return path;
}

static void oddities(void **state UNUSED)
{
    struct table t = read_ok(golden("odd_zero.parquet"), "");
    assert_string_equal(table_cell(&t, 0, 0), "a\xef\xbf\xbd"
                                              "b");
    assert_string_equal(table_cell(&t, 1, 0), "\xef\xbf\xbd");
    assert_string_equal(table_cell(&t, 2, 0), "plain");
    table_free(&t);
    /* Levels in the old way, highest bit first: the first and third of three rows. Unknown fields are skipped. */
    struct forged f = forge_default();
    f.repetition = 1;
    f.level_encoding = PQ_BIT_PACKED;
    f.body = "\240\7\0\0\0\11\0\0\0";
    f.n_body = 9;
    f.unknown = 60;
    t = read_ok(forge(&f), "");
    assert_string_equal(table_cell(&t, 0, 0), "7");
    assert_string_equal(table_cell(&t, 1, 0), "");
    assert_string_equal(table_cell(&t, 2, 0), "9");
    table_free(&t);
    t = read_ok(golden("odd_empty.parquet"), "");
    assert_int_equal(t.n_cols, 2);
    assert_int_equal(t.n_rows, 0);
    assert_string_equal(t.cols[1], "n");
    table_free(&t);
}

static void refuse(struct forged f, const char *says)
{
    struct table t;
    if (parquet_read(&t, NULL, forge(&f)) != ERR_DATA)
        fail_msg("not refused (\"%s\"): %s", says, err_text());
    assert_says("forged.parquet");
    assert_says(says);
}

#define REFUSE(says, ...)                                                                                              \
    do {                                                                                                               \
        struct forged f = forge_default();                                                                             \
        __VA_ARGS__;                                                                                                   \
        refuse(f, says);                                                                                               \
    } while (0)

static void lies_in_the_footer(void **state UNUSED)
{
    struct forged right = forge_default();
    struct table t = read_ok(forge(&right), "");
    assert_string_equal(table_cell(&t, 2, 0), "3");
    table_free(&t);
    REFUSE("the footer is to have 4294967295 bytes", f.footer_bytes = UINT32_MAX);
    REFUSE("the footer is to have 2147483648 bytes", f.footer_bytes = INT64_C(1) << 31);
    REFUSE("", f.footer_bytes = 0);
    REFUSE("", f.footer_bytes = 3);
    REFUSE("num_rows: expected 0 to 100000000, found -1", f.n_rows = -1);
    REFUSE("found 9223372036854775807", f.n_rows = INT64_MAX);
    REFUSE("num_rows: expected 0 to 100000000, found 9223372036854775807", f.group_rows = INT64_MAX);
    REFUSE("the row groups have at least 4 rows, expected 3", f.group_rows = f.n_values = 4);
    REFUSE("the row groups have 2 rows, expected 3", f.group_rows = f.n_values = 2);
    REFUSE("column \"n\" holds 4 values in a row group of 3 rows", f.n_values = 4);
    REFUSE("codec: expected 0 to 2147483647, found -1", f.codec = -1);
    REFUSE("1000000 bytes at byte 4 are not between", f.size = 1000000);
    REFUSE("total_compressed_size: expected 0", f.size = -1);
    REFUSE("9223372036854775807 bytes at byte 4", f.size = INT64_MAX);
    REFUSE("at byte 9223372036854775807 are not", f.offset = INT64_MAX);
    REFUSE("at byte 0 are not between", f.offset = 0);
    REFUSE("holds column \"m\" where the schema has \"n\"", f.path_name = "m");
    REFUSE("column of the schema has no name, or one that is not UTF-8", f.name = "\xff");
    REFUSE("the schema has 2147483647 columns, expected 1 to 4096 (limit columns)", f.n_children = INT32_MAX);
    REFUSE("num_children: expected 0", f.n_children = -1);
    REFUSE("column \"root\" has neither a type nor children", f.n_children = 0);
    REFUSE("announces 2 columns and holds 1", f.n_children = 2);
    REFUSE("type: expected 0 to 7, found 8", f.type = 8);
    REFUSE("repetition_type: expected 0 to 2", f.repetition = 3);
    REFUSE("the schema names two columns \"n\" (1 and 2)", f.more = "n");
    REFUSE("a row group has 1 columns, expected 2 as in the schema", f.more = "m");
    REFUSE("structs are nested deeper than 64 (limit json-depth)", f.unknown = 66);
    /* Five thousand groups within each other: the last has no child. */
    REFUSE("announces 1 more columns, but 0 elements are left", f.depth = 5000);
}

static void lies_in_the_pages(void **state UNUSED)
{
    REFUSE("a page of 13 bytes where its column has 12 left", f.packed = 13);
    REFUSE("compressed_page_size: expected 0", f.packed = -1);
    REFUSE("uncompressed_page_size: expected 0 to 2147483647, found 2147483648", f.unpacked = INT64_C(1) << 31);
    REFUSE("(limit page-bytes)", f.unpacked = INT32_MAX);
    REFUSE("unpack to more than 67108864; this looks like a bomb", f.unpacked = 200000000);
    REFUSE("unpacks to 12 bytes, expected 13", f.unpacked = 13);
    REFUSE("page packed with gzip is damaged", f.codec = PQ_GZIP);
    REFUSE("a page of 4 values where the row group has 3 rows left", f.page_values = 4);
    REFUSE("truncated", f.page_values = 2);
    REFUSE("num_values: expected 0", f.page_values = -1);
    REFUSE("truncated at byte 12", f.n_rows = 4);
    REFUSE("lacks its header", f.page_type = PQ_PAGE_DICTIONARY);
    REFUSE("page type: expected 0 to 3", f.page_type = 4);
    /* A flat column's levels are 0 or 1; a run that is longer than the page is cut, one that is shorter fails. */
    REFUSE("truncated", f.repetition = 1);
    REFUSE("a definition level of 5", f.repetition = 1; f.body = "\2\0\0\0\6\5"; f.n_body = 6);
    REFUSE("truncated", f.repetition = 1; f.body = "\2\0\0\0\4\1"; f.n_body = 6);
    REFUSE("a run of", f.repetition = 1; f.body = "\6\0\0\0\377\377\377\377\177\1"; f.n_body = 10);
    REFUSE("more than 64 bits", f.repetition = 1; f.body = "\13\0\0\0\377\377\377\377\377\377\377\377\377\377\1";
           f.n_body = 15);
    REFUSE("bytes of levels in a page of 12", f.page_type = PQ_PAGE_DATA_V2; f.level_bytes = 13);
    /* Dictionaries: none, too short, indices behind its end, indices too wide. */
    REFUSE("there is none", f.encoding = PQ_RLE_DICTIONARY);
    REFUSE("a dictionary of 2147483647 entries", f.dictionary = INT32_MAX);
    REFUSE("a dictionary of 2 entries in 4 bytes", f.dictionary = 2);
    REFUSE("a dictionary of truth values", f.type = PQ_BOOLEAN; f.dictionary = 1);
    REFUSE("a second dictionary, or one behind values", f.dictionary = 1; f.n_dictionaries = 2);
    REFUSE("definition levels in encoding 0", f.repetition = 1; f.level_encoding = PQ_PLAIN; f.body = "\2\0\0\0\6\1";
           f.n_body = 6);
    REFUSE("entry 1 of a dictionary of 1", f.dictionary = 1; f.encoding = PQ_RLE_DICTIONARY; f.body = "\1\6\1";
           f.n_body = 3);
    REFUSE("entry 4294967295 of", f.dictionary = 1; f.encoding = PQ_RLE_DICTIONARY; f.body = "\40\6\377\377\377\377";
           f.n_body = 6);
    REFUSE("indices of 33 bits", f.dictionary = 1; f.encoding = PQ_RLE_DICTIONARY; f.body = "\41\6\1"; f.n_body = 3);
    /* Delta blocks: no values, parts of 0 or 2^60 values, too many values, wide deltas. */
    REFUSE("delta blocks of 0 values", f.encoding = PQ_DELTA_INT; f.body = "\0\4\3\2"; f.n_body = 4);
    REFUSE("delta blocks of 128 values in 0 parts", f.encoding = PQ_DELTA_INT; f.body = "\200\1\0\3\2"; f.n_body = 5);
    REFUSE("parts must be multiples of 8", f.encoding = PQ_DELTA_INT; f.body = "\200\1\41\3\2"; f.n_body = 5);
    REFUSE("expected 3", f.encoding = PQ_DELTA_INT; f.body = "\200\1\4\5\2"; f.n_body = 5);
    REFUSE("deltas of 65 bits", f.encoding = PQ_DELTA_INT; f.body = "\200\1\4\3\2\2\101\0\0\0"; f.n_body = 10);
    /* Texts: longer than the page; a prefix of nothing. */
    REFUSE("truncated", f.type = PQ_BYTES; f.body = "\377\377\377\377abcdefgh");
    REFUSE("a text of", f.type = PQ_BYTES; f.encoding = PQ_DELTA_LENGTH; f.n_rows = 1; f.body = "\200\1\4\1\1";
           f.n_body = 5);
    REFUSE("a text shares 1 bytes with one of 0", f.type = PQ_BYTES; f.encoding = PQ_DELTA_BYTES; f.n_rows = 1;
           f.body = "\200\1\4\1\2\200\1\4\1\2a"; f.n_body = 11);
}

/* What one column cannot do leaves that column out, and here it is the only one. */
static void unsupported(void **state UNUSED)
{
    struct forged f = forge_default();
    struct table t;
    f.encoding = 77;
    assert_int_equal(parquet_read(&t, NULL, forge(&f)), ERR_UNSUPPORTED);
    assert_says("n: encoding 77 of values of type 1 is not supported");
    f = forge_default();
    f.type = PQ_INT96;
    assert_int_equal(parquet_read(&t, NULL, forge(&f)), ERR_UNSUPPORTED);
    assert_says("INT96");
    f = forge_default();
    f.repetition = 2;
    assert_int_equal(parquet_read(&t, NULL, forge(&f)), ERR_UNSUPPORTED);
    assert_says("n: it is repeated");
    f.repetition = 0;
    f.converted = 5;
    assert_int_equal(parquet_read(&t, NULL, forge(&f)), ERR_UNSUPPORTED);
    assert_says("n: decimal numbers are not supported");
    f.converted = 20;
    assert_int_equal(parquet_read(&t, NULL, forge(&f)), ERR_UNSUPPORTED);
    assert_says("BSON");
    f = forge_default();
    f.codec = 99;
    assert_int_equal(parquet_read(&t, NULL, forge(&f)), ERR_UNSUPPORTED);
    assert_says("an unknown codec");
    assert_int_equal(parquet_read(&t, NULL, put_text("e.parquet", "PARE00000000PARE")), ERR_UNSUPPORTED);
    assert_int_equal(parquet_read(&t, NULL, put_text("e.parquet", "a,b\n1,2\n3,4\n5,6\n")), ERR_DATA);
    assert_says("is no Parquet file");
    assert_int_equal(parquet_read(&t, NULL, in_scratch("absent.parquet")), ERR_DATA);
}

/* A hundred million rows in a hundred bytes; a gigabyte out of one page; a page that says less than it holds. */
static void bombs(void **state UNUSED)
{
    struct str zeros = {0}, packed = {0};
    REFUSE("making room for 100000000 rows", f.n_rows = 100000000; f.dictionary = 1; f.encoding = PQ_RLE_DICTIONARY;
           f.body = "\1\200\204\257\137\0"; f.n_body = 6);
    struct forged few = forge_default(); /* the same with rows that fit */
    few.n_rows = 1000000;
    few.dictionary = 1;
    few.encoding = PQ_RLE_DICTIONARY;
    few.body = "\1\200\211\172\0";
    few.n_body = 5;
    struct table t = read_ok(forge(&few), "");
    assert_string_equal(table_cell(&t, 999999, 0), "42");
    table_free(&t);
    if (pq_codec_to_write() == PQ_UNCOMPRESSED) {
        print_message("no codec that packs: the other bombs are left out\n");
        return;
    }
    for (int i = 0; i < 70 << 10; i++)
        str_add_n(&zeros, (const char[1024]){0}, 1024);
    assert_int_equal(pq_pack(pq_codec_to_write(), &zeros, &packed), 0);
    struct forged f = forge_default();
    f.codec = pq_codec_to_write();
    f.body = packed.s;
    f.n_body = packed.n;
    f.unpacked = (int64_t)zeros.n;
    f.n_rows = 12;
    if (packed.n < 60000) /* zstd; snappy never packs that much */
        refuse(f, "this looks like a bomb");
    f.unpacked = 48;
    refuse(f, "a page packed with");
    str_free(&zeros);
    str_free(&packed);
}

static void limits(void **state UNUSED)
{
    struct table t;
    assert_int_equal(limit_set("rows", 59), 0);
    assert_int_equal(parquet_read(&t, NULL, golden("aw_v1_plain_none.parquet")), ERR_DATA);
    assert_says("num_rows: expected 0 to 59, found 60");
    assert_int_equal(limit_set("rows", 100000000), 0);
    assert_int_equal(limit_set("columns", 11), 0);
    assert_int_equal(parquet_read(&t, NULL, golden("aw_v1_plain_none.parquet")), ERR_DATA);
    assert_says("limit columns");
    assert_int_equal(limit_set("columns", 4096), 0);
    assert_int_equal(limit_set("page-bytes", 100), 0);
    assert_int_equal(parquet_read(&t, NULL, golden("aw_v1_plain_none.parquet")), ERR_DATA);
    assert_says("limit page-bytes");
    assert_int_equal(limit_set("page-bytes", 268435456), 0);
    assert_int_equal(limit_set("header-bytes", 100), 0);
    assert_int_equal(parquet_read(&t, NULL, golden("aw_v1_plain_none.parquet")), ERR_DATA);
    assert_says("limit header-bytes");
    assert_int_equal(limit_set("header-bytes", 100000000), 0);
}

static void no_memory(void **state UNUSED)
{
    static const char *const which[] = {"aw_v1_groups_gzip.parquet", "hw_delta.parquet", "left_brotli.parquet"};
    for (size_t k = 0; k < ARRAY_LEN(which); k++) {
        int failures = 0, rc = ERR_MEMORY;
        for (int64_t n = 1; rc == ERR_MEMORY; n++, failures++) {
            struct table t;
            struct str s = {0};
            mem_fail_at(n);
            rc = parquet_read(&t, &s, golden(which[k]));
            mem_fail_at(0);
            if (rc == 0)
                table_free(&t);
            str_free(&s);
        }
        assert_int_equal(rc, k == 2 ? ERR_UNSUPPORTED : 0);
        assert_true(failures > 5);
    }
    for (int64_t n = 1;; n++) {
        mem_fail_at(n);
        int rc = parquet_write(in_scratch("o.parquet"), 6, cols, 4, cells);
        mem_fail_at(0);
        if (rc == 0)
            break;
        assert_int_equal(rc, ERR_MEMORY);
        assert_false(path_exists(in_scratch("o.parquet")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_writers),
        cmocka_unit_test(left_out),
        cmocka_unit_test(oddities),
        cmocka_unit_test(numbers),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(many_rows),
        cmocka_unit_test(bit_flips),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(lies_in_the_footer),
        cmocka_unit_test(bombs),
        cmocka_unit_test(lies_in_the_pages),
        cmocka_unit_test(unsupported),
        cmocka_unit_test(limits),
        cmocka_unit_test(codecs),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
