# Minstrel's only build file.
#   make            build ./minstrel and libminstrel.a      make DEBUG=1 | ASAN=1   other configurations
#   make test       build and run all test programs         make check   the conformance suite alone
#   make bench examples golden mutants install clean format
#   make fuzz       build the targets of libFuzzer (clang); tools/fuzz.sh SECONDS runs them

.DEFAULT_GOAL := all
PREFIX  ?= /usr/local
CC      ?= cc
CONFIG  := $(if $(FUZZ),fuzz,$(if $(ASAN),asan,$(if $(DEBUG),debug,release)))
TAG     := $(CONFIG)$(if $(FUZZ),,$(if $(filter-out cc gcc,$(notdir $(CC))),-$(notdir $(CC))))
BUILD   := build/$(TAG)
VERSION := $(shell sed -n 's/.*MINSTREL_VERSION "\(.*\)"/\1/p' include/minstrel.h)
LIBS    := libcjson popt libzstd libxxhash libpcre2-8 libutf8proc

CPPFLAGS += -Isrc -Iinclude -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -D_DARWIN_C_SOURCE -MMD -MP
CFLAGS   += -std=c11 -g -fno-math-errno -ffp-contract=fast -pthread
CFLAGS   += -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
CFLAGS   += $(if $(WERROR),-Werror) $(shell pkg-config --cflags $(LIBS))
LDLIBS   += $(shell pkg-config --libs $(LIBS)) -lm -pthread
# Line editing, for the program alone; macOS has it without pkg-config.
EDIT     := $(shell pkg-config --libs libedit 2>/dev/null || echo -ledit)
ifeq ($(CONFIG),release)
CFLAGS   += -O3
endif
ifeq ($(CONFIG),debug)
CFLAGS   += -O1 -DMS_DEBUG
endif
ifeq ($(CONFIG),asan)
CFLAGS   += -O1 -DMS_DEBUG -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=address,undefined,float-cast-overflow
endif
ifeq ($(CONFIG),fuzz)
CFLAGS   += -O1 -DMS_DEBUG -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LDFLAGS  += -fsanitize=fuzzer,address,undefined
endif

# -- the CPU back end: its kernels are compiled once for each instruction set, chosen at run time ----
# The machine that the compiler makes code for: x86_64-linux-gnu, aarch64-apple-darwin, ...
TARGET   := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
VARIANTS := scalar base
ifneq ($(filter x86_64 amd64,$(TARGET)),)
VARIANTS += avx2 avxvnni avx512 avx512vnni avx512bf16
endif
ifneq ($(filter aarch64 arm64,$(TARGET)),)
VARIANTS += dotprod i8mm
endif
ISA_scalar     := -DMS_CPU_SCALAR
ISA_base       :=
ISA_avx2       := -mavx2 -mfma -mf16c
ISA_avxvnni    := $(ISA_avx2) -mavxvnni
ISA_avx512     := $(ISA_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
ISA_avx512vnni := $(ISA_avx512) -mavx512vnni
ISA_avx512bf16 := $(ISA_avx512vnni) -mavx512bf16
ISA_dotprod    := -march=armv8.2-a+fp16+dotprod
ISA_i8mm       := -march=armv8.2-a+fp16+dotprod+i8mm+bf16

KERNELS := $(filter-out src/ops/cpu/device.c,$(wildcard src/ops/cpu/*.c))
SOURCES := $(filter-out $(KERNELS) $(wildcard src/cli/*.c),$(wildcard src/*.c src/*/*.c src/*/*/*.c))
CLI     := $(wildcard src/cli/*.c)
obj      = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIBOBJ  := $(call obj,$(SOURCES)) \
           $(foreach v,$(VARIANTS),$(patsubst %.c,$(BUILD)/%.$(v).o,$(KERNELS)))
LIB     := $(BUILD)/libminstrel.a

# -- tests: tests/x/test_y.c is a program; other files of tests/x are linked into the programs there ----
TESTS   := $(wildcard tests/*/test_*.c)
TESTBIN := $(patsubst %.c,$(BUILD)/%,$(TESTS))
HELPERS  = $(call obj,$(filter-out $(TESTS),$(wildcard $(dir $(1))*.c)))

# What tests see of a build of the CPU back end: tests/ops/variants is compiled for each one, too.
VECTORS := $(foreach v,$(VARIANTS),$(BUILD)/tests/ops/variants/vectors.$(v).o)
$(BUILD)/tests/ops/test_simd: $(VECTORS)
$(BUILD)/tests/ops/test_simd.o: CPPFLAGS += -DMS_CPU_VARIANTS='$(foreach v,$(VARIANTS),X($(v)))'

all: minstrel

minstrel: $(BUILD)/minstrel
	@cmp -s $< $@ || cp -f $< $@

$(BUILD)/minstrel: $(call obj,$(CLI)) $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(EDIT)

$(LIB): $(LIBOBJ)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

define variant_rule
$(BUILD)/src/ops/cpu/%.$(1).o: src/ops/cpu/%.c Makefile
	@mkdir -p $$(@D)
	$$(CC) $$(CPPFLAGS) $$(CFLAGS) $$(ISA_$(1)) -DMS_CPU_VARIANT=$(1) -c -o $$@ $$<

$(BUILD)/tests/ops/variants/%.$(1).o: tests/ops/variants/%.c Makefile
	@mkdir -p $$(@D)
	$$(CC) $$(CPPFLAGS) $$(CFLAGS) $$(ISA_$(1)) -DMS_CPU_VARIANT=$(1) -c -o $$@ $$<
endef
$(foreach v,$(VARIANTS),$(eval $(call variant_rule,$(v))))

.SECONDEXPANSION:
$(BUILD)/tests/%: $(BUILD)/tests/%.o $$(call HELPERS,tests/$$*) $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) $$(pkg-config --libs cmocka)

tests: $(TESTBIN)

test: minstrel run-tests

run-tests: $(TESTBIN)
	@tools/run_tests.sh $(TESTBIN)

check: $(BUILD)/tests/ops/test_conformance
	$<

bench: minstrel
	./minstrel bench ops

examples: $(patsubst examples/%.c,$(BUILD)/examples/%,$(wildcard examples/*.c))
$(BUILD)/examples/%: $(BUILD)/examples/%.o $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# -- fuzzing: tests/fuzz/fuzz_y.c is a program; the library is compiled for it, in build/fuzz -------
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(LIB)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

fuzz:
	$(MAKE) FUZZ=1 CC=clang fuzzers

fuzzers: $(FUZZERS)

golden:
	/usr/bin/python3 tools/golden.py

mutants:
	tests/model/mutants.sh

install: minstrel
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 minstrel $(DESTDIR)$(PREFIX)/bin/minstrel
	install -m 644 $(LIB) $(DESTDIR)$(PREFIX)/lib/libminstrel.a
	install -m 644 include/minstrel.h $(DESTDIR)$(PREFIX)/include/minstrel.h
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(LIBS)|' minstrel.pc.in \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/minstrel.pc

format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

clean:
	rm -rf build minstrel

.PHONY: all tests test run-tests check bench examples fuzz fuzzers golden mutants install format clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
