// Package fetch reads files that lie elsewhere: at a web server, in an S3
// bucket, in an OCI registry, in a hub with Hugging Face's layout, or with the
// platform's own registry. It asks only
// where its configuration allows, and stores nothing; start reading at Fetchers.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// Request asks for a file, or for the rest of it.
type Request struct {
	Ref Ref
	// SHA256 is what the file must have, in hexadecimal digits. Sources that tell
	// hashes are checked against it before anything is read.
	SHA256 string
	// Offset is where to begin, in bytes.
	Offset int64
	// Validator is the one of the content that the first bytes came from, or
	// empty. With another content at the source, the file is sent from its start.
	Validator string
}

// Content is a file, or the rest of it. Its body must be closed.
type Content struct {
	Body io.ReadCloser
	// Offset is where the body begins: what was asked for, or 0.
	Offset int64
	// Size is that of the whole file; -1 when the source does not tell.
	Size int64
	// Validator tells this content from another at the same place; may be empty.
	Validator string
}

// Fetcher opens files of one kind of source. It is safe for concurrent use. Its
// errors are of type *Error, or the context's.
type Fetcher interface {
	Open(ctx context.Context, r Request) (*Content, error)
}

// Fetchers opens files by the scheme of their URIs. It is safe for concurrent
// use.
type Fetchers struct {
	policy   policy
	byScheme map[string]Fetcher
}

// Option adds a source.
type Option func(*Fetchers)

// New returns fetchers for the sources that cfg allows.
func New(cfg Config, c clock.Clock, opts ...Option) *Fetchers {
	cl := newClient(cfg, c)
	p := newPolicy(cfg.Allow)
	web := &webFetcher{client: cl, hosts: cfg.HTTP, policy: p}
	f := &Fetchers{policy: p, byScheme: map[string]Fetcher{
		SchemeHTTP: web, SchemeHTTPS: web,
		SchemeS3:  &s3Fetcher{client: cl, buckets: cfg.S3, clock: c},
		SchemeOCI: newOCIFetcher(cl, cfg.OCI, c),
		SchemeHF:  &hubFetcher{client: cl, cfg: cfg.HuggingFace},
		// Until it is given one.
		SchemeRegistry: noRegistry{},
	}}
	for _, o := range opts {
		o(f)
	}
	return f
}

// Allows reports whether the configuration allows to read from ref.
func (f *Fetchers) Allows(ref Ref) bool { return f.policy.allows(ref) }

// Any reports whether anything is allowed at all.
func (f *Fetchers) Any() bool { return len(f.policy) > 0 }

// Open opens the file, unless its place is not allowed.
func (f *Fetchers) Open(ctx context.Context, r Request) (*Content, error) {
	if !f.Allows(r.Ref) {
		return nil, permanent(nil, "this worker may not fetch from %s", r.Ref)
	}
	content, err := f.byScheme[r.Ref.Scheme].Open(ctx, r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("%s: %w", r.Ref, err)
	}
	return content, nil
}

// Kind says what may follow an error.
type Kind int

// The kinds.
const (
	// Permanent errors come again until somebody changes something.
	Permanent Kind = iota + 1
	// Temporary errors may be gone after a while.
	Temporary
	// Restart says that the rest cannot be had, but perhaps the whole.
	Restart
)

// Error says why a file cannot be read. It holds no credentials.
type Error struct {
	Kind    Kind
	Message string
	// RetryAfter is how long the source wants to be left alone; 0 when not said.
	RetryAfter time.Duration

	cause error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// KindOf returns what may follow err: what is not known may pass.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Temporary
}

// RetryAfter returns how long the source of err wants to be left alone.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

func permanent(cause error, format string, args ...any) *Error {
	return &Error{Kind: Permanent, Message: fmt.Sprintf(format, args...), cause: cause}
}

func temporary(cause error, format string, args ...any) *Error {
	return &Error{Kind: Temporary, Message: fmt.Sprintf(format, args...), cause: cause}
}

func restart(format string, args ...any) *Error {
	return &Error{Kind: Restart, Message: fmt.Sprintf(format, args...)}
}
