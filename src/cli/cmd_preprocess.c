/* cli/cmd_preprocess.c: the float tensor [n,3,h,w] that the picture tower would see, for comparing with other
 * libraries. With --model the model's files say how pictures are prepared; without one, --size and --variant name one
 * of the two published ways with OpenAI's numbers. */
#include "cli/cli.h"

#include <string.h>

struct preprocess_opt {
    const char *model, *out, *variant, *sixteen_bit;
    int64_t size;
    bool exif, force;
};
#define F(field) offsetof(struct preprocess_opt, field)
static const struct opt options[] = {
    PATH_OPTION("model", struct preprocess_opt, model, "DIR",
                "a model folder or name, or a folder with preprocessor_config.json"),
    {"size", 0, OPT_INT, F(size), NULL, 0, 65535, NULL, "N", "without a model: N x N pixels, OpenAI's mean and std"},
    {"variant", 0, OPT_CHOICE, F(variant), NULL, 0, 0, "hf|openai", NULL,
     "RGB before resizing (hf) or after it (openai, open_clip); docs/pixels.md"},
    {"sixteen-bit", 0, OPT_CHOICE, F(sixteen_bit), NULL, 0, 0, "pillow|high_byte", NULL,
     "gray of 16 bits: clipped, as the references do, or its high byte"},
    {"exif", 0, OPT_BOOL, F(exif), NULL, 0, 0, NULL, NULL, "turn pictures by their EXIF orientation first"},
    PATH_OPTION("out", struct preprocess_opt, out, "F.npy", "the array to write"),
    FORCE_OPTION(struct preprocess_opt, force),
    {0},
};

/* preprocessor_config.json, or preprocess_cfg of open_clip; without either CLIP's values for the size in config.json.
 */
static int read_model(const char *model, struct preprocess *p)
{
    char dir[2048], path[2100];
    json_t *config = NULL;
    int64_t size = 0;
    if (model_find(dir, sizeof dir, model) < 0) {
        if (!path_is_dir(model) || strlen(model) >= sizeof dir)
            return ERR_FAIL;
        strcpy(dir, model);
        err_clear();
    }
    TRY(path_join(path, sizeof path, dir, "preprocessor_config.json"));
    if (path_exists(path))
        return preprocess_read(p, dir);
    TRY(path_join(path, sizeof path, dir, "open_clip_config.json"));
    bool open_clip = path_exists(path);
    if (!open_clip)
        TRY(path_join(path, sizeof path, dir, "config.json"));
    if (!path_exists(path))
        FAIL(ERR_DATA, "%s: none of preprocessor_config.json, open_clip_config.json and config.json is there", dir);
    TRY(json_read_file(&config, path));
    const json_t *vision = json_object_get(open_clip ? json_object_get(config, "model_cfg") : config,
                                           open_clip ? "vision_cfg" : "vision_config");
    int rc = json_field_int(vision, "image_size", true, 1, limit_get(LIMIT_SIDE), &size, path);
    if (rc == 0 && open_clip)
        rc = preprocess_read_open_clip(p, json_object_get(config, "preprocess_cfg"), (int)size, path);
    else if (rc == 0)
        preprocess_clip(p, (int)size);
    json_decref(config);
    return rc;
}

static int find_preprocess(const struct preprocess_opt *o, struct preprocess *p)
{
    if (!o->model && (!o->size || !o->variant))
        FAIL(ERR_USAGE, "expected --model DIR, or --size N and --variant hf or openai");
    if (o->model && (o->size || o->variant))
        FAIL(ERR_USAGE, "--size and --variant are the model's own with --model; give one or the other");
    if (o->model)
        TRY(read_model(o->model, p));
    else
        preprocess_clip(p, (int)o->size);
    if (o->variant)
        p->path = !strcmp(o->variant, "openai") ? PICTURE_OPENAI : PICTURE_HF;
    if (o->sixteen_bit)
        p->gray16 = !strcmp(o->sixteen_bit, "high_byte") ? GRAY16_HIGH_BYTE : GRAY16_CLIP;
    p->exif = p->exif || o->exif;
    return 0;
}

static int one_picture(const struct preprocess *p, const char *path, float *pixels, struct npy_writer *w)
{
    TRY(signal_check());
    TRY(preprocess_file(p, path, pixels));
    return npy_writer_add(w, pixels, 1);
}

static int run(struct cli *c)
{
    const struct preprocess_opt *o = c->opt;
    struct preprocess p = {0};
    struct npy_writer *w = NULL;
    TRY(cli_words(c, 1, INT32_MAX, "a picture"));
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    TRY(find_preprocess(o, &p));
    if (!p.crop_width || !p.crop_height)
        FAIL(ERR_DATA, "%s: the preprocessing has no fixed size (no crop), so pictures cannot share one array",
             o->model ? o->model : "--size");
    const int64_t shape[3] = {3, p.crop_height, p.crop_width};
    float *pixels = mem_calloc(3 * (size_t)p.crop_height, (size_t)p.crop_width * sizeof *pixels);
    int rc = pixels ? npy_writer_open(&w, o->out, DT_F32, 3, shape) : ERR_MEMORY;
    for (int i = 0; rc == 0 && i < c->args.n; i++)
        rc = one_picture(&p, c->args.v[i], pixels, w);
    mem_free(pixels);
    if (rc == 0)
        rc = npy_writer_commit(&w);
    else if (w)
        npy_writer_abort(&w);
    TRY(rc);
    if (c->json)
        return cli_put_json(
            json_pack("{s:s, s:[i,i,i,i]}", "out", o->out, "shape", c->args.n, 3, p.crop_height, p.crop_width));
    printf("%s: [%d, 3, %d, %d] float32\n", o->out, c->args.n, p.crop_height, p.crop_width);
    return 0;
}

const struct command command_preprocess = {
    .name = "preprocess",
    .summary = "pictures to the float tensor that the encoder would see",
    .usage = "(--model DIR | --size N --variant hf|openai) IMAGE... --out F.npy",
    .example = "meridian preprocess --model emoji cat.png dog.png --out pixels.npy",
    .options = options,
    .size = sizeof(struct preprocess_opt),
    .run = run,
};
