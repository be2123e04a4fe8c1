/* fuzz/fuzz.h: what the harnesses share. One harness a file of fuzz/, one entry of one parser each.
 *
 * The same file is two programs. With libFuzzer (fuzz/build) the engine calls LLVMFuzzerTestOneInput with inputs that
 * it invents. Without it (every ordinary build) replay.c calls it with the files of fuzz/seeds/NAME, as a test.
 *
 * Most of our doors take a path, so inputs become files of a scratch folder in memory. Parsers that read several files
 * take one input cut in parts by the line "%%". */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "base/base.h"
#include "io/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The folder where inputs become files, empty at the start, removed at the end. */
const char *fuzz_dir(void);
/* fuzz_dir()/name with these bytes; the path is valid until the next call with this name. */
const char *fuzz_put(const char *name, const void *data, size_t n);
/* Part k of an input cut at lines "%%"; false when there is none. */
bool fuzz_part(const uint8_t *data, size_t n, int k, const uint8_t **part, size_t *n_part);
/* Parts 0, 1, ... under these names; a part that the input lacks is a file that is not there. */
void fuzz_put_parts(const uint8_t *data, size_t n, const char *const *names, int n_names);
/* A part as a string (up to its first zero byte); mem_free. */
char *fuzz_text(const uint8_t *part, size_t n);
/* Every input ends here: counts the verdict and demands that a refusal has a message. */
void fuzz_verdict(int rc);
extern long fuzz_accepted, fuzz_refused;
/* Reads all of it, so that the sanitizer sees memory that must not be handed out. */
void fuzz_touch(const void *p, size_t n);

#endif
