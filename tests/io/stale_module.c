/* tests/io/stale_module.c: stands for a meridian_pictures.so of another build: its table begins with another version.
 */
extern const int meridian_pictures[16];
__attribute__((visibility("default"))) const int meridian_pictures[16] = {7};
