# git on a checkout with a history: what it says, what it leaves, and the lower after the commit are those of a plain directory.
# bats file_tags=long
load helpers
load real

# Times of the moment and inodes are in it; `git ls-files --stage` tells what matters.
INDEX='(^|/)\.git/(worktrees/[^/]*/)?index$'

lower_is_a_checkout() {
  (
    cd "$LOWER" || exit
    export HOME=$T GIT_CONFIG_NOSYSTEM=1
    rm -rf kinds own && chmod 0644 private
    mkdir -p lib/{one,two}/{a,b}
    for i in {1..25}; do printf 'line %d\n' {1..20} >"lib/one/a/f$i" && cp "lib/one/a/f$i" "lib/two/b/g$i"; done
    git init -q -b main .
    git config user.name Test && git config user.email test@example.org
    git config gc.auto 0 && git config pack.threads 1 && rm -f .git/hooks/*
    for i in {1..12}; do
      echo "change $i" >>"lib/one/a/f$i" && echo "$i" >>README
      git add . && git commit -q -m "change $i" && [[ $i != 6 ]] || git tag -a -m six six
    done
    git checkout -q -b topic six
    for i in {1..4}; do
      sed -i "s/line 3/topic $i/" "lib/two/b/g$i" && echo "$i" >"lib/one/b/new$i"
      git add . && git commit -q -m "topic $i"
    done
    git checkout -q main
    echo '*.o' >.gitignore && git add . && git commit -q -m ignore
    git gc -q
    git status >/dev/null
  )
}

@test "git: status, add, commit, amend, reset, checkout, stash, clean, mv, rm" {
  lower_is_a_checkout
  same_as_plain "$INDEX" <<'END'
git status --porcelain
git diff --stat
sed -i 's/line 7/line seven/' lib/one/a/f{1..5}
echo untracked >lib/two/untracked
touch src/main.o
git status --porcelain --ignored
git diff
git add -A
git commit -m seven
git commit -q --amend -m 'seven, amended'
git stash list
echo wip >>README
echo staged >staged
git add staged
git stash -u
git status --porcelain
git stash show -p --include-untracked
git stash pop
git status --porcelain
git reset --hard
git checkout six
git status --porcelain
git checkout -
git checkout topic -- lib/two/b/g1
git mv lib/one/a lib/one/c
git rm -q -r lib/two/b/g{2..9} many
git status --porcelain
git commit -q -m moved
echo x >x
mkdir -p new/dir
echo y >new/dir/y
git clean -n -d -x
git clean -f -d -x
git status --porcelain
git revert --no-edit HEAD
git restore --source=HEAD~2 src/util.c
git switch -q -c other
git switch -q main
git branch -d other
git ls-files --stage
git log --stat --format=%H%n%s
git fsck --no-progress
touch .git/objects/pack/* # git does, or not, as the second is when it looks
END
}

@test "git: merge, rebase with a conflict, rebase of many, cherry-pick, bisect, am" {
  lower_is_a_checkout
  same_as_plain "$INDEX" <<'END'
git checkout -q topic
git rebase main
git log --format='%H %s' -6
git checkout -q -b conflict main~3
echo mine >README
git commit -q -a -m conflict
git rebase main || git status --porcelain
echo both >README
git add README
GIT_EDITOR=true git rebase --continue
git log --format='%H %s' -3
git checkout -q main
git merge --no-edit --no-ff topic
git checkout -q -b pick six
git cherry-pick topic~2 topic~1
git rebase --exec 'test -e README' HEAD~2
git format-patch -o patches -3 topic
git checkout -q six -B am
git am --quiet patches/*
rm -r patches
git bisect start main six >/dev/null
git bisect run sh -c '! grep -q "^change 9" lib/one/a/f9' | tail -n 4
git bisect reset
git ls-files --stage
git log --all --graph --format='%H %s'
git fsck --no-progress
END
}

@test "git: clone, fetch, push, worktree, archive, bundle" {
  lower_is_a_checkout
  same_as_plain "$INDEX" '(^|/)objects/' <<'END'
git clone -q . clone # by hard links, as all that are of a directory on the same file system
git clone -q clone second
find . -samefile "$(find .git/objects/pack -name '*.pack')" | sort
rm -r second
git clone -q --no-hardlinks . copied
rm -r copied
git clone -q --bare . bare.git
rm -f {clone/.git,bare.git}/hooks/*
(
  cd clone
  echo cloned >cloned
  git add cloned
  git commit -q -m cloned-main
  git checkout -q topic
  echo more >>README
  git commit -q -a -m cloned
  git push -q origin topic:pushed
  git remote add bare ../bare.git
  git push -q bare topic
  git fetch -q bare
  git branch -a -v
)
git worktree add -q ../work/tree topic
(cd tree; echo tree >>README; git commit -q -a -m tree; git status --porcelain)
git worktree list
git worktree add -q gone six
git worktree move gone moved
git worktree remove moved
git worktree prune
echo mine >mine
git add mine
git commit -q -m mine
git pull -q --rebase clone main
git archive --format=tar --prefix=p/ HEAD | tar t | sort
git bundle create -q all.bundle --all
git clone -q all.bundle unbundled
rm -f unbundled/.git/hooks/*
git clone -q --shared . shared
rm -rf shared
for there in . clone bare.git unbundled; do git -C $there fsck --no-progress; git -C $there for-each-ref; done
END
}

@test "git: gc, repack, prune, filter-branch, fast-import" {
  lower_is_a_checkout
  # The graph of commits and the packs are the same to the byte with one thread.
  same_as_plain "$INDEX" <<'END'
git branch -D topic
git reflog expire --expire=now --all
git prune --expire=now
git count-objects
for i in {1..20}; do echo $i >lib/two/a/$i; git add lib; git commit -q -m "loose $i"; done
git repack -q -a -d
git gc -q --prune=now
git pack-refs --all
git count-objects -v
ls .git/objects/pack
FILTER_BRANCH_SQUELCH_WARNING=1 git filter-branch -f --index-filter 'git rm -q --cached --ignore-unmatch README' HEAD~5..HEAD >/dev/null
git fast-export HEAD~3..HEAD | sed 's,refs/heads/main,refs/heads/imported,' | git fast-import --quiet
git update-index --refresh
git read-tree -u --reset HEAD~3
git ls-files --stage
git fsck --no-progress
git for-each-ref
END
}
