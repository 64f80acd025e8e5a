package artifact

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // tus asks for it, against mistakes
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/content"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Append is what comes.
type Append struct {
	ID string
	// Offset is where it begins, and Size its length, in bytes.
	Offset, Size int64
	// Checksum is what it must hash to; nil when nobody says.
	Checksum *registryv1.Checksum
}

// Source gives the bytes that come, until io.EOF, within a context.
type Source interface {
	Read(ctx context.Context, p []byte) (int, error)
}

// within is a source as a reader.
type within struct {
	ctx context.Context //nolint:containedctx // lives for one append
	s   Source
}

func (w within) Read(p []byte) (int, error) { return w.s.Read(w.ctx, p) }

// Append keeps what r gives, part by part, and completes an upload that is all
// there and was begun with a SHA-256. It reads no more than it keeps up with. What
// was kept of an append that fails stays.
func (m *Manager) Append(ctx context.Context, a Append, r Source) (*store.Upload, error) {
	u, err := m.Store.GetUpload(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	if !m.repeated(ctx, u, a) {
		if err := m.append(ctx, a, r); err != nil {
			return nil, err
		}
		if u, err = m.Store.GetUpload(ctx, a.ID); err != nil {
			return nil, err
		}
	}
	if u.Complete || u.Received < u.Size || u.SHA256 == "" {
		return u, nil
	}
	if _, err := m.Complete(ctx, a.ID, ""); err != nil {
		return nil, err
	}
	return m.Store.GetUpload(ctx, a.ID)
}

// repeated reports whether what comes is known, by its SHA-256, to be kept
// already: whoever sends it was not told so.
func (m *Manager) repeated(ctx context.Context, u *store.Upload, a Append) bool {
	if a.Checksum.GetAlgorithm() != registryv1.Checksum_ALGORITHM_SHA256 || a.Offset >= u.Received {
		return false
	}
	list, err := m.Store.ListUploadParts(ctx, u.ID, 0, content.MaxParts)
	if err != nil {
		return false
	}
	for _, p := range list {
		if p.Offset == a.Offset && p.Size == a.Size && p.SHA256 == hex.EncodeToString(a.Checksum.GetValue()) {
			return true
		}
	}
	return false
}

func (m *Manager) append(ctx context.Context, a Append, r Source) error {
	// Whoever comes later has the client's word that the one before is lost.
	ctx, release, err := m.writers.take(ctx, a.ID)
	if err != nil {
		return err
	}
	defer release()
	w, err := m.open(ctx, a.ID)
	if err != nil {
		return err
	}
	defer w.Close()
	u, err := m.Store.GetUpload(ctx, a.ID) // as it is now that nobody else has it
	if err != nil {
		return err
	}
	sizes, err := m.cut(u, a)
	if err != nil {
		return err
	}
	whole, err := restored(u.HashState)
	if err != nil {
		return err
	}
	at := a.Offset
	for _, size := range sizes {
		p := store.UploadPart{Offset: at, Size: size}
		if err := m.put(ctx, w, u, p, a.Checksum, whole, within{ctx, r}); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		at += size
	}
	return nil
}

func (m *Manager) open(ctx context.Context, id string) (content.Writer, error) {
	u, err := m.Store.GetUpload(ctx, id)
	if err != nil {
		return nil, err
	}
	if u.Complete {
		return nil, complete(u)
	}
	return m.Content.Open(ctx, contentUpload(u))
}

func complete(u *store.Upload) error {
	return withOffset(apierr.New(apierr.Conflict, "the upload is complete"), u)
}

// cut returns the sizes of the parts that an append is kept in.
func (m *Manager) cut(u *store.Upload, a Append) ([]int64, error) {
	end := a.Offset + a.Size
	least := min(m.Content.MinPart(), u.Size)
	switch {
	case u.Complete:
		return nil, complete(u)
	case a.Offset != u.Received:
		return nil, withOffset(apierr.New(apierr.Conflict, "the upload goes on at %d, not at %d", u.Received, a.Offset), u)
	case a.Size == 0:
		return nil, nil
	case end > u.Size || end < a.Offset:
		return nil, apierr.New(apierr.PayloadTooLarge, "the file was said to have %d bytes", u.Size).WithField("size_bytes")
	case end < u.Size && a.Size < least:
		return nil, apierr.Invalid("size_bytes", "%d bytes at least must come at a time, unless they are the last", least)
	case a.Checksum != nil && a.Size > u.PartBytes:
		return nil, apierr.New(apierr.PayloadTooLarge, "%d bytes at most may come with a checksum", u.PartBytes).WithField("size_bytes")
	}
	n := (a.Size + u.PartBytes - 1) / u.PartBytes
	if int64(u.Attempts)+n > content.MaxParts {
		return nil, apierr.New(apierr.FailedPrecondition, "the upload was sent in %d parts, as many as it may: delete it, and send more at a time", u.Attempts)
	}
	// Alike, so that none is too small.
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = a.Size / n
		if int64(i) < a.Size%n {
			sizes[i]++
		}
	}
	return sizes, nil
}

// put keeps one part. whole is advanced by it.
func (m *Manager) put(ctx context.Context, w content.Writer, u *store.Upload, p store.UploadPart, check *registryv1.Checksum, whole hash.Hash, r io.Reader) error {
	attempt, err := m.Store.BeginPart(ctx, u.ID, p.Offset)
	if err != nil {
		return err
	}
	p.Attempt = attempt
	own := sha256.New()
	hashes := []io.Writer{whole, own}
	other := checker(check)
	if other != nil {
		hashes = append(hashes, other)
	}
	p.Tag, err = w.Put(ctx, content.Part{Attempt: int(attempt), Offset: p.Offset, Size: p.Size}, io.TeeReader(r, io.MultiWriter(hashes...)))
	if err != nil {
		return err
	}
	sum := own.Sum(nil)
	got := sum
	if other != nil {
		got = other.Sum(nil)
	}
	if check != nil && !bytes.Equal(got, check.GetValue()) {
		return apierr.Invalid("checksum", "what came does not have this checksum: send it again")
	}
	p.SHA256 = hex.EncodeToString(sum)
	state, err := stateOf(whole)
	if err != nil {
		return err
	}
	if err := m.Store.KeepPart(ctx, u.ID, p, state, m.expiry(u.Created)); err != nil {
		return err
	}
	m.Metrics.Kept(ctx, p.Size)
	return nil
}

// checker is the hash of another algorithm than SHA-256.
func checker(c *registryv1.Checksum) hash.Hash {
	switch c.GetAlgorithm() {
	case registryv1.Checksum_ALGORITHM_SHA1:
		return sha1.New() //nolint:gosec // as above
	case registryv1.Checksum_ALGORITHM_CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case registryv1.Checksum_ALGORITHM_SHA256, registryv1.Checksum_ALGORITHM_UNSPECIFIED:
		return nil
	default:
		return nil
	}
}

// errTaken says that a client came again for an upload that it was appending to.
var errTaken = errors.New("a later call appends to the upload")
