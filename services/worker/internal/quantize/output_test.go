package quantize

import (
	"slices"
	"strings"
	"testing"
)

func TestParsing(t *testing.T) {
	for piece, want := range map[string][2]int{
		"[   1/ 272] output_norm.weight - [ 576": {1, 272},
		"[272/272]":                              {272, 272},
		"[ 3/ 2] more than all":                  {},
		"[0/0]":                                  {},
		"[-1/2]":                                 {},
		"[1/2":                                   {},
		"1/2]":                                   {},
		"[1]12.5":                                {},
		"[99999999999/99999999999] too large":    {},
	} {
		if done, total, ok := parseStep(piece); ok != (want[1] > 0) || ok && (done != want[0] || total != want[1]) {
			t.Errorf("%q: %d of %d, %v", piece, done, total, ok)
		}
	}
	for piece, want := range map[string]float64{
		"Final estimate: PPL = 12.3456 +/- 0.12345":               12.3456,
		"perplexity: Final estimate: PPL = 1.0000 +/- 0.00000":    1,
		"Final estimate: PPL = nan +/- nan":                       0,
		"Final estimate: PPL = 0.5 +/- 0.1":                       0,
		"Final estimate: PPL = inf +/- 0.1":                       0,
		"Final estimate: PPL = 3.0 +/- -1":                        0,
		"Final estimate: PPL = 3.0":                               0,
		"Unexpected negative standard deviation of log(prob)":     0,
		"Final estimate: PPL = 340282346638528859811704183484516": 0,
	} {
		if value, _, ok := parseFinal(piece); ok != (want > 0) || ok && value != want {
			t.Errorf("%q: %v, %v", piece, value, ok)
		}
	}
	for piece, want := range map[string]string{
		"main: build = 9190 (b64739e)":                      "9190 (b64739e)",
		"build: 4711 (abc-dirty) with gcc":                  "4711 (abc-dirty)",
		"main: build = x (b64739e)":                         "",
		"main: build = 1 (b6 rm)":                           "",
		"llama-quantize: build = 1 (unclosed":               "",
		"main: build = 1 (" + strings.Repeat("a", 41) + ")": "",
	} {
		if got, ok := parseBuild(piece); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", piece, got, ok)
		}
	}
}

func TestPieces(t *testing.T) {
	var got []string
	p := &pieces{see: func(s string) { got = append(got, s) }}
	for _, chunk := range []string{"[1]1", "2.5,[2]", "11.0,\r\n\nFinal", " estimate\nlast", strings.Repeat("x", maxPiece)} {
		if n, err := p.Write([]byte(chunk)); n != len(chunk) || err != nil {
			t.Fatal(n, err)
		}
	}
	p.end()
	_, _ = p.Write([]byte("after the end\n"))
	if len(got) != 4 || !slices.Equal(got[:3], []string{"[1]12.5", "[2]11.0", "Final estimate"}) || len(got[3]) != maxPiece {
		t.Errorf("got %q", got)
	}
}

// FuzzOutput: whatever a program writes, figures are within their bounds.
func FuzzOutput(f *testing.F) {
	f.Add("[   1/ 272] output_norm.weight - [   576,      1]\n[272/272]\n", 7)
	f.Add("perplexity: calculating perplexity over 18 chunks, n_ctx=128\n[1]1.5,[2]nan,\nFinal estimate: PPL = 12.3456 +/- 0.12345\n", 3)
	f.Add("perplexity: you need at least 8192 tokens\nmain: build = 1 (a)\r[1/0]\xff\x00", 1)
	f.Fuzz(func(t *testing.T, text string, at int) {
		p := &pieces{see: func(piece string) {
			if len(piece) > maxPiece || piece == "" || strings.ContainsAny(piece, "\n\r,") {
				t.Errorf("piece %q", piece)
			}
			if done, total, ok := parseStep(piece); ok && (done < 0 || total < 1 || done > total) {
				t.Errorf("%q: step %d of %d", piece, done, total)
			}
			if n, ok := parseChunk(piece); ok && n < 0 {
				t.Errorf("%q: chunk %d", piece, n)
			}
			if v, e, ok := parseFinal(piece); ok && !(v >= 1 && e >= 0 && v+e < 1e39) {
				t.Errorf("%q: final %v %v", piece, v, e)
			}
			if b, ok := parseBuild(piece); ok && (len(b) > 64 || strings.ContainsAny(b, "\x00\"<>")) {
				t.Errorf("%q: build %q", piece, b)
			}
			parseChunks(piece)
			parseNeeded(piece)
			parseGot(piece)
		}}
		cut := min(max(at, 0), len(text))
		for _, part := range []string{text[:cut], text[cut:]} {
			if n, err := p.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		p.end()
	})
}

// FuzzTypes: what is offered are names that the contract takes, each once.
func FuzzTypes(f *testing.F) {
	f.Add("   2  or  Q4_0    :  4.34G\n  12  or  Q3_K    : alias for Q3_K_M\n          COPY    : only copy\n")
	f.Add("7 or Q8_0:\n7 or q8_0:\n x or Q1 : \n 1 or __ : \n 1 or Q/../x : y")
	f.Fuzz(func(t *testing.T, help string) {
		got := parseTypes(help)
		for i, name := range got {
			if !isType(name) || needsMatrix(name) || i > 0 && got[i-1] >= name || len(got) > maxTypes {
				t.Errorf("got %q", got)
			}
		}
	})
}
