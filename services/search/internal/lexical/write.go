package lexical

import (
	"fmt"

	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/size"
	bleveindex "github.com/blevesearch/bleve_index_api"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

// Write adds and removes passages; a view opened afterwards shows it.
func (x *Index) Write(put []Entry, remove []Key) error {
	if len(put) == 0 && len(remove) == 0 {
		return nil
	}
	batch := x.bleve.NewBatch()
	for _, e := range put {
		doc := document.NewDocument(encode(e.Key))
		doc.AddField(&passage{index: x, text: e.Text})
		if err := batch.IndexAdvanced(doc); err != nil {
			return fmt.Errorf("lexical index: %w", err)
		}
	}
	for _, k := range remove {
		batch.Delete(encode(k))
	}
	if err := x.bleve.Batch(batch); err != nil {
		return fmt.Errorf("lexical index: write: %w", err)
	}
	return nil
}

// passage is the field of a passage. scorch has several analysed at once; that
// it is not given the terms as a text saves it splitting and counting them.
type passage struct {
	index *Index
	text  string

	length int
	freqs  bleveindex.TokenFrequencies
}

var _ document.Field = (*passage)(nil)

// Analyze implements document.Field.
func (p *passage) Analyze() {
	analyzer := p.index.analyzer()
	defer p.index.analyzers.Put(analyzer)
	terms := analyzer.Analyze(p.text)
	p.length = len(terms)
	p.freqs = make(bleveindex.TokenFrequencies, len(terms))
	room := make([]bleveindex.TokenFreq, len(terms))
	at := make([]bleveindex.TokenLocation, len(terms))
	for i, t := range terms {
		f := p.freqs[t]
		if f == nil {
			f, room = &room[0], room[1:]
			p.freqs[t] = f
		}
		f.SetFrequency(f.Frequency() + 1)
		// Where in the text is not asked of postings.
		at[i].Position = i + 1
		f.Locations = append(f.Locations, &at[i])
	}
	p.text = ""
}

func (x *Index) analyzer() *analysis.Analyzer {
	if a, ok := x.analyzers.Get().(*analysis.Analyzer); ok {
		return a
	}
	return analysis.NewAnalyzer()
}

// Name implements document.Field.
func (p *passage) Name() string { return field }

// Value implements document.Field: nothing is stored.
func (p *passage) Value() []byte { return nil }

// ArrayPositions implements document.Field.
func (p *passage) ArrayPositions() []uint64 { return nil }

// EncodedFieldType implements document.Field: a text.
func (p *passage) EncodedFieldType() byte { return 't' }

// Options implements document.Field: with positions, for phrases.
func (p *passage) Options() bleveindex.FieldIndexingOptions {
	return bleveindex.IndexField | bleveindex.IncludeTermVectors
}

// AnalyzedLength implements document.Field.
func (p *passage) AnalyzedLength() int { return p.length }

// AnalyzedTokenFrequencies implements document.Field.
func (p *passage) AnalyzedTokenFrequencies() bleveindex.TokenFrequencies { return p.freqs }

// NumPlainTextBytes implements document.Field.
func (p *passage) NumPlainTextBytes() uint64 { return uint64(len(p.text)) }

// Size implements document.Field: about what the field takes.
func (p *passage) Size() int {
	const each = 64
	return len(p.text) + len(p.freqs)*(each+size.SizeOfPtr)
}
