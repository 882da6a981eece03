# bats file_tags=bundle
# A container that may mount: all capabilities, and no Landlock of ours.
load helpers

mounting_container() {
  ALL_CAPABILITIES=1
  ANNOTATIONS+=("run.cowrun.landlock=off")
}

@test "what a container mounts on a lower directory stays there when the directory is written into" {
  mounting_container
  in_branch <<'EOF'
mount -t tmpfs none src/deep
echo mine >src/deep/file
echo new >src/new
mkdir src/made
is "$(cat src/deep/file)" mine "still there"
mkdir /tmp/bound
echo new >/tmp/bound/new
mount --bind /tmp/bound src/made
is "$(cat src/made/new)" new "a bind mount in it"
umount src/made
umount src/deep
is "$(cat src/deep/er/file)" deep "what was under it"
touch other
mount --bind README bin/script
is "$(cat bin/script)" "a lower file" "a file on a file"
umount bin/script
is "$(head -n 1 bin/script)" '#!/bin/sh' "and what was under it"
EOF
}

@test "a lower entry is no mount point to umount and mount --move" {
  mounting_container
  in_branch <<'EOF'
for entry in README src src/main.c; do
  says "not mounted" umount "$entry"
  says "not mounted" umount -l "$entry"
done
mkdir /tmp/moved
says "bad option" mount --move src /tmp/moved
is "$(cat README src/deep/er/file)" $'a lower file\ndeep' "all as it was"
EOF
}

# bats test_tags=bundle,cowrun
@test "nothing makes a mount of the lower writable, and no clone lays bare what is under the grafts" {
  mounting_container
  in_branch <<'EOF'
says "ermission denied" mount -o remount,rw,bind src
says "ermission denied" mount --bind /work /mnt
says "ermission denied" mount -o remount,rw,bind /work
says "busy" umount /work
mount --rbind /work /mnt
is "$(cat /mnt/README)" "a lower file" "with all that is mounted in it"
says "Read-only file system" sh -c 'echo x >/mnt/README'
umount -R /mnt
EOF
}
