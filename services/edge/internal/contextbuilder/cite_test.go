package contextbuilder

import (
	"strings"
	"testing"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

func three() []*edgev1.Annotation {
	return []*edgev1.Annotation{{DocumentId: "a", Number: 1}, {DocumentId: "b", Number: 2}, {DocumentId: "c", Number: 3}}
}

func citer(action string) *Citer {
	return New(Config{UnknownCitations: action}, nil, nil, nil).Citer(three())
}

func TestCitations(t *testing.T) {
	for answer, want := range map[string]struct {
		cited, unknown int
		marked, less   string
	}{
		"It is so [1].":                       {1, 0, "It is so [1].", "It is so [1]."},
		"So[1][3].":                           {2, 0, "So[1][3].", "So[1][3]."},
		"So [1, 2; 3].":                       {3, 0, "So [1, 2; 3].", "So [1, 2; 3]."},
		"So [1-3].":                           {3, 0, "So [1-3].", "So [1-3]."},
		"So [1–2].":                           {2, 0, "So [1–2].", "So [1–2]."},
		"So [^2].":                            {1, 0, "So [^2].", "So [^2]."},
		"So [9].":                             {0, 1, "So [9?].", "So."},
		"So [1, 9].":                          {1, 1, "So [1, 9?].", "So [1]."},
		"So [2-5]!":                           {2, 2, "So [2, 3, 4?, 5?]!", "So [2, 3]!"},
		"In [2024] and [0].":                  {0, 0, "In [2024] and [0].", "In [2024] and [0]."},
		"A [link] and [1 and 2].":             {0, 0, "A [link] and [1 and 2].", "A [link] and [1 and 2]."},
		"`a[9]` and ```\nb[8]\n``` [3]":       {1, 0, "`a[9]` and ```\nb[8]\n``` [3]", "`a[9]` and ```\nb[8]\n``` [3]"},
		"an ` alone\nthen [2]":                {1, 0, "an ` alone\nthen [2]", "an ` alone\nthen [2]"},
		"open [1":                             {0, 0, "open [1", "open [1"},
		"[[1]] [1":                            {1, 0, "[[1]] [1", "[[1]] [1"},
		"":                                    {0, 0, "", ""},
		"[" + strings.Repeat("1,", 60) + "1]": {0, 0, "[" + strings.Repeat("1,", 60) + "1]", "[" + strings.Repeat("1,", 60) + "1]"},
	} {
		for action, text := range map[string]string{KeepUnknown: answer, MarkUnknown: want.marked, RemoveUnknown: want.less} {
			for _, size := range []int{len(answer) + 1, 1, 3} {
				c := citer(action)
				var got strings.Builder
				for piece := range pieces(answer, size) {
					got.WriteString(c.Write(piece))
				}
				got.WriteString(c.Close())
				cited, unknown := c.Counts()
				if got.String() != text || cited != want.cited || unknown != want.unknown {
					t.Errorf("%s of %q by %d: %q, %d cited, %d unknown; want %q, %d, %d", action, answer, size, got.String(), cited, unknown, text, want.cited, want.unknown)
				}
			}
		}
	}
}

// pieces cuts s between characters, about every n bytes.
func pieces(s string, n int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > 0 {
			piece := firstRunes(s, n)
			if s = s[len(piece):]; !yield(piece) {
				return
			}
		}
	}
}

func TestWhatIsCitedIsTold(t *testing.T) {
	c := citer(KeepUnknown)
	c.Write("Yes [2], no [7].")
	all, last := c.Annotations(), c.Cited()
	if len(all) != 4 || all[0].GetCited() || all[0].Cited == nil || !all[1].GetCited() || all[3].GetType() != unknownCitation || all[3].GetNumber() != 7 {
		t.Errorf("all are %v", all)
	}
	if len(last) != 2 || last[0].GetDocumentId() != "b" || last[1].GetNumber() != 7 {
		t.Errorf("the last are %v", last)
	}
	if c.passages[1].Cited != nil {
		t.Error("what others read was changed")
	}
}

// FuzzCiter holds that an answer comes out the same however it is cut, that nothing is
// lost where nothing is to be changed, and that no number of no passage stays.
func FuzzCiter(f *testing.F) {
	f.Add("So [1], [9] and `[8]` ```[7]", 3)
	f.Add("[1-3] [[2]] [4–9", 1)
	f.Fuzz(func(t *testing.T, answer string, n int) {
		if n < 1 || len(answer) > 1<<12 {
			return
		}
		for _, action := range []string{KeepUnknown, MarkUnknown, RemoveUnknown} {
			whole, cut := citer(action), citer(action)
			want := whole.Write(answer) + whole.Close()
			var got strings.Builder
			for piece := range pieces(answer, n) {
				got.WriteString(cut.Write(piece))
			}
			got.WriteString(cut.Close())
			a, b := whole.Counts()
			c, d := cut.Counts()
			if got.String() != want || a != c || b != d {
				t.Errorf("%s: %q whole, %q in pieces", action, want, got.String())
			}
			if _, unknown := whole.Counts(); (action == KeepUnknown || unknown == 0) && want != answer {
				t.Errorf("%s: %q became %q", action, answer, want)
			}
		}
	})
}
