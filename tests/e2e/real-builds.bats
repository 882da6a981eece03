# Compilers, package managers and installers: as in a plain directory.
# bats file_tags=long
load helpers
load real

# cowrun's own sources.
lower_is_a_project() {
  cp -a "$BATS_TEST_DIRNAME"/../../{Makefile,runtime,hooks} "$LOWER/"
  find "$LOWER" -exec touch -h -d '2020-01-02 03:04:05.678901234' {} +
}

@test "make of a C project: all of it, nothing more to do, after an edit, clean" {
  lower_is_a_project
  same_as_plain <<'END'
make -s -j2 CFLAGS=-O0 build/libcowrun.a
make -s CFLAGS=-O0 build/bin/cowrun-init
build/bin/cowrun-init || echo "$?"
ar t build/libcowrun.a | sort | wc -l
make CFLAGS=-O0 build/libcowrun.a
sed -i 's/int /int  /' runtime/lib/copy.h
touch runtime/lib/log.c
make CFLAGS=-O0 build/libcowrun.a
make clean
ls
END
}

@test "make in a lower that was built: knows what is done, compiles what was edited" {
  lower_is_a_project
  make -s -j2 -C "$LOWER" CFLAGS=-O0 build/libcowrun.a >/dev/null
  same_as_plain <<'END'
export BUILD=build
make CFLAGS=-O0 build/libcowrun.a
echo '/* edited */' >>runtime/lib/fd.c
touch runtime/branch/xattrs.h
make CFLAGS=-O0 build/libcowrun.a
rm build/obj/runtime/lib/*.o
make -j2 -s CFLAGS=-O0 build/libcowrun.a
ar t build/libcowrun.a | sort
make -s -j2 CFLAGS=-O0 build/bin/cowrun-hook
build/bin/cowrun-hook --nonsense || echo "$?"
gcc -MMD -c -o src/main.o src/main.c
make -s -C src prog
src/prog || echo "$?"
strip src/prog
ranlib build/libcowrun.a
objcopy --only-keep-debug src/main.o src/main.debug
rm -f src/*.o
END
}

@test "ccache, with its cache in the workdir" {
  same_as_plain '^cache/|\.o$' <<'END'
export CCACHE_DIR=/work/cache CCACHE_NOSTATS=1 CCACHE_COMPILERCHECK=none
for turn in 1 2; do
  for name in main util; do ccache gcc -O1 -c -o src/$name.o src/$name.c; done
  gcc -o src/prog src/*.o
  src/prog || echo "$?"
done
find cache -name '*R' | wc -l
ccache -C >/dev/null
rm -rf cache/*
END
}

@test "cmake: configure, build, build again, install" {
  command -v cmake >/dev/null || skip "no cmake on this machine"
  same_as_plain '^out/' <<'END'
cat >CMakeLists.txt <<'LISTS'
cmake_minimum_required(VERSION 3.0)
project(prog C)
add_executable(prog src/main.c src/util.c)
install(TARGETS prog DESTINATION bin)
LISTS
cmake -S . -B out -DCMAKE_INSTALL_PREFIX=/work/inst >/dev/null
cmake --build out
out/prog || echo "$?"
cmake --build out
echo '/* edited */' >>src/util.c
cmake --build out
cmake --install out
find out -type f | sort | md5sum
END
}

# wheel NAME VERSION: makes one in $LOWER/wheels.
wheel() {
  /usr/bin/python3 - "$LOWER/wheels" "$1" "$2" <<'END'
import os, sys, zipfile
where, name, version = sys.argv[1:]
os.makedirs(where, exist_ok=True)
info = f"{name}-{version}.dist-info"
files = {f"{name}/__init__.py": f"def say():\n    print('{name} {version}')\n", f"{name}/data/{version}.txt": version,
         f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
         f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
         f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:say\n"}
files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
with zipfile.ZipFile(f"{where}/{name}-{version}-py3-none-any.whl", "w") as archive:
    for path, text in files.items():
        archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
END
}

@test "a Python venv with pip: made, wheels installed, upgraded and removed, in two containers" {
  wheel one 1.0 && wheel one 2.0 && wheel two 1.0
  same_as_plain '\.pyc$' <<'END'
python3 -m venv venv
venv/bin/pip --version
venv/bin/pip install --no-index --find-links wheels one==1.0 two
one=$(readlink -f venv/bin/one)
$one
venv/bin/python -c 'import sys, one, two; two.say(); print(sys.prefix, one.__file__)'
END
  # Now all of it is in the lower.
  same_as_plain '\.pyc$' <<'END'
venv/bin/one
venv/bin/pip list --format=freeze --disable-pip-version-check
venv/bin/pip install --no-index --find-links wheels --upgrade one
venv/bin/one
venv/bin/pip check
venv/bin/pip uninstall -y two
venv/bin/two || echo "$?"
venv/bin/pip install --no-index --find-links wheels --target lib two
ls lib
python3 -m venv --upgrade --without-pip venv
venv/bin/python -m one || echo "$?"
END
}

@test "npm: pack, install from tarballs, update, run, uninstall" {
  command -v npm >/dev/null || skip "no npm on this machine"
  mkdir -p "$LOWER"/{a,b,project}
  (
    cd "$LOWER" || exit
    echo '{"name": "a", "version": "1.0.0", "bin": {"a": "a.js"}}' >a/package.json
    printf '#!/usr/bin/env node\nconsole.log("a says", require("b"))\n' >a/a.js
    echo '{"name": "b", "version": "1.0.0", "main": "b.js"}' >b/package.json
    echo 'module.exports = "b 1"' >b/b.js
    echo '{"name": "project", "version": "1.0.0", "scripts": {"test": "a"}}' >project/package.json
  )
  same_as_plain '(^|/)\.package-lock\.json$' <<'END'
export npm_config_cache=/dev/shm/npm npm_config_offline=true npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false
npm pack --silent ./a ./b
cd project
npm install --silent ../a-1.0.0.tgz ../b-1.0.0.tgz
npm test --silent
cat package.json
npm ls
sed -i 's/1\.0\.0/1.1.0/' ../b/package.json
echo 'module.exports = "b 2"' >../b/b.js
(cd ..; npm pack --silent ./b)
npm install --silent ../b-1.1.0.tgz
npm test --silent
npm ls
rm -rf node_modules
npm ci --silent
npm test --silent
npm uninstall --silent a
ls node_modules
END
}

@test "dpkg-deb: build, contents, extract, control" {
  mkdir -p "$LOWER"/pkg/{DEBIAN,usr/bin,etc}
  (
    cd "$LOWER/pkg" || exit
    printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: p\n' >DEBIAN/control
    echo /etc/p.conf >DEBIAN/conffiles && echo conf >etc/p.conf && printf '#!/bin/sh\necho p\n' >usr/bin/p && chmod 0755 usr/bin/p
    find . -exec touch -h -d '2020-01-02 03:04:05' {} +
  )
  same_as_plain <<'END'
dpkg-deb --root-owner-group --build pkg p.deb
dpkg-deb --contents p.deb
dpkg-deb --info p.deb
sed -i s/^Version:.*/Version:2/ pkg/DEBIAN/control
mv pkg/usr/bin pkg/usr/sbin
ln -s p pkg/usr/sbin/q
chmod u+s pkg/usr/sbin/p
dpkg-deb --root-owner-group -Zgzip --build pkg .
dpkg-deb -x p_2_all.deb out
dpkg-deb -e p_2_all.deb out/DEBIAN
diff -r pkg out
dpkg-deb --raw-extract p.deb pkg2
dpkg-deb --vextract p_2_all.deb pkg2
find pkg2 | sort
END
}
