/* tests/data/test_emoji.c: attributes, splits and sources of the emoji world, and a small world drawn whole. */
#include "scratch.h"

#include "data/emoji.h"

#include <sys/stat.h>

static struct emoji_list list;

static int read_list(void **state)
{
    struct emoji_sources src = emoji_sources_debian();
    if (scratch_make(state))
        return -1;
    if (!path_exists(src.emoji_test) || !path_exists(src.annotations) || !path_exists(src.derived))
        return 0;
    return emoji_list_read(&list, &src) || emoji_traits(&list) || emoji_split(&list) ? -1 : 0;
}

static int free_list(void **state)
{
    if (list.n)
        emoji_list_free(&list);
    return scratch_remove(state);
}

static void need_list(void)
{
    if (!list.n) {
        print_message("skipped: packages unicode-data and unicode-cldr-core are not installed\n");
        skip();
    }
}

static const struct emoji *by_id(const char *id)
{
    for (int64_t i = 0; i < list.n; i++)
        if (!strcmp(list.v[i].id, id))
            return &list.v[i];
    fail_msg("no %s in the list", id);
    return NULL;
}

static void attributes(void **state UNUSED)
{
    static const struct {
        const char *id, *name, *base, *gender, *tone, *hair, *role;
    } want[] = {
        {"1f600", "grinning face", "grinning face", "", "", "", ""},
        {"1f44d", "thumbs up", "thumbs up", "", "default", "", ""},
        {"1f44d-1f3fb", "thumbs up: light skin tone", "thumbs up", "", "light", "", ""},
        {"1f91d", "handshake", "handshake", "", "default", "", ""},
        {"1faf1-1f3fb-200d-1faf2-1f3ff", "handshake: light skin tone, dark skin tone", "handshake", "", "mixed", "",
         ""},
        {"1f9d1-200d-1f692", "firefighter", "firefighter", "person", "default", "", "firefighter"},
        {"1f469-200d-1f692", "woman firefighter", "firefighter", "woman", "default", "", "firefighter"},
        {"1f468-1f3ff-200d-1f692", "man firefighter: dark skin tone", "firefighter", "man", "dark", "", "firefighter"},
        {"1f9d1-1f3fd-200d-2708-fe0f", "pilot: medium skin tone", "pilot", "person", "medium", "", "pilot"},
        {"1f46e", "police officer", "police officer", "person", "default", "", "police officer"},
        {"1f46e-1f3fc-200d-2640-fe0f", "woman police officer: medium-light skin tone", "police officer", "woman",
         "medium-light", "", "police officer"},
        {"1f3c3", "person running", "person running", "person", "default", "", "running"},
        {"1f3c3-1f3fe-200d-2642-fe0f", "man running: medium-dark skin tone", "person running", "man", "medium-dark", "",
         "running"},
        {"1f9cf", "deaf person", "deaf person", "person", "default", "", "deaf"},
        {"1f9cf-200d-2640-fe0f", "deaf woman", "deaf person", "woman", "default", "", "deaf"},
        {"1f9dc-200d-2640-fe0f", "mermaid", "merperson", "woman", "default", "", "merperson"},
        {"1f9dc-1f3fb-200d-2642-fe0f", "merman: light skin tone", "merperson", "man", "light", "", "merperson"},
        {"1f9dd", "elf", "elf", "person", "default", "", "elf"},
        {"1f9df-200d-2642-fe0f", "man zombie", "zombie", "man", "", "", "zombie"},
        {"1f9cc", "troll", "troll", "", "", "", "troll"},
        {"1f9d1", "person", "person", "person", "default", "", ""},
        {"1f468-1f3fd", "man: medium skin tone", "person", "man", "medium", "", ""},
        {"1f469-1f3ff-200d-1f9b0", "woman: dark skin tone, red hair", "person", "woman", "dark", "red", ""},
        {"1f9d1-200d-1f9b1", "person: curly hair", "person", "person", "default", "curly", ""},
        {"1f468-200d-1f9b2", "man: bald", "person", "man", "default", "bald", ""},
        {"1f9d1-1f3fc-200d-1f9b3", "person: medium-light skin tone, white hair", "person", "person", "medium-light",
         "white", ""},
        {"1f471-200d-2640-fe0f", "woman: blond hair", "person", "woman", "default", "blond", ""},
        {"1f9d4", "person: beard", "person", "person", "default", "beard", ""},
        {"1f9d4-1f3fb-200d-2642-fe0f", "man: light skin tone, beard", "person", "man", "light", "beard", ""},
        {"1f466", "boy", "child", "man", "default", "", ""},
        {"1f467-1f3fb", "girl: light skin tone", "child", "woman", "light", "", ""},
        {"1f475", "old woman", "older person", "woman", "default", "", ""},
        {"1fac4", "pregnant person", "pregnant person", "person", "default", "", "pregnant"},
        {"1f930", "pregnant woman", "pregnant person", "woman", "default", "", "pregnant"},
        {"1f57a", "man dancing", "person dancing", "man", "default", "", "dancing"},
        {"1f46d", "women holding hands", "people holding hands", "woman", "default", "", ""},
        {"1f469-1f3fb-200d-1f91d-200d-1f468-1f3ff", "woman and man holding hands: light skin tone, dark skin tone",
         "people holding hands", "", "mixed", "", ""},
        {"1f48f", "kiss", "kiss", "person", "default", "", ""},
        {"1f469-200d-2764-fe0f-200d-1f48b-200d-1f469", "kiss: woman, woman", "kiss", "woman", "default", "", ""},
        {"1f468-200d-1f469-200d-1f467", "family: man, woman, girl", "family", "", "", "", ""},
        {"1f468-200d-1f467", "family: man, girl", "family", "", "", "", ""},
        {"1f46f-200d-2642-fe0f", "men with bunny ears", "people with bunny ears", "man", "", "", "with bunny ears"},
        {"1f45a", NULL, NULL, "", "", "", ""}, /* woman's clothes are no woman */
        {"1f1eb-1f1f7", "flag: France", "flag: France", "", "", "", ""},
        {"23-fe0f-20e3", "keycap: #", "keycap: #", "", "", "", ""},
        {"1fa77", "pink heart", "pink heart", "", "", "", ""}, /* newer than CLDR 41: emoji-test's name */
    };
    need_list();
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct emoji *e = by_id(want[i].id);
        if (want[i].name) {
            assert_string_equal(e->name, want[i].name);
            assert_string_equal(e->base, want[i].base);
        }
        assert_string_equal(e->gender, want[i].gender);
        assert_string_equal(e->tone, want[i].tone);
        assert_string_equal(e->hair, want[i].hair);
        assert_string_equal(e->role, want[i].role);
    }
}

