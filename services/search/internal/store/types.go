package store

import (
	"strconv"
	"time"
)

// Collection is a set of documents that are searched together.
type Collection struct {
	Tenant string
	ID     string
	// UID is unique forever; indexes are named by it.
	UID            string
	DisplayName    string
	EmbeddingModel string
	// EmbeddingDigest is the version whose vectors the collection has; "" until
	// the first document, or when the model has no versions.
	EmbeddingDigest string
	// Dimensions is the length of the vectors; 0 until the first document.
	Dimensions    int
	DocumentCount int
	ChunkCount    int
	// Generation grows with every visible write; it begins at 1.
	Generation int64
	// EmbeddingGeneration is the number of the embedding generation that this
	// value speaks of: the one that serves, unless At chose another.
	EmbeddingGeneration int
	// BuildingGeneration is the number of the one that is to serve next; 0: none.
	BuildingGeneration int
	// ServingSince is the generation with which it began to serve: an index of it
	// that is behind that does not answer yet.
	ServingSince int64
	// Chunking is how it cuts documents.
	Chunking Chunking
	// Analyser is the version of the analyser that counted its terms.
	Analyser int
	// Fusion is how searches that do not say put the legs together; "" for the
	// service's way.
	Fusion string
	// Weights are the legs' for searches that do not say; nil: alike.
	Weights *Weights
	// VectorMetric is what makes its vectors near: cosine, dot or l2.
	VectorMetric string
	// Expires: a document with an end was written once.
	Expires    bool
	CreateTime time.Time
	UpdateTime time.Time
}

// At returns the collection as another of its embedding generations has it. The
// model is still that of the one that serves.
func (c Collection) At(number int) Collection {
	c.EmbeddingGeneration, c.ServingSince = number, 0
	return c
}

// IndexName names the index of the collection's embedding generation: unique
// forever, as both its parts are.
func (c Collection) IndexName() string {
	if c.EmbeddingGeneration <= 1 {
		return c.UID // as it was before there were others
	}
	return c.UID + ".g" + strconv.Itoa(c.EmbeddingGeneration)
}

// Weights say how much each leg of a search counts, by their proportion.
type Weights struct{ Lexical, Vector float64 }

// Chunking says how documents are cut into passages; zero members: the service's
// way.
type Chunking struct {
	By        string `json:"by,omitempty"`
	MaxWords  int    `json:"max_words,omitempty"`
	MaxTokens int    `json:"max_tokens,omitempty"`
	Overlap   *int   `json:"overlap_words,omitempty"`
}

// Document is one version of a document.
type Document struct {
	ID string
	// No is the version's number: the generation that wrote it.
	No    int64
	Title string
	Text  string
	// Metadata is a JSON object.
	Metadata []byte
	// ACL lists who may read it. HasACL false: everybody in the tenant.
	ACL    []string
	HasACL bool
	// ContentHash covers title, text, metadata and access list; TextHash what
	// the vectors are made from.
	ContentHash string
	TextHash    string
	ChunkCount  int
	CreateTime  time.Time
	UpdateTime  time.Time
	// ExpireTime is when it ends; zero: never.
	ExpireTime time.Time
}

// Chunk is one passage of a version.
type Chunk struct {
	Number     int
	Start, End int
	Terms      int
	Text       string
	Vector     []float32
	// Headings are those that it stands under, the outermost first; none has a line
	// end or is empty.
	Headings []string
}

// Version is a document with its chunks and those who may read it.
type Version struct {
	Document
	Principals []string
	Chunks     []Chunk
	// Kept says that the chunks are only numbered; see Store.SnapshotExcept.
	Kept bool
}
