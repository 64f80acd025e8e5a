// Package extract takes the text and the title out of documents that come as
// files: plain text, Markdown, HTML and PDF. Whatever a file holds, it costs no
// more than the limits, and what is wrong with it is that document's own error.
// The text is Markdown in its structure (headings, lists, code, tables), which
// package chunk knows. Start reading at Extractor.Extract.
package extract

import (
	"context"
	"fmt"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/apierr"
)

// The fields that errors name.
const (
	fieldContent = "content"
	fieldType    = "content_type"
)

// Limits bound what one file may cost.
type Limits struct {
	// InputBytes is how large it may be, and OutputBytes its text.
	InputBytes, OutputBytes int
	// Depth is how deep HTML may nest.
	Depth int
	// Pages is how many pages a PDF may have, and PDFMemory how many bytes reading
	// it may take.
	Pages     int
	PDFMemory int
	// Time is how long a PDF may take.
	Time time.Duration
	// PDFProgram is the path of poterne-pdf; empty: beside this process's own.
	PDFProgram string
	// PDFs is how many are read side by side.
	PDFs int
	// CacheDir is where the compiled sandbox of PDFs is kept; empty, or when it cannot
	// be written: in the user's cache, else in a temporary directory until Close.
	CacheDir string
}

// DefaultLimits returns limits that leave room for most of what people write.
func DefaultLimits() Limits {
	return Limits{
		InputBytes: 8 << 20, OutputBytes: 4 << 20, Depth: 500,
		Pages: 2000, PDFMemory: 256 << 20, Time: 20 * time.Second, PDFs: 2,
	}
}

// Document is what was found in a file.
type Document struct {
	// Title is its own title; empty when it has none.
	Title string
	Text  string
}

// Extractor takes texts out of files. It is safe for concurrent use.
type Extractor struct {
	limits Limits
	pdf    *pdfReader
}

// New returns an extractor.
func New(l Limits) *Extractor { return &Extractor{limits: l, pdf: newPDFReader(l)} }

// Close removes what was kept for the time of this process. Files are not read
// beside it.
func (x *Extractor) Close() error { return x.pdf.cache.close() }

// Extract returns the text of content, a file of the given media type. Errors of
// the file are INVALID_ARGUMENT, PAYLOAD_TOO_LARGE or UNSUPPORTED_MEDIA_TYPE, with
// the document's field.
func (x *Extractor) Extract(ctx context.Context, content []byte, contentType string) (doc Document, err error) {
	defer func() {
		// A parser that fails on a file must not take the others with it.
		if v := recover(); v != nil {
			err = apierr.Wrap(apierr.InvalidArgument, fmt.Errorf("panic: %v", v), "cannot be read: it is broken").WithField(fieldContent)
		}
	}()
	if len(content) > x.limits.InputBytes {
		return Document{}, tooLarge("has %d bytes; at most %d are allowed", len(content), x.limits.InputBytes)
	}
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return Document{}, apierr.Invalid(fieldType, "is not a media type such as text/html")
	}
	switch mediaType {
	case "text/plain":
		doc.Text, err = decode(content, params["charset"])
	case "text/markdown":
		if doc.Text, err = decode(content, params["charset"]); err == nil {
			doc.Title = markdownTitle(doc.Text)
		}
	case "text/html", "application/xhtml+xml":
		doc, err = x.html(content, params["charset"])
	case "application/pdf":
		doc, err = x.pdf.read(ctx, content)
	default:
		return Document{}, apierr.New(apierr.UnsupportedMediaType,
			"is none of text/plain, text/markdown, text/html and application/pdf").WithField(fieldType)
	}
	if err != nil {
		return Document{}, err
	}
	doc.Text, doc.Title = clean(doc.Text), oneLine(clean(doc.Title))
	switch {
	case len(doc.Text) > x.limits.OutputBytes:
		return Document{}, tooLarge("holds a text of %d bytes; at most %d are allowed", len(doc.Text), x.limits.OutputBytes)
	case strings.TrimSpace(doc.Text) == "" && doc.Title == "":
		return Document{}, apierr.Invalid(fieldContent, "holds no text")
	}
	return doc, nil
}

func tooLarge(format string, args ...any) *apierr.Error {
	return apierr.New(apierr.PayloadTooLarge, format, args...).WithField(fieldContent)
}

// clean returns valid UTF-8 without NUL and with \n for line ends.
func clean(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	return strings.NewReplacer("\x00", "", "\r\n", "\n", "\r", "\n").Replace(s)
}

// titleRunes is the longest title that is taken from a file.
const titleRunes = 256

// oneLine returns a title as one line that is not too long.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > titleRunes {
		s = string(r[:titleRunes-1]) + "…"
	}
	return s
}

// markdownTitle returns the first heading of a Markdown text.
func markdownTitle(text string) string {
	for line := range strings.Lines(text) {
		rest := strings.TrimLeft(line, "#")
		if level := len(line) - len(rest); level > 0 && level <= 6 && strings.HasPrefix(rest, " ") {
			return strings.Trim(strings.TrimSpace(rest), "#*_` ")
		}
		if strings.TrimSpace(line) != "" {
			return "" // it begins with something else
		}
	}
	return ""
}
