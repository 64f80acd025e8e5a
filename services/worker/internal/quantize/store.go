package quantize

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/worker/internal/durable"
)

// What is kept: made/<source>-<type>/ holds weights and made.json about them, and
// measured/<weights>-<text>-<window>.json one measurement; sources, weights and
// texts are named by their SHA-256. All of it appears by a rename of what was
// written under tmp and synced, so that a crash leaves nothing half done.
const (
	dirMade     = "made"
	dirMeasured = "measured"
	dirTemp     = "tmp"
	fileRecord  = "made.json"
)

// made is what is noted of weights that were made.
type made struct {
	File      string `json:"file"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Quantizer string `json:"quantizer"`
	// SourceSize and SourceQuantized are of what they were made from, so that a
	// record answers without it; 0 in a note of before they were noted.
	SourceSize      int64 `json:"source_size"`
	SourceQuantized bool  `json:"source_quantized"`
}

// Perplexity is one measurement.
type Perplexity struct {
	Value float64 `json:"value"`
	// Error is its standard error.
	Error float64 `json:"error"`
	// Tokens is how many were predicted.
	Tokens int64 `json:"tokens"`
}

// tidy makes the directories and removes what was left unfinished.
func (m *Maker) tidy() error {
	if err := os.RemoveAll(m.path(dirTemp)); err != nil {
		return err
	}
	for _, dir := range []string{dirMade, dirMeasured, dirTemp} {
		if err := os.MkdirAll(m.path(dir), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (m *Maker) path(parts ...string) string {
	return filepath.Join(append([]string{m.cfg.Directory}, parts...)...)
}

func keyOf(o Order) string { return o.Source.SHA256 + "-" + o.Type }

func measureKey(weights, text string, window int) string {
	return weights + "-" + text + "-" + strconv.Itoa(window) + ".json"
}

const maxRecord = 64 << 10

// readRecord fills v from a record, if there is one that can be read.
func readRecord(path string, v any) bool {
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxRecord {
		return false
	}
	data, err := os.ReadFile(path)
	return err == nil && json.Unmarshal(data, v) == nil
}

// find returns weights that were made before and are still what they were.
func (m *Maker) find(ctx context.Context, o Order) (made, bool) {
	var r made
	dir := m.path(dirMade, keyOf(o))
	if !readRecord(filepath.Join(dir, fileRecord), &r) || r.File != filepath.Base(r.File) {
		return made{}, false
	}
	file := filepath.Join(dir, r.File)
	if info, err := os.Stat(file); err != nil || info.Size() != r.Size {
		return made{}, false
	}
	if err := m.parts.Verify(ctx, file, r.SHA256); err != nil {
		m.parts.Log.WarnContext(ctx, "weights that were made before are not what they were", telemetry.Err(err))
		return made{}, false
	}
	return r, true
}

// keep puts what lies in the directory temp in its place, with the note about it.
func (m *Maker) keep(temp string, o Order, r made) error {
	if err := writeRecord(filepath.Join(temp, fileRecord), r); err != nil {
		return err
	}
	if err := durable.SyncDirectory(temp); err != nil {
		return err
	}
	// What is there is not what it was.
	place := m.path(dirMade, keyOf(o))
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	if err := os.Rename(temp, place); err != nil {
		return err
	}
	return durable.SyncDirectory(m.path(dirMade))
}

// remember keeps a measurement.
func (m *Maker) remember(key string, p Perplexity) error {
	temp := m.path(dirTemp, key)
	if err := writeRecord(temp, p); err != nil {
		return err
	}
	if err := os.Rename(temp, m.path(dirMeasured, key)); err != nil {
		return err
	}
	return durable.SyncDirectory(m.path(dirMeasured))
}

func writeRecord(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// usedBytes is what all that was made takes.
func (m *Maker) usedBytes() (int64, error) {
	var sum int64
	err := filepath.WalkDir(m.path(dirMade), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// madeName is what weights are called: their source's name with the type.
func madeName(source, kind string) string {
	const most = 128
	base := strings.TrimSuffix(filepath.Base(source), ".gguf")
	base = strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '-'
	}, base)
	base = strings.TrimLeft(base[:min(len(base), most)], ".-")
	if base == "" {
		base = "weights"
	}
	return fmt.Sprintf("%s.%s.gguf", base, kind)
}
