# cowrun: `make`, `make demo`, `make check`, `make lint`, `make bench`, `make install`; `make help` lists them.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
ifeq ($(origin CC),default)
CC = gcc
endif
VERSION := 0.1.0

bindir = $(PREFIX)/bin
libexecdir = $(PREFIX)/libexec/cowrun
mandir = $(PREFIX)/share/man
sysconfdir ?= /etc

PACKAGES = yajl libseccomp mount
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
# Without libmount, which runtime/wrapper/host.c loads by itself.
PKG_LIBS := $(shell pkg-config --libs $(filter-out mount,$(PACKAGES)) 2>/dev/null)

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
HARDENING = -fstack-protector-strong -fPIE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
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
override BUILD := $(BUILD)/sanitize
else
override CFLAGS += $(HARDENING)
LDFLAGS += $(LD_HARDENING)
endif
LDLIBS = $(PKG_LIBS) -pthread -ldl

BIN = $(BUILD)/bin
LIB = $(BUILD)/libcowrun.a
# A part whose main is not in the tree yet is not built, and the end-to-end tests wait until all are.
main_of = $(if $(wildcard $(1)),$(2))
PROGRAMS = cowrun-init $(call main_of,runtime/cowrun.c,cowrun) $(call main_of,hooks/main.c,cowrun-hook) \
	$(call main_of,runtime/agent/main.c,cowrun-agent)

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

# Every build leaves a stamp of its flags, so that WERROR=1 or CFLAGS=… rebuild what they must. A missing compiler or
# library is said here, by its package, before the compiler stumbles over it.
FLAGS = $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LDLIBS)
$(BUILD)/flags: FORCE
	@pkg-config --exists $(PACKAGES) 2>/dev/null && command -v $(firstword $(CC)) >/dev/null || \
		{ contrib/deps --check build; echo "cannot build: see above" >&2; exit 1; }
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS))' >$@

$(BUILD)/obj/%.o: %.c Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(call objects,$(LIB_SRC))
	@rm -f $@
	$(AR) rcs $@ $^

$(BIN)/cowrun: $(call objects,$(WRAPPER_SRC)) $(LIB)
$(BIN)/cowrun-agent: $(call objects,$(AGENT_SRC)) $(LIB)
$(BIN)/cowrun-hook: $(call objects,$(HOOK_SRC)) $(LIB)

# Every start of a container runs the latter two once: without the dynamic linker that takes half the page faults. And
# cowrun five times: it needs that linker, for libmount, but then only for that and libc.
ifneq ($(SANITIZE),1)
STATIC = -static-pie
STATIC_LIBS = -lyajl_s -lseccomp -pthread
MOSTLY_STATIC_LIBS = -Wl,-Bstatic -lyajl_s -lseccomp -Wl,-Bdynamic -pthread -ldl
endif
$(BIN)/cowrun:
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(or $(MOSTLY_STATIC_LIBS),$(LDLIBS))
$(BIN)/cowrun-agent $(BIN)/cowrun-hook:
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) $(STATIC) -o $@ $^ $(or $(STATIC_LIBS),$(LDLIBS))

# Runs inside any image: static, and never sanitized.
$(BIN)/cowrun-init: $(INIT_SRC) $(wildcard runtime/init/*.h) Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu11 -Os $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror) -fstack-protector-strong -static -s -o $@ $(INIT_SRC)

$(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(PART_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Run inside the containers of the end-to-end tests; one source file or one directory each.
E2E_PROGRAMS := $(patsubst tests/e2e/programs/%,$(BUILD)/e2e/%,$(basename $(wildcard tests/e2e/programs/*.c)) \
	$(patsubst %/main.c,%,$(wildcard tests/e2e/programs/*/main.c)))
