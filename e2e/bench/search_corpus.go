package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/poterne/poterne/pkg/vectortest"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// The shape of a corpus: passages of about a hundred words, as unevenly frequent
// as those of a language (Zipf), and vectors that lie as those of an embedding
// model do.
const (
	corpusWidth      = 384
	corpusWords      = 100
	corpusVocabulary = 200_000
	questionWords    = 8
)

// corpus is passages, one a document, and questions about them. Text i begins
// with the word that names it, from which its vector is known.
type corpus struct {
	n         int
	vectors   []float32 // of length 1, one after another
	questions []question
	seed      uint64
}

// question is a text, its vector, and the passages nearest to it, at first
// without a condition and then under each of cuts.
type question struct {
	text   string
	vector []float32
	near   [][]string
}

// cuts are the conditions that questions are asked under: the share of the
// passages that pass, of which the metadata speaks.
func cuts() []cut {
	return []cut{{"all", 1, ""}, {"10 %", 10, "every10 = 0"}, {"1 %", 100, "every100 = 0"}, {"0.1 %", 1000, "every1000 = 0"}}
}

type cut struct {
	name   string
	every  int
	filter string
}

const (
	passageMark  = "pass"
	questionMark = "ques"
)

func newCorpus(n, questions int) *corpus {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, 1))
	model := vectortest.New(rng, corpusWidth)
	c := &corpus{n: n, seed: seed, vectors: make([]float32, 0, n*corpusWidth)}
	for range n {
		c.vectors = append(c.vectors, unit(model.Next())...)
	}
	for i := range questions {
		q := question{vector: unit(model.Next())}
		// Words that stand together somewhere, as a question's do.
		about := strings.Fields(c.text(rng.IntN(n)))[1:]
		rng.Shuffle(len(about), func(i, j int) { about[i], about[j] = about[j], about[i] })
		q.text = questionMark + strconv.Itoa(i) + " " + strings.Join(about[:questionWords], " ")
		for _, cut := range cuts() {
			q.near = append(q.near, c.nearest(q.vector, cut.every, 10))
		}
		c.questions = append(c.questions, q)
	}
	return c
}

// text returns passage i, the same every time.
func (c *corpus) text(i int) string {
	rng := rand.New(rand.NewPCG(c.seed, uint64(i)+2))
	zipf := rand.NewZipf(rng, 1.1, 4, corpusVocabulary)
	var out strings.Builder
	out.WriteString(passageMark + strconv.Itoa(i))
	for range corpusWords {
		out.WriteString(" w" + strconv.FormatUint(zipf.Uint64(), 36))
	}
	return out.String()
}

func passageID(i int) string { return fmt.Sprintf("d%07d", i) }

func (c *corpus) document(i int) (*searchv1.Document, error) {
	metadata, err := structpb.NewStruct(map[string]any{
		"every10": float64(i % 10), "every100": float64(i % 100), "every1000": float64(i % 1000),
	})
	return &searchv1.Document{Id: passageID(i), Text: c.text(i), Metadata: metadata}, err
}

func (c *corpus) row(i int) []float32 { return c.vectors[i*corpusWidth : (i+1)*corpusWidth] }

// vectorOf returns the vector of a text of the corpus; nil for another.
func (c *corpus) vectorOf(text string) []float32 {
	name, _, _ := strings.Cut(text, " ")
	if at, ok := numberAfter(name, passageMark); ok && at < c.n {
		return c.row(at)
	}
	if at, ok := numberAfter(name, questionMark); ok && at < len(c.questions) {
		return c.questions[at].vector
	}
	return nil
}

func numberAfter(s, mark string) (int, bool) {
	rest, ok := strings.CutPrefix(s, mark)
	n, err := strconv.Atoi(rest)
	return n, ok && err == nil && n >= 0
}

// nearest returns the ids of the k passages nearest to v by their cosine, of
// every so-manieth passage, computed one by one.
func (c *corpus) nearest(v []float32, every, k int) []string {
	type near struct {
		at    int
		score float32
	}
	var best []near
	for i := 0; i < c.n; i += every {
		n := near{i, dot(v, c.row(i))}
		if len(best) == k && n.score <= best[k-1].score {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, n, func(a, b near) int {
			if a.score >= b.score {
				return -1
			}
			return 1
		})
		best = slices.Insert(best, at, n)
		best = best[:min(len(best), k)]
	}
	out := make([]string, len(best))
	for i, n := range best {
		out[i] = passageID(n.at)
	}
	return out
}
