/* base/console.h: what log.c and progress.c share, so that a message never lands in the middle of a bar.
 *
 * Internal to room base. The console is stderr; one lock serves both. */
#ifndef BASE_CONSOLE_H
#define BASE_CONSOLE_H

#include <stdbool.h>

bool console_is_terminal(void);     /* stderr is a terminal that understands escapes */
bool console_colour(void);          /* … and NO_COLOR is not set */
bool console_shows_progress(void);  /* no sink is set, and the level is LOG_INFO or more */
void console_bar(const char *text); /* draw or redraw the bar; NULL: wipe it */

#endif