static bool in(const struct emoji *e, const char *split)
{
    return !strcmp(e->split, split);
}

/* Does training hold a picture with these? NULL: any. */
static bool trained(const char *role, const char *gender, const char *tone)
{
    for (int64_t i = 0; i < list.n; i++) {
        const struct emoji *e = &list.v[i];
        if (in(e, "train") && (!role || !strcmp(e->role, role)) && (!gender || !strcmp(e->gender, gender)) &&
            (!tone || !strcmp(e->tone, tone)))
            return true;
    }
    return false;
}

static void compositional_split(void **state UNUSED)
{
    int n = 0, shares[3] = {0};
    need_list();
    for (int64_t i = 0; i < list.n; i++) {
        const struct emoji *e = &list.v[i];
        shares[0] += in(e, "train");
        shares[1] += in(e, "validation");
        shares[2] += in(e, "test");
        if (!in(e, "compositional"))
            continue;
        n++;
        assert_true(*e->role && *e->gender && *e->tone);
        for (int64_t j = 0; j < list.n; j++) { /* the combination is nowhere else */
            const struct emoji *o = &list.v[j];
            if (!strcmp(o->role, e->role) && !strcmp(o->gender, e->gender) && !strcmp(o->tone, e->tone))
                assert_true(in(o, "compositional"));
        }
        assert_true(trained(e->role, e->gender, NULL));
        assert_true(trained(e->role, NULL, e->tone));
        assert_true(trained(NULL, e->gender, e->tone));
    }
    assert_in_range(n, 150, 250);
    int rest = shares[0] + shares[1] + shares[2];
    assert_int_equal(rest + n, list.n);
    assert_in_range(shares[0] * 100 / rest, 77, 83);
    assert_in_range(shares[1] * 100 / rest, 3, 7);
    assert_in_range(shares[2] * 100 / rest, 13, 18);
    /* The rule is written down; this picture's place must never move. */
    assert_string_equal(by_id("1f600")->split, "train");
}

static void names_are_unique(void **state UNUSED)
{
    need_list();
    assert_true(list.n > 3600);
    assert_true(list.n_cldr_names > list.n * 9 / 10);
    for (int64_t i = 0; i < list.n; i++)
        for (int64_t j = i + 1; j < list.n; j++)
            assert_true(strcmp(list.v[i].name, list.v[j].name) && strcmp(list.v[i].id, list.v[j].id));
}

/* ---- sources ---- */

#define HEAD "# group: People & Body\n# subgroup: person-role\n"
#define XML_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<ldml><annotations>\n"
#define XML_TAIL "</annotations></ldml>\n"

static struct emoji_sources small_sources(const char *test, const char *annotations, const char *derived)
{
    struct emoji_sources s = {put_text("src/test.txt", test), put_text("src/en.xml", annotations),
                              put_text("src/derived.xml", derived)};
    return s;
}

