# Lower files with several names stay one file.
load helpers

make_links() {
  ln "$LOWER/README" "$LOWER/again"
  ln "$LOWER/README" "$LOWER/src/deep/er/again"
  ln "$LOWER/many/1" "$LOWER/src/one"
  ln "$LOWER/many/2" "$LOWER/empty/two"
  ln "$LOWER/many/3" "$LOWER/own/three"
  ln "$LOWER/many/4" "$LOWER/many/four"
}

@test "what is done to a lower file by one of its names is seen by all" {
  make_links
  python_in_branch <<'EOF'
import threading

def one(*paths):
    seen = [os.stat(path) for path in paths]
    same({(st.st_dev, st.st_ino) for st in seen}, {(seen[0].st_dev, seen[0].st_ino)}, f"one inode: {paths}")
    same([st.st_nlink for st in seen], [len(paths)] * len(paths), f"links of {paths}")
    same(len({(st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns, st.st_ctime_ns) for st in seen}), 1, "attributes")

one("README", "again", "src/deep/er/again")
opened = os.open("src/deep/er/again", os.O_RDONLY)
write("again", "changed\n")
one("README", "again", "src/deep/er/again")
same({read("README"), read("again"), read("src/deep/er/again")}, {"changed\n"}, "written")
os.close(opened)
os.chmod("src/one", 0o600)
one("many/1", "src/one")
same(os.stat("many/1").st_mode & 0o777, 0o600, "chmod")
os.utime("many/2", (5, 6))
one("many/2", "empty/two")
os.truncate("own/three", 1)
same(read("many/3"), "f", "truncate")
one("many/3", "own/three")
os.rename("many/four", "many/4")
check(os.path.exists("many/four") and os.path.exists("many/4"), "rename of one over the other does nothing")
os.rename("many/four", "quatre")
os.unlink("many/4")
same(os.listdir("many").count("four"), 0, "renamed")
write("quatre", "x", os.O_WRONLY | os.O_APPEND)
same(read("quatre"), "file 4\nx", "the last name")
same(os.stat("quatre").st_nlink, 1, "the last name's links")
os.unlink("again")
os.unlink("README")
same((read("src/deep/er/again"), os.stat("src/deep/er/again").st_nlink), ("changed\n", 1), "names go one by one")

def writer(path):
    write(path, "a\n", os.O_WRONLY | os.O_APPEND)
threads = [threading.Thread(target=writer, args=(path,)) for path in ["kinds/hard1", "kinds/hard2"] * 4]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
same(read("kinds/hard1"), "one\n" + "a\n" * 8, "several writers by both names")
one("kinds/hard1", "kinds/hard2")
EOF
  branch_is "$ID" "D README" "D again" "M empty/two" "M kinds/hard1" "M kinds/hard2" "M many/1" "M many/2" "M many/3" \
    "D many/4" "R many/four -> quatre" "M own/three" "M quatre" "M src/deep/er/again" "M src/one"
}

@test "a reader never sees the old content by one name after a write by another" {
  make_links
  python_in_branch <<'EOF'
import threading
done = False

def look():
    while not done:
        # The one that is written to is read first: the other is never behind.
        first, second = read("README"), read("src/deep/er/again")
        check(len(second) >= len(first), f"{first!r} before {second!r}")

threads = [threading.Thread(target=look) for _ in range(3)]
for thread in threads:
    thread.start()
for i in range(50):
    write("README", f"{i}\n", os.O_WRONLY | os.O_APPEND)
done = True
for thread in threads:
    thread.join()
EOF
}

# bats test_tags=cowrun
@test "commit leaves one file with its names" {
  make_links
  in_branch <<'EOF'
echo more >>src/deep/er/again
chmod 600 many/1
mv many/four many/vier
echo vier >>many/4
EOF
  lower_untouched
  branch commit "$ID"
  [[ $LOWER/README -ef $LOWER/again && $LOWER/README -ef $LOWER/src/deep/er/again ]]
  [[ $(<"$LOWER/README") == $'a lower file\nmore' && $(stat -c %h "$LOWER/again") == 3 ]]
  [[ $LOWER/many/1 -ef $LOWER/src/one && $(stat -c %a:%h "$LOWER/src/one") == 600:2 ]]
  [[ $LOWER/many/4 -ef $LOWER/many/vier && ! -e $LOWER/many/four ]]
  [[ $LOWER/many/2 -ef $LOWER/empty/two && $(<"$LOWER/many/2") == "file 2" ]]
  rm "$T/before" # The lower was changed on purpose.
}

# bats test_tags=cowrun
@test "limits: names outside the workdir part, and an untouched file counts the lower's links" {
  ln "$LOWER/README" "$T/outside"
  ln "$LOWER/many/1" "$LOWER/src/one"
  python_in_branch <<'EOF'
same(os.stat("README").st_nlink, 2, "links of a file with a name elsewhere")
write("README", "changed\n")
same(os.stat("README").st_nlink, 1, "of its copy")
os.unlink("many/1")
same(os.stat("src/one").st_nlink, 2, "after one of its names was deleted")
write("src/one", "changed\n")
same(os.stat("src/one").st_nlink, 1, "of its copy")
EOF
  branch_is "$ID" "M README" "D many/1" "M src/one"
  lower_untouched
  branch commit "$ID"
  [[ $(<"$LOWER/README") == changed && $(<"$T/outside") == "a lower file" && ! -e $LOWER/many/1 ]]
  rm "$T/before" # The lower was changed on purpose.
}
