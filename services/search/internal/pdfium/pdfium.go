// Package pdfium takes the text and the title out of a PDF with PDFium, compiled
// to WebAssembly: whatever a file does, it has a memory of its own that is
// bounded, no files and no network, and can be stopped. Only poterne-pdf links it.
// Start reading at Read.
package pdfium

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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

// field is the field of a document that errors name.
const field = "content"

// Limits bound what a file may cost.
type Limits struct {
	// Pages is how many it may have, and OutputBytes how long its text may be.
	Pages, OutputBytes int
	// Memory is how many bytes reading it may take.
	Memory int
	// CacheDir keeps the compiled sandbox, which takes seconds to make; empty: it is
	// made every time. Whoever may write there decides what is run.
	CacheDir string
}

const wasmPage = 64 << 10 // bytes

// Read returns a PDF's title and its text, its pages one after another. Errors of
// the file are INVALID_ARGUMENT or PAYLOAD_TOO_LARGE on the document's content.
// When ctx ends the sandbox is stopped.
func Read(ctx context.Context, content []byte, l Limits) (title, text string, err error) {
	cfg := wazero.NewRuntimeConfig().WithCloseOnContextDone(true).
		WithMemoryLimitPages(uint32(l.Memory / wasmPage)).
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling)
	if l.CacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(l.CacheDir)
		if err != nil {
			return "", "", fmt.Errorf("pdfium: %w", err)
		}
		defer func() { _ = cache.Close(context.WithoutCancel(ctx)) }()
		cfg = cfg.WithCompilationCache(cache)
	}
	pool, err := webassembly.Init(webassembly.Config{
		MaxTotal: 1, Stdout: io.Discard, Stderr: io.Discard,
		FSConfig:      wazero.NewFSConfig(), // of which there is nothing; the default would be everything
		RuntimeConfig: cfg,
	})
	if err != nil {
		return "", "", fmt.Errorf("pdfium: load: %w", err)
	}
	defer func() { _ = pool.Close() }()
	sandbox, err := pool.GetInstanceWithContext(ctx)
	if err != nil {
		return "", "", fmt.Errorf("pdfium: a sandbox: %w", err)
	}
	// What is stopped is killed within its call.
	stop := context.AfterFunc(ctx, func() { _ = sandbox.Kill() })
	title, text, err = pages(ctx, sandbox, content, l)
	if stop() {
		_ = sandbox.Close() // with all that is left in it
	}
	if ctx.Err() != nil {
		return "", "", context.Cause(ctx)
	}
	return title, text, err
}

func pages(ctx context.Context, sandbox pdfium.Pdfium, content []byte, l Limits) (title, text string, err error) {
	opened, err := sandbox.OpenDocument(&requests.OpenDocument{File: &content})
	if err != nil {
		return "", "", fault(err)
	}
	count, err := sandbox.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: opened.Document})
	if err != nil {
		return "", "", fault(err)
	}
	if count.PageCount > l.Pages {
		return "", "", tooLarge("has %d pages; at most %d are allowed", count.PageCount, l.Pages)
	}
	var out strings.Builder
	for i := range count.PageCount {
		if ctx.Err() != nil {
			return "", "", context.Cause(ctx)
		}
		page, err := pageText(sandbox, opened.Document, i)
		if err != nil {
			return "", "", fault(err)
		}
		out.WriteString(page)
		out.WriteString("\n\n")
		if out.Len() > l.OutputBytes {
			return "", "", tooLarge("holds a text of more than %d bytes", l.OutputBytes)
		}
	}
	if text = strings.TrimSpace(out.String()); text == "" {
		return "", "", apierr.Invalid(field, "holds no text in its %d pages: a scanned PDF must be read by OCR first", count.PageCount)
	}
	return titleOf(sandbox, opened.Document), text, nil
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

// titleOf returns what the file says of itself, when it does.
func titleOf(sandbox pdfium.Pdfium, doc references.FPDF_DOCUMENT) string {
	resp, err := sandbox.FPDF_GetMetaText(&requests.FPDF_GetMetaText{Document: doc, Tag: "Title"})
	if err != nil {
		return ""
	}
	return resp.Value
}

// fault says what is wrong with the file.
func fault(err error) error {
	if errors.Is(err, pdferrors.ErrPassword) || errors.Is(err, pdferrors.ErrSecurity) {
		return apierr.Wrap(apierr.InvalidArgument, err, "is an encrypted PDF: take its password off first").WithField(field)
	}
	return apierr.Wrap(apierr.InvalidArgument, err, "cannot be read as a PDF: it is broken, or takes too much memory").WithField(field)
}

func tooLarge(format string, args ...any) *apierr.Error {
	return apierr.New(apierr.PayloadTooLarge, format, args...).WithField(field)
}
