package catalog

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// MaxFileBytes is the size above which a snapshot is neither written nor read.
const MaxFileBytes = 256 << 20

// fileMagic begins a snapshot file: a name and the format's version. The
// SHA-256 of the rest follows, then a registry.v1.WatchResponse that holds one
// whole snapshot.
const fileMagic = "poterne-registry-snapshot 1\n"

// File keeps the last snapshot on disk. It is replaced as a whole, so a crash
// leaves the old one. Not safe for concurrent use.
type File struct{ path string }

// NewFile returns the file at path, which need not exist.
func NewFile(path string) *File { return &File{path: path} }

// Read returns the snapshot, or nil when there is no file.
func (f *File) Read() (*Snapshot, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing was kept
	}
	if err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	return decode(data)
}

// decode reads what encode wrote.
func decode(data []byte) (*Snapshot, error) {
	rest, ok := bytes.CutPrefix(data, []byte(fileMagic))
	if !ok || len(rest) < sha256.Size || len(data) > MaxFileBytes {
		return nil, errors.New("it is not a registry snapshot of a known format")
	}
	body := rest[sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], rest[:sha256.Size]) {
		return nil, errors.New("its checksum is wrong")
	}
	msg := new(registryv1.WatchResponse)
	if err := proto.Unmarshal(body, msg); err != nil {
		return nil, fmt.Errorf("decode the snapshot: %w", err)
	}
	var b builder
	s, err := b.apply(msg)
	if err != nil {
		return nil, fmt.Errorf("decode the snapshot: %w", err)
	}
	return s, nil
}

func encode(s *Snapshot) ([]byte, error) {
	part := &registryv1.SnapshotPart{First: true, Last: true, WithPrompts: s.withPrompts}
	for _, name := range slices.Sorted(maps.Keys(s.prompts)) {
		part.Prompts = append(part.Prompts, s.prompts[name].State)
	}
	for _, name := range s.names {
		part.Models = append(part.Models, s.models[name].State)
	}
	body, err := proto.Marshal(&registryv1.WatchResponse{
		Revision: s.revision, Event: &registryv1.WatchResponse_Snapshot{Snapshot: part},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the snapshot: %w", err)
	}
	sum := sha256.Sum256(body)
	data := make([]byte, 0, len(fileMagic)+len(sum)+len(body))
	data = append(append(append(data, fileMagic...), sum[:]...), body...)
	if len(data) > MaxFileBytes {
		return nil, fmt.Errorf("the snapshot takes more than %d bytes", MaxFileBytes)
	}
	return data, nil
}

// Write replaces the file.
func (f *File) Write(s *Snapshot) error {
	data, err := encode(s)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*")
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
