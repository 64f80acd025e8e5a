package backup

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	passages "github.com/poterne/poterne/services/search/internal/chunk"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/fusion"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Backup is a whole backup that can be read.
type Backup struct {
	in     io.ReadSeeker
	header Header
}

// Open reads all of in, which must be a whole backup, and then its settings.
func Open(in io.ReadSeeker) (*Backup, error) {
	if err := verify(bufio.NewReaderSize(in, 1<<20)); err != nil {
		return nil, err
	}
	b := &Backup{in: in}
	r, err := b.reader()
	if err != nil {
		return nil, err
	}
	kind, raw, err := readFrame(r, nil)
	if err != nil {
		return nil, err
	}
	if kind != frameHeader || json.Unmarshal(raw, &b.header) != nil {
		return nil, invalid("it does not begin with the collection's settings")
	}
	return b, b.header.check()
}

// reader returns a reader that stands before the first frame.
func (b *Backup) reader() (*bufio.Reader, error) {
	if _, err := b.in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(b.in, 1<<20)
	return r, readStart(r)
}

// What no collection comes near, and every database can keep with what is written
// later.
const (
	maxGeneration = 1 << 53
	maxAnalyser   = 1 << 20
)

func (h Header) check() error {
	switch {
	case !embedding.ValidReference(h.EmbeddingModel):
		return invalid("its embedding model is none")
	case h.EmbeddingDigest != "" && !embedding.ValidDigest(h.EmbeddingDigest):
		return invalid("the digest of its embedding model is none")
	case h.Dimensions < 0 || h.Dimensions > embedding.MaxDimensions:
		return invalid("its vectors have %d dimensions; at most %d can be searched", h.Dimensions, embedding.MaxDimensions)
	case h.Generation < 1 || h.Generation > maxGeneration:
		return invalid("its generation is %d", h.Generation)
	case h.Analyser < 0 || h.Analyser > maxAnalyser:
		return invalid("its analyser is %d", h.Analyser)
	case !slices.Contains([]fusion.Method{"", fusion.Standardised, fusion.ReciprocalRank, fusion.MinMax}, fusion.Method(h.Fusion)):
		return invalid("its fusion is none")
	case !slices.Contains([]index.Metric{index.Cosine, index.Dot, index.L2}, index.Metric(h.VectorMetric)):
		return invalid("its vector metric is none")
	case len(h.DisplayName) > 1024 || strings.ContainsRune(h.DisplayName, 0):
		return invalid("its name is too long, or holds NUL")
	case !h.Chunking.valid():
		return invalid("its chunking is none")
	case h.Weights != nil && !h.Weights.valid():
		return invalid("its weights are none")
	default:
		return nil
	}
}

// valid holds the bounds of the API's Chunking.
func (c chunking) valid() bool {
	among := func(n, low, high int) bool { return n == 0 || n >= low && n <= high }
	return (c.By == "" || c.By == "structure") && among(c.MaxWords, 8, 2000) && among(c.MaxTokens, 16, 8192) &&
		(c.Overlap == nil || among(*c.Overlap, 1, 1000))
}

func (w weights) valid() bool {
	between := func(x float64) bool { return x >= 0 && x <= 1000 }
	return between(w.Lexical) && between(w.Vector) && w.Lexical+w.Vector > 0
}

// Collection returns the collection that the backup is of, for a tenant, under
// an id and a UID.
func (b *Backup) Collection(tenant, id, uid string) store.Collection {
	h := b.header
	c := store.Collection{
		Tenant: tenant, ID: id, UID: uid, DisplayName: h.DisplayName, EmbeddingModel: h.EmbeddingModel,
		EmbeddingDigest: h.EmbeddingDigest, Dimensions: h.Dimensions, Generation: h.Generation,
		Fusion: h.Fusion, VectorMetric: h.VectorMetric, Chunking: store.Chunking(h.Chunking), Analyser: h.Analyser,
	}
	if h.Weights != nil {
		c.Weights = &store.Weights{Lexical: h.Weights.Lexical, Vector: h.Weights.Vector}
	}
	return c
}

