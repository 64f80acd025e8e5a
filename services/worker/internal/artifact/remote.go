package artifact

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/blob"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

// Remote is where files that are not on this machine come from, and where they
// are kept.
type Remote struct {
	Fetchers *fetch.Fetchers
	Cache    *blob.Cache
}

// WithRemote returns s, which from now on also serves files that r can fetch. It
// must be called before s is used.
func (s *Store) WithRemote(r Remote) *Store {
	s.remote = &r
	return s
}

// CacheStats returns what the cache of fetched files counts, if there is one.
func (s *Store) CacheStats() (blob.Stats, bool) {
	if s.remote == nil {
		return blob.Stats{}, false
	}
	return s.remote.Cache.Stats(), true
}

// file is one artifact of a set.
type file struct {
	path, sha256 string
	size         int64 // 0 when not known
	remote       bool
	ref          fetch.Ref
}

// Set is the files of one model: held from its admission on, so that those in
// the cache stay there, until they are released. It is safe for concurrent use.
type Set struct {
	store *Store
	key   string
	files []file
	links map[string]string // names to hashes, of those in the cache
	unpin []func()
}

// Hold checks that all artifacts are on this machine or may be fetched, and
// fetches nothing. key names the model, in letters and digits; one set of that
// name at a time can be held.
func (s *Store) Hold(key string, artifacts []*commonv1.Artifact) (*Set, error) {
	set := &Set{store: s, key: key, links: make(map[string]string)}
	for i, a := range artifacts {
		f, err := s.find(set, a, i)
		if err != nil {
			return nil, err
		}
		set.files = append(set.files, f)
	}
	for _, f := range set.files {
		if f.remote {
			set.unpin = append(set.unpin, s.remote.Cache.Pin(f.sha256))
		}
	}
	if set.Present() {
		if err := set.link(); err != nil {
			set.Release()
			return nil, err
		}
	}
	return set, nil
}

func (s *Store) find(set *Set, a *commonv1.Artifact, i int) (file, error) {
	if scheme, _, _ := strings.Cut(a.GetUri(), ":"); s.remote == nil || !s.remote.Fetchers.Any() || strings.EqualFold(scheme, "file") {
		path, err := s.Locate(a, i)
		return file{path: path, sha256: a.GetSha256(), size: a.GetSizeBytes()}, err
	}
	field := fmt.Sprintf("spec.artifacts[%d]", i)
	ref, err := fetch.Parse(a.GetUri())
	if err != nil {
		return file{}, apierr.Invalid(field+".uri", "the URI of artifact %d %v", i, err)
	}
	if !s.remote.Fetchers.Allows(ref) {
		return file{}, apierr.New(apierr.FailedPrecondition, "this worker may not fetch artifact %d: artifacts.remote.allow names nothing that holds %s", i, ref)
	}
	name := a.GetName()
	if name == "" {
		if name = ref.FileName(); name == "" {
			name = a.GetSha256()
		}
	}
	if !plainName(name) {
		return file{}, apierr.Invalid(field+".name", "the name of artifact %d must be a relative path without empty segments, `.` and `..`", i)
	}
	if other, taken := set.links[name]; taken && other != a.GetSha256() {
		return file{}, apierr.Invalid(field+".name", "two artifacts are named %s: give them names", name)
	}
	set.links[name] = a.GetSha256()
	return file{path: s.remote.Cache.View(set.key) + "/" + name, sha256: a.GetSha256(), size: a.GetSizeBytes(), remote: true, ref: ref}, nil
}

func plainName(name string) bool {
	const most = 1024
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 || strings.ContainsFunc(part, unicode.IsControl) {
			return false
		}
	}
	return len(name) <= most
}

// Paths is where the files are, or will be, in the artifacts' order. Those that
// are fetched lie in one directory, under their names.
func (s *Set) Paths() []string {
	out := make([]string, len(s.files))
	for i, f := range s.files {
		out[i] = f.path
	}
	return out
}

// Present reports whether all files are on this machine.
func (s *Set) Present() bool {
	for _, f := range s.files {
		if !f.remote {
			continue
		}
		if size, ok := s.store.remote.Cache.Has(f.sha256); !ok || f.size != 0 && f.size != size {
			return false
		}
	}
	return true
}

// SizeBytes is what the files have together, as far as the spec says.
func (s *Set) SizeBytes() int64 {
	var sum int64
	for _, f := range s.files {
		sum += f.size
	}
	return sum
}

// Ensure fetches what is missing, and sees that all files have the content that
// the spec says.
func (s *Set) Ensure(ctx context.Context) error {
	g, each := errgroup.WithContext(ctx)
	for _, f := range s.files {
		if f.remote {
			g.Go(func() error {
				_, err := s.store.remote.Cache.Fetch(each, blob.Want{SHA256: f.sha256, Size: f.size}, source{s.store.remote.Fetchers, f})
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, f := range s.files {
		if f.remote {
			continue
		}
		if err := s.store.Verify(ctx, f.path, f.sha256); err != nil {
			return err
		}
	}
	return s.link()
}

func (s *Set) link() error {
	if len(s.links) == 0 {
		return nil
	}
	return s.store.remote.Cache.Link(s.key, s.links)
}

// Release lets the files go.
func (s *Set) Release() {
	for _, unpin := range s.unpin {
		unpin()
	}
	if len(s.links) > 0 {
		_ = s.store.remote.Cache.Unlink(s.key) // the next start tidies up too
	}
}

// Progress is how far the fetching of a set is.
type Progress struct {
	// Done and Total are bytes, of the files that are fetched. Total is 0 while
	// the size of one of them is not known.
	Done, Total int64
	// Rate is bytes a second, of late.
	Rate int64
	// Source is where one of the files comes from, without credentials.
	Source string
	// Files is how many there are, and FilesDone how many of them are here.
	Files, FilesDone int
	// Failures is how many tries in a row brought nothing.
	Failures int
}

// Progress tells how far the fetching is; false when nothing is being fetched.
func (s *Set) Progress() (Progress, bool) {
	if !s.fetching() {
		return Progress{}, false
	}
	var p Progress
	unknown := false
	for _, f := range s.files {
		if !f.remote {
			continue
		}
		p.Files++
		if one, ok := s.store.remote.Cache.Progress(f.sha256); ok {
			p.Done += one.Done
			p.Total += one.Total
			p.Rate += one.Rate
			p.Failures = max(p.Failures, one.Failures)
			unknown = unknown || one.Total == 0
			if p.Source == "" {
				p.Source = one.Source
			}
			continue
		}
		if size, ok := s.store.remote.Cache.Has(f.sha256); ok {
			p.FilesDone++
			p.Done += size
			p.Total += size
			continue
		}
		p.Total += f.size
		unknown = unknown || f.size == 0
	}
	if unknown {
		p.Total = 0
	}
	return p, true
}

func (s *Set) fetching() bool {
	return slices.ContainsFunc(s.files, func(f file) bool {
		if !f.remote {
			return false
		}
		_, ok := s.store.remote.Cache.Progress(f.sha256)
		return ok
	})
}

// source is where one file comes from.
type source struct {
	fetchers *fetch.Fetchers
	file     file
}

func (s source) Name() string { return s.file.ref.String() }
func (s source) Kind() string { return s.file.ref.Scheme }

func (s source) Open(ctx context.Context, offset int64, validator string) (*fetch.Content, error) {
	return s.fetchers.Open(ctx, fetch.Request{Ref: s.file.ref, SHA256: s.file.sha256, Offset: offset, Validator: validator})
}

// redact takes off what people must not see of a URI.
func redact(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return "a text that is not a URI"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
