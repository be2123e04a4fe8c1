/* io/picture_host.c: room base inside meridian_pictures.so, and the module's one exported symbol.
 *
 * Defines exactly those of base's functions that image.c and image_emoji.c call; each goes on to the program through
 * the host table, so that those files are the same whether they are linked or loaded. The linker refuses the module
 * when one is missing here. Only in the module, never in the library. */
#include "io/image_vips.h"
#include "io/picture_module.h"

enum { TEXT_BYTES = 2304 }; /* longer than base keeps of a message or a line of the log: base marks what it cuts */

static const struct picture_host *host; /* set under the loader's lock, before any other call */

static void attach(const struct picture_host *h)
{
    host = h;
}

static void format(char text[TEXT_BYTES], const char *fmt, va_list ap)
{
    if (vsnprintf(text, TEXT_BYTES, fmt, ap) < 0)
        snprintf(text, TEXT_BYTES, "%s", fmt);
}

int err_set(int code, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    format(text, fmt, ap);
    va_end(ap);
    return host->err_set(code, "%s", text);
}

void log_at(enum log_level level, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    format(text, fmt, ap);
    va_end(ap);
    host->log_at(level, "%s", text);
}

void bug_at(const char *file, int line, const char *what)
{
    host->bug_at(file, line, what);
}

int64_t limit_get(enum limit which)
{
    return host->limit_get(which);
}

const char *limit_name(enum limit which)
{
    return host->limit_name(which);
}

void *mem_alloc(size_t n)
{
    return host->mem_alloc(n);
}

void mem_free(void *p)
{
    host->mem_free(p);
}

void str_add_n(struct str *b, const char *s, size_t n)
{
    host->str_add_n(b, s, n);
}

bool utf8_ok(const char *s, size_t n)
{
    return host->utf8_ok(s, n);
}

/* Data, not a function: ISO C turns no object pointer, such as dlsym gives, into a function. */
extern const struct picture_module meridian_pictures;
__attribute__((visibility("default"))) const struct picture_module meridian_pictures = {
    .version = PICTURE_MODULE_VERSION,
    .attach = attach,
    .start = image_start,
    .decode_here = image_decode_here,
    .thumbnail_memory = image_thumbnail_memory,
    .shrink = image_shrink,
    .encode_png = image_encode_png,
    .encode_jpeg = image_encode_jpeg,
    .draw_emoji = image_draw_emoji,
    .emoji_font = image_emoji_font,
};
