package blob

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/durable"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

func TestFetchOnce(t *testing.T) {
	r := newRig(t, nil)
	data, sha := content(1, 100*kib)
	src := newSource(data)
	for range 3 {
		if err := r.get(Want{SHA256: sha, Size: int64(len(data))}, src); err != nil {
			t.Fatal(err)
		}
	}
	r.reopen()
	if err := r.get(Want{SHA256: sha}, src); err != nil {
		t.Fatal(err)
	}
	if got := src.offsets(); len(got) != 1 {
		t.Errorf("the source was asked %v", got)
	}
	if size, ok := r.Has(sha); !ok || size != int64(len(data)) {
		t.Errorf("there is %d, %v", size, ok)
	}
	if info, err := os.Stat(r.Path(sha)); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got := r.files(dirPartials); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	if err := r.get(Want{SHA256: sha, Size: 3}, src); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("another size than the file has: %v", err)
	}
	if _, err := r.Fetch(t.Context(), Want{SHA256: "../../etc/passwd"}, src); err == nil {
		t.Error("a name that is no hash was taken")
	}
}

func TestResume(t *testing.T) {
	data, sha := content(2, 100*kib)
	tests := map[string]struct {
		change func(*fakeSource)
		opens  []int64
	}{
		"cut three times":         {func(s *fakeSource) { s.cutAfter = []int{10 * kib, 20 * kib, 5 * kib} }, []int64{0, 10 * kib, 30 * kib, 35 * kib}},
		"errors between":          {func(s *fakeSource) { s.cutAfter, s.errs = []int{kib}, []error{nil, errFlaky, errFlaky} }, []int64{0, kib, kib, kib}},
		"a source without ranges": {func(s *fakeSource) { s.cutAfter, s.noRange = []int{10 * kib, 20 * kib}, true }, []int64{0, 10 * kib, 20 * kib}},
		"the rest cannot be had": {
			func(s *fakeSource) {
				s.cutAfter, s.errs = []int{10 * kib}, []error{nil, &fetch.Error{Kind: fetch.Restart, Message: "no"}}
			}, []int64{0, 10 * kib, 0},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			src := newSource(data)
			tt.change(src)
			if err := r.get(Want{SHA256: sha, Size: int64(len(data))}, src); err != nil {
				t.Fatal(err)
			}
			if got := src.offsets(); !slices.Equal(got, tt.opens) {
				t.Errorf("asked for %v, want %v", got, tt.opens)
			}
		})
	}
}

var errFlaky = &fetch.Error{Kind: fetch.Temporary, Message: "flaky"}

// A worker that ended in the middle goes on where it was, without asking again
// for what it has.
func TestResumeAfterARestart(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Attempts = 1 })
	data, sha := content(3, 100*kib)
	src := newSource(data)
	src.cutAfter = []int{60 * kib}
	err := r.get(Want{SHA256: sha}, src)
	if apierr.ReasonOf(err) != apierr.Unavailable || !strings.Contains(err.Error(), src.name) {
		t.Fatalf("got %v", err)
	}
	r.reopen()
	if err := r.get(Want{SHA256: sha}, src); err != nil {
		t.Fatal(err)
	}
	if got := src.offsets(); !slices.Equal(got, []int64{0, 60 * kib}) {
		t.Errorf("asked for %v", got)
	}
}