static void bad_sources(void **state UNUSED)
{
    static const char empty_xml[] = XML_HEAD XML_TAIL;
    static const struct {
        const char *test, *xml, *says;
    } bad[] = {
        {HEAD "1F9D1 XYZ ; fully-qualified # x E1.0 name\n", empty_xml, "test.txt:3"},
        {HEAD "D800 ; fully-qualified # x E1.0 name\n", empty_xml, "test.txt:3"},
        {HEAD "1F9D1 ; fully-qualified # x\n", empty_xml, "test.txt:3"},
        {HEAD "; fully-qualified # x E1.0 name\n", empty_xml, "test.txt:3"},
        {HEAD "1F9D1 ; unqualified # x E1.0 name\n", empty_xml, "fully-qualified"},
        {"\xFF", empty_xml, "UTF-8"},
        {HEAD "1F9D1 ; fully-qualified # x E1.0 name\n", XML_HEAD "<annotation cp='x'>\n", "en.xml:4"},
        {HEAD "1F9D1 ; fully-qualified # x E1.0 name\n", "", "en.xml"},
    };
    struct emoji_list l;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct emoji_sources s = small_sources(bad[i].test, bad[i].xml, empty_xml);
        assert_int_equal(emoji_list_read(&l, &s), ERR_DATA);
        assert_says(bad[i].says);
    }
    struct emoji_sources s = small_sources(HEAD "1F9D1 ; fully-qualified # x E1.0 name\n", empty_xml, empty_xml);
    s.emoji_test = in_scratch("nowhere");
    assert_int_equal(emoji_list_read(&l, &s), ERR_FAIL);
    assert_says("apt-get install unicode-data");
    s.emoji_test = in_scratch("src/test.txt");
    s.derived = in_scratch("nowhere");
    assert_int_equal(emoji_list_read(&l, &s), ERR_FAIL);
    assert_says("apt-get install unicode-cldr-core");
}

/* Dog and dog face share a keyword; one's name is the other's keyword; a man with a pizza has no glyph. */
static const char small_test[] = "# group: Animals & Nature\n# subgroup: animal-mammal\n"
                                 "1F436 ; fully-qualified # x E0.6 dog face\n1F415 ; fully-qualified # x E0.7 dog\n"
                                 "# group: People & Body\n# subgroup: person-role\n"
                                 "1F468 200D 1F355 ; fully-qualified # x E0.7 man with pizza\n"
                                 "1F468 1F3FD 200D 2708 FE0F ; fully-qualified # x E4.0 man pilot: medium skin tone\n";
static const char small_xml[] =
    XML_HEAD "<annotation cp=\"\xF0\x9F\x90\xB6\">dog | face | pet | dog face</annotation>\n"
             "<annotation cp=\"\xF0\x9F\x90\xB6\" type=\"tts\">dog face</annotation>\n"
             "<annotation cp=\"\xF0\x9F\x90\x95\">pet, \"good\" &amp; old| pet</annotation>\n"
             "<annotation cp=\"\xF0\x9F\x90\x95\" type=\"tts\">dog</annotation>\n" XML_TAIL;
static const char small_derived[] = XML_HEAD
    "<annotation cp=\"\xF0\x9F\x91\xA8\xF0\x9F\x8F\xBD\xE2\x80\x8D\xE2\x9C\x88\" type=\"tts\">man pilot: medium skin "
    "tone</annotation>\n" XML_TAIL;

static void need_font(void)
{
    char font[256];
    if (image_emoji_font(font, sizeof font) < 0) {
        print_message("skipped: %s\n", err_text());
        skip();
    }
}

static int64_t text_of(const struct dataset *d, const char *caption)
{
    for (int64_t i = 0; i < d->n_texts; i++)
        if (!strcmp(d->captions[i], caption))
            return i;
    return -1;
}

static bool paired(const struct dataset *d, int64_t image, const char *caption)
{
    for (int64_t i = 0; i < d->n_pairs; i++)
        if (d->pairs[i].image == image && d->pairs[i].text == text_of(d, caption))
            return true;
    return false;
}

