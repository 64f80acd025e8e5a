package artifact

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

func storeOf(t *testing.T, roots ...string) *Store {
	t.Helper()
	s, err := NewStore(roots, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

// No spelling and no link leads out of the directories that may be read.
func TestNoWayOutOfTheRoots(t *testing.T) {
	base := t.TempDir()
	root, outside, alias := filepath.Join(base, "models"), filepath.Join(base, "models-secret"), filepath.Join(base, "alias")
	for _, dir := range []string{filepath.Join(root, "sub"), outside} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "good"), "weights")
	write(t, filepath.Join(root, "..dots"), "weights")
	write(t, filepath.Join(outside, "key"), "secret")
	link(t, filepath.Join(root, "good"), filepath.Join(root, "sub", "inner"))
	link(t, filepath.Join(outside, "key"), filepath.Join(root, "file"))
	link(t, "../models-secret/key", filepath.Join(root, "relative"))
	link(t, "file", filepath.Join(root, "chain"))
	link(t, outside, filepath.Join(root, "dir"))
	link(t, "/", filepath.Join(root, "all"))
	link(t, "/proc/self/root", filepath.Join(root, "proc"))
	link(t, "loop", filepath.Join(root, "loop"))
	link(t, root, alias)
	if err := unix.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"by itself": storeOf(t, root), "by a link": storeOf(t, alias)} {
		for _, path := range []string{
			root + "/file", root + "/relative", root + "/chain", root + "/dir/key", root + "/sub/../dir/key",
			root + "/all" + outside + "/key", root + "/proc" + outside + "/key", "/proc/self/root" + outside + "/key", "/proc/self/cwd/key",
			outside + "/key", root + "-secret/key", root + "/../models-secret/key", root + "/%2e%2e/models-secret/key", root + "/..%2fmodels-secret/key",
			root + "//../models-secret/key", root + "/./../models-secret/key", root + "/sub/../../models-secret/key", "//" + outside + "/key",
			alias + "/../models-secret/key", alias + "/file",
			root + "/loop", root + "/fifo", root + "/sub", root + "/good/", root + "/good%00", root + "/good/..", "/dev/zero", "/dev/stdin",
		} {
			if got, err := s.Locate(&commonv1.Artifact{Uri: "file://" + path}, 0); err == nil && (!strings.HasPrefix(got, root+"/") || got != filepath.Join(root, "good")) {
				t.Errorf("%s: %s is read as %s", name, path, got)
			}
		}
		for _, uri := range []string{"file:" + outside + "/key", "file://localhost" + outside + "/key", "FILE://" + outside + "/key", "file:///" + outside + "/key", "file://" + outside + "/key?x#y"} {
			if got, err := s.Locate(&commonv1.Artifact{Uri: uri}, 0); err == nil {
				t.Errorf("%s: %s is read as %s", name, uri, got)
			}
		}
		for _, path := range []string{root + "/good", alias + "/good", root + "/sub/inner", root + "/sub/../good", root + "/..dots", root + "/all" + root + "/good"} {
			if _, err := s.Locate(&commonv1.Artifact{Uri: "file://" + path}, 0); err != nil {
				t.Errorf("%s: %s: %v", name, path, err)
			}
		}
	}
}

// Who may name any path does not learn which files there are.
func TestWhatIsOutsideIsNotTold(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "there"), "secret")
	s := storeOf(t, t.TempDir())
	say := func(name string) string {
		_, err := s.Locate(&commonv1.Artifact{Uri: "file://" + outside + "/" + name}, 0)
		if apierr.ReasonOf(err) != apierr.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
		return strings.ReplaceAll(apierr.From(err).Error(), name, "X")
	}
	if there, not := say("there"), say("not"); there != not {
		t.Errorf("one is %q, the other %q", there, not)
	}
}

// A file that became a link out after it was looked at is not taken.
func TestAFileThatBecomesALink(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "w"), "weights")
	write(t, filepath.Join(outside, "w"), "weights")
	s := storeOf(t, root)
	path, err := s.Locate(&commonv1.Artifact{Uri: "file://" + root + "/w"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	link(t, filepath.Join(outside, "w"), path)
	if err := s.Verify(t.Context(), path, sum("weights")); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("got %v", err)
	}
}
