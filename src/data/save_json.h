/* data/save_json.h: the one way in which room data writes a JSON file. */
#ifndef DATA_SAVE_JSON_H
#define DATA_SAVE_JSON_H

#include "io/io.h"

/* Writes o as DIR/NAME, whole or not at all, and takes the reference. NULL: whoever made o ran out of memory. */
int save_json(const char *dir, const char *name, json_t *o, size_t flags);

#endif