func TestWhatWasSpoiltIsNotServed(t *testing.T) {
	data, sha := content(4, 100*kib)
	half := func(t *testing.T, attempts int) (*rig, *fakeSource) {
		t.Helper()
		r := newRig(t, func(c *Config) { c.Attempts = attempts })
		src := newSource(data)
		src.cutAfter = []int{60 * kib}
		if attempts == 1 {
			if err := r.get(Want{SHA256: sha}, src); err == nil {
				t.Fatal("it came although it was cut")
			}
		}
		return r, src
	}
	t.Run("a partial on the disk", func(t *testing.T) {
		r, src := half(t, 1)
		spoil(t, r.partial(sha))
		r.reopen()
		if err := r.get(Want{SHA256: sha}, src); err != nil {
			t.Fatal(err)
		}
		if got := src.offsets(); !slices.Equal(got, []int64{0, 60 * kib, 0}) {
			t.Errorf("asked for %v", got)
		}
	})
	t.Run("a partial without a journal", func(t *testing.T) {
		r, src := half(t, 1)
		if err := os.WriteFile(r.journal(sha), []byte(`{"source":`), 0o600); err != nil {
			t.Fatal(err)
		}
		r.reopen()
		if err := r.get(Want{SHA256: sha}, src); err != nil {
			t.Fatal(err)
		}
		if got := src.offsets(); !slices.Equal(got, []int64{0, 0}) {
			t.Errorf("asked for %v", got)
		}
	})
	t.Run("another content at the source", func(t *testing.T) {
		r, src := half(t, 1)
		src.tag, src.name = `"v2"`, "https://mirror.test/file"
		if err := r.get(Want{SHA256: sha}, src); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a whole file on the disk", func(t *testing.T) {
		r, src := half(t, 4)
		if err := r.get(Want{SHA256: sha}, src); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(r.Path(sha), 0o600); err != nil {
			t.Fatal(err)
		}
		spoil(t, r.Path(sha))
		if _, ok := r.Has(sha); ok {
			t.Fatal("a file that was changed counts as there")
		}
		if err := r.get(Want{SHA256: sha}, src); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("an index that is lost", func(t *testing.T) {
		r, src := half(t, 4)
		if err := r.get(Want{SHA256: sha}, src); err != nil {
			t.Fatal(err)
		}
		before := len(src.offsets())
		if err := os.WriteFile(r.path(fileIndex), []byte("not json"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.reopen()
		if err := r.get(Want{SHA256: sha}, src); err != nil || len(src.offsets()) != before {
			t.Errorf("got %v; asked for %v", err, src.offsets())
		}
		if _, ok := r.Has(sha); !ok {
			t.Error("what was read again is not known")
		}
	})
}

// spoil changes one byte in the middle.
func spoil(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNotWhatItShouldBe(t *testing.T) {
	data, sha := content(5, 50*kib)
	other, _ := content(6, 50*kib)
	long := append(slices.Clone(data), 1)
	permanent := &fetch.Error{Kind: fetch.Permanent, Message: "the answer is 404 Not Found"}
	tests := map[string]struct {
		want   Want
		source func() *fakeSource
		reason apierr.Reason
		text   string
		opens  int
	}{
		"another content": {Want{SHA256: sha}, func() *fakeSource { return newSource(other) }, apierr.FailedPrecondition, "does not have the SHA-256 " + sha, 1},
		"another size":    {Want{SHA256: sha, Size: 7}, func() *fakeSource { return newSource(data) }, apierr.FailedPrecondition, "has 51200 bytes, not 7", 1},
		"more than it says": {Want{SHA256: sha}, func() *fakeSource {
			s := newSource(long)
			s.size = int64(len(data))
			return s
		}, apierr.FailedPrecondition, "sends more than the 51200 bytes", 1},
		"less than it says, again and again": {Want{SHA256: sha}, func() *fakeSource {
			s := newSource(data)
			s.size = int64(len(data)) + 5
			return s
		}, apierr.Unavailable, "ended after 51200 of 51205 bytes", 4},
		"no size": {Want{SHA256: sha}, func() *fakeSource {
			s := newSource(data)
			s.size = -1
			return s
		}, apierr.FailedPrecondition, "size_bytes must be given", 1},
		"not found":   {Want{SHA256: sha}, func() *fakeSource { s := newSource(data); s.errs = []error{permanent}; return s }, apierr.FailedPrecondition, "404", 1},
		"too large":   {Want{SHA256: sha, Size: 2 << 40}, func() *fakeSource { return newSource(data) }, apierr.FailedPrecondition, "one file may have", 0},
		"never there": {Want{SHA256: sha}, func() *fakeSource { s := newSource(data); s.errs = slices.Repeat([]error{errFlaky}, 9); return s }, apierr.Unavailable, "flaky", 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			src := tt.source()
			err := r.get(tt.want, src)
			if apierr.ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v", err)
			}
			if got := src.offsets(); len(got) != tt.opens {
				t.Errorf("asked for %v", got)
			}
			if got := r.files(dirBlobs); len(got) != 0 {
				t.Errorf("in the cache: %v", got)
			}
		})
	}
}

// A source that has something else is not asked for all of it again at every
// restart of the model; another source is.
func TestRefusedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		data, sha := content(7, 50*kib)
		other, _ := content(8, 50*kib)
		bad, good := newSource(other), newSource(data)
		good.name = "https://mirror.test/file"
		for range 5 {
			if err := r.get(Want{SHA256: sha}, bad); apierr.ReasonOf(err) != apierr.FailedPrecondition {
				t.Fatalf("got %v", err)
			}
			clock.Sleep(t.Context(), clock.Real(), time.Minute) //nolint:errcheck // the bubble's time
		}
		if got := bad.offsets(); len(got) != 1 {
			t.Errorf("asked for %v", got)
		}
		clock.Sleep(t.Context(), clock.Real(), 15*time.Minute) //nolint:errcheck // the bubble's time
		if err := r.get(Want{SHA256: sha}, bad); err == nil || len(bad.offsets()) != 2 {
			t.Errorf("later: %v; asked for %v", err, bad.offsets())
		}
		if err := r.get(Want{SHA256: sha}, good); err != nil {
			t.Errorf("from the mirror: %v", err)
		}
	})
}

