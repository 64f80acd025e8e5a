package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/poterne/poterne/services/worker/internal/durable"
)

// journal is what must be known of a partial file to go on with it. The first
// bytes themselves are hashed again, from the disk: what was spoilt there must
// not be served.
type journal struct {
	// Source is where the bytes came from, without credentials.
	Source string `json:"source"`
	// Validator is that of their content.
	Validator string `json:"validator"`
	// Size is what the whole has.
	Size int64 `json:"size"`
}

// partial is a file that is being fetched.
type partial struct {
	path, notes string
	file        *os.File
	hash        hash.Hash
	size        int64
	journal     journal
	// resumed says that the bytes are not all from one transfer.
	resumed bool
}

// openPartial opens what is there of the file, and reads it through.
func (c *Cache) openPartial(ctx context.Context, sha string) (*partial, error) {
	p := &partial{path: c.partial(sha), notes: c.journal(sha), hash: sha256.New()}
	var err error
	if p.file, err = os.OpenFile(p.path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(p.notes)
	if err != nil || json.Unmarshal(data, &p.journal) != nil {
		// Bytes that nothing is known of are not gone on with.
		if err := p.reset(); err != nil {
			p.close()
			return nil, err
		}
		return p, nil
	}
	p.size, err = io.CopyBuffer(p.hash, onlyReader{&reader{ctx, p.file}}, make([]byte, bufferSize))
	if err != nil {
		p.close()
		return nil, err
	}
	p.resumed = p.size > 0
	return p, nil
}

// onlyReader keeps io.Copy from finding a faster way around the context.
type onlyReader struct{ io.Reader }

// reader ends a long read when the context does.
type reader struct {
	ctx context.Context //nolint:containedctx // lives for one read of a file
	f   *os.File
}

func (r *reader) Read(b []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.f.Read(b)
}

// reset throws away what is there.
func (p *partial) reset() error {
	p.hash.Reset()
	p.size, p.resumed, p.journal = 0, false, journal{}
	if err := os.Remove(p.notes); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

// note writes the journal before the first byte of a transfer.
func (p *partial) note(j journal) error {
	p.resumed = p.resumed || p.size > 0
	if p.journal == j {
		return nil
	}
	p.journal = j
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return durable.Replace(p.notes, data)
}

func (p *partial) write(b []byte) error {
	n, err := p.file.Write(b)
	p.hash.Write(b[:n])
	p.size += int64(n)
	return err
}

func (p *partial) sum() string { return hex.EncodeToString(p.hash.Sum(nil)) }

// commit makes the file the one at path. It is on the disk before it has its
// name there.
func (p *partial) commit(path string) error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(p.path, path); err != nil {
		return err
	}
	// Not before: what cannot be written cannot be gone on with.
	if err := p.file.Chmod(0o400); err != nil {
		return err
	}
	p.close()
	_ = os.Remove(p.notes)
	return errors.Join(durable.SyncDirectory(filepath.Dir(path)), durable.SyncDirectory(filepath.Dir(p.path)))
}

// remove deletes the file and its journal.
func (p *partial) remove() {
	p.close()
	_ = os.Remove(p.path)
	_ = os.Remove(p.notes)
}

func (p *partial) close() {
	if p.file != nil {
		_ = p.file.Close()
		p.file = nil
	}
}
