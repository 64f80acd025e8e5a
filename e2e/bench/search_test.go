package bench

import (
	"os"
	"slices"
	"testing"
)

// What answers are compared with is itself right.
func TestCorpusKnowsWhatIsNearest(t *testing.T) {
	c := newCorpus(500, 5)
	for _, q := range c.questions {
		if got := c.vectorOf(q.text); !slices.Equal(got, q.vector) {
			t.Fatal("a question has another's vector")
		}
		for at, cut := range cuts()[:2] {
			var all []int
			for i := 0; i < c.n; i += cut.every {
				all = append(all, i)
			}
			slices.SortFunc(all, func(a, b int) int {
				if dot(q.vector, c.row(a)) > dot(q.vector, c.row(b)) {
					return -1
				}
				return 1
			})
			for i, id := range q.near[at] {
				if id != passageID(all[i]) {
					t.Errorf("%s: place %d has %s, not %s", cut.name, i, id, passageID(all[i]))
				}
			}
		}
	}
	for _, i := range []int{0, 499} {
		first := c.text(i)
		if again := c.text(i); first != again || !slices.Equal(c.vectorOf(again), c.row(i)) {
			t.Errorf("passage %d is not the same twice", i)
		}
	}
	if c.vectorOf("pass500 x") != nil || c.vectorOf("other") != nil {
		t.Error("a text that is none of the corpus has a vector")
	}
	if got := share([]string{"a", "b"}, []string{"b", "c"}); got != 0.5 {
		t.Errorf("half is %v", got)
	}
	if n, err := residentBytes(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("this process takes %d bytes, %v", n, err)
	}
}