// Loads that run at once share one transfer and see its progress; it goes on as
// long as one of them waits.
func TestSharedByAllThatWait(t *testing.T) {
	r := newRig(t, nil)
	data, sha := content(9, 100*kib)
	src := newSource(data)
	src.wait = make(chan struct{})
	want := Want{SHA256: sha, Size: int64(len(data))}
	leaving, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := r.Fetch(leaving, want, src); first <- err }()
	await(t, func() bool { p, _ := r.Progress(sha); return p.Done == 50*kib })
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = r.Fetch(t.Context(), want, src) })
	}
	await(t, func() bool { return r.Stats().Joined == int64(len(errs)) })
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	if p, ok := r.Progress(sha); !ok || p.Done != 50*kib || p.Total != 100*kib || p.Source != src.name {
		t.Errorf("progress %+v, %v", p, ok)
	}
	close(src.wait)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := src.offsets(); len(got) != 1 {
		t.Errorf("asked for %v", got)
	}
	if s := r.Stats(); s.Fetches[Series{"https", OutcomeOK}] != 1 || s.Bytes["https"] != 100*kib || s.Files != 1 || s.Size != 100*kib {
		t.Errorf("counted %+v", s)
	}
}

// The last one that leaves ends the transfer; who comes next goes on with it.
func TestAbandoned(t *testing.T) {
	r := newRig(t, nil)
	data, sha := content(10, 100*kib)
	src := newSource(data)
	src.wait = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := r.Fetch(ctx, Want{SHA256: sha}, src); done <- err }()
	await(t, func() bool { p, _ := r.Progress(sha); return p.Done == 50*kib })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(src.wait)
	if err := r.get(Want{SHA256: sha}, src); err != nil {
		t.Fatal(err)
	}
	if got := src.offsets(); !slices.Equal(got, []int64{0, 50 * kib}) {
		t.Errorf("asked for %v", got)
	}
}

func TestOneWorkerForOneCache(t *testing.T) {
	r := newRig(t, nil)
	if _, err := Open(r.cfg, r.parts); !errors.Is(err, durable.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

func TestLink(t *testing.T) {
	r := newRig(t, nil)
	data, sha := content(11, kib)
	if err := r.get(Want{SHA256: sha}, newSource(data)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Link("model", map[string]string{"config.json": sha, "1_Pooling/config.json": sha}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/config.json", "/1_Pooling/config.json"} {
		if got, err := os.ReadFile(r.View("model") + name); err != nil || sum(got) != sha {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Unlink("model"); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Has(sha); !ok || len(r.files(dirViews)) != 0 {
		t.Errorf("afterwards: %v, %v", ok, r.files(dirViews))
	}
}

// await waits for what another goroutine does.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("it does not come about")
		}
	}
}