# For the kernel's other table of calls; it needs a compiler that knows i386, and neither headers nor a C library for it.
ifneq ($(shell uname -m),x86_64)
E2E_PROGRAMS := $(filter-out %/i386,$(E2E_PROGRAMS))
endif
$(BUILD)/e2e/i386: E2E_FLAGS = -m32 -ffreestanding -nostdlib -static -fno-pie -no-pie -fno-stack-protector
.SECONDEXPANSION:
$(BUILD)/e2e/%: $$(wildcard tests/e2e/programs/$$*.c tests/e2e/programs/$$*/*) Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 -O2 $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror) $(E2E_FLAGS) -o $@ $(filter %.c,$^)

# Plays the calls of the differential tester, inside the containers and, to look at trees, outside.
$(BUILD)/differential/play: $(wildcard tests/differential/play/*) Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 -O2 $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror) -static -pthread -o $@ $(filter %.c,$^)

# --- checks ---------------------------------------------------------------------------------------------------------
# What needs packages installs them first and then starts make again, so that pkg-config is asked when it is there.

JOBS ?= $(shell nproc)
SUBMAKE = $(MAKE) --no-print-directory
# The long ones first: two suites at a time end about together.
ENGINES ?= bundle-crun podman-runc podman-rootless bundle-runc bundle-crun-init
# Of the delegates' names, the bundles.
DIFFERENTIAL_ENGINES = $(if $(filter file,$(origin ENGINES)),bundle-runc bundle-crun,\
	$(patsubst crun,bundle-crun,$(patsubst runc,bundle-runc,$(ENGINES))))
USERS ?= root user

deps-%:
	@contrib/deps $*

check: deps-test
	@$(SUBMAKE) -j$(JOBS) all unit-programs e2e-programs $(BUILD)/differential/play
	@$(SUBMAKE) -j$(JOBS) SANITIZE=1 unit-programs
	@BUILD=$(BUILD) tests/run --jobs $(JOBS) $(if $(STRICT),--strict) unit sanitize $(addprefix e2e-,$(ENGINES)) \
		$(addprefix differential-,$(filter bundle-%,$(DIFFERENTIAL_ENGINES)))

check-unit: deps-build
	@$(SUBMAKE) -j$(JOBS) all unit-programs
	@BUILD=$(BUILD) tests/run unit

check-sanitize: deps-build
	@$(SUBMAKE) -j$(JOBS) SANITIZE=1 unit-programs
	@BUILD=$(BUILD) tests/run sanitize

check-e2e: deps-test
	@$(SUBMAKE) -j$(JOBS) all e2e-programs
	@BUILD=$(BUILD) tests/run --jobs $(JOBS) $(if $(PLAIN),--plain) $(if $(FILTER),--filter '$(FILTER)') $(addprefix e2e-,$(ENGINES))

# Fixed seeds and cases; or SEEDS="1 2 3"; or SECONDS=n: seeds of the clock. PLAIN=1 tests the tester.
differential: deps-test
	@$(SUBMAKE) -j$(JOBS) all $(BUILD)/differential/play
	@BUILD=$(BUILD) DIFFERENTIAL_SECONDS='$(SECONDS)' DIFFERENTIAL_SEEDS='$(SEEDS)' DIFFERENTIAL_USERS='$(USERS)' \
		tests/run $(if $(PLAIN),--plain) $(addprefix differential-,$(DIFFERENTIAL_ENGINES))

# The unit programs want the built programs beside them too (cowrun-init is run by its own test).
unit-programs: $(UNIT_BIN) $(addprefix $(BIN)/,$(PROGRAMS))
e2e-programs: $(E2E_PROGRAMS)

lint: deps-lint
	@contrib/lint

demo: deps-test
	@$(SUBMAKE) -j$(JOBS) all
	@BUILD=$(BUILD) contrib/demo

# What runs in the containers that are measured, static: the root of the container need not be the machine's.
BENCH_PROGRAMS := $(patsubst tests/bench/programs/%.c,$(BUILD)/bench/programs/%,$(wildcard tests/bench/programs/*.c))
$(BUILD)/bench/programs/%: tests/bench/programs/%.c tests/bench/programs/bench.h Makefile $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 -O2 $(WARNINGS) $(if $(filter 1,$(WERROR)),-Werror) -static -o $@ $<

bench: deps-bench
	@$(SUBMAKE) -j$(JOBS) all bench-programs
	@BUILD=$(BUILD) tests/bench/bench

bench-programs: $(BENCH_PROGRAMS)

# --- installation ---------------------------------------------------------------------------------------------------

MAN_PAGES = $(wildcard contrib/man/*.[1-8])

install: all
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libexecdir) $(DESTDIR)$(PREFIX)/share/cowrun
	install -m 0755 $(BIN)/cowrun $(DESTDIR)$(bindir)/
	install -m 0755 $(BIN)/cowrun-agent $(BIN)/cowrun-hook $(BIN)/cowrun-init $(DESTDIR)$(libexecdir)/
	install -m 0644 config/* $(DESTDIR)$(PREFIX)/share/cowrun/
	for page in $(MAN_PAGES); do \
		install -D -m 0644 $$page $(DESTDIR)$(mandir)/man$${page##*.}/$${page##*/} || exit 1; \
	done

uninstall:
	rm -f $(DESTDIR)$(bindir)/cowrun
	rm -rf $(DESTDIR)$(libexecdir) $(DESTDIR)$(PREFIX)/share/cowrun
	for page in $(MAN_PAGES); do rm -f $(DESTDIR)$(mandir)/man$${page##*.}/$${page##*/}; done

clean:
	rm -rf build

help:
	@echo 'make                 the programs, in $(BIN)'
	@echo 'make demo            a container compiles and runs a program in a branch of this very source tree'
	@echo 'make check           unit tests, the same under ASan and UBSan, end-to-end and differential tests'
	@echo 'make check-unit, check-sanitize, check-e2e     a part of it; ENGINES="$(ENGINES)"'
	@echo '                     FILTER=REGEX: the tests of that name; PLAIN=1: the scenarios under the delegate alone;'
	@echo '                     FULL=1: the long ones on every engine'
	@echo 'make differential    random programs in a branch and on a plain copy; SECONDS=600, SEEDS="1 2 3", ENGINES="runc crun",'
	@echo '                     USERS="root user", PLAIN=1: the copy against another'
	@echo 'make lint            clang-format, clang-tidy, shellcheck, man pages, headers that compile alone'
	@echo 'make bench           times beside those of the plain delegate, overlay and fuse-overlayfs; PARTS="calls programs start many branch",'
	@echo '                     and more variables: tests/bench/bench'
	@echo 'make install         DESTDIR=$(DESTDIR) PREFIX=$(PREFIX); make uninstall'
	@echo 'make clean'
	@echo 'WERROR=1: warnings are errors. SANITIZE=1: with ASan and UBSan, in $(BUILD)/sanitize. BUILD=DIR: elsewhere.'
	@echo 'Packages of Debian that are missing are installed by demo, check, lint and bench; for make itself: contrib/deps build'

FORCE:
.PHONY: all check check-unit check-sanitize check-e2e unit-programs e2e-programs lint demo bench bench-programs install uninstall clean help FORCE
.SECONDARY:
-include $(patsubst %.o,%.d,$(call objects,$(LIB_SRC) $(AGENT_SRC) $(WRAPPER_SRC) $(HOOK_SRC) $(UNIT_SRC)))
