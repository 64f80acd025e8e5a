package extract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// PDFStart is how long the program that reads PDFs may take to be ready: the first
// time it compiles its sandbox.
const PDFStart = 20 * time.Second

// pdfReader has PDFs read by a program of its own, poterne-pdf, one process for
// each: a hostile file can take no memory of this process, and all that it took
// ends with its own.
type pdfReader struct {
	limits Limits
	slots  chan struct{}
	cache  sandboxCache
}

func newPDFReader(l Limits) *pdfReader {
	return &pdfReader{limits: l, slots: make(chan struct{}, max(1, l.PDFs)), cache: sandboxCache{wanted: l.CacheDir}}
}

// program returns where poterne-pdf is: as said, or beside this process's own.
func (p *pdfReader) program() (string, error) {
	path := p.limits.PDFProgram
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("extract: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "poterne-pdf")
	}
	if _, err := os.Stat(path); err != nil {
		return "", apierr.Wrap(apierr.FailedPrecondition, err,
			"is a PDF, which cannot be read here: the program poterne-pdf is not installed beside the search service").WithField(fieldType)
	}
	return path, nil
}

var errTooLong = errors.New("reading the file takes too long")

// read returns a PDF's title and text.
func (p *pdfReader) read(ctx context.Context, content []byte) (Document, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Document{}, context.Cause(ctx)
	}
	path, err := p.program()
	if err != nil {
		return Document{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.limits.Time+PDFStart, errTooLong)
	defer cancel()
	doc, err := p.ask(ctx, path, content)
	switch {
	case errors.Is(context.Cause(ctx), errTooLong):
		return Document{}, apierr.Invalid(fieldContent, "takes longer than %v to read", p.limits.Time)
	case ctx.Err() != nil:
		return Document{}, context.Cause(ctx)
	case err == nil:
		return doc, nil
	}
	if _, told := errors.AsType[*apierr.Error](err); told {
		return Document{}, err
	}
	// It was killed for its memory, say.
	return Document{}, apierr.Wrap(apierr.InvalidArgument, err, "cannot be read as a PDF: it is broken, or takes too much memory").WithField(fieldContent)
}

func (p *pdfReader) ask(ctx context.Context, path string, content []byte) (Document, error) {
	l := p.limits
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{
		"-input", strconv.Itoa(l.InputBytes), "-output", strconv.Itoa(l.OutputBytes), "-pages", strconv.Itoa(l.Pages),
		"-memory", strconv.Itoa(l.PDFMemory), "-time", l.Time.String(),
	}
	if dir := p.cache.dir(); dir != "" { // else the sandbox is compiled every time
		args = append(args, "-cache", dir)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{} // it needs nothing, least of all secrets
	cmd.Stdin, cmd.WaitDelay = bytes.NewReader(content), time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Document{}, err
	}
	if err := cmd.Start(); err != nil {
		return Document{}, err
	}
	const escaped = 6 // JSON may write a byte as six
	limit := int64(escaped * (l.OutputBytes + 64<<10))
	raw, err := io.ReadAll(io.LimitReader(out, limit))
	if err != nil || int64(len(raw)) == limit {
		cancel() // it would wait to be read
	}
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return Document{}, err
	}
	return documentOf(raw, l.OutputBytes)
}
