package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/klippa-app/go-pdfium"
	pdferrors "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/poterne/poterne/pkg/apierr"
)

// pdfReader reads PDFs with PDFium in a WebAssembly sandbox: a hostile file has a
// memory of its own that is bounded, no files and no network, and can be stopped.
type pdfReader struct {
	limits Limits
	slots  chan struct{}

	mu     sync.Mutex
	pool   pdfium.Pool
	closed bool
}

func newPDFReader(l Limits) *pdfReader {
	return &pdfReader{limits: l, slots: make(chan struct{}, max(1, l.PDFs))}
}

const wasmPage = 64 << 10 // bytes

// open compiles the sandbox, once: it takes seconds, and is not needed by those
// who bring no PDF.
func (p *pdfReader) open() (pdfium.Pool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, apierr.New(apierr.Unavailable, "the search service is ending")
	}
	if p.pool != nil {
		return p.pool, nil
	}
	pool, err := webassembly.Init(webassembly.Config{
		MaxTotal: max(1, p.limits.PDFs), Stdout: io.Discard, Stderr: io.Discard,
		FSConfig: wazero.NewFSConfig(), // of which there is nothing; the default would be everything
		RuntimeConfig: wazero.NewRuntimeConfig().WithCloseOnContextDone(true).
			WithMemoryLimitPages(uint32(p.limits.PDFMemory / wasmPage)).
			WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling),
	})
	if err != nil {
		return nil, fmt.Errorf("extract: load PDFium: %w", err)
	}
	p.pool = pool
	return pool, nil
}

func (p *pdfReader) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.pool == nil {
		return nil
	}
	return p.pool.Close()
}

// read returns a PDF's text, its pages one after another.
func (p *pdfReader) read(ctx context.Context, content []byte) (Document, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Document{}, context.Cause(ctx)
	}
	pool, err := p.open()
	if err != nil {
		return Document{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.limits.Time, errTooLong)
	defer cancel()
	sandbox, err := pool.GetInstanceWithContext(ctx)
	if err != nil {
		return Document{}, fmt.Errorf("extract: a sandbox for a PDF: %w", err)
	}
	// A worker whose time is over is killed within its call.
	stop := context.AfterFunc(ctx, func() { _ = sandbox.Kill() })
	doc, err := p.pages(ctx, sandbox, content)
	if stop() {
		_ = sandbox.Close() // with all that is left in it
	}
	switch {
	case errors.Is(context.Cause(ctx), errTooLong):
		return Document{}, apierr.Invalid(fieldContent, "takes longer than %v to read", p.limits.Time)
	case ctx.Err() != nil:
		return Document{}, context.Cause(ctx)
	}
	return doc, err
}

var errTooLong = errors.New("reading the file takes too long")

func (p *pdfReader) pages(ctx context.Context, sandbox pdfium.Pdfium, content []byte) (Document, error) {
	opened, err := sandbox.OpenDocument(&requests.OpenDocument{File: &content})
	if err != nil {
		return Document{}, pdfFault(err)
	}
	count, err := sandbox.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: opened.Document})
	if err != nil {
		return Document{}, pdfFault(err)
	}
	if count.PageCount > p.limits.Pages {
		return Document{}, tooLarge("has %d pages; at most %d are allowed", count.PageCount, p.limits.Pages)
	}
	var out strings.Builder
	for i := range count.PageCount {
		if ctx.Err() != nil {
			return Document{}, context.Cause(ctx)
		}
		text, err := pageText(sandbox, opened.Document, i)
		if err != nil {
			return Document{}, pdfFault(err)
		}
		out.WriteString(text)
		out.WriteString("\n\n")
		if out.Len() > p.limits.OutputBytes {
			return Document{}, tooLarge("holds a text of more than %d bytes", p.limits.OutputBytes)
		}
	}
	text := strings.TrimSpace(out.String())
	if text == "" {
		return Document{}, apierr.Invalid(fieldContent, "holds no text in its %d pages: a scanned PDF must be read by OCR first", count.PageCount)
	}
	return Document{Title: pdfTitle(sandbox, opened.Document), Text: text}, nil
}

func pageText(sandbox pdfium.Pdfium, doc references.FPDF_DOCUMENT, page int) (string, error) {
	resp, err := sandbox.GetPageText(&requests.GetPageText{
		Page: requests.Page{ByIndex: &requests.PageByIndex{Document: doc, Index: page}},
	})
	if err != nil {
		return "", err
	}
	// \x02 is where a word was parted at the end of a line.
	return strings.NewReplacer("\x02\r\n", "", "\x02\n", "", "\x02", "", "\r\n", "\n", "\r", "\n").Replace(strings.TrimSpace(resp.Text)), nil
}

// pdfTitle returns what the file says of itself, when it does.
func pdfTitle(sandbox pdfium.Pdfium, doc references.FPDF_DOCUMENT) string {
	resp, err := sandbox.FPDF_GetMetaText(&requests.FPDF_GetMetaText{Document: doc, Tag: "Title"})
	if err != nil {
		return ""
	}
	return resp.Value
}

// pdfFault says what is wrong with the file.
func pdfFault(err error) error {
	if errors.Is(err, pdferrors.ErrPassword) || errors.Is(err, pdferrors.ErrSecurity) {
		return apierr.Wrap(apierr.InvalidArgument, err, "is an encrypted PDF: take its password off first").WithField(fieldContent)
	}
	return apierr.Wrap(apierr.InvalidArgument, err, "cannot be read as a PDF: it is broken, or takes too much memory").WithField(fieldContent)
}
