package relevancetest

import (
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/poterne/poterne/pkg/ireval"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/embedded"
)

// within is how far a hybrid search may stay behind the better of its legs.
const within = 0.005

// Each leg is worth something, and both together are not worth less than the
// better one, nor less than by reciprocal rank.
func TestHybridIsNoWorseThanItsBetterLeg(t *testing.T) {
	for _, language := range Languages() {
		t.Run(language, func(t *testing.T) {
			c := Load(t, language)
			legs := ask(t, c)
			words := mean(c, legs, func(l index.Legs) []string { return documents(fusion.Single(leg(l.Lexical))) })
			vectors := mean(c, legs, func(l index.Legs) []string { return documents(fusion.Single(leg(l.Vector))) })
			by := func(m fusion.Method) float64 {
				return mean(c, legs, func(l index.Legs) []string {
					return documents(fusion.Fuse(m, []fusion.Leg{leg(l.Lexical), leg(l.Vector)}))
				})
			}
			hybrid, ranks := by(fusion.Standardised), by(fusion.ReciprocalRank)
			t.Logf("nDCG@10: words %.4f, vectors %.4f, hybrid %.4f (by reciprocal rank %.4f)", words, vectors, hybrid, ranks)
			if words < 0.85 || vectors < 0.80 {
				t.Error("a leg finds less than it did")
			}
			if hybrid < max(words, vectors)-within || hybrid < ranks-within {
				t.Error("hybrid is worse than its parts")
			}
		})
	}
}

// Stems, elisions, accents and function words are worth more than what an
// analyser does that knows no language.
func TestTheAnalysisIsWorthMoreThanAStandardOne(t *testing.T) {
	for language, least := range map[string]float64{"en": 0.05, "fr": 0.1} {
		t.Run(language, func(t *testing.T) {
			c := Load(t, language)
			own := mean(c, ask(t, c), func(l index.Legs) []string { return documents(fusion.Single(leg(l.Lexical))) })
			standard := standard(c)
			t.Logf("nDCG@10: %.4f, by a standard analyser %.4f", own, standard)
			if own < standard+least {
				t.Errorf("the analysis is worth %.4f, less than %.2f", own-standard, least)
			}
		})
	}
}

// A collection in two languages is searched as well as two in one, about.
func TestLanguagesMayBeMixed(t *testing.T) {
	apart, together := 0.0, 0.0
	mixed := Load(t, "en")
	other := Load(t, "fr")
	for _, c := range []Collection{mixed, other} {
		apart += mean(c, ask(t, c), func(l index.Legs) []string { return documents(fusion.Single(leg(l.Lexical))) }) / 2
	}
	all := Collection{
		Data:            ireval.Data{Documents: prefixed("fr-", other.Documents), Grades: map[string]ireval.Grades{}},
		DocumentVectors: slices.Concat(other.DocumentVectors, mixed.DocumentVectors),
	}
	all.Documents = append(all.Documents, prefixed("en-", mixed.Documents)...)
	for prefix, c := range map[string]Collection{"en-": mixed, "fr-": other} {
		one := all
		one.Queries, one.QueryVectors = c.Queries, c.QueryVectors
		one.Grades = map[string]ireval.Grades{}
		for q, grades := range c.Grades {
			one.Grades[q] = ireval.Grades{}
			for d, g := range grades {
				one.Grades[q][prefix+d] = g
			}
		}
		together += mean(one, ask(t, one), func(l index.Legs) []string { return documents(fusion.Single(leg(l.Lexical))) }) / 2
	}
	t.Logf("nDCG@10 by words: apart %.4f, mixed %.4f", apart, together)
	if together < apart-0.02 {
		t.Error("languages get into each other's way")
	}
}

func prefixed(prefix string, docs []ireval.Document) []ireval.Document {
	out := slices.Clone(docs)
	for i := range out {
		out[i].ID = prefix + out[i].ID
	}
	return out
}

// ask indexes the collection as the service does, and returns what the legs find
// for each query.
func ask(t *testing.T, c Collection) []index.Legs {
	t.Helper()
	x, err := embedded.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	ic, err := x.Open(t.Context(), "small")
	if err != nil {
		t.Fatal(err)
	}
	if err := ic.Replace(t.Context(), 1, passages(c)); err != nil {
		t.Fatal(err)
	}
	out := make([]index.Legs, len(c.Queries))
	for i, q := range c.Queries {
		out[i], err = ic.Search(t.Context(), index.Query{
			Terms: analysis.Query(q.Text), Vector: c.QueryVectors[i], Principals: []string{"all"}, Limit: 100,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func passages(c Collection) iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		for i, d := range c.Documents {
			text := follow.Worded(d.Title, d.Text)
			doc := index.Document{No: int64(i + 1), ID: d.ID, Principals: []string{"all"}, Chunks: []index.Chunk{{
				Text: text, Terms: len(analysis.Analyze(text)), Vector: c.DocumentVectors[i],
			}}}
			if !yield(doc, nil) {
				return
			}
		}
	}
}

func leg(hits []index.Hit) fusion.Leg {
	l := fusion.Leg{Weight: 1}
	for _, h := range hits {
		l.Hits = append(l.Hits, fusion.Scored{ID: h.ChunkID, Score: h.Score})
	}
	return l
}

func documents(results []fusion.Result) []string {
	out := make([]string, len(results))
	for i, r := range results {
		out[i], _, _ = strings.Cut(r.ID, "#")
	}
	return out
}

func mean(c Collection, legs []index.Legs, ranked func(index.Legs) []string) float64 {
	sum := 0.0
	for i, q := range c.Queries {
		sum += ireval.NDCG(ranked(legs[i]), c.Grades[q.ID], 10)
	}
	return sum / float64(len(c.Queries))
}

// standard ranks by BM25 over words in lower case.
func standard(c Collection) float64 {
	split := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\'' && r != '’'
		})
	}
	counts := make([]map[string]float64, len(c.Documents))
	lengths, total, having := make([]float64, len(c.Documents)), 0.0, map[string]float64{}
	for i, d := range c.Documents {
		counts[i] = map[string]float64{}
		for _, w := range split(d.Title + " " + d.Text) {
			counts[i][w]++
			lengths[i]++
			total++
		}
		for w := range maps.Keys(counts[i]) {
			having[w]++
		}
	}
	n := float64(len(c.Documents))
	sum := 0.0
	for _, q := range c.Queries {
		l := fusion.Leg{Weight: 1}
		for i, d := range c.Documents {
			score := 0.0
			for _, w := range split(q.Text) {
				tf := counts[i][w]
				score += math.Log(1+(n-having[w]+0.5)/(having[w]+0.5)) * tf / (tf + 1.2*(0.25+0.75*lengths[i]*n/total))
			}
			if score > 0 {
				l.Hits = append(l.Hits, fusion.Scored{ID: d.ID, Score: score})
			}
		}
		sum += ireval.NDCG(documents(fusion.Single(l)), c.Grades[q.ID], 10)
	}
	return sum / float64(len(c.Queries))
}