static void small_world(void **state UNUSED)
{
    char dir[1024];
    json_t *world = NULL;
    struct dataset *d = NULL;
    struct image rgb;
    uint8_t *alpha = NULL;
    need_font();
    struct emoji_sources src = small_sources(small_test, small_xml, small_derived);
    setenv("XDG_CACHE_HOME", in_scratch("cache"), 1);
    must(emoji_world_path(dir, sizeof dir));
    must(emoji_world_make_from(dir, &src));
    must(emoji_world_make_from(dir, &src)); /* another process was first: fine */
    char path[1200];
    must(path_join(path, sizeof path, dir, "world.json"));
    must(json_read_file(&world, path));
    assert_int_equal(json_integer_value(json_object_get(world, "pictures")), 3);
    assert_int_equal(json_integer_value(json_object_get(world, "left_out_count")), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(world, "left_out"), 0), "id")),
                        "1f468-200d-1f355");
    json_decref(world);

    must(dataset_open(&d, "emoji", NULL));
    assert_int_equal(d->n_images, 3);
    assert_string_equal(dataset_image_cell(d, 2, "id"), "1f468-1f3fd-200d-2708-fe0f");
    assert_string_equal(dataset_image_cell(d, 2, "skin_tone"), "medium");
    assert_string_equal(dataset_image_cell(d, 0, "group"), "Animals & Nature");
    assert_null(dataset_image_cell(d, 0, "colour"));
    /* dog face: dog face, dog, face, pet; dog: dog, its own keywords, pet; pilot: its name. */
    assert_int_equal(d->n_texts, 6);
    assert_int_equal(d->n_pairs, 4 + 3 + 1);
    assert_true(paired(d, 0, "dog") && paired(d, 1, "dog") && paired(d, 1, "pet") && paired(d, 0, "dog face"));
    assert_true(paired(d, 1, "pet, \"good\" & old"));
    assert_string_equal(dataset_text_cell(d, text_of(d, "dog"), "kind"), "name");
    assert_string_equal(dataset_text_cell(d, text_of(d, "pet"), "kind"), "keyword");

    must(d->read_image(d, 1, &rgb, &alpha));
    assert_int_equal(rgb.width, EMOJI_SIDE);
    assert_non_null(alpha);
    assert_int_equal(alpha[0], 0);
    int64_t cover = 0;
    for (int i = 0; i < EMOJI_SIDE * EMOJI_SIDE; i++) {
        cover += alpha[i] > 200;
        if (alpha[i] == 0)
            assert_true(rgb.pixels[i * 3] == 255 && rgb.pixels[i * 3 + 1] == 255 && rgb.pixels[i * 3 + 2] == 255);
    }
    assert_in_range(cover, EMOJI_SIDE * EMOJI_SIDE / 8, EMOJI_SIDE * EMOJI_SIDE);
    image_free(&rgb);
    mem_free(alpha);
    dataset_close(&d);

    struct dataset_opt names = {.captions = "name", .limit = 2};
    must(dataset_open(&d, "emoji", &names));
    assert_int_equal(d->n_images, 2);
    assert_int_equal(d->n_pairs, 2);
    dataset_close(&d);
    struct dataset_opt wrong = {.captions = "names"}, split = {.split = "tset"};
    assert_int_equal(dataset_open(&d, "emoji", &wrong), ERR_USAGE);
    assert_int_equal(dataset_open(&d, "emoji", &split), ERR_USAGE);
    assert_says("compositional");
    assert_int_equal(dataset_open(&d, "emoji:x", NULL), ERR_USAGE);
}

/* Someone's disk ate a file of the world. */
static void damaged_world(void **state UNUSED)
{
    char dir[1024], path[1200];
    struct dataset *d = NULL;
    need_font();
    must(emoji_world_path(dir, sizeof dir));
    must(path_join(path, sizeof path, dir, "pairs.csv"));
    must(atomic_put(path, "image,text\n0,99\n", 16));
    assert_int_equal(dataset_open(&d, "emoji", NULL), ERR_DATA);
    assert_says("pairs.csv");
    must(path_join(path, sizeof path, dir, "images.csv"));
    must(atomic_put(path, "row,id,path,label,split\n0,a,b,c,train\n", 38));
    assert_int_equal(dataset_open(&d, "emoji", NULL), ERR_DATA);
    assert_says("drawn anew");
    assert_null(d);
}

/* Nothing is left behind when a world cannot be finished. */
static void no_half_world(void **state UNUSED)
{
    need_font();
    struct emoji_sources src =
        small_sources("# group: g\n# subgroup: s\n1F468 200D 1F355 ; fully-qualified # x E0.7 man with pizza\n",
                      small_xml, small_derived);
    must(path_make_dirs(in_scratch("half")));
    assert_int_equal(emoji_world_make_from(in_scratch("half/world"), &src), ERR_FAIL);
    assert_says("fonts-noto-color-emoji");
    assert_int_equal(rmdir(in_scratch("half")), 0); /* empty */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes),    cmocka_unit_test(compositional_split), cmocka_unit_test(names_are_unique),
        cmocka_unit_test(bad_sources),   cmocka_unit_test(small_world),         cmocka_unit_test(damaged_world),
        cmocka_unit_test(no_half_world),
    };
    return cmocka_run_group_tests(tests, read_list, free_list);
}
