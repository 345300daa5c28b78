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

/* Letters and numbers of Unicode 15.1 and 16, which an older utf8proc does not know: words are
 * those of Unicode 16 whichever is installed. */
static const struct {
    int32_t first, last;
    ms_class class;
} newer[] = {
    {0x1c89, 0x1c8a, MS_CLASS_LETTER},   {0xa7cb, 0xa7cd, MS_CLASS_LETTER},
    {0xa7da, 0xa7dc, MS_CLASS_LETTER},   {0x105c0, 0x105f3, MS_CLASS_LETTER},
    {0x10d40, 0x10d49, MS_CLASS_NUMBER}, {0x10d4a, 0x10d65, MS_CLASS_LETTER},
    {0x10d6f, 0x10d85, MS_CLASS_LETTER}, {0x10ec2, 0x10ec4, MS_CLASS_LETTER},
    {0x11380, 0x11389, MS_CLASS_LETTER}, {0x1138b, 0x1138b, MS_CLASS_LETTER},
    {0x1138e, 0x1138e, MS_CLASS_LETTER}, {0x11390, 0x113b5, MS_CLASS_LETTER},
    {0x113b7, 0x113b7, MS_CLASS_LETTER}, {0x113d1, 0x113d1, MS_CLASS_LETTER},
    {0x113d3, 0x113d3, MS_CLASS_LETTER}, {0x116d0, 0x116e3, MS_CLASS_NUMBER},
    {0x11bc0, 0x11be0, MS_CLASS_LETTER}, {0x11bf0, 0x11bf9, MS_CLASS_NUMBER},
    {0x13460, 0x143fa, MS_CLASS_LETTER}, {0x16100, 0x1611d, MS_CLASS_LETTER},
    {0x16130, 0x16139, MS_CLASS_NUMBER}, {0x16d40, 0x16d6c, MS_CLASS_LETTER},
    {0x16d70, 0x16d79, MS_CLASS_NUMBER}, {0x18cff, 0x18cff, MS_CLASS_LETTER},
    {0x1ccf0, 0x1ccf9, MS_CLASS_NUMBER}, {0x1e5d0, 0x1e5ed, MS_CLASS_LETTER},
    {0x1e5f0, 0x1e5f0, MS_CLASS_LETTER}, {0x1e5f1, 0x1e5fa, MS_CLASS_NUMBER},
    {0x2ebf0, 0x2ee5d, MS_CLASS_LETTER},
};

static void fill(void)
{
    for (int32_t c = 0; c < MS_CODE_POINTS; c++) classes[c] = (uint8_t)class_of(c);
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
        for (int32_t c = newer[i].first; c <= newer[i].last; c++)
            if (utf8proc_category(c) == UTF8PROC_CATEGORY_CN) classes[c] = newer[i].class;
}

const uint8_t *ms_unicode_classes(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fill);
    return classes;
}
