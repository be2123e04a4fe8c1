/* cli/cmd_preprocess.c: the float tensor [n,3,h,w] that the picture tower would see, for comparing with other
 * libraries. */
#include "cli/cli.h"

#include <string.h>

struct preprocess_opt {
    const char *model, *out;
    bool force;
};
static const struct opt options[] = {
    PATH_OPTION("model", struct preprocess_opt, model, "DIR",
                "a model folder or name, or a folder with preprocessor_config.json"),
    PATH_OPTION("out", struct preprocess_opt, out, "F.npy", "the array to write"),
    FORCE_OPTION(struct preprocess_opt, force),
    {0},
};

/* preprocessor_config.json; without one CLIP's values for the size in config.json. */
static int find_preprocess(const char *model, struct preprocess *p)
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
    TRY(path_join(path, sizeof path, dir, "config.json"));
    if (!path_exists(path))
        FAIL(ERR_DATA, "%s: neither preprocessor_config.json nor config.json is there", dir);
    TRY(json_read_file(&config, path));
    int rc = json_field_int(json_object_get(config, "vision_config"), "image_size", true, 1, limit_get(LIMIT_SIDE),
                            &size, path);
    json_decref(config);
    TRY(rc);
    preprocess_clip(p, (int)size);
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
    TRY(cli_need(c, o->model, "--model"));
    TRY(cli_need(c, o->out, "--out"));
    TRY(path_check_output(o->out, o->force));
    TRY(find_preprocess(o->model, &p));
    if (!p.crop_width || !p.crop_height)
        FAIL(ERR_DATA, "%s: the preprocessing has no fixed size (no crop), so pictures cannot share one array",
             o->model);
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
    .usage = "--model DIR IMAGE... --out F.npy",
    .example = "meridian preprocess --model emoji cat.png dog.png --out pixels.npy",
    .options = options,
    .size = sizeof(struct preprocess_opt),
    .run = run,
};
