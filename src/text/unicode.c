/* unicode - UTF-8 by hand, classes from utf8proc's categories */
#include "text/unicode.h"

#include <pthread.h>
#include <utf8proc.h>

int ms_utf8_read(const char *text, size_t size_bytes, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)text;
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    uint32_t c;

    if (n == 0 || (size_t)n > size_bytes) return 0;
    c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if (p[i] >> 6 != 2) return 0;
        c = c << 6 | (p[i] & 63u);
    }
    if (c < lowest[n] || c >= MS_CODE_POINTS || (c >= 0xd800 && c < 0xe000)) return 0;
    *code = c;
    return n;
}

int ms_utf8_write(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static uint8_t classes[MS_CODE_POINTS];

static ms_class class_of(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return MS_CLASS_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return MS_CLASS_NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return MS_CLASS_SPACE;
    default: return (c >= 9 && c <= 13) || c == 0x85 ? MS_CLASS_SPACE : MS_CLASS_OTHER;
    }
}

static void fill(void)
{
    for (int32_t c = 0; c < MS_CODE_POINTS; c++) classes[c] = (uint8_t)class_of(c);
}

const uint8_t *ms_unicode_classes(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill);
    return classes;
}
