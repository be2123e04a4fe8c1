/* cli/figure_files.c: a figure that a command writes beside its other output: FILE.svg, and its numbers as FILE.tsv. */
#include "cli/cli.h"

#include <string.h>

static int tsv_of(char *out, size_t n, const char *svg)
{
    size_t m = strlen(svg) - (str_ends(svg, ".svg") ? 4 : 0);
    int len = snprintf(out, n, "%.*s.tsv", (int)m, svg);
    return len > 0 && (size_t)len < n ? 0 : err_set(ERR_USAGE, "\"%.100s...\": the path is too long", svg);
}

int cli_check_figure(const char *path, const char *out, bool force)
{
    char tsv[2048];
    TRY(path_check_output(path, force));
    TRY(tsv_of(tsv, sizeof tsv, path));
    TRY(path_check_output(tsv, force));
    if (out && !strcmp(out, path))
        FAIL(ERR_USAGE, "%s is to be a figure and the table; give one of them another name", path);
    if (out && !strcmp(out, tsv))
        FAIL(ERR_USAGE, "figure %s writes its numbers to %s, which --out names too; give one of them another name",
             path, out);
    return 0;
}

int cli_put_figure(int (*draw)(const struct fig_in *in, struct str *svg, struct str *tsv), const struct fig_in *in,
                   const char *path)
{
    struct str svg = {0}, tsv = {0};
    char numbers[2048];
    int rc = tsv_of(numbers, sizeof numbers, path);
    if (rc == 0)
        rc = draw(in, &svg, &tsv);
    if (rc == 0 && (svg.failed || tsv.failed))
        rc = ERR_MEMORY;
    if (rc == 0)
        rc = atomic_put(path, svg.s, svg.n);
    if (rc == 0)
        rc = atomic_put(numbers, tsv.s ? tsv.s : "", tsv.n);
    str_free(&svg);
    str_free(&tsv);
    return rc;
}
