/* output - the tokens of one answer, and the text that can be shown so far */
#include "infer/output.h"

#include "base/tensor.h"

#include <stdlib.h>
#include <string.h>

ms_status ms_bytes_add(ms_bytes *b, const char *data, size_t size_bytes, ms_error *err)
{
    size_t need, room = b->room_bytes ? b->room_bytes : 64;

    if (!ms_size_add(b->size_bytes, size_bytes, &need) || need >= SIZE_MAX / 2)
        return ms_fail(err, MS_MEMORY, "text of %zu bytes is too long", size_bytes);
    while (room < need + 1) room *= 2;
    if (room != b->room_bytes) {
        char *grown = realloc(b->data, room);

        if (!grown) return ms_fail(err, MS_MEMORY, "out of memory for %zu bytes of text", room);
        b->data = grown;
        b->room_bytes = room;
    }
    if (size_bytes) memcpy(b->data + b->size_bytes, data, size_bytes);
    b->size_bytes = need;
    b->data[need] = 0;
    return MS_OK;
}

/* Whether a character stands at s (n >= 1 bytes); *used: its bytes, or those that one U+FFFD
 * stands for.
 * Source: The Unicode Standard 15, table 3-7, and its "substitution of maximal subparts". */
static bool take_character(const unsigned char *s, size_t n, size_t *used)
{
    unsigned lead = s[0], low = 0x80, high = 0xBF;
    size_t more;

    *used = 1;
    if (lead < 0x80) return lead != 0;
    if (lead < 0xC2 || lead > 0xF4) return false;
    more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
    for (; *used <= more; ++*used) {
        if (*used >= n || s[*used] < low || s[*used] > high) return false;
        low = 0x80;
        high = 0xBF;
    }
    return true;
}

/* Moves raw bytes up to `end` into text. */
static ms_status read_raw(ms_output *o, size_t end, ms_error *err)
{
    while (o->read_bytes < end) {
        const char *at = o->raw.data + o->read_bytes;
        size_t used;
        bool whole = take_character((const unsigned char *)at, end - o->read_bytes, &used);

        MS_TRY(whole ? ms_bytes_add(&o->text, at, used, err)
                     : ms_bytes_add(&o->text, "\xEF\xBF\xBD", 3, err));
        o->read_bytes += used;
    }
    return MS_OK;
}

ms_status ms_output_new(ms_output *out, const ms_tokenizer *t, size_t room, ms_error *err)
{
    *out = (ms_output){.tokenizer = t, .room = room};
    out->ids = calloc(room ? room : 1, sizeof *out->ids);
    if (!out->ids) return ms_fail(err, MS_MEMORY, "out of memory for %zu tokens", room);
    return ms_bytes_add(&out->text, "", 0, err);
}

void ms_output_free(ms_output *o)
{
    free(o->ids);
    free(o->raw.data);
    free(o->text.data);
    *o = (ms_output){0};
}

ms_status ms_output_push(ms_output *o, int32_t id, ms_error *err)
{
    size_t piece_bytes = 0;
    const char *piece = ms_tokenizer_piece(o->tokenizer, id, &piece_bytes);

    MS_ASSERT(o->count < o->room);
    o->ids[o->count++] = id;
    if (!piece || !piece_bytes) return MS_OK;
    MS_TRY(ms_bytes_add(&o->raw, piece, piece_bytes, err));
    return read_raw(o, o->raw.size_bytes - ms_utf8_pending(o->raw.data, o->raw.size_bytes), err);
}

ms_status ms_output_finish(ms_output *o, ms_error *err)
{
    return read_raw(o, o->raw.size_bytes, err);
}

const char *ms_output_fresh(ms_output *o, size_t *size_bytes)
{
    const char *fresh = o->text.data + o->shown_bytes;

    *size_bytes = o->text.size_bytes - o->shown_bytes;
    o->shown_bytes = o->text.size_bytes;
    return fresh;
}
