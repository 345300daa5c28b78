/* GGUF: what is written is read back; files of others are read whatever their order, alignment and
 * version; files that break a rule are refused in a line that says which and where, and no cut or
 * changed file does harm. */
#include "formats/gguf.h"

#include "../base/scratch.h"
#include "base/rng.h"

#include <inttypes.h>
#include <limits.h>

enum { FILE_MOST = 1 << 17, HEADER = 24 };

static ms_gguf *opened(const char *path)
{
    ms_gguf *g = NULL;
    ms_error err;

    must(ms_gguf_open(&g, path, &err), &err);
    assert_string_equal(ms_gguf_path(g), path);
    return g;
}

/* Reads all that a file gives, so that a sanitizer sees it. */
static uint64_t read_all(const ms_gguf *g)
{
    uint64_t sum = 0;

    for (int i = 0; i < ms_gguf_metas(g); i++) {
        const ms_gguf_meta *m = ms_gguf_meta_at(g, i);
        ms_gguf_text text;
        double d;

        assert_ptr_equal(ms_gguf_get(g, m->key), m);
        for (uint64_t k = 0; k < m->count; k++) {
            assert_int_equal(ms_gguf_text_at(m, k, &text), m->type == MS_GGUF_TEXT);
            assert_int_equal(ms_gguf_number(m, k, &d), m->type != MS_GGUF_TEXT);
            for (size_t c = 0; m->type == MS_GGUF_TEXT && c < text.size_bytes; c++)
                sum += (uint8_t)text.text[c];
        }
        assert_false(ms_gguf_text_at(m, m->count, &text) || ms_gguf_number(m, m->count, &d));
    }
    for (int i = 0; i < ms_gguf_count(g); i++) {
        const ms_st_entry *e = ms_gguf_at(g, i);

        assert_ptr_equal(ms_gguf_find(g, e->name), e);
        for (size_t c = 0; c < e->size_bytes; c++) sum += ((const uint8_t *)e->data)[c];
    }
    return sum;
}

/* Is refused in one line, at a place in the file, and nothing is opened. */
static void refuse(const char *what, const char *path, size_t size, ms_status status,
                   const char *text)
{
    ms_gguf *g = NULL;
    ms_error err = {.status = MS_OK};
    ms_status got = ms_gguf_open(&g, path, &err);

    if (!got) ms_gguf_close(g);
    must_fail(what, got, status, &err, text);
    assert_true(err.message[0]);
    assert_string_equal(err.path, path);
    if (err.offset < 0 || err.offset > (int64_t)size)
        fail_msg("%s: \"%s\" at %" PRId64 " of %zu", what, err.message, err.offset, size);
    assert_null(g);
}

/* -- files made by hand ---------------------------------------------------------------------- */

typedef struct {
    uint8_t data[FILE_MOST];
    size_t size;
} file;

static file made;

static void add_bytes(const void *data, size_t size)
{
    assert_true(made.size + size <= FILE_MOST);
    memcpy(made.data + made.size, data, size);
    made.size += size;
}

static void set(size_t at, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) made.data[at + (size_t)i] = (uint8_t)(v >> (8 * i));
}

static void add(uint64_t v, int bytes)
{
    made.size += (size_t)bytes;
    assert_true(made.size <= FILE_MOST);
    set(made.size - (size_t)bytes, v, bytes);
}

static void add_text(const char *text)
{
    add(strlen(text), 8);
    add_bytes(text, strlen(text));
}

static void begin(uint64_t tensors, uint64_t metas)
{
    made.size = 0;
    add_bytes("GGUF", 4);
    add(3, 4);
    add(tensors, 8);
    add(metas, 8);
}

static void add_key(const char *key, uint32_t type)
{
    add_text(key);
    add(type, 4);
}

static void add_array(const char *key, uint32_t type, uint64_t count)
{
    add_key(key, MS_GGUF_ARRAY);
    add(type, 4);
    add(count, 8);
}

/* dims: of the file, the contiguous one first; ends with 0. */
static void add_tensor(const char *name, const uint64_t *dims, uint32_t type, uint64_t offset)
{
    uint32_t rank = 0;

    while (dims[rank]) rank++;
    add_text(name);
    add(rank, 4);
    for (uint32_t i = 0; i < rank; i++) add(dims[i], 8);
    add(type, 4);
    add(offset, 8);
}

#define DIMS(...) ((const uint64_t[]){__VA_ARGS__, 0})
#define SCALAR    ((const uint64_t[]){0})

/* Padding, and so many bytes of data that count up. */
static void add_data(size_t alignment, size_t size)
{
    while (made.size % alignment) add(0, 1);
    for (size_t i = 0; i < size; i++) add(i & 255, 1);
}

static void refuse_made(void **state, const char *what, ms_status status, const char *text)
{
    const char *path = in(state, "x");

    put(path, made.data, made.size);
    refuse(what, path, made.size, status, text);
}

static ms_gguf *opened_made(void **state)
{
    const char *path = in(state, "x");

    put(path, made.data, made.size);
    return opened(path);
}

/* The file whose fields the tables below break: six keys, two tensors. */
enum {
    NO_FIELD,
    MAGIC,
    VERSION,
    TENSORS,
    METAS,
    KEY_LENGTH,
    KEY,
    VALUE_TYPE,
    TEXT_LENGTH,
    ALIGNMENT_TYPE,
    ALIGNMENT,
    BOOLS_TYPE,
    BOOLS_COUNT,
    BOOLS,
    TEXTS_TYPE,
    TEXTS_COUNT,
    ITEM_LENGTH,
    LAST_ITEM_LENGTH,
    NUMBERS_TYPE,
    NUMBERS_COUNT,
    FLAG,
    A_NAME_LENGTH,
    A_NAME,
    A_RANK,
    A_ROW,
    A_ROWS,
    A_TYPE,
    A_OFFSET,
    B_NAME_LENGTH,
    B_NAME,
    B_RANK,
    B_ROW,
    B_TYPE,
    B_OFFSET,
    DATA,
    FIELDS
};

enum { GOOD_DATA = 32 + 68 };

static void make_good(size_t at[FIELDS])
{
    begin(2, 6);
    at[NO_FIELD] = at[MAGIC] = 0;
    at[VERSION] = 4;
    at[TENSORS] = 8;
    at[METAS] = 16;
    at[KEY_LENGTH] = HEADER;
    at[KEY] = HEADER + 8;
    add_key("general.architecture", MS_GGUF_TEXT);
    at[VALUE_TYPE] = made.size - 4;
    at[TEXT_LENGTH] = made.size;
    add_text("llama");
    add_key("general.alignment", MS_GGUF_U32);
    at[ALIGNMENT_TYPE] = made.size - 4;
    at[ALIGNMENT] = made.size;
    add(32, 4);
    add_array("bools", MS_GGUF_BOOL, 3);
    at[BOOLS_TYPE] = made.size - 12;
    at[BOOLS_COUNT] = made.size - 8;
    at[BOOLS] = made.size;
    add(0x000101, 3);
    add_array("texts", MS_GGUF_TEXT, 2);
    at[TEXTS_TYPE] = made.size - 12;
    at[TEXTS_COUNT] = made.size - 8;
    at[ITEM_LENGTH] = made.size;
    add_text("one");
    at[LAST_ITEM_LENGTH] = made.size;
    add_text("");
    add_array("numbers", MS_GGUF_F32, 4);
    at[NUMBERS_TYPE] = made.size - 12;
    at[NUMBERS_COUNT] = made.size - 8;
    for (int i = 0; i < 4; i++) add(0x3f800000u, 4);
    add_key("flag", MS_GGUF_BOOL);
    at[FLAG] = made.size;
    add(1, 1);
    at[A_NAME_LENGTH] = made.size;
    at[A_NAME] = made.size + 8;
    add_tensor("a", DIMS(2, 3), 0, 0);
    at[A_RANK] = at[A_NAME] + 1;
    at[A_ROW] = at[A_RANK] + 4;
    at[A_ROWS] = at[A_ROW] + 8;
    at[A_TYPE] = at[A_ROWS] + 8;
    at[A_OFFSET] = at[A_TYPE] + 4;
    at[B_NAME_LENGTH] = made.size;
    at[B_NAME] = made.size + 8;
    add_tensor("b", DIMS(64), 8, 32);
    at[B_RANK] = at[B_NAME] + 1;
    at[B_ROW] = at[B_RANK] + 4;
    at[B_TYPE] = at[B_ROW] + 8;
    at[B_OFFSET] = at[B_TYPE] + 4;
    add_data(32, GOOD_DATA);
    at[DATA] = made.size - GOOD_DATA;
}

