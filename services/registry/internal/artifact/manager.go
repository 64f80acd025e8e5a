// Package artifact takes files in parts, makes artifacts of those that are what
// they should be, and deletes artifacts that nothing refers to. The store knows
// what there is; package content has the bytes. Start reading at Manager.
package artifact

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/services/registry/internal/content"
	"github.com/poterne/poterne/services/registry/internal/metrics"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Content is where bytes are kept: a directory or a bucket.
type Content interface {
	MinPart() int64
	Room(ctx context.Context, size int64) error
	Begin(ctx context.Context, id string) (handle string, err error)
	Open(ctx context.Context, u content.Upload) (content.Writer, error)
	Finish(ctx context.Context, u content.Upload, parts []content.Part) (place string, err error)
	Discard(ctx context.Context, u content.Upload) error
	Read(ctx context.Context, place string, offset int64) (io.ReadCloser, error)
	Remove(ctx context.Context, place string) error
}

// Parts is what a manager works with; all are needed.
type Parts struct {
	Store   *store.Store
	Content Content
	Clock   clock.Clock
	IDs     ids.Source
	Metrics *metrics.Metrics
}

// Manager is the life of uploads and artifacts. It is safe for concurrent use,
// also by several processes on one store and content.
type Manager struct {
	Parts
	cfg     Config
	writers writers
}

// New returns a manager. cfg must be valid.
func New(cfg Config, p Parts) *Manager {
	return &Manager{Parts: p, cfg: cfg, writers: writers{by: make(map[string]*holder)}}
}

// Begin begins an upload of a file. ALREADY_EXISTS: there is an artifact with its
// SHA-256, which is kept for another grace period.
func (m *Manager) Begin(ctx context.Context, creator, name string, size int64, sum string) (*store.Upload, error) {
	if most := int64(m.cfg.MaxBytes); size > most {
		return nil, apierr.New(apierr.PayloadTooLarge, "a file may have %d bytes, not %d", most, size).WithField("size_bytes")
	}
	state, err := stateOf(sha256.New())
	if err != nil {
		return nil, err
	}
	u := &store.Upload{
		ID: m.IDs.New(), Name: name, Creator: creator, Size: size, SHA256: sum, HashState: state,
		PartBytes: max(int64(m.cfg.Uploads.PartBytes), size/(content.MaxParts/2)+1), Expires: m.expiry(m.Clock.Now()),
	}
	if sum != "" {
		if err := m.there(ctx, sum); err != nil {
			return nil, err
		}
	}
	if err := m.Content.Room(ctx, size); err != nil {
		return nil, err
	}
	there, err := m.Store.CreateUpload(ctx, u, store.UploadLimits{
		Uploads: m.cfg.Uploads.Max, Bytes: int64(m.cfg.Uploads.MaxBytes), ArtifactBytes: int64(m.cfg.TotalBytes),
	})
	if err != nil {
		return nil, err
	}
	if there != nil {
		return nil, haveIt(there)
	}
	// One whose handle is not noted is found by its id when it is given up.
	handle, err := m.Content.Begin(ctx, u.ID)
	if err == nil {
		err = m.Store.SetUploadHandle(ctx, u.ID, handle)
	}
	if err != nil {
		_, dropErr := m.Store.DropUpload(context.WithoutCancel(ctx), u.ID)
		return nil, errors.Join(err, dropErr)
	}
	return m.Store.GetUpload(ctx, u.ID)
}

// there is for what needs no room; the store decides again with what it begins.
func (m *Manager) there(ctx context.Context, sum string) error {
	a, err := m.Store.HoldArtifact(ctx, sum)
	if err == nil && a != nil {
		return haveIt(a)
	}
	return err
}

func haveIt(a *store.Artifact) error {
	return apierr.New(apierr.AlreadyExists, "the registry has this file already, with %d bytes: nothing need be sent", a.Size).WithField("sha256").
		WithMetadata("sha256", a.SHA256).WithMetadata("uri", store.ArtifactPrefix+a.SHA256).WithMetadata("size_bytes", strconv.FormatInt(a.Size, 10))
}

// expiry is when an upload that was begun then and gets no further is over.
func (m *Manager) expiry(begun time.Time) time.Time {
	at, last := m.Clock.Now().Add(m.cfg.Uploads.IdleTimeout), begun.Add(m.cfg.Uploads.MaxAge)
	if last.Before(at) {
		return last
	}
	return at
}

