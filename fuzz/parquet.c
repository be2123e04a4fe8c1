/* fuzz/parquet.c: a Parquet file as a table; every cell, and what is left out. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct table t = {0};
    struct str left_out = {0};
    limit_set("rows", 100000); /* a run of equal rows is one number in the file: without this most time goes there */
    int rc = parquet_read(&t, &left_out, fuzz_put("x.parquet", data, n));
    if (rc == 0) {
        BUG_ON(t.n_cols < 1 || t.n_rows < 0 || t.n_rows > 100000);
        for (int c = 0; c < t.n_cols; c++) {
            fuzz_touch(t.cols[c], strlen(t.cols[c]));
            for (int64_t i = 0; i < t.n_rows; i++) {
                const char *cell = table_cell(&t, i, c);
                BUG_ON(!utf8_ok(cell, strlen(cell)));
            }
        }
        if (left_out.n > 0)
            fuzz_touch(left_out.s, left_out.n);
        table_free(&t);
    }
    str_free(&left_out);
    fuzz_verdict(rc);
    return 0;
}
