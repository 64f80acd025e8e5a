//go:build real

package extract

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// Small files are made wrong in every place that comes up: none takes more than
// its own time, and each is read or is that document's own fault.
func TestRealBrokenPDFs(t *testing.T) {
	limits := DefaultLimits()
	limits.PDFMemory, limits.Time = 64<<20, 5*time.Second
	limits.PDFProgram = filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne-pdf")
	x := New(limits)
	const text = "BT /F 12 Tf 20 200 Td (Heat of a cylinder) Tj ET"
	seeds := [][]byte{
		pdf("", text, ""), pdf("/Filter/FlateDecode", deflated(t, []byte(text), 20), ""),
		pdf("/Filter[/ASCIIHexDecode/FlateDecode]", "00FF>", "/Prev 9"),
	}
	if _, err := x.Extract(t.Context(), seeds[0], "application/pdf"); err != nil { // compiles the sandbox
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	read := 0
	for i := range 24 {
		b := slices.Clone(seeds[i%len(seeds)])
		switch i % 4 {
		case 0:
			b = b[:rng.IntN(len(b))]
		case 1:
			for range 1 + rng.IntN(20) {
				b[rng.IntN(len(b))] ^= byte(1 << rng.IntN(8))
			}
		case 2: // a piece of it again, somewhere else
			from, at := rng.IntN(len(b)), rng.IntN(len(b))
			b = slices.Insert(b, at, slices.Clone(b[from:min(len(b), from+200)])...)
		case 3: // numbers become others: lengths, places, counts
			for j, c := range b {
				if c >= '0' && c <= '9' && rng.IntN(8) == 0 {
					b[j] = byte('0' + rng.IntN(10))
				}
			}
		}
		began := time.Now()
		_, err := x.Extract(t.Context(), b, "application/pdf")
		if took := time.Since(began); took > limits.Time+PDFStart {
			t.Errorf("file %d took %v", i, took)
		}
		if e := apierr.From(err); err != nil && (e.Field != fieldContent || e.HTTPStatus() >= 500) {
			t.Errorf("file %d: %v", i, err)
		} else if err == nil {
			read++
		}
	}
	t.Logf("%d of 24 were read", read)
	if got, err := x.Extract(t.Context(), seeds[0], "application/pdf"); err != nil || got.Text != "Heat of a cylinder" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}
