package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/poterne/poterne/services/search/internal/vector"
)

const (
	manifestName = "manifest"
	manifestTemp = "manifest.new"
)

// manifest says which files are the store. What it does not name is left over.
type manifest struct {
	Version  int           `json:"version"`
	Layout   vector.Layout `json:"layout"`
	Segments []uint64      `json:"segments"`
	Log      uint64        `json:"log"`
}

func segmentName(seq uint64) string { return fmt.Sprintf("%08d.seg", seq) }

func logName(seq uint64) string { return fmt.Sprintf("%08d.log", seq) }

// seqOf returns the number in a file's name; 0 for another kind of name.
func seqOf(name string) uint64 {
	base, ext, _ := strings.Cut(name, ".")
	n, err := strconv.ParseUint(base, 10, 64)
	if err != nil || ext != "seg" && ext != "log" {
		return 0
	}
	return n
}

// write puts the manifest in the place of the one before, at once and durably.
// After an error either may be there.
func (m manifest) write(fs files) error {
	err := create(fs, manifestTemp, func(w io.Writer) error {
		b, err := json.Marshal(m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n%08x\n", b, checksum(b))
		return err
	})
	if err == nil {
		err = fs.Rename(manifestTemp, manifestName)
	}
	if err == nil {
		err = fs.SyncDir()
	}
	return err
}

// readManifest returns errDamaged for one that is not whole, and found false
// when there is none.
func readManifest(dir string) (m manifest, found bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return manifest{}, false, nil
	}
	if err != nil {
		return manifest{}, false, err
	}
	m, err = decodeManifest(b)
	return m, true, err
}

func decodeManifest(b []byte) (manifest, error) {
	line, sum, _ := bytes.Cut(b, []byte("\n"))
	if string(sum) != fmt.Sprintf("%08x\n", checksum(line)) {
		return manifest{}, damaged("the manifest's checksum is wrong")
	}
	var m manifest
	if err := json.Unmarshal(line, &m); err != nil || m.Version != formatVersion || !m.Layout.Valid() || m.Log == 0 {
		return manifest{}, damaged("the manifest is of another version")
	}
	return m, nil
}
