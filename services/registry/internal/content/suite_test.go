package content_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/content"
)

// bytesStore is what both stores do.
type bytesStore interface {
	MinPart() int64
	Begin(ctx context.Context, id string) (string, error)
	Open(ctx context.Context, u content.Upload) (content.Writer, error)
	Finish(ctx context.Context, u content.Upload, parts []content.Part) (string, error)
	Discard(ctx context.Context, u content.Upload) error
	Read(ctx context.Context, place string, offset int64) (io.ReadCloser, error)
	Remove(ctx context.Context, place string) error
}

var sum = strings.Repeat("ab", 32)

// suite is what every store must do.
func suite(t *testing.T, s bytesStore) {
	t.Helper()
	ctx := t.Context()
	part := int(max(s.MinPart(), 1000))
	data := bytes.Repeat([]byte("0123456789"), (2*part+700)/10)
	begin := func(id string) content.Upload {
		t.Helper()
		handle, err := s.Begin(ctx, id)
		check(t, err)
		return content.Upload{ID: id, Handle: handle, SHA256: sum, Size: int64(len(data))}
	}
	put := func(u content.Upload, attempt, from, to int) content.Part {
		t.Helper()
		w, err := s.Open(ctx, u)
		check(t, err)
		p := content.Part{Attempt: attempt, Offset: int64(from), Size: int64(to - from)}
		p.Tag, err = w.Put(ctx, p, bytes.NewReader(data[from:to]))
		check(t, err)
		check(t, w.Close())
		return p
	}

	t.Run("parts, torn ones among them, become a whole", func(t *testing.T) {
		u := begin("whole")
		parts := []content.Part{put(u, 1, 0, part)}
		w, err := s.Open(ctx, u)
		check(t, err)
		broken := errors.New("the client is lost")
		torn := content.Part{Attempt: 2, Offset: int64(part), Size: int64(part)}
		_, err = w.Put(ctx, torn, io.MultiReader(strings.NewReader("rubbish"), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Fatalf("a reader that fails: %v", err)
		}
		torn.Attempt = 3
		if _, err = w.Put(ctx, torn, strings.NewReader("short")); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Fatalf("too little: %v", err)
		}
		check(t, w.Close())
		parts = append(parts, put(u, 4, part, 2*part), put(u, 5, 2*part, len(data)))
		place, err := s.Finish(ctx, u, parts)
		check(t, err)
		again, err := s.Finish(ctx, u, parts)
		check(t, err)
		if again != place {
			t.Errorf("finished to %q, and again to %q", place, again)
		}
		for _, offset := range []int{0, 1, part, len(data) - 1, len(data)} {
			if offset == len(data) && s.MinPart() > 1 {
				continue // S3 has no such range; nobody asks
			}
			r, err := s.Read(ctx, place, int64(offset))
			check(t, err)
			got, err := io.ReadAll(r)
			check(t, err)
			check(t, r.Close())
			if !bytes.Equal(got, data[offset:]) {
				t.Errorf("from %d: %d bytes, want %d", offset, len(got), len(data)-offset)
			}
		}
		check(t, s.Remove(ctx, place))
		check(t, s.Remove(ctx, place))
		if r, err := s.Read(ctx, place, 0); apierr.ReasonOf(err) != apierr.NotFound {
			t.Errorf("read what was removed: %v, %v", r, err)
		}
	})

	t.Run("the same content twice lies at two places", func(t *testing.T) {
		var places []string
		for _, id := range []string{"one", "two"} {
			u := begin(id)
			parts := []content.Part{put(u, 1, 0, part), put(u, 2, part, 2*part), put(u, 3, 2*part, len(data))}
			place, err := s.Finish(ctx, u, parts)
			check(t, err)
			places = append(places, place)
		}
		if places[0] == places[1] {
			t.Fatalf("both at %s", places[0])
		}
		check(t, s.Remove(ctx, places[0]))
		r, err := s.Read(ctx, places[1], 0)
		check(t, err)
		check(t, r.Close())
		check(t, s.Remove(ctx, places[1]))
	})

	t.Run("what is given up is gone", func(t *testing.T) {
		for id, finish := range map[string]bool{"open": false, "finished": true} {
			u := begin(id)
			parts := []content.Part{put(u, 1, 0, part), put(u, 2, part, 2*part), put(u, 3, 2*part, len(data))}
			place := ""
			if finish {
				var err error
				place, err = s.Finish(ctx, u, parts)
				check(t, err)
			}
			handle := u.Handle
			u.Handle = "" // a crash kept it from being noted
			check(t, s.Discard(ctx, u))
			check(t, s.Discard(ctx, u))
			u.Handle = handle
			if finish {
				if _, err := s.Read(ctx, place, 0); apierr.ReasonOf(err) != apierr.NotFound {
					t.Errorf("%s: %v", id, err)
				}
				continue
			}
			if _, err := s.Finish(ctx, u, parts); apierr.ReasonOf(err) != apierr.NotFound {
				t.Errorf("%s: finished: %v", id, err)
			}
		}
	})

	t.Run("names that lead elsewhere", func(t *testing.T) {
		for _, name := range []string{"../x", "a/../../x", "", "/etc", "A"} {
			if _, err := s.Begin(ctx, name); err == nil {
				t.Errorf("began %q", name)
			}
			if err := s.Discard(ctx, content.Upload{ID: name}); err == nil {
				t.Errorf("discarded %q", name)
			}
		}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
