package store

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

// model is what the state machine of one collection's embedding generations
// should be.
type model struct {
	states  map[int]State
	through map[int]int64
	retired []int // in the order of their retirement
	last    int
	serving int
	docs    map[string]string
	nos     map[string]int64
	failed  map[int]map[string]bool // documents refused, by embedding generation
}

// unkept returns those of fails that the lease's embedding generation has no
// passages of.
func unkept(t *testing.T, s *Store, l Lease, fails map[string]bool) map[string]bool {
	t.Helper()
	next, err := s.Unembedded(t.Context(), l.Collection, 1000, 1<<20)
	check(t, err)
	out := map[string]bool{}
	for _, d := range next.Documents {
		if fails[d.ID] && !d.Kept {
			out[d.ID] = true
		}
	}
	return out
}

func (m *model) wrote(id, text string, no int64) {
	m.deleted(id)
	m.docs[id], m.nos[id] = text, no
}

func (m *model) deleted(id string) {
	delete(m.docs, id)
	delete(m.nos, id)
	for _, failed := range m.failed { // written anew, it is tried anew
		delete(failed, id)
	}
}

func (m *model) resume(number int) {
	if m.states[number] != Failed {
		return
	}
	m.states[number] = Building
	for id := range m.failed[number] {
		m.through[number] = min(m.through[number], m.nos[id]-1)
	}
	clear(m.failed[number])
}

func (m *model) create() bool {
	for _, s := range m.states {
		if s == Building || s == Ready {
			return false
		}
	}
	for n, s := range m.states {
		if s == Retired || s == Failed {
			m.states[n] = Removing
		}
	}
	m.last++
	m.states[m.last], m.failed[m.last] = Building, map[string]bool{}
	return true
}

func (m *model) embed(number int, through int64, fails map[string]bool) {
	for id, no := range m.nos {
		if no > m.through[number] && fails[id] {
			m.failed[number][id] = true
		}
	}
	m.through[number] = through
}

func (m *model) serve(number int, next int64) bool {
	switch m.states[number] {
	case Serving:
		return true
	case Ready, Retired:
		for _, no := range m.nos {
			if no > m.through[number] {
				return false
			}
		}
		m.states[m.serving], m.states[number], m.through[m.serving] = Retired, Serving, next
		m.retired = append(m.retired, m.serving)
		m.serving = number
		return true
	case Building, Failed, Removing:
	}
	return false
}

func (m *model) compare(t *testing.T, s *Store, c Collection, after string) {
	t.Helper()
	ctx := t.Context()
	all, err := s.EmbeddingGenerations(ctx, c)
	check(t, err)
	got := map[int]State{}
	for _, g := range all {
		got[g.Number] = g.State
		if g.Failed != len(m.failed[g.Number]) || g.Total != len(m.docs) {
			t.Errorf("%s: %+v, the model has %v failed of %d", after, g, m.failed[g.Number], len(m.docs))
		}
	}
	if !maps.Equal(got, m.states) {
		t.Errorf("%s: %v, want %v", after, got, m.states)
	}
	now, err := s.Collection(ctx, "acme", "c")
	check(t, err)
	if now.EmbeddingGeneration != m.serving || now.ChunkCount != len(m.docs) || now.DocumentCount != len(m.docs) {
		t.Errorf("%s: %+v, want %d serving %d documents", after, now, m.serving, len(m.docs))
	}
	want := slices.Sorted(maps.Values(m.docs))
	var texts []string
	for _, v := range everything(t, s, now) {
		texts = append(texts, v.Chunks[0].Text)
	}
	if slices.Sort(texts); !slices.Equal(texts, want) {
		t.Errorf("%s: what serves has\n%s\nwant\n%s", after, strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
	last := 0
	for _, n := range m.retired {
		if m.states[n] == Retired {
			last = n
		}
	}
	if prev, err := s.Previous(ctx, c); last == 0 && apierr.ReasonOf(err) != apierr.FailedPrecondition || last != 0 && prev.Number != last {
		t.Errorf("%s: a rollback would have %d serve, want %d (%v)", after, prev.Number, last, err)
	}
}
