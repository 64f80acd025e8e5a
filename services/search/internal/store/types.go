package store

import "time"

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
	// Fusion is how searches that do not say put the legs together; "" for the
	// service's way.
	Fusion string
	// Weights are the legs' for searches that do not say; nil: alike.
	Weights *Weights
	// VectorMetric is what makes its vectors near: cosine, dot or l2.
	VectorMetric string
	// Chunking is how its documents are cut.
	Chunking Chunking
	// Expires: a document with an end was written once.
	Expires    bool
	CreateTime time.Time
	UpdateTime time.Time
}

// Weights say how much each leg of a search counts, by their proportion.
type Weights struct{ Lexical, Vector float64 }

// Chunking is how a collection's documents are cut; zero members: the service's
// way.
type Chunking struct {
	By                  string
	MaxWords, MaxTokens int
	Overlap             *int // words
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
}

// Version is a document with its chunks and those who may read it.
type Version struct {
	Document
	Principals []string
	Chunks     []Chunk
	// Kept says that the chunks are only numbered; see Store.SnapshotExcept.
	Kept bool
}
