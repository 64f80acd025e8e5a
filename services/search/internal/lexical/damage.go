package lexical

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// damaged reports whether a file of the index in dir is not what was written. The
// files carry a CRC-32 that bleve does not look at: it maps them and follows what
// they say, which ends the process where that is nonsense.
func damaged(dir string) (bool, error) {
	store := filepath.Join(dir, "store")
	root, err := os.ReadFile(filepath.Join(store, "root.bolt"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lexical index: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(store, "*.zap"))
	if err != nil {
		return false, fmt.Errorf("lexical index: %w", err)
	}
	for _, name := range names {
		// A file that the root does not name is one that a kill left half written.
		if !bytes.Contains(root, []byte(filepath.Base(name))) {
			continue
		}
		if ok, err := whole(name); err != nil || !ok {
			return !ok, err
		}
	}
	return false, nil
}

// whole reports whether a file ends with the checksum of what is before it.
func whole(name string) (_ bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return false, fmt.Errorf("lexical index: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("lexical index: %w", err)
	}
	if info.Size() < crc32.Size {
		return false, nil
	}
	sum := crc32.NewIEEE()
	if _, err := io.CopyN(sum, f, info.Size()-crc32.Size); err != nil {
		return false, fmt.Errorf("lexical index: %w", err)
	}
	var last [crc32.Size]byte
	if _, err := io.ReadFull(f, last[:]); err != nil {
		return false, fmt.Errorf("lexical index: %w", err)
	}
	return binary.BigEndian.Uint32(last[:]) == sum.Sum32(), nil
}
