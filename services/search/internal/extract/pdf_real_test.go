//go:build real

package extract

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// pdf makes a file of one page with the given content stream and trailer.
func pdf(filter, stream, trailer string) []byte {
	var b bytes.Buffer
	var at []int
	object := func(s string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), s)
	}
	b.WriteString("%PDF-1.4\n")
	object("<</Type/Catalog/Pages 2 0 R>>")
	object("<</Type/Pages/Kids[3 0 R]/Count 1>>")
	object("<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>")
	object(fmt.Sprintf("<</Length %d%s>>stream\n%s\nendstream", len(stream), filter, stream))
	object("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
	object("<</Title(A Manual)>>")
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, n := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", n)
	}
	fmt.Fprintf(&b, "trailer<</Size %d/Root 1 0 R/Info 6 0 R%s>>\nstartxref\n%d\n%%%%EOF", len(at)+1, trailer, xref)
	return b.Bytes()
}

func deflated(t *testing.T, s []byte, times int) string {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	for range times {
		if _, err := w.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRealPDFs(t *testing.T) {
	limits := DefaultLimits()
	limits.PDFMemory, limits.Time = 64<<20, 5*time.Second
	limits.PDFProgram = filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne-pdf")
	x := New(limits)
	const text = "BT /F 12 Tf 20 200 Td (Heat of a cylinder) Tj ET"
	encrypted := "/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<" + strings.Repeat("00", 32) + ">/U<" + strings.Repeat("11", 32) + ">>>"
	if _, err := x.Extract(t.Context(), pdf("", text, ""), "application/pdf"); err != nil { // loads the sandbox
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		content []byte
		says    string // of the error; empty: none
	}{
		"plain":      {pdf("", text, ""), ""},
		"compressed": {pdf("/Filter/FlateDecode", deflated(t, []byte(text), 1), ""), ""},
		"encrypted":  {pdf("", text, encrypted), "encrypted"},
		"scanned":    {pdf("", "0 0 10 10 re f", ""), "OCR"},
		"broken":     {[]byte("%PDF-1.4\nnothing"), "broken"},
		"no pdf":     {[]byte("hello"), "broken"},
		"cut off":    {pdf("", text, "")[:200], ""},
		"a bomb":     {pdf("/Filter/FlateDecode", deflated(t, bytes.Repeat([]byte{' '}, 1<<20), 512), ""), "content"},
	} {
		began := time.Now()
		got, err := x.Extract(t.Context(), tt.content, "application/pdf")
		took := time.Since(began)
		switch {
		case took > 20*time.Second:
			t.Errorf("%s took %v", name, took)
		case name == "cut off": // read as far as it goes, or refused
		case tt.says == "" && (err != nil || got.Text != "Heat of a cylinder" || got.Title != "A Manual"):
			t.Errorf("%s: %q, %v", name, got, err)
		case tt.says != "" && (err == nil || apierr.From(err).Field != "content" || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// The next file is read as if nothing had been.
	if got, err := x.Extract(t.Context(), pdf("", text, ""), "application/pdf"); err != nil || got.Text != "Heat of a cylinder" {
		t.Errorf("%q, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Extract(ctx, pdf("", text, ""), "application/pdf"); err == nil {
		t.Error("a caller who left is worked for")
	}
}
