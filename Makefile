# cowrun: `make`, `make demo`, `make check`, `make lint`, `make bench`, `make install`; `make help` lists them.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
CC ?= gcc
VERSION := 0.1.0

bindir = $(PREFIX)/bin
libexecdir = $(PREFIX)/libexec/cowrun
mandir = $(PREFIX)/share/man
sysconfdir ?= /etc

PACKAGES = yajl libseccomp mount
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
HARDENING = -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
LD_HARDENING = -pie -Wl,-z,relro,-z,now
CPPFLAGS += -D_GNU_SOURCE -DCOW_VERSION='"$(VERSION)"' -DCOW_LIBEXECDIR='"$(libexecdir)"'
CFLAGS ?= -O2 -g
override CFLAGS += -std=gnu11 $(WARNINGS) $(PKG_CFLAGS)
ifeq ($(WERROR),1)
override CFLAGS += -Werror
endif
ifeq ($(SANITIZE),1)
override CFLAGS += -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS += -fsanitize=address,undefined
BUILD := $(BUILD)/sanitize
else
override CFLAGS += $(HARDENING)
LDFLAGS += $(LD_HARDENING)
endif
# Every build leaves a stamp of its flags, so that WERROR=1 or CFLAGS=… rebuild what they must.
LDLIBS = $(PKG_LIBS) -pthread

BIN = $(BUILD)/bin
LIB = $(BUILD)/libcowrun.a
PROGRAMS = cowrun cowrun-hook cowrun-agent cowrun-init

LIB_SRC := $(wildcard runtime/lib/*.c runtime/filter/*.c runtime/branch/*.c runtime/graft/*.c)
AGENT_SRC := $(wildcard runtime/agent/*.c)
WRAPPER_SRC := runtime/cowrun.c $(wildcard runtime/wrapper/*.c runtime/cmd/*.c)
HOOK_SRC := $(wildcard hooks/*.c)
INIT_SRC := $(wildcard runtime/init/*.c)
UNIT_SRC := $(wildcard tests/unit/test_*.c)

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
# Unit tests may link any part of the agent or the wrapper but their main files.
PART_OBJ := $(call objects,$(filter-out runtime/agent/main.c runtime/cowrun.c,$(AGENT_SRC) $(WRAPPER_SRC)))
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(UNIT_SRC))

all: $(addprefix $(BIN)/,$(PROGRAMS))

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(call objects,$(LIB_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

$(BIN)/cowrun: $(call objects,$(WRAPPER_SRC)) $(LIB)
$(BIN)/cowrun-agent: $(call objects,$(AGENT_SRC)) $(LIB)
$(BIN)/cowrun-hook: $(call objects,$(HOOK_SRC)) $(LIB)
$(BIN)/cowrun $(BIN)/cowrun-agent $(BIN)/cowrun-hook:
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Runs inside any image: static, and never sanitized.
$(BIN)/cowrun-init: $(INIT_SRC) $(wildcard runtime/init/*.h) Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu11 -Os $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror) -fstack-protector-strong -static -s -o $@ $(INIT_SRC)

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(PART_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

clean:
	rm -rf build

.PHONY: all clean
.SECONDARY:
-include $(patsubst %.o,%.d,$(call objects,$(LIB_SRC) $(AGENT_SRC) $(WRAPPER_SRC) $(HOOK_SRC) $(UNIT_SRC)))
