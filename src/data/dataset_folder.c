/* data/dataset_folder.c: `folder:DIR`, pictures sorted into one folder a class, as torchvision's ImageFolder reads
 * them.
 *
 * The class is the label, and its name (underscores as spaces) the caption of all its pictures; a file of class names
 * and one of prompts ({} or {c} stands for the name) say it better. Pictures that lie in DIR itself have neither: such
 * a folder can be encoded and searched, not trained on. Names are sorted by bytes, so rows do not depend on the file
 * system. Deeper folders are not visited: what they mean is anyone's guess. */
#include "data/dataset_build.h"

struct classes {
    struct names top;       /* entries of DIR, sorted */
    struct names names;     /* lines of --classnames, or JSON strings */
    struct names templates; /* the same of --templates */
    int64_t n_dirs;         /* folders among top */
};

/* Lines, or the strings of a JSON list. */
static int read_words(struct names *out, const char *path)
{
    json_t *list = NULL;
    if (!path)
        return 0;
    if (!str_ends(path, ".json"))
        return names_lines(out, path);
    TRY(json_read_file(&list, path));
    int rc = json_is_array(list) ? 0 : err_set(ERR_DATA, "%s: expected a JSON list of strings", path);
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        rc = json_is_string(v) ? names_add(out, json_string_value(v), json_string_length(v))
                               : err_set(ERR_DATA, "%s: item %zu of the list is no string", path, i + 1);
    }
    json_decref(list);
    return rc;
}

static const char *hole(const char *template, size_t *n)
{
    const char *at = strstr(template, "{}");
    *n = 2;
    if (at)
        return at;
    *n = 3;
    return strstr(template, "{c}");
}

static int check_templates(const struct classes *c, const char *path)
{
    size_t n;
    for (int64_t i = 0; i < c->templates.n; i++)
        if (!hole(c->templates.v[i], &n))
            FAIL(ERR_DATA, "%s: template %lld, \"%.80s\", has neither {} nor {c} where the class name goes", path,
                 (long long)i + 1, c->templates.v[i]);
    if (path && c->templates.n == 0)
        FAIL(ERR_DATA, "%s: holds no template; expected one a line, as in: a photo of a {}.", path);
    return 0;
}

/* Names stand in the order of the sorted folders, or each behind its folder and a tab. */
static const char *class_title(const struct classes *c, const char *folder, int64_t index)
{
    size_t n = strlen(folder);
    for (int64_t i = 0; i < c->names.n; i++)
        if (!strncmp(c->names.v[i], folder, n) && c->names.v[i][n] == '\t')
            return c->names.v[i] + n + 1;
    return index < c->names.n && !strchr(c->names.v[index], '\t') ? c->names.v[index] : NULL;
}

static int check_names(const struct classes *c, const char *path)
{
    bool by_folder = c->names.n > 0 && strchr(c->names.v[0], '\t');
    if (path && !by_folder && c->names.n != c->n_dirs)
        FAIL(ERR_DATA,
             "%s: %lld names for %lld class folders; expected one a line in the order of the sorted folders, or "
             "FOLDER, a tab, NAME",
             path, (long long)c->names.n, (long long)c->n_dirs);
    return 0;
}

static int caption_class(struct dataset_build *b, const struct classes *c, const char *title, int64_t row,
                         int64_t image)
{
    struct str s = {0};
    int rc = c->templates.n ? 0 : build_caption(b, row, image, title, "name");
    for (int64_t i = 0; i < c->templates.n && rc == 0; i++) {
        size_t n;
        const char *t = c->templates.v[i], *at = hole(t, &n);
        str_clear(&s);
        str_add(&s, "%.*s%s%s", (int)(at - t), t, title, at + n);
        rc = s.failed ? ERR_MEMORY : build_caption(b, row, image, s.s, strlen(t) == n ? "name" : "caption");
    }
    str_free(&s);
    return rc;
}

static int add_file(struct dataset_build *b, const struct classes *c, const char *class_name, const char *title,
                    const char *file)
{
    char path[1100];
    int64_t image;
    int n = snprintf(path, sizeof path, "%s%s%s", class_name, *class_name ? "/" : "", file);
    if (n < 0 || (size_t)n >= sizeof path)
        return build_refuse(b, 0, "", file, "the path is too long");
    const char *const cells[] = {path, path, class_name, ""};
    TRY(build_picture(b, 0, cells, &image));
    return *class_name && image >= 0 ? caption_class(b, c, title, 0, image) : 0;
}

