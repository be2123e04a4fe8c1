/* fuzz/table.c: a CSV or TSV table; every cell, and every cell as a number. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct table t = {0};
    /* the first byte chooses the name, which decides the separator of a table without one */
    int rc = table_read(&t, fuzz_put(n && data[0] == '\t' ? "x.tsv" : "x.csv", data, n));
    if (rc == 0) {
        int64_t v = 0;
        for (int c = 0; c < t.n_cols; c++) {
            fuzz_touch(t.cols[c], strlen(t.cols[c]));
            for (int64_t i = 0; i < t.n_rows; i++) {
                const char *cell = table_cell(&t, i, c);
                BUG_ON(!utf8_ok(cell, strlen(cell)));
                if (table_int(&t, i, c, -7, 1000, &v) == 0)
                    BUG_ON(v < -7 || v > 1000);
            }
        }
        table_free(&t);
    }
    fuzz_verdict(rc);
    return 0;
}
