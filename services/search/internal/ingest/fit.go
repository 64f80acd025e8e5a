package ingest

import (
	"context"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/chunk"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Counter counts tokens as a model's own tokeniser does; *tokens.Counter is one.
type Counter interface {
	// Limit is how many the model takes, 0 for no known bound; not ok: its tokens
	// cannot be counted now.
	Limit(ctx context.Context, model, sample string) (limit int, ok bool)
	Count(ctx context.Context, model string, texts []string) (counts []int, ok bool)
}

const (
	// reserve is how many tokens of the model's are kept for what an engine puts
	// before a passage by itself, such as "passage: ", which is not counted.
	reserve = 16
	// fitRounds is how often passages are cut anew; each time the bound on them is
	// tighter by slack.
	fitRounds = 8
	slack     = 0.9
	// leastTokens is the bound below which no passage is cut: the title has taken
	// the room.
	leastTokens = 8
)

// Fit cuts those passages of documents anew that are longer, with their title, than
// the model takes or the collection wants, by the count of the model's own
// tokeniser. Only passages that are near the bound by the estimate are counted.
// When they cannot be, the passages stay as they are. Errors are of a document.
func (g *Ingester) Fit(ctx context.Context, c store.Collection, model string, docs []*store.Version) *apierr.Error {
	f := fitting{g: g, c: c, model: model}
	open := f.all(docs)
	if len(open) == 0 || !f.bounded(ctx, open) {
		return nil
	}
	for round := 0; ; round++ {
		if open = f.near(open); len(open) == 0 {
			return nil
		}
		counts, ok := g.o.Counter.Count(ctx, f.model, f.texts(open))
		if !ok {
			return nil
		}
		if slices.Max(counts) <= f.limit {
			return nil
		}
		if round == fitRounds {
			return apierr.Invalid("text", "has a part of which the embedding model makes more than the %d tokens that there is room for, however it is cut", f.limit)
		}
		var err *apierr.Error
		if open, err = f.cut(open, counts, round); err != nil {
			return err
		}
	}
}

// fitting is one call of Fit.
type fitting struct {
	g     *Ingester
	c     store.Collection
	model string
	limit int
}

// passage is one that may be too long.
type passage struct {
	doc      *store.Version
	span     chunk.Span
	estimate int // of what is embedded
	most     int
}

func (f *fitting) passage(d *store.Version, s chunk.Span) passage {
	text := follow.Indexed(d.Title, d.Text[s.Start:s.End])
	return passage{doc: d, span: s, estimate: chunk.Tokens(text), most: chunk.MostTokens(text)}
}

func (f *fitting) all(docs []*store.Version) []passage {
	var out []passage
	for _, d := range docs {
		for _, ch := range d.Chunks {
			out = append(out, f.passage(d, chunk.Span{Start: ch.Start, End: ch.End}))
		}
	}
	return out
}

// bounded finds the bound. The longest passage is counted to learn it, where it
// is not known.
func (f *fitting) bounded(ctx context.Context, open []passage) bool {
	longest := open[0]
	for _, p := range open {
		if p.estimate > longest.estimate {
			longest = p
		}
	}
	limit, ok := f.g.o.Counter.Limit(ctx, f.model, f.texts([]passage{longest})[0])
	if limit > 0 {
		f.limit = max(limit-reserve, 1)
	}
	if most := f.c.Chunking.MaxTokens; most > 0 && (f.limit == 0 || most < f.limit) {
		f.limit = most
	}
	return ok && f.limit > 0
}

// near returns the passages that may be too long.
func (f *fitting) near(open []passage) []passage {
	var out []passage
	for _, p := range open {
		if p.most > f.limit {
			out = append(out, p)
		}
	}
	return out
}

func (f *fitting) texts(open []passage) []string {
	out := make([]string, len(open))
	for i, p := range open {
		out[i] = follow.Indexed(p.doc.Title, p.doc.Text[p.span.Start:p.span.End])
	}
	return out
}

// cut cuts those anew that are too long, and returns what became of them.
func (f *fitting) cut(open []passage, counts []int, round int) ([]passage, *apierr.Error) {
	pieces := make(map[*store.Version]map[chunk.Span][]chunk.Span)
	for i, p := range open {
		if counts[i] <= f.limit {
			continue
		}
		o := f.g.chunking(f.c, p.doc.Title)
		if o.MaxTokens = f.most(p, counts[i], round); o.MaxTokens < leastTokens {
			return nil, apierr.Invalid("title", "leaves no room for the text: the embedding model takes %d tokens", f.limit)
		}
		if pieces[p.doc] == nil {
			pieces[p.doc] = make(map[chunk.Span][]chunk.Span)
		}
		pieces[p.doc][p.span] = chunk.Again(p.doc.Text, p.span, o)
	}
	var out []passage
	for d, anew := range pieces {
		var spans []chunk.Span
		known := make(map[chunk.Span]bool, len(d.Chunks))
		for _, ch := range d.Chunks {
			s := chunk.Span{Start: ch.Start, End: ch.End}
			known[s] = true
			if list, ok := anew[s]; ok {
				spans = append(spans, list...)
				continue
			}
			spans = append(spans, s)
		}
		spans = chunk.Ordered(d.Text, spans)
		if err := passages(d, spans); err != nil {
			return nil, err
		}
		for _, s := range spans {
			if !known[s] {
				out = append(out, f.passage(d, s))
			}
		}
	}
	return out, nil
}

// most is how many tokens, by the estimate, the text of a passage may have that
// has so many by the count: as many of the estimate as there are, each worth as
// much as in this one.
func (f *fitting) most(p passage, count, round int) int {
	worth := float64(count) / float64(max(p.estimate, 1))
	room := float64(f.limit)/worth*slack - float64(chunk.Tokens(p.doc.Title))
	for range round {
		room *= slack
	}
	return min(int(room), p.estimate-chunk.Tokens(p.doc.Title)-1)
}
