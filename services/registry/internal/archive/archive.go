// Package archive is the form in which a registry is moved: lines of JSON, each an
// ArchiveRecord, of which the last has the SHA-256 of all before it. It knows the
// contract and nothing of storage. docs/moving-in.md describes the form. Start
// reading at Writer and Read.
package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Format names the form and its version.
const Format = "poterne.registry-archive/2"

// maxLine bounds a line: a model's record with its aliases, or a rollout with its
// events.
const maxLine = 32 << 20

// Item is one thing of an archive with all that is its own.
type Item struct {
	Model   *registryv1.ArchivedModel
	Prompt  *registryv1.ArchivedPrompt
	Webhook *registryv1.Webhook
}

// Writer writes an archive. It is not safe for concurrent use.
type Writer struct {
	out     *bufio.Writer
	sum     hash.Hash
	records int64
	line    bytes.Buffer
}

// NewWriter begins an archive of a registry at a revision.
func NewWriter(out io.Writer, revision int64, now time.Time) (*Writer, error) {
	w := &Writer{out: bufio.NewWriter(out), sum: sha256.New()}
	err := w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_Header{Header: &registryv1.ArchiveHeader{
		Format: Format, Revision: revision, CreateTime: timestamppb.New(now),
	}}})
	return w, err
}

// Write adds a record.
func (w *Writer) Write(r *registryv1.ArchiveRecord) error {
	if err := w.encode(r); err != nil {
		return err
	}
	w.records++
	w.sum.Write(w.line.Bytes())
	_, err := w.out.Write(w.line.Bytes())
	return err
}

// encode has the line of a record: the same record is always the same line.
func (w *Writer) encode(r *registryv1.ArchiveRecord) error {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(r)
	if err != nil {
		return fmt.Errorf("archive: record: %w", err)
	}
	w.line.Reset()
	// protojson spaces its output by chance, on purpose.
	if err := json.Compact(&w.line, raw); err != nil {
		return fmt.Errorf("archive: record: %w", err)
	}
	w.line.WriteByte('\n')
	return nil
}

// Close writes the end.
func (w *Writer) Close() error {
	err := w.encode(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_End{End: &registryv1.ArchiveEnd{
		Sha256: hex.EncodeToString(w.sum.Sum(nil)), Records: w.records,
	}}})
	if err != nil {
		return err
	}
	if _, err := w.out.Write(w.line.Bytes()); err != nil {
		return err
	}
	return w.out.Flush()
}

// Read reads an archive and hands on each record but the header and the end, with
// the number of its line. Whether the archive is whole is known only when it
// returns: an error then says that what was handed on is of no use.
func Read(in io.Reader, each func(line int64, r *registryv1.ArchiveRecord) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	sum := sha256.New()
	var n int64
	for lines.Scan() {
		n++
		text := lines.Bytes()
		record := new(registryv1.ArchiveRecord)
		if err := protojson.Unmarshal(text, record); err != nil {
			return damaged("line %d is no record of an archive", n)
		}
		if end := record.GetEnd(); end != nil {
			if n == 1 || end.GetRecords() != n-1 || end.GetSha256() != hex.EncodeToString(sum.Sum(nil)) {
				return damaged("its end is not that of its %d lines: the SHA-256 or their number differs", n-1)
			}
			if lines.Scan() {
				return damaged("something comes after its end")
			}
			return lines.Err()
		}
		sum.Write(text)
		sum.Write([]byte{'\n'})
		if (n == 1) != (record.GetHeader() != nil) {
			return damaged("line %d: the header is the first line, and comes once", n)
		}
		if h := record.GetHeader(); h != nil {
			if h.GetFormat() != Format {
				return apierr.Invalid("data", "the archive's format is %.64q, and this registry reads %q", h.GetFormat(), Format)
			}
			continue
		}
		if err := each(n, record); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		if err == bufio.ErrTooLong { //nolint:errorlint // as it is documented
			return damaged("line %d is longer than %d bytes", n+1, maxLine)
		}
		return fmt.Errorf("archive: read: %w", err)
	}
	return damaged("it was cut off after %d lines: it has no end", n)
}

func damaged(format string, args ...any) error {
	return apierr.Invalid("data", "the archive is damaged, or none: "+format+"; nothing was imported", args...)
}
