package artifact

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"
)

// Known returns the files whose content is known to be right and that are as they
// were then, each by the first eight bytes of its SHA-256: at most n, those that
// were fetched and used last, or changed last, first.
func (s *Store) Known(n int) []uint64 {
	type file struct {
		sum string
		at  time.Time
	}
	var files []file
	s.mu.Lock()
	for _, f := range s.seen {
		files = append(files, file{f.SHA256, f.Modified})
	}
	s.mu.Unlock()
	if s.remote != nil {
		for sum, used := range s.remote.Cache.Whole() {
			files = append(files, file{sum, used})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.sum, b.sum)) })
	var out []uint64
	told := make(map[string]bool)
	for _, f := range files {
		if len(out) == n {
			break
		}
		if sum, err := hex.DecodeString(f.sum); err == nil && len(sum) == sha256.Size && !told[f.sum] {
			told[f.sum] = true
			out = append(out, binary.BigEndian.Uint64(sum))
		}
	}
	return out
}
