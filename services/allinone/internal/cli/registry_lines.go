package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// maxArchiveLine bounds a line of the registry's archive, as the registry does.
const maxArchiveLine = 32 << 20

// errCutOff says that lines are not all of an archive.
var errCutOff = errors.New("the archive is not whole: it does not end with the SHA-256 of what is before its end")

// archiveSummary is what an archive has.
type archiveSummary struct {
	revision int64
	records  map[string]int
}

// archiveEnd is what the last line says.
type archiveEnd struct {
	SHA256  string `json:"sha256"`
	Records string `json:"records"`
}

// readArchive reads the registry's lines and holds them against their end. each, if
// there is one, is handed every line but the end.
func readArchive(in io.Reader, each func(line []byte, kind string, record any) error) (*archiveSummary, error) {
	out := &archiveSummary{records: map[string]int{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxArchiveLine)
	sum, n := sha256.New(), 0
	for lines.Scan() {
		kind, record, err := archiveRecord(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%w: line %d is no record", errCutOff, n+1)
		}
		if kind == "end" {
			said := archiveEnd{cell(lookup(record, "sha256")), cell(lookup(record, "records"))}
			if said != (archiveEnd{hex.EncodeToString(sum.Sum(nil)), strconv.Itoa(n)}) || lines.Scan() {
				return nil, errCutOff
			}
			return out, lines.Err()
		}
		sum.Write(lines.Bytes())
		sum.Write([]byte{'\n'})
		n++
		out.records[kind]++
		if kind == "header" {
			out.revision, _ = strconv.ParseInt(cell(lookup(record, "revision")), 10, 64)
		}
		if each != nil {
			if err := each(lines.Bytes(), kind, record); err != nil {
				return nil, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("the archive is not whole: %w", err)
	}
	return nil, errCutOff
}

// archiveRecord reads a line, which has one member.
func archiveRecord(line []byte) (kind string, record any, err error) {
	var of map[string]any
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if err := dec.Decode(&of); err != nil || len(of) != 1 {
		return "", nil, errCutOff
	}
	for kind, record = range of {
	}
	return kind, record, nil
}

// replaced writes an archive's lines with the artifacts named where they are now, and
// an end that is theirs.
func replaced(out io.Writer, in io.Reader, places map[string]string) error {
	sum, n := sha256.New(), 0
	w := bufio.NewWriter(out)
	_, err := readArchive(in, func(line []byte, kind string, record any) error {
		if kind == "version" {
			if err := placeArtifacts(record, places); err != nil {
				return err
			}
			var err error
			if line, err = json.Marshal(map[string]any{kind: record}); err != nil {
				return err
			}
		}
		line = append(bytes.Clone(line), '\n')
		sum.Write(line)
		n++
		_, err := w.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	end, err := json.Marshal(map[string]any{"end": archiveEnd{hex.EncodeToString(sum.Sum(nil)), strconv.Itoa(n)}})
	if err != nil {
		return err
	}
	if _, err := w.Write(append(end, '\n')); err != nil {
		return err
	}
	return w.Flush()
}

// plainLines opens a file that is an archive's lines and no ZIP file; nil when it is
// something else. - is standard input.
func (a *app) plainLines(file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(a.streams.In), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	first := make([]byte, 1)
	n, err := f.ReadAt(first, 0)
	if err == nil && n == 1 && first[0] == '{' {
		return f, nil
	}
	return nil, f.Close()
}
