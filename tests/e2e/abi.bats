# Programs that use another table of system calls than the machine's own.
load helpers

@test "a 32-bit program" {
  local i
  "$SHARE/bin/i386" >/dev/null 2>&1 || skip "no 32-bit programs (CONFIG_IA32_EMULATION)"
  mkdir "$LOWER/m"
  for i in {1..12}; do echo "file $i" >"$LOWER/m/$i"; done
  python_in_branch <<'EOF'
import subprocess
ran = subprocess.run(["i386"], capture_output=True, text=True)
lines = ran.stdout.splitlines()
same((len(lines), ran.returncode), (42, 0), "as many calls")
# A user namespace may have fewer ids than need 32 bits.
wide = sum(int(line.split()[2]) for line in open("/proc/self/uid_map")) > 80000
for line in lines:
    check(line.endswith(" ok") or (not wide and line in ("chown32 22", "lchown32 22")), line)

def of(path):
    return os.lstat(path)

check(os.path.isdir("src/made") and os.path.islink("src/symlink") and os.path.exists("src/made/moved"), "names")
same(of("src/linked").st_ino, of("README").st_ino, "link")
check(not any(map(os.path.exists, ("src/util.c", "src/util.h", "empty"))), "deleted")
for top in "many", "m":
    same([(of(f"{top}/{i}").st_uid, of(f"{top}/{i}").st_gid) for i in range(1, 5)],
         [(7, 0), (0, 8)] + ([(70000, 0), (0, 80000)] if wide else [(0, 0)] * 2), f"{top}: owners")
    same([of(f"{top}/{i}").st_mtime_ns for i in range(5, 9)],
         [2000 * 10**9, 3000 * 10**9 + 3000, 4000 * 10**9 + 4, 5000000000 * 10**9 + 5], f"{top}: times")
    same([oct(of(f"{top}/{i}").st_mode & 0o777) for i in (9, 10)], ["0o604", "0o640"], f"{top}: modes")
    same([of(f"{top}/{i}").st_size for i in (11, 12)], [2, (1 << 32) + 5], f"{top}: sizes")
    same(os.getxattr(f"{top}/9", "user.small"), b"x", f"{top}: xattr")
same((oct(of("many/20").st_mode & 0o777), of("many/20").st_uid, of("many/20").st_gid), ("0o611", 5, 60000), "by descriptor")
check(os.path.exists("src/deep/direct") and os.path.exists("src/deep/multiplexed"), "sockets")
EOF
}
