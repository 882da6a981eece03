# Copying, moving, archiving and editing: as in a plain directory.
# bats file_tags=long
load helpers
load real

# More than the tree that every test has: depth, odd names, a few hundred files.
lower_is_populated() {
  (
    cd "$LOWER" || exit
    mkdir -p pop/{a..e}/{x,y}/z 'pop/with space' pop/$'new\nline'
    for dir in pop/{a..e}/{x,y}; do for i in {1..8}; do echo "$dir $i" >"$dir/$i" && ln -s "../y/$i" "$dir/l$i"; done; done
    echo odd >'pop/with space/-n' && echo nl >pop/$'new\nline/\xff' && chmod 0500 pop/a/x && chmod 2750 pop/b && chmod 1777 pop/c
    chown -R 12:34 pop/d && setfattr -n user.dir -v 1 pop/e && chmod u+s pop/e/x/1 && chown -h 5:6 pop/e/x/l1
    find pop -exec touch -h -d '2021-02-03 04:05:06.7' {} +
  )
}

@test "rsync: into the branch, out of it, within it; with --delete, --inplace, hard links, checksums" {
  lower_is_populated
  same_as_plain '(?!)' '^(pop|linked|again)/' <<'END'
rsync -aHAX -i pop/ copy/
rsync -aHAX -i pop/ copy/
diff -r --no-dereference pop copy
rm -r pop/a/y
echo more >>pop/b/x/3
mv pop/c/x/1 pop/c/x/one
chmod 0600 pop/d/x/2
touch -d 2022-01-01 pop/d/x/3
rsync -aHAX -i --delete pop/ copy/
rsync -a -i --delete --inplace --no-whole-file copy/b/ pop/c/
rsync -aci copy/ pop/
mkdir /dev/shm/out
rsync -aHX -i ./ /dev/shm/out/ | tail -n 5
echo edited >>/dev/shm/out/README
rm -r /dev/shm/out/src
rsync -aHX -i --delete --backup --suffix=.bak /dev/shm/out/ ./
rsync -a -i --remove-source-files copy/ moved/
find copy | sort
rsync -a --link-dest=/work/pop pop/ linked/
rsync -a --link-dest=/work/linked linked/ pop/ again/
find linked/a again/a -samefile linked/a/x/1 | sort
echo more >>again/a/x/1
cat pop/a/x/1
rsync -rt --append-verify /dev/shm/out/README src/util.c
ls many
END
}

@test "tar: create, extract, update, delete, over what is there" {
  lower_is_populated
  same_as_plain <<'END'
echo linked >hl1
ln hl1 hl2
touch -d 2022-02-02 hl1
tar --sort=name -cf all.tar pop src bin kinds/sparse hl1 hl2
tar tf all.tar
md5sum all.tar
tar --sort=name --xattrs --acls -czf /dev/shm/x.tgz kinds/xattr pop/e
mkdir out
tar -C out --xattrs --acls -xzf /dev/shm/x.tgz
tar -C out -xf all.tar
diff -r --no-dereference pop out/pop
tar -df all.tar
echo changed >>src/util.c
touch -d 2022-02-02 src/util.c src .
tar -df all.tar || echo "$?"
tar -uf all.tar src
tar --delete -f all.tar bin
tar tf all.tar | tail -n 5
tar -xf all.tar --overwrite
tar -xf all.tar --unlink-first src/util.c
rm -rf pop/a pop/b
tar -xf all.tar --keep-old-files pop/a pop/b
tar -xf all.tar --recursive-unlink pop/c --strip-components=1
ls
tar -cf - many | tar -C out -xpf -
tar -cf moved.tar --remove-files many
ls
tar -xf moved.tar
END
}

@test "cpio: copy-out, copy-in, pass-through" {
  without_devices
  lower_is_populated
  same_as_plain <<'END'
find pop src kinds -print0 | sort -z | cpio -0 -o -H newc --reproducible --quiet >all.cpio
md5sum <(cpio -t --quiet <all.cpio)
mkdir out
(cd out; cpio -idm --quiet <../all.cpio)
diff -r --no-dereference pop out/pop
find src -depth -print | cpio -pdm --quiet passed
find src -depth -print | cpio -pdlu --quiet linked
cpio -idmu --quiet <all.cpio
(cpio -idm --quiet <all.cpio || true) | tail -n 2
END
}

