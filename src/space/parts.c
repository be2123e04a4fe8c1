/* space/parts.c: which part of a set a picture belongs to: the words that data sets use in a column, and lists of rows
 * in a file. Whoever fits something to one part and judges on another reads both here, so that a word means the same to
 * all commands. */
#include "space/space.h"

#include <inttypes.h>
#include <string.h>

enum set_part set_part_of(const char *word)
{
    static const struct {
        const char *word;
        enum set_part part;
    } table[] = {{"train", PART_TRAIN},    {"restval", PART_TRAIN}, /* Karpathy's: joins the training part */
                 {"val", PART_VALIDATION}, {"valid", PART_VALIDATION}, {"validation", PART_VALIDATION},
                 {"dev", PART_VALIDATION}, {"test", PART_TEST}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (!strcmp(word, table[i].word))
            return table[i].part;
    return PART_NONE;
}

int set_mark_rows(const char *path, uint8_t mark, int64_t n, uint8_t *marks)
{
    struct table t;
    TRY(table_read_with(&t, path, &(struct table_opt){.sep = ',', .numbered = "image_row"}));
    int col = table_col(&t, "image_row"), rc = 0;
    int64_t first = 0;
    for (int c = 0; col < 0 && t.n_rows > 0 && c < t.n_cols; c++)
        if (!strcmp(table_cell(&t, 0, c), "row")) { /* what `meridian select` writes */
            col = c;
            first = 1;
        }
    for (int64_t i = first; i < t.n_rows && rc == 0; i++) {
        int64_t row;
        rc = table_int(&t, i, col < 0 ? 0 : col, 0, n - 1, &row);
        if (rc == 0 && marks[row] && marks[row] != mark)
            rc = err_set(ERR_DATA, "%s: picture row %" PRId64 " is in the other list too", path, row);
        if (rc == 0)
            marks[row] = mark;
    }
    table_free(&t);
    return rc;
}
