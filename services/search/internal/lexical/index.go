// Package lexical keeps an inverted index on disk and ranks by BM25. The
// postings are bleve's (scorch); the ranking is not, because bleve 2.6 scores
// "bm25" with an average length taken from the size of the vocabulary, squares
// the inverse document frequency and multiplies by the share of query words
// met. Here the formula is Lucene's, and so Elasticsearch's. Start reading at
// Index and View.
package lexical

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/whitespace"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/mapping"
	bleveindex "github.com/blevesearch/bleve_index_api"
	bolterrors "go.etcd.io/bbolt/errors"
)

// field is the only indexed field: the analysed terms, parted by spaces.
const field = "t"

// version of what is indexed: raise it when postings hold something else of the
// terms, so that old indexes are made anew. 2: positions, for phrases. Another
// analysis has an index of another name.
const version = "2"

// The key under which version is kept in an index.
const versionKey = "poterne.version"

// Key names one passage in the index.
type Key struct {
	No    int64
	Chunk uint32
}

// Entry is a passage to be indexed.
type Entry struct {
	Key  Key
	Text string
}

// Index is an inverted index in a directory. One goroutine at a time may
// write; views may be used meanwhile.
type Index struct {
	bleve bleve.Index
	cache *Cache

	mu       sync.Mutex
	segments map[uint64]*segment // those that a view has

	scratches sync.Pool // of *scratch
	analyzers sync.Pool // of *analysis.Analyzer
}

// Open opens the index in dir, or makes one. One that cannot be read or is damaged,
// or whose terms are not those of this version, is made anew and is empty then; one
// that is open already is an error. What is
// read of it for searches is kept in the cache.
func Open(dir string, cache *Cache) (*Index, error) {
	b, err := openBleve(dir)
	if err != nil {
		return nil, err
	}
	return &Index{bleve: b, cache: cache, segments: make(map[uint64]*segment)}, nil
}

func openBleve(dir string) (bleve.Index, error) {
	if bad, err := damaged(dir); err != nil {
		return nil, err
	} else if bad {
		return create(dir)
	}
	b, err := bleve.OpenUsing(dir, settings())
	if err == nil {
		v, verr := b.GetInternal([]byte(versionKey))
		if verr == nil && string(v) == version {
			return b, nil
		}
		if err := b.Close(); err != nil {
			return nil, fmt.Errorf("lexical index: close an old one: %w", err)
		}
	} else if errors.Is(err, os.ErrPermission) || errors.Is(err, bolterrors.ErrTimeout) { // another process has it
		return nil, fmt.Errorf("lexical index: open: %w", err)
	}
	return create(dir)
}

func create(dir string) (bleve.Index, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("lexical index: remove: %w", err)
	}
	m, err := newMapping()
	if err != nil {
		return nil, err
	}
	b, err := bleve.NewUsing(dir, m, scorch.Name, scorch.Name, settings())
	if err != nil {
		return nil, fmt.Errorf("lexical index: create: %w", err)
	}
	if err := b.SetInternal([]byte(versionKey), []byte(version)); err != nil {
		return nil, errors.Join(fmt.Errorf("lexical index: create: %w", err), b.Close())
	}
	return b, nil
}

// settings leave durability to the truth: what is lost in a crash is indexed
// again at the next start.
func settings() map[string]any {
	return map[string]any{"unsafe_batch": true, "numSnapshotsToKeep": 1, "bolt_timeout": "2s"}
}

func newMapping() (mapping.IndexMapping, error) {
	const name = "terms"
	m := bleve.NewIndexMapping()
	if err := m.AddCustomAnalyzer(name, map[string]any{"type": custom.Name, "tokenizer": whitespace.Name}); err != nil {
		return nil, fmt.Errorf("lexical index: analyser: %w", err)
	}
	f := bleve.NewTextFieldMapping()
	f.Analyzer, f.Store, f.DocValues, f.IncludeInAll, f.IncludeTermVectors = name, false, false, false, true
	doc := bleve.NewDocumentStaticMapping()
	doc.AddFieldMappingsAt(field, f)
	m.DefaultMapping, m.DefaultAnalyzer = doc, name
	m.IndexDynamic, m.StoreDynamic, m.DocValuesDynamic = false, false, false
	return m, nil
}

// Keys calls yield for every passage in the index until it returns false.
func (x *Index) Keys(yield func(Key) bool) error {
	r, err := x.reader()
	if err != nil {
		return err
	}
	for _, s := range r.Segments() {
		deleted := s.Deleted()
		for doc := range uint64(s.FullSize()) {
			if deleted != nil && deleted.Contains(uint32(doc)) {
				continue
			}
			id, err := s.DocID(doc)
			if err != nil {
				return errors.Join(fmt.Errorf("lexical index: read ids: %w", err), r.Close())
			}
			if k, ok := decode(id); ok && !yield(k) {
				return r.Close()
			}
		}
	}
	return r.Close()
}

func (x *Index) reader() (*scorch.IndexSnapshot, error) {
	advanced, err := x.bleve.Advanced()
	if err != nil {
		return nil, fmt.Errorf("lexical index: %w", err)
	}
	r, err := advanced.Reader()
	if err != nil {
		return nil, fmt.Errorf("lexical index: open a reader: %w", err)
	}
	snapshot, ok := r.(*scorch.IndexSnapshot)
	if !ok {
		return nil, errors.Join(fmt.Errorf("lexical index: unexpected reader %T", r), r.Close())
	}
	return snapshot, nil
}

// Close releases the index; views must be closed before.
func (x *Index) Close() error {
	if err := x.bleve.Close(); err != nil {
		return fmt.Errorf("lexical index: close: %w", err)
	}
	return nil
}

// keyBytes is the length of an encoded key.
const keyBytes = 12

func encode(k Key) string {
	var b [keyBytes]byte
	binary.BigEndian.PutUint64(b[:8], uint64(k.No))
	binary.BigEndian.PutUint32(b[8:], k.Chunk)
	return string(b[:])
}

func decode(id []byte) (Key, bool) {
	if len(id) != keyBytes {
		return Key{}, false
	}
	return Key{
		No:    int64(binary.BigEndian.Uint64(id[:8])),
		Chunk: binary.BigEndian.Uint32(id[8:]),
	}, true
}

// number returns scorch's own number of a passage in a snapshot.
func number(id bleveindex.IndexInternalID) uint32 { return uint32(id.Value()) }