/* -- what others write ----------------------------------------------------------------------- */

static void a_file_made_by_hand_is_read(void **state)
{
    size_t at[FIELDS];
    ms_gguf_text text;
    double d;

    for (int version = 2; version <= 3; version++) {
        make_good(at);
        set(at[VERSION], (uint64_t)version, 4);
        ms_gguf *g = opened_made(state);
        const ms_st_entry *a = ms_gguf_find(g, "a"), *b = ms_gguf_find(g, "b");
        assert_true(ms_gguf_count(g) == 2 && ms_gguf_metas(g) == 6);
        assert_true(a->dtype == MS_F32 && a->rank == 2 && a->dim[0] == 3 && a->dim[1] == 2);
        assert_true(b->dtype == MS_Q8_0 && b->rank == 1 && b->dim[0] == 64);
        assert_true(a->size_bytes == 24 && b->size_bytes == 68);
        assert_memory_equal(a->data, made.data + at[DATA], 24);
        assert_memory_equal(b->data, made.data + at[DATA] + 32, 68);
        assert_true(!ms_gguf_find(g, "c") && !ms_gguf_find(g, "") && !ms_gguf_get(g, "flags"));
        assert_true(!ms_gguf_at(g, 2) && !ms_gguf_at(g, -1));
        assert_true(!ms_gguf_meta_at(g, 6) && !ms_gguf_meta_at(g, -1));
        assert_string_equal(ms_gguf_meta_at(g, 0)->key, "general.architecture");
        assert_true(ms_gguf_text_at(ms_gguf_get(g, "general.architecture"), 0, &text));
        assert_true(text.size_bytes == 5 && !memcmp(text.text, "llama", 5));
        assert_true(ms_gguf_text_at(ms_gguf_get(g, "texts"), 1, &text) && text.size_bytes == 0);
        assert_true(ms_gguf_number(ms_gguf_get(g, "bools"), 2, &d) && d == 0);
        read_all(g);
        ms_gguf_close(g);
    }
    ms_gguf_close(NULL);
}

static const struct {
    ms_gguf_type type;
    uint64_t bits;
    double number;
} NUMBERS[] = {
    {MS_GGUF_U8, 0xfe, 254},
    {MS_GGUF_I8, 0x80, -128},
    {MS_GGUF_I8, 0x7f, 127},
    {MS_GGUF_U16, 0xfffe, 65534},
    {MS_GGUF_I16, 0x8000, -32768},
    {MS_GGUF_I16, 0xffff, -1},
    {MS_GGUF_U32, 0xffffffff, 4294967295.0},
    {MS_GGUF_I32, 0x80000000, -2147483648.0},
    {MS_GGUF_I32, 0x7fffffff, 2147483647},
    {MS_GGUF_F32, 0xc0200000, -2.5},
    {MS_GGUF_F32, 0x00000001, 0x1p-149},
    {MS_GGUF_BOOL, 0, 0},
    {MS_GGUF_BOOL, 1, 1},
    {MS_GGUF_U64, UINT64_MAX, 0x1p64},
    {MS_GGUF_U64, 1234567890123456, 1234567890123456.0},
    {MS_GGUF_I64, UINT64_C(1) << 63, -0x1p63},
    {MS_GGUF_I64, UINT64_MAX, -1},
    {MS_GGUF_I64, 5, 5},
    {MS_GGUF_F64, UINT64_C(0x3fd5555555555555), 1.0 / 3},
};