static int add_class(struct dataset_build *b, const struct classes *c, const char *class_name, const char *dir,
                     int64_t index, int64_t *n_classes)
{
    struct names files = {0};
    char title[300];
    const char *given = class_title(c, class_name, index);
    int64_t before = b->d->n_images;
    snprintf(title, sizeof title, "%s", class_name);
    for (char *s = title; *s; s++)
        if (*s == '_')
            *s = ' ';
    int rc = names_list(&files, dir);
    if (rc < 0)
        rc = build_refuse_error(b, 0, class_name, dir, rc);
    for (int64_t i = 0; i < files.n && rc == 0 && !build_full(b); i++)
        if (image_has_name(files.v[i]))
            rc = add_file(b, c, class_name, given ? given : title, files.v[i]);
    names_free(&files);
    *n_classes += b->d->n_images > before;
    return rc == 0 ? signal_check() : rc;
}

static int walk(struct dataset_build *b, const struct classes *c, int64_t *n_classes, int64_t *n_loose)
{
    char path[BUILD_PATH];
    int64_t index = 0;
    for (int64_t i = 0; i < c->top.n && !build_full(b); i++) {
        TRY(path_join(path, sizeof path, b->root, c->top.v[i]));
        if (path_is_dir(path)) {
            TRY(add_class(b, c, c->top.v[i], path, index++, n_classes));
        } else if (image_has_name(c->top.v[i])) {
            int64_t before = b->d->n_images;
            TRY(add_file(b, c, "", "", c->top.v[i]));
            *n_loose += b->d->n_images > before;
        }
    }
    return 0;
}

static int count_folders(struct dataset_build *b, struct classes *c)
{
    char path[BUILD_PATH];
    TRY(names_list(&c->top, b->root));
    for (int64_t i = 0; i < c->top.n; i++) {
        TRY(path_join(path, sizeof path, b->root, c->top.v[i]));
        c->n_dirs += path_is_dir(path);
        if (!strcmp(c->top.v[i], "img_emb") || !strcmp(c->top.v[i], "text_emb"))
            return dataset_build_clip_retrieval(b);
    }
    return 0;
}

static int fill(struct dataset_build *b, struct classes *c)
{
    int64_t n_classes = 0, n_loose = 0;
    char loose[64] = "";
    TRY(build_plain_columns(b));
    TRY(count_folders(b, c));
    TRY(read_words(&c->names, b->opt->classnames));
    TRY(read_words(&c->templates, b->opt->templates));
    TRY(check_names(c, b->opt->classnames));
    TRY(check_templates(c, b->opt->templates));
    TRY(walk(b, c, &n_classes, &n_loose));
    if (!b->d->n_images && !b->d->n_refused)
        FAIL(ERR_DATA,
             "%s: no pictures found: expected DIR/CLASS/picture.jpg, or pictures in the folder itself (jpg, png, webp, "
             "gif, bmp, tif)",
             b->arg);
    if (n_loose)
        snprintf(loose, sizeof loose, ", %s pictures without a class", str_count(n_loose));
    return build_describe(b, "folder: %s classes%s", str_count(n_classes), loose);
}

int dataset_build_folder(struct dataset_build *b)
{
    struct classes c = {0};
    if (!*b->arg)
        FAIL(ERR_USAGE, "dataset \"%s\": expected folder:DIR", b->d->spec);
    TRY(build_no_split(b, "a folder knows no splits"));
    if (!path_is_dir(b->arg))
        FAIL(ERR_DATA, "%s: no such folder", b->arg);
    TRY(build_files(b, b->arg, strlen(b->arg), true));
    b->tells_missing = false;
    int rc = fill(b, &c);
    names_free(&c.top);
    names_free(&c.names);
    names_free(&c.templates);
    return rc;
}

/* clip-retrieval's folders hold vectors; pictures are named in their parquet files, if at all. */
int dataset_build_clip_retrieval(struct dataset_build *b)
{
    const char *dir = *b->arg ? b->arg : "DIR";
    FAIL(ERR_USAGE,
         "dataset \"%s\": a folder of clip-retrieval (img_emb, text_emb, metadata) holds vectors, not pictures; "
         "commands "
         "that take a SET read it: meridian eval retrieval %s",
         b->d->spec, dir);
}