@test "cp: -a, -l, -s, -u, -b, --reflink, over what is there; into itself" {
  without_devices
  lower_is_populated
  same_as_plain '(?!)' '^(many|linked)/' <<'END'
cp -a pop copy
diff -r --no-dereference pop copy
cp -a . /dev/shm/all
diff -r --no-dereference pop /dev/shm/all/pop
cp -rl many linked
echo changed >linked/7
cat many/7
rm linked/8 many/9
cp -rs /work/many symlinked
cp -u README many/1
cp -b many/2 many/3
cp -f many/4 private
cp --remove-destination bin/echo kinds/link
cp -r src src/copy || echo "$?"
rm -r src/copy # how far it came goes by the order of inodes
cp -aT bin many
cp --reflink=auto kinds/sparse sp
cp --parents src/deep/er/file own
cp -p own/file own/two
cp -P kinds/link l2
cp -a --no-preserve=mode kinds/xattr .
cp --attributes-only private own/file
cp -n README own/file
cat bin/script >>many/5
cp -a kinds kinds2
ls kinds2
END
}

@test "mv of directories and files, over what is there, there and back" {
  lower_is_populated
  same_as_plain <<'END'
mv pop/a moved
mv moved/x pop/b/y/z/
mv pop/b pop/c/
mv pop/c/b/y/z/x .
chmod 0700 x
echo new >x/new
mv x pop/a
ls -R pop/a pop/c
mv -T pop/d pop/e || rm -r pop/e
mv -T pop/d pop/e
mv pop/e pop/d
mv -n README private
mv -b many/1 many/2
mv many/3 README
mv src/deep .
mkdir src/deep
mv deep/er src/deep/
rmdir deep
mv src/deep/er/file src/deep/
mv kinds/link kinds/l
mv kinds/fifo kinds/null kinds/dangling own
mv many /dev/shm/; mv /dev/shm/many .; mv bin empty; mv empty bin; mv bin/bin/* bin/; bin/script x; rename() { mv "$1" "$2"; }; rename src srx; rename srx src
for i in {1..5}; do mv pop/c p$i; mv p$i pop/c; done; mv -f pop/$'new\nline' 'pop/with space/'; mv pop p; mv p pop; find pop | sort | md5sum
END
}

@test "rm, find -delete, chmod -R, chown -R, du on populated lower trees" {
  lower_is_populated
  same_as_plain <<'END'
rm -rf pop/a pop/b/x
rm -r pop/c
ls pop
find pop -name '3' -print -delete | sort
find pop/e -depth -delete
ls pop
chmod -R go-w,u+X pop many
chown -Rh 7:8 pop/d
chgrp -R 9 src
find pop -type l -exec rm {} +
find . -xdev -type d -empty | sort
du -a --apparent-size -b src many | sort | grep -v "	[a-z]*$" | head -n 40
find src many -printf '%p %m %u %n %s %t %y\n' | grep -v ' d$' | sort | sed 's/ [A-Z][a-z][a-z] .*2026.*/ now/'
cd pop/d
rm -rf x
cd ../..
rm -rf -- pop 'pop'
python3 -c 'import shutil; shutil.rmtree("src"); shutil.copytree("bin", "src"); shutil.move("many", "own/many")'
END
}

