/* io/image_jpeg.c: JPEG through libjpeg-turbo itself. Part of meridian_pictures.so and of the confined decoder.
 *
 * It is the library that libvips and Pillow call too, with the same settings (accurate integer inverse transform,
 * smooth chroma upsampling), so the pixels are theirs bit for bit. Asked directly it takes half the time of libvips'
 * jpegload, which passes every row through a cache of its own (SPEED.md, pixels), and the rows go straight to whoever
 * wants them. Four channels are CMYK with Adobe's inverted values, as Pillow assumes. Warnings about damaged data
 * inside a whole file pass, as with Pillow; a file that ends early is an error, not a gray area. libjpeg reports an
 * error by a function that must not return: hence the one longjmp of the project. Everything that lives across it is in
 * struct decoder. */
#include "io/image_vips.h"
#include "io/picture_kind.h"

#include <jpeglib.h>
#include <setjmp.h>
#include <string.h>

#include <jerror.h>

#define STRIP 32

struct decoder {
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr err;
    struct jpeg_source_mgr source;
    jmp_buf back;
    const char *name;
    uint8_t *strip; /* [STRIP, width, channels] */
    JSAMPROW rows[STRIP];
    struct image head;
};

static void on_error(j_common_ptr d)
{
    struct decoder *w = d->client_data;
    char text[JMSG_LENGTH_MAX];
    d->err->format_message(d, text);
    err_set(d->err->msg_code == JERR_OUT_OF_MEMORY ? ERR_MEMORY : ERR_DATA, "%s: broken or incomplete picture: %s",
            w->name, d->err->msg_code == JERR_INPUT_EOF ? "it ends before its last row" : text);
    longjmp(w->back, 1);
}

static void on_message(j_common_ptr d, int level)
{
    if (level < 0)
        d->err->num_warnings++;
}

static void source_nothing(j_decompress_ptr d UNUSED) {}

static boolean source_end(j_decompress_ptr d)
{
    ERREXIT(d, JERR_INPUT_EOF);
    return FALSE;
}

static void source_skip(j_decompress_ptr d, long n)
{
    if (n <= 0)
        return;
    if ((size_t)n > d->src->bytes_in_buffer)
        source_end(d);
    d->src->next_input_byte += n;
    d->src->bytes_in_buffer -= (size_t)n;
}

/* Start-of-scan markers. Inside coded data 0xFF is always followed by 0 or a restart marker, so a plain search only
 * overcounts what hides in metadata. */
static int check_scans(const uint8_t *p, size_t n, const char *name)
{
    int64_t scans = 0;
    const uint8_t *end = p + n;
    while (p + 1 < end && (p = memchr(p, 0xff, (size_t)(end - p - 1)))) {
        scans += p[1] == 0xda;
        p++;
    }
    if (scans > limit_get(LIMIT_SCANS))
        FAIL(ERR_DATA, "%s: a progressive JPEG of %lld scans, expected at most %lld (limit %s)", name, (long long)scans,
             (long long)limit_get(LIMIT_SCANS), limit_name(LIMIT_SCANS));
    return 0;
}

static void read_orientation(struct decoder *w)
{
    for (jpeg_saved_marker_ptr m = w->d.marker_list; m && !w->head.orientation; m = m->next)
        if (m->data_length > 14 && !memcmp(m->data, "Exif\0", 6))
            w->head.orientation = picture_exif_orientation(m->data + 6, m->data_length - 6);
}

static void invert(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(255 - p[i]);
}

/* Header to settings; called under setjmp. */
static int prepare(struct decoder *w, size_t n_bytes, int shrink_to)
{
    struct jpeg_decompress_struct *d = &w->d;
    jpeg_save_markers(d, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(d, TRUE);
    TRY(image_check_size(d->image_width, d->image_height, n_bytes, w->name));
    read_orientation(w);
    if (d->num_components != 1 && d->num_components != 3 && d->num_components != 4)
        FAIL(ERR_DATA, "%s: a JPEG of %d channels, expected 1, 3 or 4", w->name, d->num_components);
    d->out_color_space = d->num_components == 1 ? JCS_GRAYSCALE : d->num_components == 3 ? JCS_RGB : JCS_CMYK;
    JDIMENSION least = d->image_width < d->image_height ? d->image_width : d->image_height;
    while (shrink_to > 0 && d->scale_denom < 8 && least / (d->scale_denom * 2) >= 2 * (JDIMENSION)shrink_to)
        d->scale_denom *= 2;
    jpeg_start_decompress(d);
    w->head.width = (int)d->output_width;
    w->head.height = (int)d->output_height;
    w->head.channels = d->output_components;
    w->head.mode = d->output_components == 4 ? IMAGE_CMYK : IMAGE_PLAIN;
    size_t row = (size_t)w->head.width * (size_t)w->head.channels;
    w->strip = mem_alloc(row * STRIP);
    if (!w->strip)
        return ERR_MEMORY;
    for (size_t i = 0; i < STRIP; i++)
        w->rows[i] = w->strip + i * row;
    return 0;
}

static int decode(struct decoder *w, const struct image_sink *to, size_t n_bytes, int shrink_to)
{
    size_t row = 0;
    if (setjmp(w->back))
        return ERR_DATA; /* the message is there; ERR_MEMORY is told apart below */
    jpeg_create_decompress(&w->d);
    w->d.client_data = w;
    w->d.src = &w->source;
    TRY(prepare(w, n_bytes, shrink_to));
    TRY(to->begin(to->ctx, &w->head));
    row = (size_t)w->head.width * (size_t)w->head.channels;
    while (w->d.output_scanline < w->d.output_height) {
        int n = 0;
        while (n < STRIP && w->d.output_scanline < w->d.output_height)
            n += (int)jpeg_read_scanlines(&w->d, w->rows + n, (JDIMENSION)(STRIP - n));
        if (w->head.mode == IMAGE_CMYK)
            invert(w->strip, row * (size_t)n);
        TRY(to->rows(to->ctx, w->strip, n));
    }
    jpeg_finish_decompress(&w->d);
    return 0;
}

int image_jpeg_decode(const struct image_sink *to, const void *bytes, size_t n, const char *name, int shrink_to)
{
    struct decoder w;
    TRY(check_scans(bytes, n, name));
    memset(&w, 0, sizeof(w));
    w.name = name;
    w.d.err = jpeg_std_error(&w.err);
    w.err.error_exit = on_error;
    w.err.emit_message = on_message;
    w.d.client_data = &w;
    w.source = (struct jpeg_source_mgr){.next_input_byte = bytes,
                                        .bytes_in_buffer = n,
                                        .init_source = source_nothing,
                                        .fill_input_buffer = source_end,
                                        .skip_input_data = source_skip,
                                        .resync_to_restart = jpeg_resync_to_restart,
                                        .term_source = source_nothing};
    int rc = decode(&w, to, n, shrink_to);
    if (rc < 0 && w.err.msg_code == JERR_OUT_OF_MEMORY)
        rc = ERR_MEMORY;
    jpeg_destroy_decompress(&w.d);
    mem_free(w.strip);
    return rc;
}
