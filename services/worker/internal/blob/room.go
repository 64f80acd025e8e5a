package blob

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
)

// reserve sees that a file of the given size has room, of which p is there
// already, and holds it until the flight ends. Files that no model needs are
// evicted for it, but none if that would not do.
func (c *Cache) reserve(f *flight, p *partial, total int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.reserved >= total {
		return nil
	}
	if total > int64(c.cfg.MaxFile) {
		return apierr.New(apierr.FailedPrecondition, "the file has %d bytes, more than the %v that one file may have", total, c.cfg.MaxFile)
	}
	free, err := c.parts.DiskFree(c.cfg.Dir)
	if err != nil {
		return fmt.Errorf("cache: free space: %w", err)
	}
	used, spare := total, free-(total-p.size)-int64(c.cfg.MinFree)
	for _, other := range c.flights {
		if other != f && other.reserved > 0 {
			used += other.reserved
			spare -= max(other.reserved-other.have.Load(), 0)
		}
	}
	for _, list := range []map[string]*entry{c.blobs, c.partials} {
		for sha, e := range list {
			if _, flying := c.flights[sha]; !flying {
				used += e.Size
			}
		}
	}
	over := -spare
	if c.cfg.Quota > 0 {
		over = max(over, used-int64(c.cfg.Quota))
	}
	if err := c.evict(over, total); err != nil {
		return err
	}
	f.reserved = total
	return nil
}

// victim is a file that may go.
type victim struct {
	sha  string
	part bool
	*entry
}

// victims are the files that nobody needs now.
func (c *Cache) victims() []victim {
	var all []victim
	add := func(list map[string]*entry, part bool) {
		for sha, e := range list {
			if _, flying := c.flights[sha]; c.pins[sha] == 0 && !flying {
				all = append(all, victim{sha, part, e})
			}
		}
	}
	add(c.blobs, false)
	add(c.partials, true)
	return all
}

// evict makes room for over bytes, least recently used files first.
func (c *Cache) evict(over, total int64) error {
	if over <= 0 {
		return nil
	}
	all := c.victims()
	var sum int64
	for _, v := range all {
		sum += v.Size
	}
	if sum < over {
		return apierr.New(apierr.FailedPrecondition, "a file of %s needs %s more space than this worker's cache can free (%s)",
			config.Bytes(total).InMiB(), config.Bytes(over-sum).InMiB(), config.Bytes(sum).InMiB()).
			WithMetadata("needed_bytes", strconv.FormatInt(total, 10)).WithMetadata("missing_bytes", strconv.FormatInt(over-sum, 10))
	}
	slices.SortFunc(all, func(a, b victim) int { return cmp.Or(a.LastUse.Compare(b.LastUse), cmp.Compare(a.sha, b.sha)) })
	for _, v := range all {
		if over <= 0 {
			break
		}
		if err := c.drop(v); err != nil {
			return fmt.Errorf("cache: evict: %w", err)
		}
		over -= v.Size
		c.stats.Evicted++
		c.stats.EvictedBytes += v.Size
		c.parts.Log.Info("file evicted", slog.String(keySHA256, v.sha), slog.Int64(keyBytes, v.Size), slog.Time("last_use", v.LastUse))
	}
	return c.save()
}

func (c *Cache) drop(v victim) error {
	path := c.Path(v.sha)
	if v.part {
		path = c.partial(v.sha)
		_ = os.Remove(c.journal(v.sha))
		delete(c.partials, v.sha)
	} else {
		delete(c.blobs, v.sha)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// recheck reads a file through that is there but not known to be right, and
// reports whether it is. One that is not goes.
func (c *Cache) recheck(ctx context.Context, f *flight) (bool, error) {
	sha := f.want.SHA256
	c.mu.Lock()
	_, there := c.blobs[sha]
	c.mu.Unlock()
	if !there {
		return false, nil
	}
	sum, e, err := c.read(ctx, c.Path(sha))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("cache: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || sum != sha || f.want.Size != 0 && e.Size != f.want.Size {
		c.parts.Log.WarnContext(ctx, "file in the cache is spoilt and goes", slog.String(keySHA256, sha))
		return false, c.drop(victim{sha: sha})
	}
	c.blobs[sha] = e
	return true, c.save()
}

func (c *Cache) read(ctx context.Context, path string) (string, *entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return "", nil, err
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, onlyReader{&reader{ctx, file}}, make([]byte, bufferSize)); err != nil {
		return "", nil, err
	}
	return hex.EncodeToString(h.Sum(nil)), &entry{Size: info.Size(), Modified: info.ModTime(), LastUse: c.parts.Clock.Now()}, nil
}