@test "patch: applies, makes, deletes and renames, refuses with rejects, backs up, reverts" {
  lower_is_populated
  same_as_plain <<'END'
cp -r src new
sed -i 's/built/made/; 2i // line' new/main.c
rm new/util.h
echo added >new/added
mkdir new/sub
echo s >new/sub/s
echo d >>new/deep/er/file
diff -ruN src new | sed 's/\t20.*//' >p || true
sed -i 's,^--- src/added.*,--- /dev/null,; s,^+++ new/util.h.*,+++ /dev/null,' p
rm -r new
patch -p1 -d src <p
ls src src/sub
patch -p1 -R -d src <p
git diff --no-index /dev/null README | git apply --check -R
patch -b -V numbered -p1 -d src <p
sed -i s/made/MADE/ src/main.c
patch -R -p1 -d src --no-backup-if-mismatch <p || echo "$?"
ls -A src
grep -c '^[-+]' src/*.rej
printf 'diff --git a/many/1 b/many/one\nsimilarity index 100%%\nrename from many/1\nrename to many/one\n' | patch -p1
ls many
patch -o many/out many/2 <<'PATCH'
--- many/2
+++ many/2
@@ -1 +1 @@
-file 2
+file two
PATCH
cat many/out many/2
END
}

@test "sed -i, perl -i, ed, and the ways in which editors save" {
  lower_is_populated
  same_as_plain <<'END'
sed -i 's/file/FILE/' many/*
sed -i.bak '1d' src/*.c
sed -i --follow-symlinks s/lower/LOWER/ kinds/link
head -n 1 many/1 README src/*.c
perl -pi -e 's/FILE/file/' many/1?
perl -pi.orig -e 's/own/OWN/' own/file
printf '1i\nfirst\n.\nw\n1,$s/include/INCLUDE/\nw src/by-ed\nq\n' | ed -s src/main.c
cat src/by-ed
printf '$a\nlast\n.\nwq\n' | ed -s private
ed -s README <<<$',n\nq'
cat >/dev/shm/save.py <<'PYTHON'
import os, shutil, stat, sys
def emacs(name):  # the old file becomes the backup, by a rename
    st, text = os.stat(name), open(name).read()
    os.rename(name, name + "~")
    with open(name, "w") as file:
        file.write(text + "emacs\n")
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), stat.S_IMODE(st.st_mode))
        os.fchown(file.fileno(), st.st_uid, st.st_gid)
def atomically(name):  # written beside it, renamed over it: gedit, VS Code, git
    st, text = os.stat(name), open(name).read()
    fd = os.open(f"{name}.tmp", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    os.write(fd, (text + "atomic\n").encode())
    os.fchmod(fd, stat.S_IMODE(st.st_mode))
    os.fsync(fd)
    os.close(fd)
    os.rename(f"{name}.tmp", name)
    directory = os.open(os.path.dirname(name) or ".", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)
def in_place(name):  # opened for reading and writing: nano, backupcopy=yes
    shutil.copy2(name, name + ".save")
    with open(name, "r+") as file:
        text = file.read()
        file.seek(0)
        file.write("in place\n" + text)
        file.truncate()
    os.unlink(name + ".save")
def linked(name):  # the old one keeps a name by a link until the new one is there
    os.link(name, name + ".old")
    os.unlink(name)
    with open(name, "x") as file:
        file.write("linked\n")
    os.unlink(name + ".old")
for way in emacs, atomically, in_place, linked:
    for name in "README", "src/deep/er/file", "many/7", "bin/script", "own/file", "fresh":
        if not os.path.exists(name):
            open(name, "w").close()
        way(name)
PYTHON
python3 /dev/shm/save.py
cat README src/deep/er/file many/7 fresh
ls -A . many own bin
END
}

@test "vim saves: backups, swap files, write in place and by rename, undo files, many buffers" {
  lower_is_populated
  same_as_plain '\.un~$' <<'END'
ex=$(command -v vim.basic || command -v vim.tiny)
cd src
edit() { "$ex" -u NONE -i NONE -N -es "$@" </dev/null || fail "vim: $?"; }
edit -c 'set swapfile directory=.' -c '1s/^/\/\/ vim\r/' -c wq main.c
head -n 2 main.c
edit -c 'set backup backupcopy=no backupdir=.' -c '$s/$/!/' -c wq util.c
cat util.c util.c~
edit -c 'set backup backupcopy=yes backupdir=.' -c 'g/./s/^/#/' -c wq util.h
cat util.h util.h~
edit -c 'set nobackup nowritebackup' -c '1d' -c wq Makefile
cat Makefile
edit -c 'set hidden' -c 'argdo 1s/file/vim/' -c wqa ../many/{1..9}
cat ../many/?
edit -c 'w ../new' -c 'r ../README' -c 'saveas ../private.2' -c q ../private
cat ../private.2
edit -c '1s/$/ linked/' -c 'set backupcopy=auto' -c wq ../kinds/link
cat ../README
ls -A . .. ../many
END
}
