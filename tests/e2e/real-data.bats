# Databases, logs, and programs that meet at one file: as in a plain directory.
# bats file_tags=long
load helpers
load real

database_in_lower() {
  /usr/bin/python3 - "$LOWER/data.db" "$1" <<'END'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute(f"pragma journal_mode={sys.argv[2]}")
db.execute("create table accounts (id integer primary key, amount int)")
db.execute("create table log (n int)")
db.executemany("insert into accounts values (?, 100)", [(n,) for n in range(200)])
db.commit()
db.close()
END
}

# One process moves money about in 150 transactions, another looks 150 times: the sum is always the same.
writer_and_reader() {
  cat <<'END'
cat >/dev/shm/job.py <<'PYTHON'
import random, sqlite3, sys
def connect():
    db = sqlite3.connect("/work/data.db", timeout=60, isolation_level=None)
    db.execute("pragma synchronous=off")
    return db
def write(seed):
    rand, db = random.Random(seed), connect()
    for n in range(150):
        db.execute("begin immediate")
        db.execute("update accounts set amount = amount - 1 where id = ?", (rand.randrange(200),))
        db.execute("update accounts set amount = amount + 1 where id = ?", (rand.randrange(200),))
        db.execute("insert into log values (?)", (n,))
        if n == 75:
            db.execute("insert into log select n + 1000 from log")
        db.execute("rollback" if n % 10 == 3 else "commit")
def look():
    db, last = connect(), 0
    for n in range(150):
        db.execute("begin")
        (total,), (rows,) = (db.execute(q).fetchone() for q in ("select sum(amount) from accounts", "select count(*) from log"))
        db.execute("commit")
        if total != 20000 or rows < last:
            sys.exit(f"sum {total}, {rows} rows after {last}")
        last = rows
write(int(sys.argv[2])) if sys.argv[1] == "write" else look()
PYTHON
pids=()
python3 /dev/shm/job.py write 1 & pids+=($!)
python3 /dev/shm/job.py look & pids+=($!)
python3 /dev/shm/job.py look & pids+=($!)
for pid in ${pids[@]}; do wait $pid || fail "a job failed"; done
sqlite3 data.db 'pragma integrity_check' 'select sum(amount) from accounts' '.dump' 'vacuum' 'pragma journal_mode'
ls data.db*
END
}

@test "sqlite3 with a writer and readers: rollback journal" {
  database_in_lower delete
  same_as_plain '^data.db$' < <(writer_and_reader)
}

@test "sqlite3 with a writer and readers: write-ahead log" {
  database_in_lower wal
  same_as_plain '^data.db$' < <(writer_and_reader)
}

@test "sqlite3: a journal that was left is rolled back, journals of all kinds, backup, attach" {
  database_in_lower delete
  /usr/bin/python3 - "$LOWER/data.db" <<'END'
import os, sqlite3, sys
if os.fork() == 0:
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    db.execute("pragma cache_size=1")
    db.execute("pragma cache_spill=1")
    db.execute("begin")
    db.execute("update accounts set amount = 0")
    db.executemany("insert into log values (?)", [(n,) for n in range(5000)])
    os._exit(0)
os.wait()
END
  [[ -s $LOWER/data.db-journal ]]
  same_as_plain '\.db$' <<'END'
sqlite3 data.db 'select sum(amount) from accounts' 'select count(*) from log'
for mode in truncate persist wal memory delete; do
  sqlite3 data.db "pragma journal_mode=$mode" 'insert into log values (7)' 'update accounts set amount = amount + 1' 'select count(*) from log'
  ls data.db*
done
sqlite3 data.db '.backup copy.db' "attach 'other.db' as o" 'create table o.t as select * from accounts' 'select sum(amount) from o.t'
sqlite3 copy.db 'pragma integrity_check' 'vacuum into "small.db"'
ls *.db
sqlite3 small.db 'select count(*) from accounts'
END
}

@test "tail -f and tail -F on a growing new file, through a rotation" {
  same_as_plain <<'END'
follow() {
  tail "$@" >/dev/shm/out 2>/dev/null & tail=$!
  sleep 0.2
}
until_seen() {
  for ((i = 0; i < 200; i++)); do ! grep -qx "$1" /dev/shm/out || return 0; sleep 0.05; done
  fail "tail never said $1: $(cat /dev/shm/out)"
}
stop() { kill $tail; wait $tail || true; cat /dev/shm/out; }
echo begin >src/log
follow -n +1 -f src/log
until_seen begin
for i in {1..20}; do echo line $i >>src/log; done; until_seen 'line 20'
cd src
mv log log.1
echo last >>log.1
cd ..
until_seen last
stop
follow -n +1 -F many/log
echo first >many/log
until_seen first
mv many/log many/log.1
echo second >many/log
until_seen second
: >many/log
sleep 0.1
echo third >>many/log
until_seen third
stop
echo old >>README
follow -n 1 -f README
echo new >>README
until_seen new
stop
END
}

@test "locks, pipes and in-place tools on lower files" {
  same_as_plain <<'END'
for i in {1..8}; do (for j in {1..10}; do flock many/lock sh -c 'echo $(($(cat many/count 2>/dev/null || echo 0) + 1)) >many/count'; done) & done
wait
cat many/count
dd if=/dev/zero of=many/3 bs=1 count=2 seek=1 conv=notrunc status=none
od -c many/3
dd if=src/main.c of=many/4 oflag=append conv=notrunc status=none
sort -r -o many/4 many/4
cat many/4
truncate -s 3 many/5
truncate -s +5 many/6
fallocate -l 100 many/7
fallocate -p -o 1 -l 2 many/7
cat many/[567] | od -c
shred -n 1 -z many/8
od -c many/8
install -D -m 0711 bin/script a/b/script
touch -r README many/9
tee -a many/10 <many/11 | wc -c
split -l 2 src/Makefile part.
cat part.* | cmp - src/Makefile
ln -sfn many kinds/dirlink
ln -f many/11 many/12
comm -3 many/11 many/13
paste many/1?
csplit -s -f sp src/main.c 3
cp --sparse=always kinds/sparse s2
cmp kinds/sparse s2
mkfifo p
(cat p >through & echo data >p; wait)
cat through
find many -name '1?' -newer README | sort
END
}