// Complete makes an artifact of an upload that is all there. sum may be empty if
// the upload was begun with one.
func (m *Manager) Complete(ctx context.Context, id, sum string) (*store.Artifact, error) {
	u, err := m.Store.GetUpload(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case sum != "" && u.SHA256 != "" && sum != u.SHA256:
		return nil, apierr.Invalid("sha256", "the upload is of a file with the SHA-256 %s", u.SHA256)
	case u.Complete:
		return m.Store.GetArtifact(ctx, u.SHA256)
	case sum == "" && u.SHA256 == "":
		return nil, apierr.Invalid("sha256", "must say what the file has: the upload was begun without it")
	case u.Received < u.Size:
		return nil, withOffset(apierr.New(apierr.FailedPrecondition, "%d bytes of %d are here", u.Received, u.Size), u)
	case sum == "":
		sum = u.SHA256
	}
	got, err := sumOf(u.HashState)
	if err != nil {
		return nil, err
	}
	if got != sum {
		return nil, apierr.New(apierr.FailedPrecondition, "the file that came has the SHA-256 %s, not %s: delete the upload and send it again", got, sum).
			WithField("sha256").WithMetadata("sha256", got)
	}
	parts, err := m.parts(ctx, u)
	if err != nil {
		return nil, err
	}
	c := contentUpload(u)
	c.SHA256 = got
	place, err := m.Content.Finish(ctx, c, parts)
	if apierr.ReasonOf(err) == apierr.NotFound { // somebody else was faster
		if again, getErr := m.Store.GetUpload(ctx, id); getErr == nil && again.Complete {
			return m.Store.GetArtifact(ctx, again.SHA256)
		}
	}
	if err != nil {
		return nil, err
	}
	a, err := m.Store.CompleteUpload(ctx, id, got, place, m.expiry(m.Clock.Now()))
	if apierr.ReasonOf(err) == apierr.NotFound { // it was given up meanwhile
		return nil, errors.Join(err, m.Content.Remove(context.WithoutCancel(ctx), place))
	}
	if err == nil {
		m.Metrics.Uploaded(ctx)
	}
	return a, err
}

func (m *Manager) parts(ctx context.Context, u *store.Upload) ([]content.Part, error) {
	list, err := m.Store.ListUploadParts(ctx, u.ID, 0, content.MaxParts)
	if err != nil {
		return nil, err
	}
	out := make([]content.Part, len(list))
	for i, p := range list {
		out[i] = content.Part{Attempt: int(p.Attempt), Offset: p.Offset, Size: p.Size, Tag: p.Tag}
	}
	return out, nil
}

// GiveUp gives an upload up, with all that came of it.
func (m *Manager) GiveUp(ctx context.Context, id string) error {
	u, err := m.Store.GetUpload(ctx, id)
	if err != nil {
		return err
	}
	// It may have become an artifact since it was read, whose content must stay.
	open, err := m.Store.DropUpload(ctx, id)
	if err != nil || !open {
		return err
	}
	m.writers.end(id)
	return m.discard(ctx, u) // if that fails, the next collection does it
}

func (m *Manager) discard(ctx context.Context, u *store.Upload) error {
	if err := m.Content.Discard(ctx, contentUpload(u)); err != nil {
		return err
	}
	return m.Store.ForgetUpload(ctx, u.ID)
}

func contentUpload(u *store.Upload) content.Upload {
	return content.Upload{ID: u.ID, Handle: u.Handle, Size: u.Size}
}

// withOffset tells programs where to go on.
func withOffset(e *apierr.Error, u *store.Upload) *apierr.Error {
	return e.WithField("offset").WithMetadata("offset", strconv.FormatInt(u.Received, 10))
}

// A SHA-256 over what has come so far is kept as its state, so that a file need
// not be read again for it.

func stateOf(h hash.Hash) ([]byte, error) {
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil, errors.New("the state of a hash cannot be kept")
	}
	return m.MarshalBinary()
}

func restored(state []byte) (hash.Hash, error) {
	h := sha256.New()
	m, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return nil, errors.New("the state of a hash cannot be kept")
	}
	if err := m.UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("state of a hash: %w", err)
	}
	return h, nil
}

func sumOf(state []byte) (string, error) {
	h, err := restored(state)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
