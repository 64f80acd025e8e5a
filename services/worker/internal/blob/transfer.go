package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

// errMixed says that a file that was put together of several transfers does not
// have its hash: the whole may.
var errMixed = errors.New("what was fetched in parts is not what was asked for")

// obtain brings the file into the cache, with as many tries as it takes.
func (c *Cache) obtain(ctx context.Context, f *flight) error {
	if ok, err := c.recheck(ctx, f); ok || err != nil {
		f.rechecked = ok
		return err
	}
	p, err := c.openPartial(ctx, f.want.SHA256)
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	defer func() {
		c.mu.Lock()
		f.reserved = 0
		if p.file != nil {
			c.partials[f.want.SHA256] = &entry{Size: p.size, LastUse: c.parts.Clock.Now()}
		}
		c.mu.Unlock()
		p.close()
	}()
	if f.want.Size != 0 {
		if err := c.reserve(f, p, f.want.Size); err != nil {
			return err
		}
	}
	for restarts, failures := 0, 0; ; {
		before := p.size
		err := c.attempt(ctx, f, p)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errMixed) || fetch.KindOf(err) == fetch.Restart:
			if restarts++; restarts > 2 {
				return unavailable(err)
			}
			c.parts.Log.WarnContext(ctx, "fetch begins anew", slog.String(keySource, f.source.Name()), slog.Any("error", err))
			if err := p.reset(); err != nil {
				return fmt.Errorf("cache: %w", err)
			}
			continue
		case fetch.KindOf(err) == fetch.Permanent || isRefusal(err):
			return refusalOf(err)
		}
		if failures++; p.size > before {
			failures = 1
		}
		f.tries.Store(int64(failures))
		if failures >= c.cfg.Attempts {
			return unavailable(err)
		}
		c.parts.Log.InfoContext(ctx, "fetch is tried again", slog.String(keySource, f.source.Name()),
			slog.Int64(keyOffset, p.size), slog.Any("error", err))
		if err := clock.Sleep(ctx, c.parts.Clock, max(c.backoff(failures), fetch.RetryAfter(err))); err != nil {
			return err
		}
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*apierr.Error](err)
	return ok
}

func refusalOf(err error) error {
	if isRefusal(err) {
		return err
	}
	return apierr.New(apierr.FailedPrecondition, "%v", err)
}

func unavailable(err error) error { return apierr.New(apierr.Unavailable, "%v", err) }

// backoff is doubled each time, and between half and the whole of that.
func (c *Cache) backoff(failures int) time.Duration {
	d := c.cfg.BackoffMin
	for range failures - 1 {
		if d *= 2; d >= c.cfg.BackoffMax {
			d = c.cfg.BackoffMax
			break
		}
	}
	if c.parts.Jitter == nil {
		return d
	}
	return d/2 + time.Duration(c.parts.Jitter()*float64(d)/2)
}

// attempt is one request for what is missing, and what follows to the end.
func (c *Cache) attempt(ctx context.Context, f *flight, p *partial) error {
	f.have.Store(p.size)
	total := f.total.Load()
	if total == 0 {
		total = p.journal.Size
	}
	switch {
	case total > 0 && p.size == total:
		return c.finish(ctx, f, p)
	case total > 0 && p.size > total:
		return errMixed
	}
	content, err := f.source.Open(ctx, p.size, p.journal.Validator)
	if err != nil {
		return err
	}
	defer func() { _ = content.Body.Close() }()
	if total, err = c.sizeOf(f, content); err != nil {
		return err
	}
	f.total.Store(total)
	if content.Offset == 0 && p.size > 0 {
		if err := p.reset(); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	if err := c.reserve(f, p, total); err != nil {
		return err
	}
	if err := p.note(journal{Source: f.source.Name(), Validator: content.Validator, Size: total}); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := c.copy(f, p, content.Body, total); err != nil {
		return err
	}
	return c.finish(ctx, f, p)
}

// sizeOf is the file's size, which the source and the caller must agree on.
func (c *Cache) sizeOf(f *flight, content *fetch.Content) (int64, error) {
	want := f.want.Size
	switch {
	case content.Size < 0 && want == 0:
		return 0, apierr.New(apierr.FailedPrecondition, "%s does not tell how large the file is: its size_bytes must be given", f.source.Name())
	case content.Size < 0:
		return want, nil
	case want != 0 && content.Size != want:
		return 0, apierr.New(apierr.FailedPrecondition, "%s has %d bytes, not %d", f.source.Name(), content.Size, want)
	case content.Size > int64(c.cfg.MaxFile):
		return 0, apierr.New(apierr.FailedPrecondition, "%s has %d bytes, more than the %v that one file may have", f.source.Name(), content.Size, c.cfg.MaxFile)
	default:
		return content.Size, nil
	}
}

const (
	bufferSize = 1 << 20
	// syncEvery is how much a loss of power may cost.
	syncEvery  = 256 << 20
	rateWindow = 2 * time.Second
)

func (c *Cache) copy(f *flight, p *partial, body io.Reader, total int64) error {
	buf := make([]byte, bufferSize)
	kind := f.source.Kind()
	began, from, unsynced := c.parts.Clock.Now(), p.size, 0
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if p.size+int64(n) > total {
				return apierr.New(apierr.FailedPrecondition, "%s sends more than the %d bytes that the file has", f.source.Name(), total)
			}
			if err := p.write(buf[:n]); err != nil {
				return fmt.Errorf("cache: %w", err)
			}
			f.have.Store(p.size)
			f.tries.Store(0)
			c.mu.Lock()
			c.stats.Bytes[kind] += int64(n)
			c.mu.Unlock()
			if unsynced += n; unsynced >= syncEvery {
				unsynced = 0
				if err := p.file.Sync(); err != nil {
					return fmt.Errorf("cache: %w", err)
				}
			}
			if span := c.parts.Clock.Now().Sub(began); span >= rateWindow {
				f.rate.Store(int64(float64(p.size-from) / span.Seconds()))
				began, from = c.parts.Clock.Now(), p.size
			}
		}
		switch {
		case errors.Is(err, io.EOF) && p.size < total:
			return &fetch.Error{Kind: fetch.Temporary, Message: fmt.Sprintf("%s ended after %d of %d bytes", f.source.Name(), p.size, total)}
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", f.source.Name(), err)
		}
	}
}

// finish makes the file a blob if its content is right, and throws it away
// otherwise.
func (c *Cache) finish(ctx context.Context, f *flight, p *partial) error {
	sha := f.want.SHA256
	if p.sum() != sha {
		resumed := p.resumed
		if err := p.reset(); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
		if resumed {
			return errMixed
		}
		err := apierr.New(apierr.FailedPrecondition, "the file at %s does not have the SHA-256 %s", f.source.Name(), sha)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refuse(f.place(), err)
		p.remove()
		delete(c.partials, sha)
		return err
	}
	if err := p.commit(c.Path(sha)); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	info, err := os.Stat(c.Path(sha))
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.partials, sha)
	c.blobs[sha] = &entry{Size: info.Size(), Modified: info.ModTime(), LastUse: c.parts.Clock.Now()}
	if err := c.save(); err != nil {
		c.parts.Log.WarnContext(ctx, "cache index is not written", slog.Any("error", err)) // the file is read again then
	}
	return nil
}

// maxRefused bounds what is remembered; to forget costs a transfer.
const maxRefused = 1024

func (c *Cache) refuse(place string, err error) {
	if len(c.refused) >= maxRefused {
		clear(c.refused)
	}
	c.refused[place] = refusal{err: err, until: c.parts.Clock.Now().Add(c.cfg.RefusedFor)}
}
