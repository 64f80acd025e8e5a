package detect

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// samples is every text of testdata, and what else is delicate.
func samples(tb testing.TB) []string {
	tb.Helper()
	out := []string{armoured, "x" + armoured + "y", "-----BEGIN PRIVATE KEY-----\nMIIE", `a\nAKIAIOSFODNN7EXAMPLE`, "+", "00", "eyJ", "ptn_", "a@b", "a@b.", "1 ", "€", "\u202f"}
	for _, name := range []string{"testdata/found.txt", "testdata/notfound.txt"} {
		data, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			_, text, ok := strings.Cut(line, "\t")
			if !ok {
				text = line
			}
			out = append(out, strings.NewReplacer("«", "", "»", "", "\n", "").Replace(text))
		}
	}
	return out
}

func allOf(action Action) *Guard {
	actions := make(map[Kind]Action)
	for _, k := range Kinds(All()) {
		actions[k] = action
	}
	return newGuard(All(), actions)
}

// streamed writes the text in the pieces that cut asks for.
func streamed(g *Guard, text string, cut func(rest int) int) (string, []Found) {
	s := g.Stream()
	var out strings.Builder
	var found []Found
	note := func(text string, f []Found) {
		out.WriteString(text)
		found = append(found, f...)
	}
	for len(text) > 0 {
		n := max(1, min(cut(len(text)), len(text)))
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++ // pieces are texts themselves
		}
		note(s.Write(text[:n]))
		text = text[n:]
	}
	note(s.Close())
	return out.String(), found
}

// TestStreamsFindTheSame is what streams promise, for random texts made of the
// samples' parts, in random pieces.
func TestStreamsFindTheSame(t *testing.T) {
	parts := samples(t)
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 500 {
		var b strings.Builder
		for range 1 + rng.IntN(6) {
			p := parts[rng.IntN(len(parts))]
			if rng.IntN(3) == 0 { // a part of it
				i := rng.IntN(len(p) + 1)
				p = strings.ToValidUTF8(p[i:], "")
			}
			b.WriteString(p)
			b.WriteString([]string{" ", "", "\n", "-", ".", "1", "x"}[rng.IntN(7)])
		}
		text := b.String()
		for _, action := range []Action{Redact, Allow, Block} {
			g := allOf(action)
			want, wantFound := g.Text(text)
			most := 1 + rng.IntN(12)
			got, gotFound := streamed(g, text, func(int) int { return 1 + rng.IntN(most) })
			if got != want || len(gotFound) != len(wantFound) {
				t.Fatalf("seed %d, %s: %q\nstreamed %q %v\nwhole    %q %v", seed, action, text, got, gotFound, want, wantFound)
			}
		}
	}
}

// TestHeldBack is that ordinary text is held back for a word at most.
func TestHeldBack(t *testing.T) {
	s := allOf(Redact).Stream()
	text := "The committee met on Tuesday; nobody was surprised, and all went home early."
	out := ""
	for _, word := range strings.SplitAfter(text, " ") {
		more, _ := s.Write(word)
		out += more
		if held := strings.TrimPrefix(text[:strings.Index(text, word)+len(word)], out); len(held) > len(word)+1 {
			t.Errorf("after %q %q is held back", word, held)
		}
	}
}

func TestNothingIsFoundInWhatStandsForIt(t *testing.T) {
	g := allOf(Redact)
	for _, text := range samples(t) {
		once, _ := g.Text(text)
		if again, found := g.Text(once); again != once || len(found) > 0 {
			t.Errorf("%q became %q, and then %q", text, once, again)
		}
	}
}

func TestBlockedStreamSaysNoMore(t *testing.T) {
	s := allOf(Block).Stream()
	out, found := s.Write("to bob@example.com, and more")
	more, _ := s.Write(" and more")
	end, _ := s.Close()
	if out != "to " || more != "" || end != "" || !s.Blocked() || len(found) != 1 {
		t.Errorf("%q %q %q %v", out, more, end, found)
	}
}

func FuzzStream(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		if !utf8.ValidString(text) {
			return
		}
		g := allOf(Redact)
		want, _ := g.Text(text)
		if got, _ := streamed(g, text, func(int) int { return int(size%16) + 1 }); got != want {
			t.Fatalf("%q: streamed %q, whole %q", text, got, want)
		}
	})
}

func BenchmarkText(b *testing.B) {
	g := allOf(Redact)
	text := strings.Repeat("The committee met on Tuesday; SELECT name FROM users WHERE id = 42 -- and so on.\n", 400)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		g.Text(text)
	}
}