// Versions returns the documents for a tenant, each checked as one that is
// written is. It may be walked through more than once, not twice at a time.
func (b *Backup) Versions(tenant string) iter.Seq2[store.Version, error] {
	return func(yield func(store.Version, error) bool) {
		r, err := b.reader()
		if err == nil {
			err = b.each(r, tenant, func(v store.Version) bool { return yield(v, nil) })
		}
		if err != nil {
			yield(store.Version{}, err)
		}
	}
}

func (b *Backup) each(r io.Reader, tenant string, yield func(store.Version) bool) error {
	if _, _, err := readFrame(r, nil); err != nil { // the settings
		return err
	}
	var n counts
	for last := int64(0); ; {
		kind, raw, err := readFrame(r, nil)
		if err != nil {
			return err
		}
		if kind == frameEnd {
			var want counts
			if json.Unmarshal(raw, &want) != nil || want != n {
				return invalid("it has %d documents and %d passages, and says otherwise", n.Documents, n.Chunks)
			}
			return nil
		}
		var d document
		if kind != frameDocument || json.Unmarshal(raw, &d) != nil {
			return invalid("a document cannot be read")
		}
		kind, raw, err = readFrame(r, nil)
		if err != nil {
			return err
		}
		if kind != frameVectors {
			return invalid("document %q has no vectors", d.ID)
		}
		if d.No <= last || d.No > b.header.Generation {
			return invalid("document %q has number %d after %d", d.ID, d.No, last)
		}
		last = d.No
		v, err := d.version(tenant, raw, b.header.Dimensions)
		if err != nil {
			return err
		}
		n.Documents, n.Chunks = n.Documents+1, n.Chunks+len(v.Chunks)
		if !yield(v) {
			return nil
		}
	}
}

// version checks a document and returns it as the store has it.
func (d document) version(tenant string, vectors []byte, width int) (store.Version, error) {
	in := ingest.Input{ID: d.ID, Title: d.Title, Text: d.Text}
	if d.ACL != nil {
		in.ACL, in.HasACL = *d.ACL, true
	}
	if len(d.Metadata) > 0 && json.Unmarshal(d.Metadata, &in.Metadata) != nil {
		return store.Version{}, invalid("the metadata of document %q is no object", d.ID)
	}
	v, wrong := ingest.Check(tenant, in)
	if wrong != nil {
		return store.Version{}, invalid("document %q: %s %s", d.ID, wrong.Field, wrong.Message)
	}
	if !inRange(d.CreateTime) || !inRange(d.UpdateTime) || d.ExpireTime != nil && !inRange(*d.ExpireTime) {
		return store.Version{}, invalid("a time of document %q is out of range", d.ID)
	}
	if d.ExpireTime != nil {
		v.ExpireTime = d.ExpireTime.UTC()
	}
	v.No, v.CreateTime, v.UpdateTime, v.ChunkCount = d.No, d.CreateTime, d.UpdateTime, len(d.Chunks)
	if len(d.Chunks) == 0 || len(d.Chunks) > ingest.MaxChunks || width == 0 || len(vectors) != 4*width*len(d.Chunks) {
		return store.Version{}, invalid("document %q has %d passages and %d bytes of vectors", d.ID, len(d.Chunks), len(vectors))
	}
	for i, c := range d.Chunks {
		if c.Start < 0 || c.End < c.Start || c.End > len(d.Text) || c.Text != d.Text[c.Start:c.End] || c.Terms < 0 || c.Terms > len(c.Text)+2*len(d.Title) {
			return store.Version{}, invalid("passage %d of document %q is not of its text", i, d.ID)
		}
		if !passages.ValidHeadings(c.Headings) {
			return store.Version{}, invalid("the headings of passage %d of document %q are none", i, d.ID)
		}
		out := store.Chunk{Number: i, Start: c.Start, End: c.End, Terms: c.Terms, Text: c.Text, Headings: c.Headings, Vector: make([]float32, width)}
		for j := range out.Vector {
			x := math.Float32frombits(binary.LittleEndian.Uint32(vectors))
			if x-x != 0 {
				return store.Version{}, invalid("a vector of document %q is not finite", d.ID)
			}
			out.Vector[j], vectors = x, vectors[4:]
		}
		v.Chunks = append(v.Chunks, out)
	}
	return v, nil
}

// inRange reports whether nanoseconds can say a time, and 0 is not it.
func inRange(t time.Time) bool { return t.Year() >= 1970 && t.Year() <= 2261 && t.UnixNano() > 0 }
