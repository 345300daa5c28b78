/* unicode - UTF-8 and the classes of characters by which texts are split into words */
#ifndef MS_TEXT_UNICODE_H
#define MS_TEXT_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum { MS_CODE_POINTS = 0x110000 };

/* Bytes of the first character of text (size_bytes > 0) and its code point; 0: not valid UTF-8. */
int ms_utf8_read(const char *text, size_t size_bytes, uint32_t *code);
/* Bytes of a code point. */
int ms_utf8_write(uint32_t code, char out[4]);

/* \p{L}, \p{N}, \s (White_Space), and the rest. */
typedef enum { MS_CLASS_OTHER, MS_CLASS_LETTER, MS_CLASS_NUMBER, MS_CLASS_SPACE } ms_class;

/* The class of each code point; made by the first call, safe from any thread. */
const uint8_t *ms_unicode_classes(void);

#endif