/* Indexed by type. */
static const int BYTES[MS_GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* Alone, and as the second of an array of two. */
static void every_number_is_read(void **state)
{
    for (int array = 0; array < 2; array++) {
        begin(0, COUNT(NUMBERS));
        for (size_t i = 0; i < COUNT(NUMBERS); i++) {
            const int bytes = BYTES[NUMBERS[i].type];
            char key[16];

            snprintf(key, sizeof key, "key.%zu", i);
            if (array) add_array(key, NUMBERS[i].type, 2), add(1, bytes);
            if (!array) add_key(key, NUMBERS[i].type);
            add(NUMBERS[i].bits, bytes);
        }
        ms_gguf *g = opened_made(state);
        for (size_t i = 0; i < COUNT(NUMBERS); i++) {
            const ms_gguf_meta *m = ms_gguf_meta_at(g, (int)i);
            ms_gguf_text text;
            double d = 77;

            assert_true(m->type == NUMBERS[i].type && m->array == (bool)array && !m->element);
            assert_int_equal(m->count, 1 + array);
            assert_true(ms_gguf_number(m, (uint64_t)array, &d));
            if (d != NUMBERS[i].number) fail_msg("%d: %g", NUMBERS[i].type, d);
            assert_false(ms_gguf_number(m, 1 + (uint64_t)array, &d));
            assert_false(ms_gguf_number(m, UINT64_MAX, &d) || ms_gguf_text_at(m, 0, &text));
        }
        ms_gguf_close(g);
    }
}

/* Offsets that go down, gaps, bytes behind the last tensor; the order is that of the data. */
static void tensors_may_lie_in_any_order(void **state)
{
    begin(3, 0);
    add_tensor("third", DIMS(4), 0, 160);
    add_tensor("first", DIMS(1), 0, 0);
    add_tensor("second", DIMS(32, 1, 1, 2), 2, 64);
    add_data(32, 200);
    ms_gguf *g = opened_made(state);
    assert_string_equal(ms_gguf_at(g, 0)->name, "first");
    assert_string_equal(ms_gguf_at(g, 1)->name, "second");
    assert_string_equal(ms_gguf_at(g, 2)->name, "third");
    assert_int_equal(*(const uint8_t *)ms_gguf_find(g, "third")->data, 160);
    const ms_st_entry *e = ms_gguf_find(g, "second");
    assert_true(e->rank == 4 && e->dim[0] == 2 && e->dim[1] == 1 && e->dim[3] == 32);
    assert_int_equal(e->size_bytes, 36);
    ms_gguf_close(g);
}

static void any_power_of_two_aligns(void **state)
{
    for (uint64_t alignment = 1; alignment <= 4096; alignment *= 2) {
        begin(2, 1);
        add_key("general.alignment", MS_GGUF_U32);
        add(alignment, 4);
        add_tensor("a", SCALAR, 0, 0);
        add_tensor("b", DIMS(1), 0, alignment < 4 ? 4 : alignment);
        add_data(alignment, (alignment < 4 ? 4 : alignment) + 4);
        ms_gguf *g = opened_made(state);
        const ms_st_entry *a = ms_gguf_at(g, 0), *b = ms_gguf_at(g, 1);
        assert_true(a->rank == 1 && a->dim[0] == 1); /* a scalar has the shape (1) */
        assert_int_equal((uintptr_t)a->data % alignment, 0);
        assert_memory_equal(a->data, "\0\1\2\3", 4);
        assert_int_equal(((const uint8_t *)b->data)[1],
                         ((alignment < 4 ? 4 : alignment) + 1) & 255);
        ms_gguf_close(g);
    }
}

static void a_file_may_hold_nothing(void **state)
{
    begin(0, 0);
    for (int i = 0; i < 2; i++) { /* the end may be padded */
        ms_gguf *g = opened_made(state);
        assert_true(ms_gguf_count(g) == 0 && ms_gguf_metas(g) == 0);
        assert_true(!ms_gguf_at(g, 0) && !ms_gguf_meta_at(g, 0));
        assert_true(!ms_gguf_find(g, "a") && !ms_gguf_get(g, "a"));
        ms_gguf_close(g);
        add_data(32, 0);
    }
}

/* Empty arrays of every type, empty texts, and at the end of the file. */
static void arrays_may_be_empty(void **state)
{
    begin(0, 12);
    for (uint32_t type = 0; type < MS_GGUF_TYPE_COUNT; type++) {
        if (type == MS_GGUF_ARRAY) continue;
        add_array((char[]){(char)('a' + type), 0}, type, 0);
    }
    ms_gguf *g = opened_made(state);
    for (int i = 0; i < 12; i++) {
        const ms_gguf_meta *m = ms_gguf_meta_at(g, i);

        assert_true(m->array && m->count == 0);
    }
    read_all(g);
    ms_gguf_close(g);
}

/* Names and keys of every length allowed, and one more. */
static void names_have_their_lengths(void **state)
{
    static char name[65537];

    for (size_t n = 1; n <= 64; n++) {
        memset(name, 'n', n);
        name[n] = 0;
        begin(1, 0);
        add_tensor(name, DIMS(1), 0, 0);
        add_data(32, 4);
        if (n == 64) {
            refuse_made(state, "64", MS_FORMAT,
                        "the name of a tensor of 64 bytes, expected 1 to 63");
            continue;
        }
        ms_gguf *g = opened_made(state);
        assert_string_equal(ms_gguf_at(g, 0)->name, name);
        ms_gguf_close(g);
    }
    for (size_t n = 65535; n <= 65536; n++) {
        memset(name, 'k', n);
        name[n] = 0;
        begin(0, 1);
        add_key(name, MS_GGUF_U8);
        add(1, 1);
        if (n == 65536) {
            refuse_made(state, "65536", MS_FORMAT, "a key of 65536 bytes, expected 1 to 65535");
            continue;
        }
        ms_gguf *g = opened_made(state);
        assert_non_null(ms_gguf_get(g, name));
        ms_gguf_close(g);
    }
}

/* -- what is refused ------------------------------------------------------------------------- */

typedef struct {
    int field, bytes;
    uint64_t value;
    ms_status status;
    const char *text;
} broken;

static void broken_fields_are_refused(void **state)
{
    static const broken row[] = {
        {MAGIC, 1, 'g', MS_FORMAT, "is not a GGUF file"},
        {MAGIC, 4, 0x46554746, MS_FORMAT, "is not a GGUF file"},
        {MAGIC, 4, 0x6c6d6767, MS_FORMAT, "is not a GGUF file"},
        {VERSION, 4, 0, MS_FORMAT, "version 0 does not exist"},
        {VERSION, 4, 1, MS_UNSUPPORTED, "version 1 is not supported, expected 2 or 3"},
        {VERSION, 4, 4, MS_UNSUPPORTED, "version 4 is not supported"},
        {VERSION, 4, 0xffffffff, MS_UNSUPPORTED, "version 4294967295 is not supported"},
        {VERSION, 4, 0x03000000, MS_UNSUPPORTED, "big-endian"},
        {VERSION, 4, 0x02000000, MS_UNSUPPORTED, "big-endian"},
        {TENSORS, 8, 3, MS_FORMAT, ""}, /* the third would be padding */
        {TENSORS, 8, 100, MS_FORMAT, "100 tensors do not fit the"},
        {METAS, 8, 5, MS_UNSUPPORTED, "tensor flag: 7 dimensions"},
        {METAS, 8, 0, MS_UNSUPPORTED, "tensor general.architecture: 8 dimensions"},
        {METAS, 8, 7, MS_FORMAT, ""},
        {METAS, 8, 100, MS_FORMAT, "100 keys do not fit the"},
        {KEY_LENGTH, 8, 0, MS_FORMAT, "a key of 0 bytes, expected 1 to 65535"},
        {KEY_LENGTH, 8, 65536, MS_FORMAT, "a key of 65536 bytes, expected 1 to 65535"},
        {KEY_LENGTH, 8, 65535, MS_FORMAT, "a key takes 65535 bytes, the file has"},
        {KEY, 1, 0, MS_FORMAT, "a key with a zero byte"},
        {KEY, 8, 0x000000000a1b5b41, MS_FORMAT, "a key with a zero byte"},
        {VALUE_TYPE, 4, 13, MS_FORMAT, "general.architecture: no type has the number 13"},
        {VALUE_TYPE, 4, 0xffffffff, MS_FORMAT, "no type has the number 4294967295"},
        {VALUE_TYPE, 4, 0x80000008, MS_FORMAT, "no type has the number 2147483656"},
        {VALUE_TYPE, 4, 0x0108, MS_FORMAT, "no type has the number 264"},
        {VALUE_TYPE, 4, MS_GGUF_ARRAY, MS_FORMAT, ""},
        {TEXT_LENGTH, 8, 1000, MS_FORMAT, "a text takes 1000 bytes, the file has"},
        {ALIGNMENT_TYPE, 4, MS_GGUF_I32, MS_FORMAT, "general.alignment is no u32"},
        {ALIGNMENT_TYPE, 4, MS_GGUF_F32, MS_FORMAT, "general.alignment is no u32"},
        {ALIGNMENT, 4, 0, MS_FORMAT, "general.alignment is 0, expected a power of two"},
        {ALIGNMENT, 4, 3, MS_FORMAT, "general.alignment is 3, expected a power of two"},
        {ALIGNMENT, 4, 31, MS_FORMAT, "general.alignment is 31"},
        {ALIGNMENT, 4, 48, MS_FORMAT, "general.alignment is 48"},
        {ALIGNMENT, 4, 0xffffffff, MS_FORMAT, "general.alignment is 4294967295"},
        {ALIGNMENT, 4, 0x80000000, MS_FORMAT, "padding takes"},
        {ALIGNMENT, 4, 0x10000, MS_FORMAT, "padding takes"},
        {ALIGNMENT, 4, 64, MS_FORMAT, "tensor b: offset 32 is no multiple of 64"},
        {BOOLS_TYPE, 4, MS_GGUF_ARRAY, MS_UNSUPPORTED, "bools: arrays of arrays"},
        {BOOLS_TYPE, 4, 13, MS_FORMAT, "bools: no type has the number 13"},
        {BOOLS_TYPE, 4, 99, MS_FORMAT, "bools: no type has the number 99"},
        {BOOLS_TYPE, 4, MS_GGUF_F64, MS_FORMAT, ""},
        {BOOLS_COUNT, 8, 5000, MS_FORMAT, "5000 values do not fit the"},
        {BOOLS, 1, 2, MS_FORMAT, "bools: 2 is not a bool"},
        {BOOLS, 3, 0xff0000, MS_FORMAT, "bools: 255 is not a bool"},
        {TEXTS_TYPE, 4, MS_GGUF_ARRAY, MS_UNSUPPORTED, "texts: arrays of arrays"},
        {TEXTS_TYPE, 4, MS_GGUF_U64, MS_FORMAT, ""},
        {TEXTS_COUNT, 8, 1000, MS_FORMAT, "1000 values do not fit the"},
        {TEXTS_COUNT, 8, 3, MS_FORMAT, ""},
        {ITEM_LENGTH, 8, 4, MS_FORMAT, ""},
        {ITEM_LENGTH, 8, 999, MS_FORMAT, "a text takes 999 bytes"},
        {NUMBERS_TYPE, 4, MS_GGUF_TEXT, MS_FORMAT, ""},
        {NUMBERS_TYPE, 4, MS_GGUF_BOOL, MS_FORMAT, "numbers: 128 is not a bool"},
        {NUMBERS_COUNT, 8, 200, MS_FORMAT, "200 values do not fit the"},
        {NUMBERS_COUNT, 8, 1, MS_FORMAT, ""},
        {FLAG, 1, 2, MS_FORMAT, "metadata flag: 2 is not a bool"},
        {A_NAME_LENGTH, 8, 0, MS_FORMAT, "the name of a tensor of 0 bytes, expected 1 to 63"},
        {A_NAME_LENGTH, 8, 64, MS_FORMAT, "the name of a tensor of 64 bytes"},
        {A_NAME, 1, 0, MS_FORMAT, "the name of a tensor with a zero byte"},
        {A_NAME, 1, 'b', MS_FORMAT, "tensor b is there twice"},
        {A_RANK, 4, 5, MS_UNSUPPORTED, "tensor a: 5 dimensions, at most 4"},
        {A_RANK, 4, 0xffffffff, MS_UNSUPPORTED, "tensor a: 4294967295 dimensions, at most 4"},
        {A_RANK, 4, 0x40000000, MS_UNSUPPORTED, "tensor a: 1073741824 dimensions"},
        {A_RANK, 4, 1, MS_FORMAT, "tensor a: rows of 2"}, /* the second dimension is the type */
        {A_RANK, 4, 3, MS_FORMAT, "tensor a: dimension 2 is 0, expected 1 to 2147483647"},
        {A_ROW, 8, 0, MS_FORMAT, "tensor a: dimension 0 is 0"},
        {A_ROW, 8, INT_MAX, MS_FORMAT, "tensor a: 25769803764 bytes from 0 on"},
        {A_ROW, 8, (uint64_t)INT_MAX + 1, MS_FORMAT, "tensor a: dimension 0 is 2147483648"},
        {A_ROW, 8, 4, MS_FORMAT, "tensor b overlaps a"},
        {A_ROWS, 8, 0, MS_FORMAT, "tensor a: dimension 1 is 0"},
        {A_ROWS, 8, 5, MS_FORMAT, "tensor b overlaps a"},
        {A_ROWS, 8, 13, MS_FORMAT, "tensor a: 104 bytes from 0 on, the file has 100 bytes"},
        {A_TYPE, 4, 28, MS_FORMAT, "tensor b overlaps a"},
        {A_TYPE, 4, 8, MS_FORMAT, "tensor a: rows of 2 are no multiple of the 32 of a block"},
        {A_TYPE, 4, 12, MS_FORMAT, "rows of 2 are no multiple of the 256 of a block of q4_k"},
        {A_OFFSET, 8, 1, MS_FORMAT, "tensor a: offset 1 is no multiple of 32"},
        {A_OFFSET, 8, 16, MS_FORMAT, "tensor a: offset 16 is no multiple of 32"},
        {A_OFFSET, 8, 32, MS_FORMAT, "overlaps"},
        {A_OFFSET, 8, 64, MS_FORMAT, "tensor a overlaps b"},
        {A_OFFSET, 8, 96, MS_FORMAT, "tensor a: 24 bytes from 96 on, the file has 100 bytes"},
        {A_OFFSET, 8, 128, MS_FORMAT, "tensor a: 24 bytes from 128 on, the file has 100 bytes"},
        {B_ROW, 8, 63, MS_FORMAT, "tensor b: rows of 63 are no multiple of the 32"},
        {B_ROW, 8, 96, MS_FORMAT, "tensor b: 102 bytes from 32 on, the file has 100 bytes"},
        {B_ROW, 8, 0x7fffffe0, MS_FORMAT, "tensor b: 2281701342 bytes from 32 on"},
        {B_TYPE, 4, 10, MS_FORMAT, "rows of 64 are no multiple of the 256 of a block of q2_k"},
        {B_TYPE, 4, 14, MS_FORMAT, "tensor b: rows of 64 are no multiple of the 256"},
        {B_TYPE, 4, 0, MS_FORMAT, "tensor b: 256 bytes from 32 on"},
        {B_OFFSET, 8, 0, MS_FORMAT, "overlaps"},
        {B_OFFSET, 8, 64, MS_FORMAT, "tensor b: 68 bytes from 64 on, the file has 100 bytes"},
    };
    size_t at[FIELDS];

    for (size_t i = 0; i < COUNT(row); i++) {
        char what[64];

        make_good(at);
        set(at[row[i].field], row[i].value, row[i].bytes);
        snprintf(what, sizeof what, "row %zu, field %d", i, row[i].field);
        refuse_made(state, what, row[i].status, row[i].text);
    }
}

/* One more than the bytes left have room for is refused before anything is taken for so many; what
 * just fits is read, and then found to be something else. */
static void counts_are_held_against_the_bytes_left(void **state)
{
    static const struct {
        int field;
        size_t least;
        const char *what;
    } row[] = {
        {TENSORS, 25, "tensors"},   {METAS, 14, "keys"},          {BOOLS_COUNT, 1, "values"},
        {TEXTS_COUNT, 8, "values"}, {NUMBERS_COUNT, 4, "values"},
    };
    size_t at[FIELDS];

    for (size_t i = 0; i < COUNT(row); i++)
        for (size_t more = 0; more < 2; more++) {
            const char *path = in(state, "x");
            char text[64];
            ms_gguf *g = NULL;
            ms_error err;

            make_good(at);
            size_t begin_at = row[i].field == TENSORS ? HEADER : at[row[i].field] + 8;
            size_t left = made.size - begin_at, count = left / row[i].least + more;
            set(at[row[i].field], count, 8);
            put(path, made.data, made.size);
            assert_int_not_equal(ms_gguf_open(&g, path, &err), MS_OK);
            snprintf(text, sizeof text, "%zu %s do not fit the %zu", count, row[i].what, left);
            if (!strstr(err.message, text) == (more == 1))
                fail_msg("%zu %s: %s", count, row[i].what, err.message);
        }
}

/* The offset of an error: of the field, or of the bytes that do not fit. */
static void the_place_of_a_fault_is_told(void **state)
{
    static const struct {
        int field, bytes;
        uint64_t value;
        int where, behind;
    } row[] = {
        {MAGIC, 4, 0, MAGIC, 0},
        {VERSION, 4, 9, VERSION, 0},
        {TENSORS, 8, 99, TENSORS, 0},
        {METAS, 8, 99, METAS, 0},
        {KEY_LENGTH, 8, 0, KEY_LENGTH, 0},
        {KEY_LENGTH, 8, 999, KEY, 0},
        {KEY, 1, 0, KEY_LENGTH, 0},
        {VALUE_TYPE, 4, 13, VALUE_TYPE, 0},
        {TEXT_LENGTH, 8, 999, TEXT_LENGTH, 8},
        {ALIGNMENT, 4, 5, ALIGNMENT, 0},
        {BOOLS_TYPE, 4, 9, BOOLS_TYPE, 0},
        {BOOLS_COUNT, 8, 9999, BOOLS_COUNT, 0},
        {BOOLS, 3, 0x020000, BOOLS, 2},
        {TEXTS_COUNT, 8, 9999, TEXTS_COUNT, 0},
        {LAST_ITEM_LENGTH, 8, 999, LAST_ITEM_LENGTH, 8},
        {NUMBERS_COUNT, 8, 9999, NUMBERS_COUNT, 0},
        {FLAG, 1, 2, FLAG, 0},
        {A_NAME_LENGTH, 8, 99, A_NAME_LENGTH, 0},
        {A_NAME, 1, 'b', DATA, 32},
        {A_RANK, 4, 5, A_RANK, 0},
        {A_ROWS, 8, 0, A_ROWS, 0},
        {A_TYPE, 4, 99, A_TYPE, 0},
        {A_OFFSET, 8, 3, A_OFFSET, 0},
        {B_ROW, 8, 3, B_NAME_LENGTH, 0},
        {B_ROW, 8, 96, B_OFFSET, 0},
        {B_OFFSET, 8, 0, DATA, 0},
    };
    size_t at[FIELDS];

    for (size_t i = 0; i < COUNT(row); i++) {
        const char *path = in(state, "x");
        ms_gguf *g = NULL;
        ms_error err;

        make_good(at);
        set(at[row[i].field], row[i].value, row[i].bytes);
        put(path, made.data, made.size);
        assert_int_not_equal(ms_gguf_open(&g, path, &err), MS_OK);
        if (err.offset != (int64_t)at[row[i].where] + row[i].behind)
            fail_msg("row %zu: \"%s\" at %" PRId64 ", expected %zu", i, err.message, err.offset,
                     at[row[i].where] + (size_t)row[i].behind);
    }
}

/* Every length, count, dimension and offset: numbers whose product or sum with what they count
 * wraps around, whose sign is another in 32 or 64 bits, and that are just too large. */
static void numbers_that_overflow_are_refused(void **state)
{
    static const int field[] = {TENSORS,       METAS,         KEY_LENGTH,    TEXT_LENGTH,
                                BOOLS_COUNT,   TEXTS_COUNT,   ITEM_LENGTH,   LAST_ITEM_LENGTH,
                                NUMBERS_COUNT, A_NAME_LENGTH, B_NAME_LENGTH, A_ROW,
                                A_ROWS,        B_ROW,         A_OFFSET,      B_OFFSET};
    static const uint64_t value[] = {
        UINT64_MAX,
        UINT64_MAX - 7,
        UINT64_MAX - 31, /* aligned */
        UINT64_MAX - 95,
        UINT64_C(1) << 63,
        (UINT64_C(1) << 63) - 1,
        (UINT64_C(1) << 63) - 32,
        UINT64_C(1) << 62, /* 4 bytes each: 0 */
        (UINT64_C(1) << 62) + 1,
        UINT64_C(1) << 61, /* 8 bytes each: 0 */
        (UINT64_C(1) << 61) + 2,
        UINT64_C(0x0aaaaaaaaaaaaaab), /* 24 bytes each: 8 */
        UINT64_C(1) << 60,
        UINT64_C(1) << 58,
        UINT64_C(0x0101010101010101),
        UINT64_C(1) << 33,
        (UINT64_C(1) << 32) + 2,
        UINT64_C(1) << 32,
        UINT32_MAX,
        UINT64_C(1) << 31,
        1 << 24,
    };
    size_t at[FIELDS];
    int files = 0;

    for (size_t i = 0; i < COUNT(field); i++)
        for (size_t k = 0; k < COUNT(value); k++) {
            char what[64];

            make_good(at);
            set(at[field[i]], value[k], 8);
            snprintf(what, sizeof what, "field %d is %" PRIu64, field[i], value[k]);
            refuse_made(state, what, MS_FORMAT, "");
            files++;
        }
    assert_true(files >= 150);
}

/* Products of dimensions that are small, or nothing, in 64 bits. */
static void shapes_that_overflow_are_refused(void **state)
{
    static const struct {
        uint64_t dims[5];
        uint32_t type;
        const char *text;
    } row[] = {
        {{65536, 65536, 65536, 65536}, 0, "tensor a: its dimensions are too large"},
        {{65536, 65536, 65536, 16384}, 0, "too large"}, /* 2^64 bytes */
        {{1 << 30, 1 << 30, 4}, 0, "too large"},
        {{INT_MAX, INT_MAX, INT_MAX, INT_MAX}, 0, "too large"},
        {{INT_MAX, INT_MAX, 3}, 28, "too large"},
        {{1 << 30, 1 << 30, 1 << 3}, 1, "too large"},
        {{1 << 30, 1 << 30, 1 << 2}, 1, "9223372036854775808 bytes from 0 on"},
        {{1 << 30, 1 << 30, 32}, 2, "too large"}, /* 18 bytes for 32 */
        {{1 << 30, 1 << 30, 16}, 2, "10376293541461622784 bytes from 0 on"},
        {{1 << 30, 1 << 30, 1 << 30, 1 << 30}, 12, "too large"},
        {{INT_MAX, INT_MAX, 1, 1}, 0, "bytes from 0 on, the file has 4 bytes"},
        {{1, 1, 1, 2}, 0, "tensor a: 8 bytes from 0 on, the file has 4 bytes"},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        begin(1, 0);
        add_tensor("a", row[i].dims, row[i].type, 0);
        add_data(32, 4);
        refuse_made(state, row[i].text, MS_FORMAT, row[i].text);
    }
}

/* What ggml knows, knew or may come to know. */
static void types_are_taken_or_refused_by_name(void **state)
{
    static const char *const refused[] = {
        [9] = "Q8_1",   [15] = "Q8_K",   [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS",
        [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S",   [22] = "IQ2_S",  [23] = "IQ4_XS",
        [24] = "I8",    [25] = "I16",    [27] = "I64",     [29] = "IQ1_M",  [34] = "TQ1_0",
        [35] = "TQ2_0", [39] = "MXFP4",  [40] = "NVFP4",   [63] = NULL,
    };
    static const struct {
        uint32_t type;
        ms_dtype dtype;
    } taken[] = {{0, MS_F32},   {1, MS_F16},   {2, MS_Q4_0},  {3, MS_Q4_1},  {6, MS_Q5_0},
                 {7, MS_Q5_1},  {8, MS_Q8_0},  {10, MS_Q2_K}, {11, MS_Q3_K}, {12, MS_Q4_K},
                 {13, MS_Q5_K}, {14, MS_Q6_K}, {26, MS_I32},  {28, MS_F64},  {30, MS_BF16}};

    for (uint32_t type = 0; type < COUNT(refused) + 2; type++) {
        uint32_t number = type < COUNT(refused) ? type : type == COUNT(refused) ? 4711 : UINT32_MAX;
        const char *name = type < COUNT(refused) ? refused[type] : NULL;
        ms_dtype dtype = MS_DTYPE_COUNT;
        char text[80];

        for (size_t i = 0; i < COUNT(taken); i++)
            if (taken[i].type == number) dtype = taken[i].dtype;
        begin(1, 0);
        add_tensor("some.weight", DIMS(256), number, 0);
        add_data(32, 2048);
        if (dtype != MS_DTYPE_COUNT) {
            ms_gguf *g = opened_made(state);
            assert_int_equal(ms_gguf_at(g, 0)->dtype, dtype);
            ms_gguf_close(g);
            continue;
        }
        if (name) snprintf(text, sizeof text, "some.weight: type %s (%u) is not", name, number);
        if (!name) snprintf(text, sizeof text, "some.weight: type %u is not", number);
        refuse_made(state, text, MS_UNSUPPORTED, text);
    }
}

/* Twice the same, among others, of whatever type. */
static void names_that_are_there_twice_are_refused(void **state)
{
    begin(0, 4);
    add_key("b", MS_GGUF_U8), add(1, 1);
    add_key("a", MS_GGUF_U8), add(1, 1);
    add_key("c", MS_GGUF_U8), add(1, 1);
    add_key("b", MS_GGUF_TEXT), add_text("");
    refuse_made(state, "key", MS_FORMAT, "metadata b is there twice");
    begin(0, 2);
    add_key("general.alignment", MS_GGUF_U32), add(32, 4);
    add_key("general.alignment", MS_GGUF_U32), add(64, 4);
    refuse_made(state, "alignment", MS_FORMAT, "metadata general.alignment is there twice");
    begin(3, 0);
    add_tensor("a", DIMS(1), 0, 0);
    add_tensor("b", DIMS(1), 0, 32);
    add_tensor("a", DIMS(1), 0, 64);
    add_data(32, 96);
    refuse_made(state, "tensor", MS_FORMAT, "tensor a is there twice");
}

/* The text of a file does not reach a terminal as a command, nor end the line. */
static void messages_are_printable(void **state)
{
    begin(0, 1);
    add_key("a\n\x1b[2J", 77);
    refuse_made(state, "key", MS_FORMAT, "metadata a??[2J: no type");
    begin(1, 0);
    add_tensor("t\r\nx", DIMS(1), 99, 0);
    refuse_made(state, "tensor", MS_UNSUPPORTED, "tensor t??x: type 99");
}

static void alignment_must_be_one_number(void **state)
{
    begin(0, 1);
    add_array("general.alignment", MS_GGUF_U32, 1), add(32, 4);
    refuse_made(state, "array", MS_FORMAT, "general.alignment is no u32");
    begin(0, 1);
    add_array("general.alignment", MS_GGUF_U32, 0);
    refuse_made(state, "empty", MS_FORMAT, "general.alignment is no u32");
    begin(0, 1);
    add_key("general.alignment", MS_GGUF_U64), add(32, 8);
    refuse_made(state, "u64", MS_FORMAT, "general.alignment is no u32");
    begin(0, 1);
    add_key("general.alignment", MS_GGUF_TEXT), add_text("32");
    refuse_made(state, "text", MS_FORMAT, "general.alignment is no u32");
}

/* Arrays of arrays to any depth, as a stack would have to hold them. */
static void nested_arrays_are_refused(void **state)
{
    begin(0, 1);
    add_key("a", MS_GGUF_ARRAY);
    for (int i = 0; i < 8000; i++) {
        add(MS_GGUF_ARRAY, 4);
        add(1, 8);
    }
    refuse_made(state, "nested", MS_UNSUPPORTED, "metadata a: arrays of arrays");
}

static void no_cut_of_a_file_is_read(void **state)
{
    const char *path = in(state, "x");
    size_t at[FIELDS];

    make_good(at);
    for (size_t n = 0; n < made.size; n++) {
        put(path, made.data, n);
        refuse("cut", path, n, MS_FORMAT, "");
    }
    ms_gguf *g = NULL;
    ms_error err;
    must_fail("none", ms_gguf_open(&g, in(state, "none"), &err), MS_IO, &err, "cannot open");
    assert_null(g);
}

/* Refused in a line, or read; never more. */
static void try_made(const char *path)
{
    ms_gguf *g = NULL;
    ms_error err = {.status = MS_OK};

    put(path, made.data, made.size);
    ms_status s = ms_gguf_open(&g, path, &err);
    if (!s) {
        read_all(g);
        ms_gguf_close(g);
    } else {
        assert_true(s == MS_FORMAT || s == MS_UNSUPPORTED);
        assert_true(err.message[0] && !strchr(err.message, '\n') && !g);
    }
}

static void changed_bytes_do_no_harm(void **state)
{
    static const uint8_t with[] = {0, 1, 2, 8, 9, 0x20, 0x7f, 0x80, 0xfe, 0xff};
    const char *path = in(state, "x");
    ms_rng r = ms_rng_new(7, 0, MS_SITE_TEST);
    size_t at[FIELDS];

    make_good(at);
    for (size_t i = 0; i < at[DATA]; i++)
        for (size_t k = 0; k < COUNT(with); k++) {
            uint8_t was = made.data[i];

            made.data[i] = with[k];
            try_made(path);
            made.data[i] = was;
        }
    for (size_t i = HEADER; i < at[DATA]; i++) { /* a byte is missing */
        make_good(at);
        memmove(made.data + i, made.data + i + 1, --made.size - i);
        try_made(path);
    }
    for (int i = 0; i < 4000; i++) { /* several bytes, and another length */
        make_good(at);
        for (uint32_t k = ms_rng_below(&r, 6); k < 6; k++)
            made.data[ms_rng_below(&r, (uint32_t)at[DATA])] = with[ms_rng_below(&r, COUNT(with))];
        if (ms_rng_below(&r, 4) == 0) made.size -= ms_rng_below(&r, (uint32_t)made.size);
        try_made(path);
    }
}

/* As many as the file has bytes for, which is more than anybody needs; the file is a hole. */
static void too_many_are_refused(void **state)
{
    const char *path = in(state, "x");
    const size_t size = 64 << 20;

    for (int tensors = 0; tensors < 2; tensors++) {
        begin(tensors ? (1 << 20) + 1 : 0, tensors ? 0 : (1 << 20) + 1);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(made.data, 1, made.size, f), made.size);
        assert_int_equal(fseek(f, (long)size - 1, SEEK_SET), 0);
        fputc(0, f);
        assert_int_equal(fclose(f), 0);
        refuse("many", path, size, MS_FORMAT,
               tensors ? "1048577 tensors are more than 1048576"
                       : "1048577 keys are more than 1048576");
    }
}

/* -- what is written ------------------------------------------------------------------------- */

static const char RAW[] = "\0\xff\n\xC3\xA9 tail";

static const ms_gguf_text TEXTS[] = {{"", 0}, {"one", 3}, {RAW, sizeof RAW - 1}, {"x", 1}};

/* A key for each type of array, with 5 elements whose bytes count up. */
static void add_all(ms_gguf_head *h, uint8_t bytes[40])
{
    for (int i = 0; i < 40; i++) bytes[i] = (uint8_t)(i % 2);
    ms_gguf_add_text(h, "general.architecture", "llama");
    ms_gguf_add_text(h, "empty", "");
    ms_gguf_add_u32(h, "u32", 4000000000u);
    ms_gguf_add_f32(h, "f32", -0.1f);
    ms_gguf_add_bool(h, "yes", true);
    ms_gguf_add_bool(h, "no", false);
    for (ms_gguf_type t = 0; t < MS_GGUF_TYPE_COUNT; t++)
        if (BYTES[t]) ms_gguf_add_array(h, (char[]){'n', (char)('a' + t), 0}, t, bytes, 5);
    ms_gguf_add_array(h, "nothing", MS_GGUF_U64, NULL, 0);
    ms_gguf_add_texts(h, "texts", TEXTS, COUNT(TEXTS));
    ms_gguf_add_texts(h, "no texts", NULL, 0);
}

static void expect_metadata(const ms_gguf *g, const uint8_t bytes[40])
{
    ms_gguf_text text;
    double d;

    assert_int_equal(ms_gguf_metas(g), 6 + 11 + 3);
    assert_string_equal(ms_gguf_meta_at(g, 1)->key, "empty");
    assert_true(ms_gguf_text_at(ms_gguf_get(g, "empty"), 0, &text) && text.size_bytes == 0);
    assert_true(ms_gguf_text_at(ms_gguf_get(g, "general.architecture"), 0, &text));
    assert_true(text.size_bytes == 5 && !memcmp(text.text, "llama", 5));
    assert_true(ms_gguf_number(ms_gguf_get(g, "u32"), 0, &d) && d == 4000000000.0);
    assert_true(ms_gguf_number(ms_gguf_get(g, "f32"), 0, &d) && d == (double)-0.1f);
    assert_true(ms_gguf_number(ms_gguf_get(g, "yes"), 0, &d) && d == 1);
    assert_true(ms_gguf_number(ms_gguf_get(g, "no"), 0, &d) && d == 0);
    for (ms_gguf_type t = 0; t < MS_GGUF_TYPE_COUNT; t++) {
        if (!BYTES[t]) continue;
        const ms_gguf_meta *m = ms_gguf_get(g, (char[]){'n', (char)('a' + t), 0});
        assert_true(m && m->array && m->type == t && m->count == 5);
        assert_memory_equal(m->value, bytes, 5 * (size_t)BYTES[t]);
    }
    const ms_gguf_meta *m = ms_gguf_get(g, "texts");
    assert_true(m->array && m->count == COUNT(TEXTS));
    for (size_t i = 0; i < COUNT(TEXTS); i++) {
        assert_true(ms_gguf_text_at(m, i, &text) && text.size_bytes == TEXTS[i].size_bytes);
        assert_memory_equal(text.text, TEXTS[i].text, text.size_bytes);
    }
    assert_true(ms_gguf_get(g, "no texts")->count == 0 && ms_gguf_get(g, "nothing")->count == 0);
    read_all(g);
}

static uint8_t BUFFER[4096];

/* Every type that GGUF has, every rank. */
static const ms_st_entry WRITTEN[] = {
    {"double", MS_F64, 1, {5}, BUFFER, 40},
    {"float.weight", MS_F32, 2, {2, 3}, BUFFER + 1, 24},
    {"brain", MS_BF16, 3, {1, 2, 3}, BUFFER + 2, 12},
    {"half", MS_F16, 4, {2, 1, 3, 1}, BUFFER + 90, 12},
    {"whole", MS_I32, 1, {1}, BUFFER, 4},
    {"scalar", MS_F32, 0, {0}, BUFFER + 3, 4},
    {"q8_0", MS_Q8_0, 2, {3, 64}, BUFFER, 204},
    {"q4_0", MS_Q4_0, 1, {32}, BUFFER + 5, 18},
    {"q4_1", MS_Q4_1, 3, {2, 2, 32}, BUFFER, 80},
    {"q5_0", MS_Q5_0, 1, {96}, BUFFER, 66},
    {"q5_1", MS_Q5_1, 1, {32}, BUFFER + 7, 24},
    {"q2_k", MS_Q2_K, 1, {256}, BUFFER, 84},
    {"q3_k", MS_Q3_K, 2, {3, 512}, BUFFER, 660},
    {"q4_k", MS_Q4_K, 1, {256}, BUFFER + 100, 144},
    {"q5_k", MS_Q5_K, 1, {256}, BUFFER, 176},
    {"q6_k, of a name of 63 bytes ...................................",
     MS_Q6_K,
     2,
     {1, 512},
     BUFFER,
     420},
};

enum { N = COUNT(WRITTEN) };

static void fill_buffer(void)
{
    for (size_t i = 0; i < sizeof BUFFER; i++) BUFFER[i] = (uint8_t)(i * 2654435761u >> 11);
}

/* *user counts the calls; from 100 on they fail. */
static ms_status fill(void *user, int i, void *buffer, ms_error *err)
{
    int *calls = user;

    if (*calls >= 100) return ms_fail(err, MS_NONFINITE, "no bytes for %d", i);
    assert_int_equal(i, (*calls)++);
    memcpy(buffer, WRITTEN[i].data, WRITTEN[i].size_bytes);
    return MS_OK;
}

static void expect_tensors(const ms_gguf *g)
{
    assert_int_equal(ms_gguf_count(g), N);
    for (int i = 0; i < N; i++) {
        const ms_st_entry *e = ms_gguf_at(g, i), *w = &WRITTEN[i];
        int dim[MS_MAX_RANK] = {1};

        if (w->rank) memcpy(dim, w->dim, sizeof dim);
        assert_string_equal(e->name, w->name);
        assert_true(e->dtype == w->dtype && e->rank == (w->rank ? w->rank : 1));
        assert_memory_equal(e->dim, dim, (size_t)e->rank * sizeof *dim);
        assert_int_equal(e->size_bytes, w->size_bytes);
        assert_int_equal((uintptr_t)e->data % 32, 0);
        assert_memory_equal(e->data, w->data, w->size_bytes);
    }
}

static void what_is_written_is_read_back(void **state)
{
    const char *path = in(state, "x");
    uint8_t bytes[40];
    int calls = 0;
    ms_error err;

    fill_buffer();
    for (int filled = 0; filled < 2; filled++) {
        ms_gguf_head *h = ms_gguf_head_new();

        assert_non_null(h);
        add_all(h, bytes);
        must(ms_gguf_write(path, h, WRITTEN, N, filled ? fill : NULL, &calls, &err), &err);
        ms_gguf_head_free(h);
        ms_gguf *g = opened(path);
        expect_metadata(g, bytes);
        expect_tensors(g);
        ms_gguf_close(g);
    }
    assert_int_equal(calls, N);
}

/* Texts of 0 to 40 bytes: every amount of padding; the end is padded, too; padding is zeros. */
static void data_begins_at_a_multiple_of_32(void **state)
{
    const char *path = in(state, "x"), *text = "tttttttttttttttttttttttttttttttttttttttt";
    const ms_st_entry e = {"t", MS_F32, 1, {1}, "\1\2\3\4", 4};
    unsigned long amounts = 0;
    ms_error err;

    for (size_t n = 0; n <= 40; n++) {
        ms_gguf_head *h = ms_gguf_head_new();
        ms_map map;

        ms_gguf_add_text(h, "k", text + 40 - n);
        must(ms_gguf_write(path, h, &e, 1, NULL, NULL, &err), &err);
        ms_gguf_head_free(h);
        must(ms_map_open(&map, path, &err), &err);
        size_t head = HEADER + 9 + 4 + 8 + n + 9 + 4 + 8 + 4 + 8, data = (head + 31) / 32 * 32;
        assert_int_equal(map.size_bytes, data + 32);
        assert_memory_equal(map.data, "GGUF\3\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", HEADER);
        for (size_t i = head; i < data; i++) assert_int_equal(map.data[i], 0);
        assert_memory_equal(map.data + data, "\1\2\3\4", 4);
        for (size_t i = data + 4; i < data + 32; i++) assert_int_equal(map.data[i], 0);
        ms_map_close(&map);
        amounts |= 1ul << (data - head);
    }
    assert_int_equal(amounts, 0xffffffff);
}

static void a_written_file_may_hold_nothing(void **state)
{
    ms_gguf_head *h = ms_gguf_head_new();
    ms_error err;

    must(ms_gguf_write(in(state, "x"), h, NULL, 0, NULL, NULL, &err), &err);
    ms_gguf_head_free(h);
    ms_gguf *g = opened(in(state, "x"));
    assert_true(ms_gguf_count(g) == 0 && ms_gguf_metas(g) == 0);
    ms_gguf_close(g);
}

static void what_could_not_be_read_is_not_written(void **state)
{
    static const struct {
        ms_st_entry entry;
        ms_status status;
        const char *text;
    } row[] = {
        {{"a", MS_U8, 1, {4}, "abcd", 4}, MS_UNSUPPORTED, "tensor a: GGUF has no type u8"},
        {{"", MS_F32, 1, {1}, "abcd", 4}, MS_INPUT, "a name of 0 bytes, expected 1 to 63"},
        {{"0123456789012345678901234567890123456789012345678901234567890123",
          MS_F32,
          1,
          {1},
          "abcd",
          4},
         MS_INPUT,
         "a name of 64 bytes, expected 1 to 63"},
        {{"a", MS_F32, 1, {2}, "abcd", 4}, MS_INPUT, "tensor a: 4 bytes do not make its shape"},
        {{"a", MS_F32, 2, {1, 0}, "abcd", 0}, MS_INPUT, "tensor a: dimension 1 is 0"},
        {{"a", MS_F32, 2, {0, 1}, "abcd", 0}, MS_INPUT, "tensor a: dimension 0 is 0"},
        {{"a", MS_F32, 1, {-1}, "abcd", 4}, MS_INPUT, "tensor a: dimension 0 is -1"},
        {{"a", MS_Q8_0, 2, {2, 16}, BUFFER, 34}, MS_INPUT, "34 bytes do not make its shape"},
        {{"a", MS_F32, 4, {65536, 65536, 65536, 16384}, BUFFER, 0}, MS_INPUT, "0 bytes do not"},
    };
    const char *path = in(state, "x");
    ms_gguf_head *h = ms_gguf_head_new();
    ms_error err;

    put_text(path, "old");
    for (size_t i = 0; i < COUNT(row); i++) {
        ms_status s = ms_gguf_write(path, h, &row[i].entry, 1, NULL, NULL, &err);

        must_fail(row[i].text, s, row[i].status, &err, row[i].text);
    }
    holds(path, "old");
    lists(in(state, ""), "x ");
    ms_gguf_head_free(h);
}

static void a_write_that_fails_leaves_the_old_file(void **state)
{
    const char *path = in(state, "x");
    ms_gguf_head *h = ms_gguf_head_new();
    int calls = 100;
    ms_error err;

    put_text(path, "old");
    ms_status s = ms_gguf_write(path, h, WRITTEN, N, fill, &calls, &err);
    must_fail("fill", s, MS_NONFINITE, &err, "no bytes for 0");
    s = ms_gguf_write(in(state, "no/x"), h, WRITTEN, N, NULL, NULL, &err);
    must_fail("folder", s, MS_IO, &err, "cannot write");
    holds(path, "old");
    lists(in(state, ""), "x ");
    ms_gguf_head_free(h);
}

/* All functions take what ms_gguf_head_new gives when memory is out. */
static void metadata_that_found_no_memory_is_reported(void **state)
{
    const char *path = in(state, "x");
    uint8_t bytes[40];
    ms_error err;

    add_all(NULL, bytes);
    ms_gguf_head_free(NULL);
    ms_status s = ms_gguf_write(path, NULL, NULL, 0, NULL, NULL, &err);
    must_fail("none", s, MS_MEMORY, &err, "out of memory for metadata");
    ms_gguf_head *h = ms_gguf_head_new();
    ms_gguf_add_array(h, "k", MS_GGUF_U64, bytes, (UINT64_C(1) << 61) + 1); /* 8 in 64 bits */
    ms_gguf_add_u32(h, "more", 1);
    s = ms_gguf_write(path, h, NULL, 0, NULL, NULL, &err);
    must_fail("too large", s, MS_MEMORY, &err, "out of memory for metadata");
    ms_gguf_head_free(h);
    lists(in(state, ""), "");
}

/* Many names with one beginning, of keys and of tensors: each is found. */
static void many_names_are_found(void **state)
{
    enum { MANY = 20000 };
    static char name[MANY][48];
    ms_st_entry *entry = calloc(MANY, sizeof *entry);
    ms_gguf_head *h = ms_gguf_head_new();
    ms_error err;

    assert_non_null(entry);
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(name[i], sizeof name[i], "model.layers.weights.%u", i * 40503u % 65536);
        entry[i] = (ms_st_entry){name[i], MS_I32, 1, {1}, "data", 4};
        ms_gguf_add_u32(h, name[i], i);
    }
    must(ms_gguf_write(in(state, "x"), h, entry, MANY, NULL, NULL, &err), &err);
    ms_gguf_head_free(h);
    free(entry);
    ms_gguf *g = opened(in(state, "x"));
    for (int i = 0; i < MANY; i++) {
        double d;

        assert_ptr_equal(ms_gguf_find(g, name[i]), ms_gguf_at(g, i));
        assert_true(ms_gguf_number(ms_gguf_get(g, name[i]), 0, &d) && d == i);
    }
    assert_null(ms_gguf_find(g, "model.layers.weights."));
    assert_null(ms_gguf_get(g, "model.layers.weights.65536"));
    ms_gguf_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_file_made_by_hand_is_read),
        SCRATCH_TEST(every_number_is_read),
        SCRATCH_TEST(tensors_may_lie_in_any_order),
        SCRATCH_TEST(any_power_of_two_aligns),
        SCRATCH_TEST(a_file_may_hold_nothing),
        SCRATCH_TEST(arrays_may_be_empty),
        SCRATCH_TEST(names_have_their_lengths),
        SCRATCH_TEST(broken_fields_are_refused),
        SCRATCH_TEST(counts_are_held_against_the_bytes_left),
        SCRATCH_TEST(the_place_of_a_fault_is_told),
        SCRATCH_TEST(numbers_that_overflow_are_refused),
        SCRATCH_TEST(shapes_that_overflow_are_refused),
        SCRATCH_TEST(types_are_taken_or_refused_by_name),
        SCRATCH_TEST(names_that_are_there_twice_are_refused),
        SCRATCH_TEST(messages_are_printable),
        SCRATCH_TEST(alignment_must_be_one_number),
        SCRATCH_TEST(nested_arrays_are_refused),
        SCRATCH_TEST(no_cut_of_a_file_is_read),
        SCRATCH_TEST(changed_bytes_do_no_harm),
        SCRATCH_TEST(too_many_are_refused),
        SCRATCH_TEST(what_is_written_is_read_back),
        SCRATCH_TEST(data_begins_at_a_multiple_of_32),
        SCRATCH_TEST(a_written_file_may_hold_nothing),
        SCRATCH_TEST(what_could_not_be_read_is_not_written),
        SCRATCH_TEST(a_write_that_fails_leaves_the_old_file),
        SCRATCH_TEST(metadata_that_found_no_memory_is_reported),
        SCRATCH_TEST(many_names_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
